"""What a builder puts on its autoencoder: compiled, checked before training, many batches in one call."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from kphys import _arguments
from kphys.models import _training
from kphys.models._arrays import check_arrays
from kphys.models._execution import execution
from kphys.models._parts import make_optimizer
from kphys.models._reconstruction import Autoencoder

LOSSES = {"mse": keras.losses.MeanSquaredError, "binary_crossentropy": keras.losses.BinaryCrossentropy}
_SAMPLES_AT_ONCE = 4096  # Bounds the memory that the check takes.


def finish_autoencoder(
    model: Autoencoder, loss: Any, *, family: str, optimizer: Any, learning_rate: Any, check_data: bool
) -> Autoencoder:
    """Gives `model` compiled, checked before training, with many batches in one call, as `finish_model` does."""
    check_data = _arguments.flag("check_data", check_data)
    jit_compile, steps_per_execution = execution(family)
    model.compile(
        make_optimizer(optimizer, learning_rate),
        loss,
        weighted_metrics=[keras.metrics.MeanSquaredError(name="mse")],
        jit_compile=jit_compile,
    )
    model.steps_per_execution = steps_per_execution
    model.optimizer.build(model.trainable_variables)
    model.fit = _training._with_keras_steps(model, model.fit)
    model.evaluate = _training._with_keras_steps(model, model.evaluate)
    model.predict = _training._one_batch_a_call(model, model.predict)
    if check_data:
        model.check_arrays = functools.partial(_check, model)
        model.fit = _training._checked(model, model.fit)
        model.evaluate = _training._checked(model, model.evaluate)
    return model


def _check(
    model: Autoencoder,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    validation_data: Any = None,
    class_weight: Any = None,
) -> None:
    """Raises the error that says what is wrong with the arrays of `fit` or `evaluate`."""
    if class_weight is not None:
        raise ValueError("`class_weight` must be None, as an autoencoder has no classes: pass `sample_weight`.")
    _check_one(model, x, y, sample_weight, ("x", "y", "sample_weight"))
    if validation_data is None:
        return
    if not isinstance(validation_data, (tuple, list)):
        _check_one(model, validation_data, None, None, ("validation_data", "", ""))
        return
    if not 1 <= len(validation_data) <= 3:
        raise ValueError(
            f"`validation_data` must be x, (x,), (x, y) or (x, y, sample_weight), got {len(validation_data)} entries."
        )
    names = tuple(f"validation_data[{index}]" for index in range(3))
    _check_one(model, *validation_data, *(None,) * (3 - len(validation_data)), names)


def _check_one(model: Autoencoder, x: Any, y: Any, sample_weight: Any, names: tuple[str, str, str]) -> None:
    if isinstance(x, (list, tuple)) and len(x) == 1:
        (x,) = x
    check_arrays(None, model.encoder.input_shape[1:], x, x if y is None else y, sample_weight, names)
    if not hasattr(x, "shape"):
        return
    target, name = (x, names[0]) if y is None else (y, names[1])
    if tuple(target.shape) != tuple(x.shape):
        raise ValueError(f"`{name}` must have the shape of `{names[0]}`, {tuple(x.shape)}, got {tuple(target.shape)}.")
    if sample_weight is not None and np.shape(sample_weight) not in ((len(x),), (len(x), 1)):
        raise ValueError(
            f"`{names[2]}` must hold one weight for every sample, shape ({len(x)},), got {np.shape(sample_weight)}."
        )
    if _training._loss_name(model.loss) == "binary_crossentropy":
        _check_unit_interval(name, target)


def _check_unit_interval(name: str, target: Any) -> None:
    count, first = 0, None
    for start in range(0, len(target), _SAMPLES_AT_ONCE):
        part = ops.convert_to_numpy(target[start : start + _SAMPLES_AT_ONCE])
        outside = (part < 0) | (part > 1)
        if outside.any():
            count += int(outside.sum())
            row, *rest = np.argwhere(outside)[0].tolist()
            first = (row + start, *rest) if first is None else first
    if first is not None:
        raise ValueError(
            f"`{name}` must hold numbers from 0 to 1 for the loss 'binary_crossentropy': {count} are outside, the "
            f"first is {name}[{', '.join(map(str, first))}] = {target[first]}. Scale them, or build with loss='mse'."
        )
