"""What a builder's file tells kphys beside what it tells Keras, which passes over it.

Layers, weights and optimizer are Keras' own, and load where kphys is not installed. The mark, a part of the model's
configuration, says what the builder has put on the instance.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras

from kphys import _arguments
from kphys.models._calls import saved_execution
from kphys.models._heads import TASKS, Head

_NAME = "kphys"


class Mark(NamedTuple):
    """What `read_mark` gives: metrics are those that the file keeps from Keras, `None` where there are none."""

    head: Head
    check_data: bool
    execution: dict[str, Any]  # As `saved_execution` gives it.
    weighted_metrics: list[Any] | None


def mark(model: keras.Model, head: Head, check_data: bool) -> None:
    """Has the configuration of `model`, and so its files, hold a mark."""
    keras_get_config, task = model.get_config, next(name for name, task in TASKS.items() if task is head.task)

    @functools.wraps(keras_get_config)
    def get_config() -> dict[str, Any]:
        metrics, told_to_keras = (
            (config or {}).get("weighted_metrics")
            for config in (type(model).get_compile_config(model), model.get_compile_config())
        )
        own = {
            "task": task,
            "outputs": head.outputs,
            "classes": head.classes,
            "sequences": head.sequences,
            "delta": head.delta,
            "check_data": check_data,
            **saved_execution(model),
            "weighted_metrics": None if metrics == told_to_keras else metrics,
        }
        return {**keras_get_config(), _NAME: own}

    model.get_config = get_config


def read_mark(config: dict[str, Any]) -> Mark | None:
    """Gives the mark in the configuration of a model, if there is one."""
    own = config.get(_NAME)
    if not isinstance(own, dict):
        return None
    head = Head(
        TASKS[_arguments.choice("task", own["task"], TASKS)],
        _arguments.integer("outputs", own["outputs"]),
        None if own["classes"] is None else _arguments.integer("classes", own["classes"]),
        _arguments.flag("sequences", own["sequences"]),
        None if own["delta"] is None else _arguments.real("delta", own["delta"], positive=True),
    )
    return Mark(head, _arguments.flag("check_data", own["check_data"]), own, own["weighted_metrics"])
