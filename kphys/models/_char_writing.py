"""How a character network writes: its layers one step at a time, each drawn character the next one's input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.models._characters import checked_text, encode
from kphys.models._functions import compiled

RECURRENT = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
# What these make of a step depends on this step alone.
_STEP_BY_STEP = (
    keras.layers.Embedding,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.LayerNormalization,
    keras.layers.Activation,
)


def checked_chain(network: Any) -> list[keras.layers.Layer]:
    """Gives the layers in their order, from numbers of characters to probabilities."""
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise TypeError(f"`network` must be a functional or sequential keras.Model, got {type(network).__name__}.")
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    wrong = next((layer for layer in layers if not isinstance(layer, (*RECURRENT, *_STEP_BY_STEP))), None)
    if wrong is not None:
        kinds = ", ".join(kind.__name__ for kind in (*RECURRENT, *_STEP_BY_STEP))
        raise ValueError(f"`network` must be a chain of {kinds}, got a {type(wrong).__name__}, {wrong.name!r}.")
    for layer in layers:
        if isinstance(layer, RECURRENT) and (not layer.return_sequences or layer.go_backwards):
            raise ValueError(
                f"`network` must read every character in order: build {layer.name!r} with return_sequences=True and "
                "go_backwards=False."
            )
    for layer in layers:
        if getattr(layer, "mask_zero", False):
            raise ValueError(f"`network` must read every character, 0 too: build {layer.name!r} with mask_zero=False.")
    if getattr(layers[-1], "activation", None) is not keras.activations.softmax:
        raise ValueError(
            f"`network` must give probabilities, got {layers[-1].name!r} at its end: end with a Dense with "
            'activation="softmax".'
        )
    tensors = [*network.inputs, *(layer.output for layer in layers)]
    if any(layer.input is not tensor for layer, tensor in zip(layers, tensors, strict=False)):
        raise ValueError("`network` must be a chain of layers, each with the output of the one before as its input.")
    if len(network.input_shape) != 2 or len(network.output_shape) != 3:
        raise ValueError(
            "`network` must go from (batch, timesteps) to (batch, timesteps, vocabulary_size), got "
            f"{network.input_shape} and {network.output_shape}."
        )
    return layers


class WritesText:
    """Lets a model with a chain of layers and a vocabulary write text."""

    _chain: list[keras.layers.Layer]
    vocabulary: str | None

    def generate(self, prompt: str, length: int, temperature: float = 1.0, seed: int | None = None) -> str:
        """Gives the text that follows: `length` characters, each drawn in proportion to p^(1 / temperature).

        The network reads the prompt from the state zero and goes on with its own characters, in one compiled call.

        Args:
            prompt: The text to go on with, at least one character.
            length: Number of characters to write.
            temperature: 1 draws as the network has learnt, less makes the likely ones likelier; 0 takes the likeliest.
            seed: Fixes the text. `None`: another one each time.

        Raises:
            ValueError, TypeError: A prompt with characters that the vocabulary lacks, or another argument that the
                above does not allow; its message says the mend.
        """
        length = _arguments.integer("length", length)
        temperature = _arguments.real("temperature", temperature, minimum=0, below=1e6)
        seed = _arguments.seed("seed", seed)
        if self.vocabulary is None:
            raise ValueError(
                "The model has no vocabulary yet: call `fit` with a `character_dataset`, or set `model.vocabulary`."
            )
        numbers = encode("prompt", checked_text("prompt", prompt), self.vocabulary)
        state = np.random.SeedSequence(seed).generate_state(2).view("int32")
        written = self._write(numbers, length, len(self.vocabulary), np.float32(temperature), state)
        return "".join(self.vocabulary[number] for number in written.numpy())

    @functools.cached_property
    def _write(self) -> Callable[..., Any]:
        number = tf.TensorSpec((), "int32")
        signature = (
            tf.TensorSpec((None,), "int32"),
            number,
            number,
            tf.TensorSpec((), "float32"),
            tf.TensorSpec((2,), "int32"),
        )
        return compiled(type(self)._written, self, signature=signature)

    def _written(self, prompt: Any, length: Any, size: Any, temperature: Any, seed: Any) -> Any:
        """Gives the numbers, below `size`, of `length` characters that follow those of `prompt`."""
        last = tf.size(prompt) - 1
        written = tf.TensorArray(tf.int32, last + length)

        def step(place: Any, number: Any, states: Any, written: Any) -> Any:
            probabilities, states = self._step(number, states)
            probabilities = probabilities[:, :size]  # A network may have more outputs than there are characters.
            # The largest of ln p + T g, with g of Gumbel's distribution, falls on i in proportion to pᵢ^(1/T).
            uniform = tf.random.stateless_uniform(tf.shape(probabilities), seed + tf.stack([0, place]), minval=1e-30)
            gumbel = -tf.math.log(-tf.math.log(uniform))
            drawn = tf.argmax(tf.math.log(probabilities) + temperature * gumbel, -1, tf.int32)
            number = tf.where(place < last, prompt[tf.minimum(place + 1, last)], drawn[0])
            return place + 1, number[None], states, written.write(place, drawn[0])

        *_, written = tf.while_loop(
            lambda place, *_: place < last + length, step, (0, prompt[0][None], self._zero_states(), written)
        )
        return written.stack()[last:]

    def _zero_states(self) -> list[Any]:
        return [layer.cell.get_initial_state(batch_size=1) for layer in self._chain if isinstance(layer, RECURRENT)]

    def _step(self, numbers: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Gives the probabilities after one more character, `(batch, vocabulary_size)`, and the states."""
        features, states, new = numbers, iter(states), []
        for layer in self._chain:
            if isinstance(layer, RECURRENT):
                features, state = layer.cell(features, next(states), training=False)
                new.append(state)
            else:
                features = layer(features)
        return ops.cast(features, "float32"), new
