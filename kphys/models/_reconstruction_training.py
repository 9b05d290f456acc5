"""What a builder puts on its autoencoder: losses, and many batches in one call."""

from __future__ import annotations

from typing import Any

import keras

from kphys.models._reconstruction import Autoencoder
from kphys.models._training import compile_for

LOSSES = {"mse": keras.losses.MeanSquaredError, "binary_crossentropy": keras.losses.BinaryCrossentropy}


def finish_autoencoder(
    model: Autoencoder, loss: Any, *, family: str, optimizer: Any, learning_rate: Any
) -> Autoencoder:
    """Gives `model` compiled, with many batches in one call, as `finish_model` does."""
    compile_for(family, model, optimizer, learning_rate, loss, [keras.metrics.MeanSquaredError(name="mse")])
    return model
