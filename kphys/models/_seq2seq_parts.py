"""The two networks that `seq2seq` is made of: one reads a sequence of tokens, one writes the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models.recurrent import CELLS, bidirectional_layer, recurrent_layer


class Layers:
    """The layers that encoder and decoder have in common, checked, each new one with a seed of its own."""

    def __init__(
        self,
        cell: str,
        units: int | Sequence[int],
        embedding_dim: int,
        regularization: _parts.Regularization,
        seeds: _parts.Seeds,
    ):
        self.cell = _arguments.choice("cell", cell, CELLS)
        self.units = _arguments.integers("units", units)
        self.embedding_dim = _arguments.integer("embedding_dim", embedding_dim)
        widest = max(self.embedding_dim, *self.units)
        _parts.check_room("`units`", 4, widest, max(self.units))
        self.regularization, self.seeds = regularization, seeds

    def embedding(self, vocabulary_size: int, *, mask_zero: bool) -> keras.layers.Layer:
        """Gives the layer of the tokens' vectors."""
        return _parts.embedding(vocabulary_size, self.embedding_dim, self.seeds, mask_zero=mask_zero)

    def recurrent(self, depth: int, **settings: Any) -> keras.layers.Layer:
        """Gives the layer of cells at `depth`, from 1 on, that gives its states, too."""
        width, settings = self.units[depth - 1], {**settings, "return_state": True}
        return recurrent_layer(self.cell, width, depth, self.regularization, self.seeds, **settings)

    def linear(self, units: int, name: str, **settings: Any) -> keras.layers.Layer:
        """Gives a dense layer."""
        return keras.layers.Dense(
            units, kernel_initializer=keras.initializers.GlorotUniform(self.seeds()), name=name, **settings
        )

    def dropped(self, features: Any) -> Any:
        """Gives `features` after dropout, if there is any."""
        return self.regularization.dropped(features, self.seeds)


def encoder_network(vocabulary_size: int, layers: Layers, bidirectional: bool, attention: bool) -> keras.Model:
    """Gives the model from tokens to the last states of every layer, and with `attention` to memory and mask."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    features = layers.dropped(layers.embedding(vocabulary_size, mask_zero=True)(tokens))
    outputs = []
    for depth, units in enumerate(layers.units, start=1):
        read_on = attention or depth < len(layers.units)
        recurrent = layers.recurrent(depth, return_sequences=read_on)
        if bidirectional:
            features, *states = bidirectional_layer(recurrent, layers.seeds)(features)
            half = len(states) // 2
            pairs = zip(states[:half], states[half:], strict=True)
            states = [keras.layers.Concatenate()(pair) for pair in pairs]
            states = [layers.linear(units, f"state_{depth}_{index}")(both) for index, both in enumerate(states, 1)]
        else:
            features, *states = recurrent(features)
        outputs += states
        features = layers.dropped(features) if read_on else features
    if attention:
        outputs += [layers.linear(layers.units[-1], "memory", use_bias=False)(features), keras.ops.not_equal(tokens, 0)]
    return keras.Model(tokens, outputs, name="encoder")


def decoder_network(vocabulary_size: int, layers: Layers, given: Sequence[Any], attention: bool) -> keras.Model:
    """Gives the model from tokens, and what the encoder gives, to the next tokens' logits and the last states."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    inputs = [
        keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"given_{index}")
        for index, tensor in enumerate(given, start=1)
    ]
    states_each = (len(inputs) - 2 * attention) // len(layers.units)
    features = layers.dropped(layers.embedding(vocabulary_size, mask_zero=False)(tokens))
    outputs = []
    for depth in range(1, len(layers.units) + 1):
        start = inputs[states_each * (depth - 1) : states_each * depth]
        features, *states = layers.recurrent(depth, return_sequences=True)(features, initial_state=start)
        outputs += states
        features = layers.dropped(features)
    if attention:
        memory, mask = inputs[-2:]
        context = keras.layers.Attention(name="attention")([features, memory], mask=[None, mask])
        features = keras.layers.Concatenate()([features, context])
        features = layers.linear(layers.units[-1], "attended", use_bias=False, activation="tanh")(features)
    # float32 whatever the policy, as every output in this house.
    _parts.check_room("`output_vocabulary_size` and `units`", features.shape[-1], vocabulary_size)
    logits = layers.linear(vocabulary_size, "logits", dtype="float32")(features)
    return keras.Model([tokens, *inputs], [logits, *outputs], name="decoder")


def check_seq2seq_networks(encoder: Any, decoder: Any) -> None:
    """Raises an error that says why `encoder` and `decoder` do not make a Seq2Seq."""
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"`{name}` must be a Keras model, got {type(network).__name__}.")
        if not getattr(network, "inputs", None):
            raise ValueError(f"`{name}` must be a functional model, made of its inputs and outputs.")
    shapes = [tuple(tensor.shape) for tensor in encoder.outputs]
    tokens, *taken = (tuple(tensor.shape) for tensor in decoder.inputs)
    logits, *states = (tuple(tensor.shape) for tensor in decoder.outputs)
    if len(encoder.inputs) != 1 or len(encoder.inputs[0].shape) != 2 or len(tokens) != 2 or len(logits) != 3:
        raise ValueError(
            "`encoder` must take tokens (batch, timesteps), and `decoder` tokens (batch, steps) first, to give logits "
            f"(batch, steps, output_vocabulary_size) first, got inputs {encoder.inputs[0].shape} and {tokens}, and "
            f"logits {logits}."
        )
    if not states or shapes[: len(states)] != states or taken != shapes:
        raise ValueError(
            "`decoder` must take the outputs of `encoder` after the tokens, the states first, and give these states "
            f"after the logits: `encoder` gives {shapes}, `decoder` takes {taken} and gives the states {states}."
        )
