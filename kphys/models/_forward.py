"""The forward pass of a chain of dense layers in NumPy: ten microseconds, where TensorFlow takes a hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Forward = Callable[[np.ndarray], np.ndarray]
# Gives the steps of a layer with the weights of now.
Steps = Callable[[], list[Forward]]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # Never overflows, and keeps what is near 0.
    return np.where(x < 0, small, 1) / (1 + small)


_ACTIVATIONS: dict[Any, Callable[[np.ndarray], np.ndarray] | None] = {
    keras.activations.linear: None,
    keras.activations.relu: _relu,
    keras.activations.tanh: np.tanh,
    keras.activations.sigmoid: _sigmoid,
    keras.activations.softmax: _softmax,
}


def in_numpy(network: keras.Model, more: dict[type, Any] | None = None) -> Callable[[], Forward] | None:
    """Gives a function that gives the forward pass with the weights of now; `None` for what is no such chain.

    `more` has the steps of layers that are not stock ones.
    """
    layers, known = _chain(network), {**_LAYERS, **(more or {})}
    if layers is None or network.compute_dtype != "float32" or not all(type(layer) in known for layer in layers):
        return None
    steps = [known[type(layer)](layer) for layer in layers]
    return None if None in steps else lambda: chained(steps)


def chained(steps: list[Steps]) -> Forward:
    """Gives the steps of layers, one after the other, as one function."""
    functions = [function for step in steps for function in step()]

    def run(observations: np.ndarray) -> np.ndarray:
        for function in functions:
            observations = function(observations)
        return observations

    return run


def _chain(network: keras.Model) -> list[keras.layers.Layer] | None:
    """Gives the layers of a network without branches, inner networks opened; `None` for others."""
    if isinstance(network, keras.Sequential):
        layers = network.layers
    elif isinstance(network, keras.Model) and hasattr(network, "_nodes_by_depth"):
        nodes = network._nodes_by_depth
        last = nodes[min(nodes)][0].outputs
        if any(len(nodes[depth]) != 1 for depth in nodes) or network._outputs_struct is not last[0]:
            return None
        layers = [nodes[depth][0].operation for depth in sorted(nodes, reverse=True)]
    else:
        return None
    found = []
    for layer in layers:
        inner = _chain(layer) if isinstance(layer, keras.Model) else [layer]
        if inner is None:
            return None
        found += inner
    return found


def of_dense(layer: keras.layers.Dense) -> Steps | None:
    """Gives the steps of a dense layer; `None` with an activation that NumPy has not."""
    if layer.activation not in _ACTIVATIONS or layer.quantization_mode is not None:
        return None
    activation = _ACTIVATIONS[layer.activation]

    def now() -> list[Forward]:
        kernel = layer.kernel.numpy()
        bias = layer.bias.numpy() if layer.use_bias else np.float32(0)

        def affine(x: np.ndarray) -> np.ndarray:
            x = x @ kernel
            x += bias
            return x

        return [affine] if activation is None else [affine, activation]

    return now


def _of_activation(layer: keras.layers.Activation) -> Steps | None:
    if layer.activation not in _ACTIVATIONS:
        return None
    activation = _ACTIVATIONS[layer.activation]
    return lambda: [] if activation is None else [activation]


def _of_normalization(layer: keras.layers.Normalization) -> Steps | None:
    def now() -> list[Forward]:
        mean = np.asarray(layer.mean)
        deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
        if layer.invert:
            return [lambda x: (mean + x * deviation).astype("float32")]
        return [lambda x: ((x - mean) / deviation).astype("float32")]

    return now


def _of_batch_normalization(layer: keras.layers.BatchNormalization) -> Steps | None:
    if layer.axis not in (-1, layer.input_spec.ndim - 1):
        return None

    def now() -> list[Forward]:
        factor = layer.gamma.numpy() if layer.scale else np.float32(1)
        factor = factor / np.sqrt(layer.moving_variance.numpy() + np.float32(layer.epsilon))
        offset = (layer.beta.numpy() if layer.center else np.float32(0)) - layer.moving_mean.numpy() * factor
        return [lambda x: x * factor + offset]

    return now


def _of_flatten(layer: keras.layers.Flatten) -> Steps | None:
    if layer.data_format != "channels_last":
        return None
    return lambda: [lambda x: x.reshape(len(x), -1)]


def _nothing(layer: keras.layers.Layer) -> Steps:
    return lambda: []


_LAYERS: dict[type, Callable[[Any], Steps | None]] = {
    keras.layers.InputLayer: _nothing,
    keras.layers.Dropout: _nothing,
    keras.layers.GaussianNoise: _nothing,
    keras.layers.Flatten: _of_flatten,
    keras.layers.BatchNormalization: _of_batch_normalization,
    keras.layers.Dense: of_dense,
    keras.layers.Activation: _of_activation,
    keras.layers.Normalization: _of_normalization,
}
