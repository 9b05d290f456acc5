"""One pass over the arrays given to `fit`, before anything is trained: can the model learn from this data?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys.models._heads import Head

NAMES = ("x", "y", "sample_weight")
VALIDATION_NAMES = ("validation_data[0]", "validation_data[1]", "validation_data[2]")

_ELEMENTS_AT_ONCE = 4_194_304  # Bounds the memory that the check adds.


def check_arrays(
    head: Head | None,
    input_shape: tuple[int | None, ...],
    x: Any,
    y: Any,
    sample_weight: Any = None,
    names: tuple[str, str, str] = NAMES,
) -> None:
    """Raises an error that says what is wrong with `x`, `y` and `sample_weight`, where and how to mend it.

    Data sets, generators and loaders are passed over, as they may be readable only once. Targets are held against
    `head`; with `None` (the user has compiled another loss) only their number and finiteness is checked.
    """
    x = only_input(x)
    if not _is_array(x):
        refuse_no_data(names[0], x)
        return
    x = numeric(names[0], x)
    _check_input_shape(names[0], x, input_shape)
    if y is None:
        raise ValueError(f"`{names[1]}` is missing: give one target for each of the {len(x)} samples of `{names[0]}`.")
    y = numeric(names[1], y)
    check_length(names, 1, y, x)
    check_finite(names[0], x)
    check_finite(names[1], y)
    if head is not None:
        steps = x.shape[1:2] if head.sequences else ()
        _TARGET_CHECKS[head.task.targets](names[1], y, (len(x), *steps), x, head)
    if sample_weight is not None:
        check_weights(names, sample_weight, x, None if head is None else (len(x), *steps))


def validation_parts(validation_data: Any) -> list[tuple[Any, ...]]:
    """Gives `validation_data` as a list of one (x, y) or (x, y, sample_weight), an empty one for data sets."""
    if not isinstance(validation_data, (tuple, list)):
        return []
    if len(validation_data) not in (2, 3):
        raise ValueError(
            "`validation_data` must be (x, y) or (x, y, sample_weight), got "
            f"{len(validation_data)} entr{'y' if len(validation_data) == 1 else 'ies'}."
        )
    return [tuple(validation_data)]


def check_samples(
    names: tuple[str, str, str], input_shape: tuple[int | None, ...], x: Any, sample_weight: Any = None
) -> np.ndarray | None:
    """Gives samples that come without targets back as an array, they and their weights checked; `None` for data sets.

    Raises the error that says what is wrong with them.
    """
    x = only_input(x)
    if not _is_array(x):
        refuse_no_data(names[0], x)
        return None
    x = checked_samples(names[0], input_shape, x)
    if sample_weight is not None:
        check_weights(names, sample_weight, x, (len(x),))
    return x


def checked_samples(name: str, input_shape: tuple[int | None, ...], x: Any) -> np.ndarray:
    """Gives `x` back as an array of finite samples of this shape."""
    x = numeric(name, x)
    _check_input_shape(name, x, input_shape)
    check_finite(name, x)
    return x


def only_input(x: Any) -> Any:
    """Gives the array in a list of it alone, which Keras takes with a warning; all else as it is."""
    return x[0] if isinstance(x, (list, tuple)) and len(x) == 1 else x


def _is_array(x: Any) -> bool:
    # A list is let through to `numeric`, which says what to do with it; a sparse matrix is Keras' business.
    sparse = hasattr(x, "tocsr")
    return isinstance(x, (list, tuple)) or (hasattr(x, "shape") and hasattr(x, "__len__") and not sparse)


def refuse_no_data(name: str, x: Any) -> None:
    """Raises an error for what is neither an array nor a data set, a generator, a loader or a dictionary of arrays."""
    if x is None:
        raise ValueError(f"`{name}` is missing: give an array of samples, or a data set.")
    readable = hasattr(x, "__iter__") or hasattr(x, "__getitem__")
    if not readable or np.isscalar(x) or isinstance(x, (set, frozenset)):
        raise TypeError(f"`{name}` must be an array or a data set, got {x!r:.60} ({type(x).__name__}).")


def numeric(name: str, value: Any) -> np.ndarray:
    """Gives `value` back as an array of real numbers, of at least one sample."""
    if not _is_array(value) or isinstance(value, (list, tuple)):
        raise TypeError(f"`{name}` must be an array, got {type(value).__name__}: pass np.asarray({name}).")
    # Training would take what is under the mask for data.
    if np.ma.is_masked(value):
        raise ValueError(
            f"`{name}` must not have masked values, got {np.ma.count_masked(value)} of {np.size(value)}: drop these "
            f"samples, or put something in their places with {name}.filled(...)."
        )
    array = keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)
    if array.dtype == np.longdouble and array.dtype != np.float64:
        raise TypeError(f"`{name}` must hold numbers of at most 64 bits: pass {name}.astype('float64').")
    # "V" is what NumPy makes of bfloat16.
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError(
            f"`{name}` must hold real numbers, got dtype {array.dtype}: turn text into labels with "
            f"np.unique({name}, return_inverse=True)[1], other objects into numbers with {name}.astype('float32')."
        )
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"`{name}` must hold at least one sample, got an array of shape {array.shape}.")
    return array


def _check_input_shape(name: str, x: np.ndarray, input_shape: tuple[int | None, ...]) -> None:
    got = x.shape[1:]
    if got == () and input_shape == (1,):
        return  # Keras adds the axis.
    if len(got) == len(input_shape) and all(b is None or a == b for a, b in zip(got, input_shape, strict=True)):
        return
    mend = ""
    if (*got, 1) == input_shape:
        mend = f": add the last axis with {name}[..., None]"
    elif x.shape == input_shape:
        mend = f": one sample needs a batch axis, {name}[None]"
    expected = ", ".join(map(str, ("samples", *input_shape)))
    raise ValueError(f"`{name}` must have the shape ({expected}), got {x.shape}{mend}.")


def check_length(names: tuple[str, str, str], index: int, array: np.ndarray, x: np.ndarray) -> None:
    """Holds the number of samples of `array`, called `names[index]`, against that of `x`."""
    if len(array) != len(x):
        raise ValueError(
            f"`{names[0]}` and `{names[index]}` must have the same length, got {len(x)} and {len(array)} samples."
        )


def check_weights(
    names: tuple[str, str, str], sample_weight: Any, x: np.ndarray, expected: tuple[int, ...] | None
) -> None:
    """Holds weights against the shape `expected`: one a sample, or one a time step. `None`: only their number."""
    name = names[2]
    sample_weight = numeric(name, sample_weight)
    check_length(names, 2, sample_weight, x)
    check_finite(name, sample_weight)
    if expected is None or sample_weight.shape in (expected, (*expected, 1)):
        return
    # With one weight for a whole sequence Keras fails, or where the batch is as long as the sequence, errs silently.
    mend = ""
    if len(expected) == 2 and sample_weight.shape == expected[:1]:
        mend = f": pass np.repeat({name}[:, None], {expected[1]}, axis=1)"
    each = "time step" if len(expected) == 2 else "sample"
    raise ValueError(
        f"`{name}` must hold one weight for every {each}, shape {expected}, got {sample_weight.shape}{mend}."
    )


def check_finite(name: str, array: np.ndarray) -> None:
    """Raises an error that names the first value that is NaN, infinite or too large."""
    if array.dtype.kind in "biu":
        return
    too_large, largest = _search(array, _is_too_large)
    if largest is None:
        return
    count, first = _search(array, _leaves_float32)
    if first is not None:
        raise ValueError(
            f"`{name}` must be finite in float32: {count} of its {array.size} values are NaN or infinite, the first "
            f"is {_place(name, first)} = {array[first]}. Drop or repair these samples."
        )
    place, value = _place(name, largest), float(array[largest])
    raise ValueError(
        f"`{name}` must lie within ±{_arguments.LARGEST_DATA:g}, as squares of larger numbers leave float32: "
        f"{too_large} of its {array.size} values do not, the first is {place} = {value:g}. Change the units, or what "
        "stands for missing values."
    )


def check_unit_interval(name: str, array: np.ndarray, reason: str, instead: str) -> None:
    """Raises an error that names the first value outside [0, 1], why it must not be, and what to build instead."""
    count, first = _search(array, _leaves_unit_interval)
    if first is not None:
        mend = "Divide by 255" if array.min() >= 0 and 1 < array.max() <= 255 else "Rescale it"
        raise ValueError(
            f"`{name}` must lie in [0, 1] for {reason}: {count} of its {array.size} values do not, the first is "
            f"{_place(name, first)} = {array[first]}. {mend}, or build with {instead}."
        )


def check_numbers(name: str, value: Any, size: int, what: str) -> np.ndarray:
    """Gives `value` back as an array of integers from 0 to `size` − 1, the numbers of `what`."""
    array = numeric(name, value)
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must hold integers, the numbers of {what}, got {array.dtype}: pass {name}.astype('int32')."
        )
    count, first = _search(array, lambda values: (values < 0) | (values >= size))
    if first is not None:
        raise ValueError(
            f"`{name}` must hold the numbers of {what}, 0 to {size - 1}: {count} of its {array.size} values do not, "
            f"the first is {_place(name, first)} = {array[first]}."
        )
    return array


def _leaves_float32(values: np.ndarray) -> np.ndarray:
    # Keras trains in float32: a float64 beyond its range arrives as infinity.
    with np.errstate(over="ignore"):
        return ~np.isfinite(values.astype("float32", copy=False))


def _is_too_large(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return ~(np.abs(values.astype("float32", copy=False)) <= _arguments.LARGEST_DATA)  # NaN, too.


def _leaves_unit_interval(values: np.ndarray) -> np.ndarray:
    return (values < 0) | (values > 1)


def _is_fractional(values: np.ndarray) -> np.ndarray:
    return values != np.floor(values)


def _search(array: np.ndarray, is_bad: Callable[[np.ndarray], np.ndarray]) -> tuple[int, tuple[int, ...] | None]:
    """Gives the number of bad values in `array` and the place of the first, in bounded memory."""
    rows = max(1, _ELEMENTS_AT_ONCE * len(array) // array.size)
    count, first = 0, None
    for start in range(0, len(array), rows):
        bad = is_bad(array[start : start + rows])
        if bad.any():
            count += int(bad.sum())
            if first is None:
                row, *rest = (int(index) for index in np.unravel_index(bad.argmax(), bad.shape))
                first = (row + start, *rest)
    return count, first


def _place(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]"


def _refuse_missing_axis(name: str, y: np.ndarray, leading: tuple[int, ...], head: Head) -> None:
    # Keras would take time for the axis of outputs, average over it, and break on masks and weights of single steps.
    if head.sequences and head.outputs == 1 and y.shape == leading:
        raise ValueError(
            f"`{name}` must have the shape {(*leading, 1)}, one value for every time step, got {y.shape}: "
            f"add the last axis with {name}[..., None]."
        )


def _refuse_time_steps(name: str, y: np.ndarray, x: np.ndarray, head: Head) -> None:
    if x.ndim == 3 and not head.sequences and y.ndim > 1 and y.shape[1] == x.shape[1] > 1:
        raise ValueError(
            f"`{name}` must hold one target for every sample, got {y.shape}, which looks like one for every time step: "
            "build with return_sequences=True, or pass the last step's."
        )


def _check_labels(name: str, y: np.ndarray, leading: tuple[int, ...], x: np.ndarray, head: Head) -> None:
    """Integer labels from 0, one a sample (or a time step): `(samples,)` or `(samples, 1)`."""
    _refuse_missing_axis(name, y, leading, head)
    _refuse_time_steps(name, y, x, head)
    if y.shape == (*leading, head.classes) and y.shape != (*leading, 1):
        raise ValueError(
            f"`{name}` must hold integer labels of shape {leading}, got {y.shape}, which looks one-hot: "
            f"pass {name}.argmax(axis=-1), or build with multilabel=True if a sample has several labels."
        )
    if y.shape not in (leading, (*leading, 1)):
        raise ValueError(f"`{name}` must hold one integer label each, shape {leading}, got {y.shape}.")
    if y.dtype.kind not in "biu":
        _, first = _search(y, _is_fractional)
        if first is not None:
            raise ValueError(
                f"`{name}` must hold integer labels, got {y[first]} at {_place(name, first)}: for real-valued "
                "targets build a regressor."
            )
    low, high = y.min(), y.max()
    if low < 0 or high >= head.classes:
        worst = int(high if high >= head.classes else low)
        mend = f"relabel them 0 to {head.classes - 1}"
        if low >= 0:
            mend += f", or pass num_classes={worst + 1}"
        raise ValueError(f"`num_classes` is {head.classes}, but the labels `{name}` hold class {worst}: {mend}.")


def _check_indicators(name: str, y: np.ndarray, leading: tuple[int, ...], x: np.ndarray, head: Head) -> None:
    """One number from 0 to 1 for every label: `(samples, labels)`."""
    expected = (*leading, head.classes)
    if y.shape != expected and not (head.classes == 1 and y.shape == leading):
        mend = ""
        if y.shape in (leading, (*leading, 1)):
            mend = (
                f": integer labels become indicators with np.eye({head.classes})[{name}.reshape({leading})]; "
                "for one class a sample, build without multilabel"
            )
        raise ValueError(f"`{name}` must hold 0 or 1 for each label, shape {expected}, got {y.shape}{mend}.")
    _, first = _search(y, _leaves_unit_interval)
    if first is not None:
        raise ValueError(f"`{name}` must hold 0 or 1 for each label, got {y[first]} at {_place(name, first)}.")


def _check_real(name: str, y: np.ndarray, leading: tuple[int, ...], x: np.ndarray, head: Head) -> None:
    """One number for every output: `(samples, outputs)`, or `(samples,)` for one output."""
    _refuse_missing_axis(name, y, leading, head)
    expected = (*leading, head.outputs)
    if y.shape == expected or (head.outputs == 1 and y.shape == leading):
        return
    _refuse_time_steps(name, y, x, head)
    mend = ""
    if y.shape[:-1] == leading:
        mend = f": build with num_outputs={y.shape[-1]}"
    raise ValueError(f"`{name}` must have the shape {expected}, got {y.shape}{mend}.")


_TARGET_CHECKS = {"labels": _check_labels, "indicators": _check_indicators, "real": _check_real}
