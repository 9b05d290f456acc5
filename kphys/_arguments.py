"""Checks at the door: what an argument must be, and the sentence that says so when it is not."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# TensorFlow counts what is in an array, or along an axis of it, in 32 bits here and there.
_INTEGERS_END = 2**31
# Sums of larger ones over the weights of a network leave float32.
LARGEST_FACTOR = 1e30
# The squares of larger ones do, once a network has added them up.
LARGEST_DATA = 1e15


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, (numbers.Real, np.number)) and not isinstance(value, (bool, np.bool_))


def integer(name: str, value: Any, minimum: int = 1, below: int = _INTEGERS_END) -> int:
    """Gives `value` back as an `int` with `minimum <= value < below`."""
    wanted = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    if not _is_integer(value):
        raise _wrong_kind(name, value, wanted)
    if value < minimum:
        raise ValueError(f"`{name}` must be {wanted}, got {value}.")
    if value >= below:
        raise ValueError(f"`{name}` must be {wanted} below {below}, got {value}.")
    return int(value)


def integers(name: str, value: Any, minimum: int = 1) -> tuple[int, ...]:
    """Gives `value`, one integer or a non-empty sequence of them, back as a tuple."""
    if _is_integer(value):
        value = (value,)
    # An array without axes has no length.
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)) or np.ndim(value) == 0:
        raise _wrong_kind(name, value, "a tuple of positive integers such as (100, 100)")
    if len(value) == 0:
        raise ValueError(f"`{name}` must hold at least one integer, got {value!r}.")
    return tuple(integer(f"{name}[{index}]", item, minimum) for index, item in enumerate(value))


def real(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    below: float = math.inf,
    positive: bool = False,
    largest: float = math.inf,
) -> float:
    """Gives `value` back as a finite `float` with `minimum <= value < below`, above zero if `positive`.

    It is at most `largest`, what float32 can work with.
    """
    if positive:
        wanted = "a positive number"
    elif below < math.inf:
        wanted = f"a number of at least {minimum:g} and below {below:g}"
    elif minimum == 0:
        wanted = "a number that is not negative"
    elif minimum > -math.inf:
        wanted = f"a number of at least {minimum:g}"
    else:
        wanted = "a finite number"
    if not _is_real(value):
        raise _wrong_kind(name, value, wanted)
    try:
        number = float(value)
    except OverflowError:  # An integer beyond all floats.
        number = math.inf
    if not math.isfinite(number) or not minimum <= value < below or (positive and value <= 0):
        raise ValueError(f"`{name}` must be {wanted}, got {value}.")
    if abs(number) > largest:
        raise ValueError(f"`{name}` must be {wanted}, at most {largest:g} for float32 to work with, got {number:g}.")
    return number


def share(name: str, value: Any) -> float:
    """Gives `value` back as a `float` from 0 to 1."""
    value = real(name, value, minimum=0)
    if value > 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1, got {value:g}.")
    return value


def flag(name: str, value: Any) -> bool:
    """Gives `value` back if it is `True` or `False`."""
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong_kind(name, value, "True or False")
    return bool(value)


def seed(name: str, value: Any) -> int | None:
    """Gives `value` back if it is `None` or an integer from 0 to 2³² − 1."""
    if value is None:
        return None
    if not _is_integer(value):
        raise _wrong_kind(name, value, "None or an integer from 0 to 2**32 - 1")
    if not 0 <= value < 2**32:
        raise ValueError(f"`{name}` must be None or an integer from 0 to 2**32 - 1, got {value}.")
    return int(value)


def choice(name: str, value: Any, known: Iterable[str], also: str = "") -> str:
    """Gives `value` back if it is one of `known`; the error lists them and names the nearest."""
    known = list(known)
    if isinstance(value, str) and value in known:
        return value
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"`{name}` must be one of {', '.join(map(repr, known))}{also}, got {value!r}.{nearest(value, known)}")


def nearest(value: Any, known: Iterable[str]) -> str:
    """Gives the sentence " Did you mean 'x'?" for the nearest known name, or nothing."""
    found = difflib.get_close_matches(str(value), list(known), n=3, cutoff=0.5)
    # Two letters changed places: closer than difflib thinks. The sort keeps its order otherwise.
    found.sort(key=lambda name: sorted(name) != sorted(str(value)))
    return f" Did you mean {found[0]!r}?" if found else ""


def _wrong_kind(name: str, value: Any, wanted: str) -> TypeError | ValueError:
    kind = type(value).__name__
    # A float where an integer belongs is a wrong value; a string or a list is a wrong kind.
    error = ValueError if _is_real(value) else TypeError
    return error(f"`{name}` must be {wanted}, got {value!r} ({kind}).")
