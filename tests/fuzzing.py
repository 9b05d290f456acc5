"""What users may hand to builders and to `fit`, right and wrong, and what came of it: trained, or refused.

A case begins with a row of the promises' table, where everything is right, and has one thing or two replaced.
"""

from __future__ import annotations

import dataclasses
import decimal
import fractions
import inspect
import linecache
import math
import pathlib
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from contract_kinds import BATCH
from contract_table import ROWS, Row
from hypothesis import strategies as st

import kphys

_HOUSE = tuple(str(pathlib.Path(kphys.__file__).parents[1] / part) for part in ("kphys", "callbacks", "datasets"))
_MOST_WEIGHTS = 300_000
_SLOW = ("lenet5", "vgg", "resnet", "xception", "defaults", "image", "volume")  # To build or to train.

# What stands for any argument: each is right for some, and wrong for most.
ODD = (
    *(None, True, False, 0, 1, -1, 3, 2.5, 0.0, -0.5, 1e-300, 1e300, 1e38, math.nan, math.inf, -math.inf),
    *(10**5, 10**12, 2**31, 2**63, 10**400, -(10**30), 1j, fractions.Fraction(1, 3), decimal.Decimal("0.5")),
    *("", "3", "adam", "relu", "é\x00", b"relu", (), [], {}, (0,), (2,), (3, 2), [3, 2], (None,), (2, None), (2.0,)),
    *((True,), ("2",), (10**12,), (2, 2, 1), (-1, 2), ((2,),), {2}, range(3)),
    *(np.int8(3), np.uint8(200), np.int64(2), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("relu")),
    *(np.array(3), np.array([3, 2]), np.array([]), np.array([[1]]), np.array([2.5]), np.datetime64("2026-01-01")),
    *(object(), int, len, keras.activations.relu, keras.optimizers.SGD),
)


@dataclasses.dataclass
class Fuzzed:
    """A builder with its arguments, named; `said` is how a person would write what was replaced."""

    row: Row
    replaced: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """Gives all arguments, new layers where the table has what makes them."""
        names = list(inspect.signature(getattr(kphys, self.row.builder)).parameters)
        given = dict(zip(names, self.row.arguments, strict=False)) | self.row.options
        return {name: value() if callable(value) else value for name, value in given.items()} | self.replaced

    def build(self) -> keras.Model:
        """Gives the model, to run step by step: nothing is traced, nothing compiled."""
        model = getattr(kphys, self.row.builder)(**{"seed": 3, **self.settings()})
        model.jit_compile, model.run_eagerly, model.steps_per_execution = False, True, 1
        return model

    def fitting(self) -> Row:
        """Gives the row that makes data for what was built."""
        settings = self.settings()
        names = list(inspect.signature(getattr(kphys, self.row.builder)).parameters)[: len(self.row.arguments)]
        arguments = tuple(tuple(v) if isinstance(v := settings[name], (list, np.ndarray)) else v for name in names)
        return dataclasses.replace(self.row, arguments=arguments, options=settings)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.replaced.items())
        return f"{self.row.builder}[{self.row.name}] with {said}"


def _small(row: Row) -> bool:
    return not any(word in f"{row.builder}[{row.name}]" for word in _SLOW)


SMALL = [row for row in ROWS.values() if _small(row)]


@st.composite
def builder_cases(draw: Any) -> Fuzzed:
    """Gives builders with one argument or two replaced, by what other rows have there or by anything."""
    row = draw(st.sampled_from(SMALL))
    names = [name for name in inspect.signature(getattr(kphys, row.builder)).parameters if name != "check_data"]
    replaced = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        known = [other.options[name] for other in SMALL if other.builder == row.builder and name in other.options]
        right = st.sampled_from([value for value in known if not callable(value)] or [2])
        replaced[name] = draw(st.one_of(st.sampled_from(ODD), right, right))
    return Fuzzed(row, replaced)


# === Arrays ===


