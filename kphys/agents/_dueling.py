"""The dueling head: a state's value and the advantages of its actions, each by layers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kphys import _arguments
from kphys.models import _parts


@keras.saving.register_keras_serializable("kphys")
class Dueling(keras.layers.Layer):
    """Gives Q(s, a) = V(s) + A(s, a) − mean_a A(s, a).

    V and A have dense layers of their own. The mean makes them unique: without it a constant could move between them.

    Args:
        num_actions: Number of actions.
        hidden_units: Units of the hidden layers of each stream; `()`: none.
        activation: Activation of the hidden layers.
        seed: Fixes the starting weights. `None`: new ones each time.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Wang, Schaul, Hessel, van Hasselt, Lanctot and de Freitas, 2016, "Dueling network architectures for deep
        reinforcement learning".

    Example:
        >>> import numpy as np
        >>> from kphys.agents.q_learning import Dueling
        >>> Dueling(3, (16,), seed=0)(np.ones((2, 4), "float32")).shape
        TensorShape([2, 3])
    """

    def __init__(
        self,
        num_actions: int,
        hidden_units: int | Sequence[int] = (),
        activation: str = "relu",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_actions = _arguments.integer("num_actions", num_actions, minimum=2)
        # A file holds the empty tuple as a list.
        none = isinstance(hidden_units, (tuple, list)) and not hidden_units
        self.hidden_units = () if none else _arguments.integers("hidden_units", hidden_units)
        self.activation = _parts.activation_name(activation)
        self.seed = _arguments.seed("seed", seed)
        seeds = _parts.Seeds(seed)
        self.value_layers = self._stream("value", 1, seeds)
        self.advantage_layers = self._stream("advantage", self.num_actions, seeds)

    def _stream(self, name: str, outputs: int, seeds: _parts.Seeds) -> list[keras.layers.Dense]:
        layers = [
            keras.layers.Dense(
                units,
                self.activation,
                kernel_initializer=_parts.initializer(self.activation, seeds()),
                dtype=self.dtype_policy,
                name=f"{name}_{index}",
            )
            for index, units in enumerate(self.hidden_units, start=1)
        ]
        last = keras.initializers.GlorotUniform(seeds())
        return [
            *layers,
            keras.layers.Dense(outputs, kernel_initializer=last, dtype=self.dtype_policy, name=name),
        ]

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        for stream in (self.value_layers, self.advantage_layers):
            shape = input_shape
            for layer in stream:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)

    def call(self, inputs: Any) -> Any:
        """Gives Q, `(batch, num_actions)`."""
        value, advantages = inputs, inputs
        for layer in self.value_layers:
            value = layer(value)
        for layer in self.advantage_layers:
            advantages = layer(advantages)
        return value + advantages - ops.mean(advantages, axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Gives `(batch, num_actions)`."""
        return (*input_shape[:-1], self.num_actions)

    def get_config(self) -> dict[str, Any]:
        """Gives what the layer was made with."""
        own = {name: getattr(self, name) for name in ("num_actions", "hidden_units", "activation", "seed")}
        return {**super().get_config(), **own}
