"""The layers that agents' networks begin with: for vectors, and for images as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from kphys import _arguments
from kphys.models import _parts


class Convolution(NamedTuple):
    """One layer of convolutions."""

    filters: int
    kernel_size: int
    stride: int


# Mnih et al. 2015, for 84×84; and for maps of a few cells, where every cell counts.
_LARGE = (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1))
_SMALL = (Convolution(32, 3, 1), Convolution(64, 3, 1))
_SMALLEST_LARGE = 36  # Pixels: below, nothing is left after the large ones.

_VECTOR_UNITS, _IMAGE_UNITS = (128, 128), (512,)


def observation_shape(value: Any) -> tuple[int, ...]:
    """Gives the shape of one observation back: a vector's length, or an image's height, width and channels."""
    return _parts.shape("observation_shape", value, (1, 3), "(features,) or (height, width, channels)")


def hidden_units_for(shape: tuple[int, ...], value: int | Sequence[int] | None) -> tuple[int, ...]:
    """Gives the units of the dense layers, by default those that are usual for vectors or for images."""
    if value is None:
        return _VECTOR_UNITS if len(shape) == 1 else _IMAGE_UNITS
    return _arguments.integers("hidden_units", value)


def observed(shape: tuple[int, ...], normalization: Any, activation: str, seeds: _parts.Seeds) -> tuple[Any, Any]:
    """Gives the inputs of a network for observations of `shape` and the features, vectors, that it makes of them."""
    if len(shape) == 1:
        inputs = keras.Input(shape, name="observations")
        return inputs, _parts.normalized(inputs, normalization)
    if normalization is not None:
        raise ValueError("`normalization` is for vectors: images, 0 to 255, are scaled to 0 to 1.")
    inputs = keras.Input(shape, dtype="uint8", name="observations")
    features = keras.layers.Rescaling(1 / 255, name="scaled")(inputs)
    large = min(shape[:2]) >= _SMALLEST_LARGE
    for index, (filters, kernel_size, stride) in enumerate(_LARGE if large else _SMALL, start=1):
        features = keras.layers.Conv2D(
            filters,
            kernel_size,
            stride,
            padding="valid" if large else "same",
            activation=activation,
            kernel_initializer=_parts.initializer(activation, seeds()),
            name=f"convolution_{index}",
        )(features)
    return inputs, keras.layers.Flatten(name="flat")(features)


def hidden_layers(features: Any, units: Sequence[int], activation: str, seeds: _parts.Seeds) -> Any:
    """Gives `features` after dense layers, without regularization: agents make their own data."""
    return _parts.dense_stack(features, units, activation, _parts.Regularization(0.0, 0.0, 0.0), False, seeds)


def make_optimizer(optimizer: Any, learning_rate: Any, usual: Any, global_clipnorm: Any) -> keras.optimizers.Optimizer:
    """Gives an optimizer that clips; `usual` is the learning rate of "adam" where none is given."""
    if learning_rate is None and optimizer == "adam":
        learning_rate = usual
    optimizer = _parts.make_optimizer(optimizer, learning_rate)
    if global_clipnorm is not None:
        optimizer.global_clipnorm = _arguments.real("global_clipnorm", global_clipnorm, positive=True)
    return optimizer


def check_network(name: str, network: Any, outputs: str) -> None:
    """Raises an error unless `network` is a built model from observations to `outputs`, `(batch, n)`."""
    if not isinstance(network, keras.Model):
        raise TypeError(f"`{name}` must be a Keras model, got {type(network).__name__}.")
    if not getattr(network, "inputs", None) or len(network.inputs) != 1 or len(network.output_shape) != 2:
        raise ValueError(
            f"`{name}` must be a built model of one input, from observations to {outputs}: begin it with "
            "keras.Input(observation_shape)."
        )
