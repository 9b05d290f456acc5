"""What files hold of a model beside its weights: the parts that it is made of, and state that Keras leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class KeepsState:
    """Saves and loads state that Keras leaves out, for a `keras.Model` that comes after it.

    First of all where every random layer inside it is: Keras leaves out how often they have drawn.
    """

    def save_own_variables(self, store: Any) -> None:
        """Keeps the state beside the model's own variables."""
        super().save_own_variables(store)
        for name, variable in self._kept_state().items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Puts it back."""
        kept = self._kept_state()
        super().load_own_variables({name: store[name] for name in store.keys() if name not in kept})  # noqa: SIM118
        for name, variable in kept.items():
            variable.assign(store[name][()])

    def _kept_state(self) -> dict[str, Any]:
        """Gives the variables by their names in the file."""
        return {f"random_{index}": generator.state for index, generator in enumerate(self._all_seed_generators())}

    def _all_seed_generators(self) -> list[keras.random.SeedGenerator]:
        found = (generator for layer in self._flatten_layers() for generator in layer._seed_generators)
        return list({id(generator): generator for generator in found}.values())


def with_parts(
    config: dict[str, Any], names: Sequence[str], custom_objects: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Gives what a model was made with, `names` of it made from their own configurations."""
    parts = {name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects) for name in names}
    return {**config, **parts}
