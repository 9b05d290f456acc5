"""Gives a model that Keras has loaded what its builder had put on it."""

from __future__ import annotations

from typing import Any

import keras

from kphys.models._calls import choose, read_execution
from kphys.models._marks import read_mark
from kphys.models._texts import take_texts
from kphys.models._training import equip, loss_name, put_random_state


def give_back(model: keras.Model, config: dict[str, Any]) -> None:
    """Puts on `model` what `config`, the one in its file, has a mark of; another model stays as it is."""
    found = read_mark(config)
    if found is None or not model.compiled:
        return
    if found.weighted_metrics is not None:
        _compile_with(model, found.weighted_metrics)
    loss = found.head.loss()
    # The very object by which it is known that nobody has compiled another.
    equip(model, found.head, model.loss if loss_name(model.loss) == loss_name(loss) else loss, found.check_data)
    for layer in model.layers:
        if isinstance(layer, keras.layers.TextVectorization):
            take_texts(model, layer, found.check_data)
    choose(model, read_execution(model, found.execution))
    put_random_state(model)


def _compile_with(model: keras.Model, weighted_metrics: list[Any]) -> None:
    """Compiles `model` anew, with these metrics and else as it was; the optimizer keeps its state."""
    settings = {**model.get_compile_config(), "optimizer": None, "loss": None, "weighted_metrics": weighted_metrics}
    settings = keras.saving.deserialize_keras_object(settings)
    model.compile(**{**settings, "optimizer": model.optimizer, "loss": model.loss})
