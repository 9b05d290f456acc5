"""How agents compute what a network says of an observation while they play: in microseconds."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kphys.agents._dueling import Dueling
from kphys.models._forward import Forward, Steps, chained, in_numpy, of_dense


def forward_pass(network: keras.Model) -> Callable[[], Forward]:
    """Gives a function that gives the forward pass of `network` with the weights of now.

    A chain of dense layers runs in NumPy; every other network is one compiled call.
    """
    forward = in_numpy(network, {Dueling: _of_dueling})
    if forward is not None:
        return forward
    shape = (None, *network.input_shape[1:])
    kind = "uint8" if len(shape) == 4 else "float32"
    call = tf.function(lambda x: network(x, training=False), input_signature=[tf.TensorSpec(shape, kind)])
    return lambda: lambda observations: call(observations).numpy()


def _of_dueling(layer: Dueling) -> Steps | None:
    streams = [[of_dense(dense) for dense in stream] for stream in (layer.value_layers, layer.advantage_layers)]
    if any(dense is None for stream in streams for dense in stream):
        return None

    def now() -> list[Forward]:
        value, advantages = (chained(stream) for stream in streams)

        def q(x: np.ndarray) -> np.ndarray:
            advantage = advantages(x)
            return value(x) + advantage - advantage.mean(axis=-1, keepdims=True)

        return [q]

    return now
