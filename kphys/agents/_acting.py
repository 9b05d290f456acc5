"""How agents compute what a network says of an observation while they play: in microseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys.agents._dueling import Dueling

Forward = Callable[[np.ndarray], np.ndarray]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


_ACTIVATIONS: dict[Any, Callable[[np.ndarray], np.ndarray] | None] = {
    keras.activations.linear: None,
    keras.activations.relu: _relu,
    keras.activations.tanh: np.tanh,
    keras.activations.sigmoid: _sigmoid,
    keras.activations.softmax: _softmax,
}


def forward_pass(network: keras.Model) -> Callable[[], Forward]:
    """Gives a function that gives the forward pass of `network` with the weights of now.

    A chain of dense layers runs in NumPy, some 10 microseconds for small ones; a call of TensorFlow costs 100 before it
    begins. Every other network is one compiled call.
    """
    layers = _chain(network)
    if layers is not None and all(type(layer) in _LAYERS for layer in layers) and network.compute_dtype == "float32":
        steps = [_LAYERS[type(layer)](layer) for layer in layers]
        if all(step is not None for step in steps):
            return lambda: _in_numpy(steps)
    shape = (None, *network.input_shape[1:])
    kind = "uint8" if len(shape) == 4 else "float32"
    call = tf.function(lambda x: network(x, training=False), input_signature=[tf.TensorSpec(shape, kind)])
    return lambda: lambda observations: call(observations).numpy()


def _in_numpy(steps: list[Callable[[], list[Forward]]]) -> Forward:
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
        if any(len(nodes[depth]) != 1 for depth in nodes):
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


def _of_dense(layer: keras.layers.Dense) -> Callable[[], list[Forward]] | None:
    if layer.activation not in _ACTIVATIONS:
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


def _of_activation(layer: keras.layers.Activation) -> Callable[[], list[Forward]] | None:
    if layer.activation not in _ACTIVATIONS:
        return None
    activation = _ACTIVATIONS[layer.activation]
    return lambda: [] if activation is None else [activation]


def _of_normalization(layer: keras.layers.Normalization) -> Callable[[], list[Forward]] | None:
    if layer.invert:
        return None

    def now() -> list[Forward]:
        mean = np.asarray(layer.mean)
        deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
        return [lambda x: ((x - mean) / deviation).astype("float32")]

    return now


def _of_dueling(layer: Dueling) -> Callable[[], list[Forward]] | None:
    streams = [[_of_dense(dense) for dense in stream] for stream in (layer.value_layers, layer.advantage_layers)]
    if any(dense is None for stream in streams for dense in stream):
        return None

    def now() -> list[Forward]:
        value, advantages = (_in_numpy(stream) for stream in streams)

        def q(x: np.ndarray) -> np.ndarray:
            advantage = advantages(x)
            return value(x) + advantage - advantage.mean(axis=-1, keepdims=True)

        return [q]

    return now


def _nothing(layer: keras.layers.Layer) -> Callable[[], list[Forward]]:
    return lambda: []


_LAYERS: dict[type, Callable[[Any], Callable[[], list[Forward]] | None]] = {
    keras.layers.InputLayer: _nothing,
    keras.layers.Dropout: _nothing,
    keras.layers.Dense: _of_dense,
    keras.layers.Activation: _of_activation,
    keras.layers.Normalization: _of_normalization,
    Dueling: _of_dueling,
}
