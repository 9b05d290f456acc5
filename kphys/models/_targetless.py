"""What models share that learn from samples without targets: weights that count, validation data in every form."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from kphys.models._arrays import NAMES, VALIDATION_NAMES


def with_weights(method: Callable[..., Any], stand_in: Callable[[Any], Any]) -> Callable[..., Any]:
    """Gives `fit` or `evaluate` with `stand_in(x)` as targets where weights come without: Keras 3.15 drops them."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        if given.get("sample_weight") is not None and given.get("y") is None:
            given["y"] = stand_in(given["x"])
        validation_data = given.get("validation_data")
        if isinstance(validation_data, (tuple, list)) and len(validation_data) == 3 and validation_data[1] is None:
            x, _, sample_weight = validation_data
            given["validation_data"] = (x, stand_in(x), sample_weight)
        return method(*bound.args, **bound.kwargs)

    return run


def check_each(
    check: Callable[..., None], x: Any, y: Any, sample_weight: Any, validation_data: Any, class_weight: Any
) -> None:
    """Calls `check(names, x, y, sample_weight)` for what is trained on and for what is validated on."""
    if class_weight is not None:
        raise ValueError("`class_weight` needs labels, and this model learns without: pass `sample_weight`.")
    check(NAMES, x, y, sample_weight)
    if validation_data is None:
        return
    if not isinstance(validation_data, (tuple, list)):
        check(("validation_data", "", ""), validation_data)
        return
    if not 1 <= len(validation_data) <= 3:
        raise ValueError(
            f"`validation_data` must be x, (x,), (x, y) or (x, y, sample_weight), got {len(validation_data)} entries."
        )
    check(VALIDATION_NAMES, *validation_data)
