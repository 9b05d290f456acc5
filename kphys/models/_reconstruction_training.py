"""What a builder makes its autoencoder with: losses, and many batches in one call."""

from __future__ import annotations

from typing import Any

import keras

from kphys.models._reconstruction import Autoencoder
from kphys.models._training import compile_for

LOSSES = {"mse": keras.losses.MeanSquaredError, "binary_crossentropy": keras.losses.BinaryCrossentropy}


def compiled_autoencoder(
    encoder: keras.Model,
    decoder: keras.Model,
    loss: Any,
    *,
    family: str,
    optimizer: Any,
    learning_rate: Any,
    **options: Any,
) -> Autoencoder:
    """Gives the `Autoencoder` of both, compiled, with many batches in one call, as `finish_model` does."""
    model = Autoencoder(encoder, decoder, **options)
    compile_for(family, model, optimizer, learning_rate, loss, [keras.metrics.MeanSquaredError(name="mse")])
    return model
