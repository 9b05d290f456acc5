"""What a builder puts on its autoencoder: compiled, checked before training, many batches in one call."""

from __future__ import annotations

import functools
from typing import Any

import keras

from kphys import _arguments
from kphys.models._arrays import check_finite, check_samples, check_unit_interval, numeric
from kphys.models._reconstruction import Autoencoder
from kphys.models._targetless import check_each
from kphys.models._training import compile_for, keep_keras_promises, loss_name

LOSSES = {"mse": keras.losses.MeanSquaredError, "binary_crossentropy": keras.losses.BinaryCrossentropy}


def finish_autoencoder(
    model: Autoencoder, loss: Any, *, family: str, optimizer: Any, learning_rate: Any, check_data: bool
) -> Autoencoder:
    """Gives `model` compiled, checked before training, with many batches in one call, as `finish_model` does."""
    check_data = _arguments.flag("check_data", check_data)
    compile_for(family, model, optimizer, learning_rate, loss, [keras.metrics.MeanSquaredError(name="mse")])
    keep_keras_promises(model, functools.partial(_check, model) if check_data else None)
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
    check_each(functools.partial(_check_one, model), x, y, sample_weight, validation_data, class_weight)


def _check_one(
    model: Autoencoder, names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None
) -> None:
    x = check_samples(names, model.encoder.input_shape[1:], x, sample_weight)
    if x is None:
        return
    target, name = (x, names[0]) if y is None else (numeric(names[1], y), names[1])
    if target.shape != x.shape:
        raise ValueError(f"`{name}` must have the shape of `{names[0]}`, {x.shape}, got {target.shape}.")
    if target is not x:
        check_finite(name, target)
    if loss_name(model.loss) == "binary_crossentropy":
        check_unit_interval(name, target, "the loss 'binary_crossentropy'", "loss='mse'")
