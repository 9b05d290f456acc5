"""What a replay buffer takes, and the sentence that says so when it gets something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kphys import _arguments


def observation_shape(value: int | Sequence[int], frame_stack: int) -> tuple[int, ...]:
    """Gives `value` as a tuple, empty for observations that are one number."""
    empty = isinstance(value, Sequence) and len(value) == 0
    shape = () if empty else _arguments.integers("observation_shape", value)
    if frame_stack > 1 and len(shape) not in (2, 3):
        raise ValueError(
            f"`observation_shape` must be that of one frame, (height, width) or (height, width, channels), with "
            f"frame_stack={frame_stack}, got {shape}."
        )
    return shape


def observation_dtype(value: Any) -> np.dtype:
    """Gives `value` as a NumPy type of numbers."""
    wanted = "`dtype` must be a NumPy type of numbers such as 'float32' or 'uint8'"
    try:
        dtype = np.dtype(value)
    except TypeError as error:
        raise TypeError(f"{wanted}, got {value!r}.") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"{wanted}, got {value!r}.")
    return dtype


def priority_exponent(value: float | None, prioritized: bool) -> float | None:
    """Gives α of prioritized draws, `None` for others."""
    value = _of_priorities("priority_exponent", value, prioritized, 0.6)
    return _arguments.real("priority_exponent", value, minimum=0) if prioritized else None


def importance_exponent(value: float | None, prioritized: bool, usual: float | None = None) -> float | None:
    """Gives β of prioritized draws, `None` for others."""
    value = _of_priorities("importance_exponent", value, prioritized, usual)
    return _arguments.share("importance_exponent", value) if prioritized else None


def _of_priorities(name: str, value: float | None, prioritized: bool, usual: float | None) -> float | None:
    if value is not None and not prioritized:
        raise ValueError(f"`{name}` is {value!r}, but nothing is prioritized: pass prioritized=True.")
    return usual if value is None else value


def ring_length(capacity: int, num_environments: int, n_step: int, frame_stack: int) -> int:
    """Gives the observations that each environment may hold."""
    capacity = _arguments.integer("capacity", capacity)
    ring, smallest = capacity // num_environments, n_step + frame_stack
    if ring < smallest:
        raise ValueError(
            f"`capacity` is {capacity}, {ring} for each environment, but one transition takes {smallest} observations "
            f"(n_step={n_step}, frame_stack={frame_stack}): pass at least {smallest * num_environments}."
        )
    return ring


def environment_number(value: int, num_environments: int) -> int:
    """Gives `value` back if it is the number of an environment."""
    value = _arguments.integer("environment", value, minimum=0)
    if value >= num_environments:
        raise ValueError(f"`environment` must be below num_environments, {num_environments}, got {value}.")
    return value


def steps(name: str, value: ArrayLike, dtype: Any, shape: tuple[int, ...], length: int | None = None) -> np.ndarray:
    """Gives `value` as an array of `dtype` and `(length, *shape)`; a float may be rounded, nothing else is lost."""
    try:
        given, dtype = np.asarray(value), np.dtype(dtype)
    except ValueError as error:
        raise ValueError(f"`{name}` must be an array, but its rows are of different lengths.") from error
    if given.dtype.kind not in "biuf":
        raise TypeError(f"`{name}` must be an array of numbers, got {given.dtype} of shape {given.shape}.")
    if given.ndim == 0 or given.shape[1:] != shape or (length is not None and len(given) != length):
        wanted = ", ".join(map(str, ("n" if length is None else length, *shape)))
        raise ValueError(f"`{name}` must have shape ({wanted}{'' if shape else ','}), got {given.shape}.")
    if len(given) == 0:
        raise ValueError(f"`{name}` must hold at least one transition, got shape {given.shape}.")
    if dtype.kind != "f" and (given.dtype == dtype or np.can_cast(given.dtype, dtype)):
        return given.astype(dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        array = given.astype(dtype, copy=False)
    kept = np.isfinite(array) if given.dtype.kind == dtype.kind == "f" else array == given
    if not kept.all():
        where = np.unravel_index(np.argmin(kept), kept.shape)
        raise ValueError(f"`{name}` is stored as {dtype}, which does not take the {given[where]} of step {where[0]}.")
    return array


def state(given: Mapping[str, Any], own: Mapping[str, np.ndarray], per_slot: Sequence[str]) -> None:
    """Refuses a state that is not of a buffer with the arguments of the one whose state is `own`."""
    if missing := [name for name in own if name not in given]:
        raise ValueError(f"`state` must be what ReplayBuffer.state gave, but {missing[0]!r} is missing.")
    slots = len(given["drawable"])
    for name, array in own.items():
        value = np.asarray(given[name])
        shape = (slots, *array.shape[1:]) if name in per_slot else array.shape
        if value.dtype != array.dtype or value.shape != shape:
            raise ValueError(
                f"`state` holds {name!r} as {value.dtype} of shape {value.shape}, but this buffer takes {array.dtype} "
                f"of shape {shape}: build it with the arguments of the one that gave the state."
            )
