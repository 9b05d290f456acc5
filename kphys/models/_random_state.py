"""Random state in files: Keras leaves out how often the random layers have drawn."""

from __future__ import annotations

from typing import Any

import keras


class KeepsRandomState:
    """Saves and loads, for a `keras.Model` that comes after it, where every random layer inside it is."""

    def save_own_variables(self, store: Any) -> None:
        """Keeps the random states beside the model's own variables."""
        super().save_own_variables(store)
        for index, generator in enumerate(self._all_seed_generators()):
            store[f"random_{index}"] = generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Puts them back."""
        super().load_own_variables({key: store[key] for key in store.keys() if not key.startswith("random_")})  # noqa: SIM118
        for index, generator in enumerate(self._all_seed_generators()):
            generator.state.assign(store[f"random_{index}"])

    def _all_seed_generators(self) -> list[keras.random.SeedGenerator]:
        found = (generator for layer in self._flatten_layers() for generator in layer._seed_generators)
        return list({id(generator): generator for generator in found}.values())
