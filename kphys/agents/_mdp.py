"""Markov decision processes as arrays: the checks at the door."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kphys import _arguments


class Process(NamedTuple):
    """A checked process: probabilities and rewards `(states, actions, states)`, what is `possible` in each state."""

    P: np.ndarray
    R: np.ndarray
    possible: np.ndarray  # (states, actions)

    @property
    def terminal(self) -> np.ndarray:
        """The states without any action, `(states,)`."""
        return ~self.possible.any(axis=1)


def process(P: Any, R: Any) -> Process:
    """Gives the process of arrays `P[s, a, s']` and `R[s, a, s']`, checked."""
    P, R = numbers("P", P), numbers("R", R)
    if P.ndim != 3 or P.shape[0] != P.shape[2] or P.size == 0:
        raise ValueError(f"`P` must have the shape (states, actions, states), got {P.shape}.")
    if R.shape != P.shape:
        raise ValueError(f"`R` must have the shape of `P`, {P.shape}, one reward for every step, got {R.shape}.")
    P = probabilities("P", P, impossible=True)
    return Process(P, R, P.any(axis=2))


def numbers(name: str, values: Any) -> np.ndarray:
    """Gives `values` as an array of finite double precision."""
    try:
        values = np.asarray(values)
        if values.dtype.kind not in "iuf":
            raise TypeError(f"they are of kind {values.dtype}")
        values = values.astype(float)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` must be an array of real numbers ({error}). In P, an action that is not possible in a state "
            "has zeros, not None."
        ) from error
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` must be finite, got {_first(values, ~np.isfinite(values))}.")
    return values


def probabilities(name: str, values: np.ndarray, *, impossible: bool = False) -> np.ndarray:
    """Gives `values` back with sums over the last axis that are 1 exactly, or 0 where `impossible` is allowed."""
    if (values < 0).any():
        raise ValueError(f"`{name}` must hold probabilities, got {_first(values, values < 0)}.")
    sums = values.sum(axis=-1)
    wrong = np.abs(sums - 1) > 1e-6  # Single precision and rounded tables pass.
    if impossible:
        wrong &= sums != 0
    if wrong.any():
        also = ", or be all zero where the action is not possible" if impossible else ""
        raise ValueError(f"`{name}` must sum to 1 over its last axis{also}, got the sum {_first(sums, wrong)}.")
    return values / np.where(sums == 0, 1, sums)[..., None]


def discounted(discount: Any) -> float:
    """Gives the discount back: at least 0 and below 1."""
    return _arguments.real("discount", discount, minimum=0, below=1)


def _first(values: np.ndarray, chosen: np.ndarray) -> str:
    place = tuple(int(index) for index in np.argwhere(chosen)[0])
    return f"{values[place]:g} at {list(place)}"
