"""What of a GAN goes into a file and comes out of it: networks, settings, both optimizers, random states."""

from __future__ import annotations

from typing import Any

import keras

from kphys.models._calls import choose, read_execution
from kphys.models._saved import KeepsState, with_execution, with_parts, without_execution


class SavedGAN(KeepsState):
    """The methods by which Keras saves and loads, for a model with the attributes of `DCGAN`."""

    def _kept_state(self) -> dict[str, Any]:
        return {**super()._kept_state(), "white": self._white}  # The units of the data.

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "mode_collapse_guard": self.mode_collapse_guard,
            "replay_capacity": None if self.replay is None else self.replay.capacity,
            "scale_pixels": self.scale_pixels,
            "check_data": self.check_data,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> SavedGAN:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, ("generator", "discriminator"), custom_objects))

    def get_compile_config(self) -> dict[str, Any] | None:
        """Gives what the model was compiled with."""
        if not self.compiled:
            return None
        settings = {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "label_smoothing": self.label_smoothing,
            **self._execution_settings,
        }
        return with_execution(self, keras.saving.serialize_keras_object(settings))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` gave."""
        config, execution = without_execution(config)
        self.compile(**keras.saving.deserialize_keras_object(config))
        choose(self, read_execution(self, execution))