class Table:
    """What has a shape, a length and an array inside, as the tables of other libraries do."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


def _frozen(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values.flags.writeable = False
    return values


def _with(value: Any, dtype: str | None = None, everywhere: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype(dtype or values.dtype) if dtype or values.dtype.kind != "f" else values.copy()
        with np.errstate(all="ignore"):
            values[... if everywhere else (len(values) // 2, ...)] = value
        return values

    return change


def _as(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            return values.astype(dtype)

    return change


_DTYPES = ("float16", "float32", "float64", "longdouble", "int8", "uint8", "int32", "int64", "uint64", "bool")
_STRANGE = ("complex64", "str", "S5", "object", "datetime64[s]", "timedelta64[s]", "V4")

# Name -> what becomes of an array.
CHANGES: dict[str, Callable[[np.ndarray], Any]] = {
    "as it is": lambda values: values,
    **{f"as {dtype}": _as(dtype) for dtype in _DTYPES + _STRANGE},
    **{f"one {value}": _with(value, "float64") for value in (math.nan, math.inf, -math.inf, 1e38, 1e300, -1e19, -1.0)},
    **{f"all {value}": _with(value, "float64", everywhere=True) for value in (0, 1, 1e14, 1e-40, 1e-310, 0.5)},
    "one 10**6": _with(10**6, "int64"),
    "one -1": _with(-1, "int64"),
    "masked": lambda values: np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 1),
    "masked nowhere": np.ma.masked_array,
    "matrix": lambda values: values.reshape(len(values), -1).view(np.matrix),
    "fields": lambda values: np.zeros(len(values), [("a", "f4"), ("b", "f4")]),
    "Fortran order": np.asfortranarray,
    "every other": lambda values: np.repeat(values, 2, axis=0)[::2],
    "backwards": lambda values: values[::-1],
    "read-only": _frozen,
    "empty": lambda values: values[:0],
    "one sample": lambda values: values[:1],
    "a sample fewer": lambda values: values[:-1],
    "without an axis": lambda values: values[0],
    "with an axis": lambda values: values[..., None],
    "flat": np.ravel,
    "no features": lambda values: values[..., :0],
    "a feature more": lambda values: np.concatenate([values, values[..., :1]], axis=-1),
    "swapped": lambda values: np.swapaxes(values, 0, -1),
    "broadcast": lambda values: np.broadcast_to(values[:1], values.shape),
    "a list": np.ndarray.tolist,
    "a tuple": tuple,
    "a list of itself": lambda values: [values],
    "two of itself": lambda values: [values, values],
    "a tensor": tf.constant,
    "a variable": tf.Variable,
    "a table": Table,
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")) if values.dtype != object else values,
    "nothing": lambda values: None,
    "a number": lambda values: 3.0,
    "a text": lambda values: "up down",
    "a set": lambda values: {1, 2},
    "an object": lambda values: object(),
    "zero axes": lambda values: np.array(1.0),
}


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A row whose arrays are changed: `changes` has one name for x, one for y, one for the weights."""

    name: str
    changes: tuple[str, str, str]
    weighted: bool
    validate: bool


@st.composite
def array_cases(draw: Any) -> Arrays:
    """Gives rows, with one of their arrays changed or two."""
    changes = ["as it is"] * 3
    weighted = draw(st.booleans())
    for place in draw(st.lists(st.integers(0, 2 if weighted else 1), min_size=1, max_size=2, unique=True)):
        changes[place] = draw(st.sampled_from(list(CHANGES)))
    name = draw(st.sampled_from([name for name, row in FITTED.items()]))
    return Arrays(name, tuple(changes), weighted, draw(st.booleans()))


# Agents play, and learn from no arrays.
FITTED = {name: row for name, row in ROWS.items() if _small(row) and not row.kind.plays}


def changed_arrays(case: Arrays) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Gives what `fit` is called with."""
    row = ROWS[case.name]
    arrays = list(row.data())
    weights = np.ones(BATCH, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of what is done to the arrays here.
        given = [_changed(change, array) for change, array in zip(case.changes, arrays, strict=False)]
        settings = {"sample_weight": _changed(case.changes[2], weights)} if case.weighted and row.kind.batches else {}
    if case.validate:
        # What is changed is there to validate with.
        parts = (*given, settings.pop("sample_weight")) if settings and len(given) == 2 else tuple(given)
        settings["validation_data"] = parts if row.kind.batches else parts[0]
        return row.data(), settings
    return tuple(given), settings


def _changed(change: str, array: np.ndarray) -> Any:
    try:
        return CHANGES[change](array)
    except (TypeError, ValueError, OverflowError, np.exceptions.AxisError):
        return array  # Texts cannot become numbers, and the like.


# === What came of it ===


def is_own(error: BaseException) -> bool:
    """Tells whether kphys itself has raised the error: by a `raise` of its own, with a whole sentence."""
    if not isinstance(error, (ValueError, TypeError)):
        return False
    frame = traceback.extract_tb(error.__traceback__)[-1]
    raises = linecache.getline(frame.filename, frame.lineno).strip().startswith("raise ")
    return frame.filename.startswith(_HOUSE) and raises and str(error).rstrip().endswith((".", "?"))


def train_built(case: Fuzzed) -> str:
    """Builds a model, trains it on a batch that fits it, and says what it did."""
    model = case.build()
    if model.count_params() > _MOST_WEIGHTS:
        return "built, and too large to train here"
    _check_losses(case.row, case.fitting().fit(model))
    return "trained"


def train_on(case: Arrays, models: dict[str, tuple[keras.Model, list[np.ndarray]]]) -> str:
    """Trains on the arrays of a case; `models` are built once, with the weights that they begin with."""
    row = ROWS[case.name]
    if case.name not in models:
        model = Fuzzed(row, {}).build()
        models[case.name] = model, model.get_weights()
    model, weights = models[case.name]
    model.set_weights(weights)
    arrays, settings = changed_arrays(case)
    if row.kind.batches:
        settings["batch_size"] = BATCH
    _check_losses(row, model.fit(*arrays, verbose=0, **settings))
    return "trained"


def _check_losses(row: Row, history: keras.callbacks.History) -> None:
    losses = [loss for name in (row.kind.loss, f"val_{row.kind.loss}") for loss in history.history.get(name, [])]
    assert losses
    assert all(map(math.isfinite, losses)), losses


def outcome(train: Callable[..., str], *arguments: Any) -> str:
    """Gives what `train` says, or "refused"; raises every error that kphys does not raise itself."""
    try:
        return train(*arguments)
    except (ValueError, TypeError) as error:
        if is_own(error):
            return "refused"
        raise
