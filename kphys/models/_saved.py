"""What files hold of a model beside its weights: the parts that it is made of, and state that Keras leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kphys.models._calls import choose, read_execution, saved_execution


class KeepsState:
    """Saves and loads state that Keras leaves out, for a `keras.Model` that comes after it.

    First of all where every random layer inside it is: Keras leaves out how often they have drawn. And how the builder
    has it run, which `compile` is not told of.
    """

    def get_compile_config(self) -> dict[str, Any] | None:
        """Gives what the model was compiled with."""
        return with_execution(self, super().get_compile_config())

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` gave."""
        config, execution = without_execution(config)
        super().compile_from_config(config)
        choose(self, read_execution(self, execution))

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


_EXECUTION = "kphys"  # In a configuration of `compile`, beside Keras' arguments.


def with_execution(model: keras.Model, config: dict[str, Any] | None) -> dict[str, Any] | None:
    """Gives what `model` was compiled with, if it was, and how its builder has it run."""
    return config and {**config, _EXECUTION: saved_execution(model)}


def without_execution(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives both apart."""
    return {name: value for name, value in config.items() if name != _EXECUTION}, config.get(_EXECUTION, {})
