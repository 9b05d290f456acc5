"""One stop of the tour: what a family learns, from which data, and what it must reach."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kphys
from kphys.callbacks import GradientClipping

Part = tuple[Any, np.ndarray | None]
Data = tuple[Part, Part]  # To train on and to test on; without targets where a family learns from samples alone.
Judge = Callable[[keras.Model, Part, Path], tuple[float, float]]


@dataclass(frozen=True)
class Stop:
    """One family of the tour: what it learns, from which data, and what it must reach.

    `judge` draws a picture to a file and gives the score with its statistical error, from the part to test on; `simple`
    gives what is reached without a network, as a word and a number in the units of `score`. `takes` is what `fit` is
    given beside data, epochs and callbacks.
    """

    data: str
    load: Callable[[bool], Data]
    build: Callable[[Data], keras.Model]
    epochs: int
    score: str
    threshold: float
    simple: Callable[[Data], tuple[str, float]]
    judge: Judge
    higher_is_better: bool = True
    takes: Mapping[str, Any] = field(default_factory=lambda: {"batch_size": 32})
    clips: bool = True

    def passes(self, value: float) -> bool:
        """Says whether `value` reaches the threshold."""
        return value >= self.threshold if self.higher_is_better else value <= self.threshold

    def settings(self, callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, Any]:
        """Gives what `fit` takes beside the data, with these `callbacks`."""
        clipping = [GradientClipping(global_norm=1.0)] if self.clips else []
        return {"epochs": self.epochs, "callbacks": [*clipping, *callbacks], "verbose": 0, **self.takes}


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Gives the mean of independent values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _judge_by(
    evaluate: Callable[..., Any], score: str, model: keras.Model, test: Part, picture: Path
) -> tuple[float, float]:
    result = evaluate(model, *test, num_bootstrap=100)
    result.plot(picture)
    return result[score]


judge_classifier = functools.partial(_judge_by, kphys.evaluate_classifier, "accuracy")
judge_regressor = functools.partial(_judge_by, kphys.evaluate_regressor, "rmse")
