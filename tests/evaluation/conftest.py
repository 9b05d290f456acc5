"""A model that predicts what it was told to, and what `kphys.evaluation` says of it."""

import numpy as np
import pytest

from kphys.evaluation import evaluate_classifier, evaluate_regressor


class Says:
    """A model that predicts what it was told to."""

    def __init__(self, predictions):
        self.predictions = np.asarray(predictions)

    def predict(self, x, batch_size=None, verbose="auto"):
        return self.predictions


@pytest.fixture(scope="session")
def says():
    """The class of the model that predicts what it was told to."""
    return Says


@pytest.fixture(scope="session")
def classified():
    """The result of a classifier that said `predictions` where `y` was true."""

    def classified(predictions, y, **arguments):
        return evaluate_classifier(Says(predictions), np.zeros(len(y)), y, **arguments)

    return classified


@pytest.fixture(scope="session")
def regressed():
    """The result of a regressor that said `predictions` where `y` was true."""

    def regressed(predictions, y, **arguments):
        return evaluate_regressor(Says(predictions), np.zeros(len(y)), y, **arguments)

    return regressed


@pytest.fixture(scope="session")
def sample():
    """Probabilities and truth of a fair classifier, by kind."""

    def sample(kind, number=500, classes=4, seed=1):
        generator = np.random.default_rng(seed)
        if kind == "binary":
            y = generator.integers(0, 2, number)
            return generator.beta(1 + y, 2 - y).round(2)[:, None], y
        if kind == "multiclass":
            y = generator.integers(0, classes, number)
            logits = generator.normal(size=(number, classes)) + 2 * np.eye(classes)[y]
            return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), y
        y = generator.integers(0, 2, (number, classes))
        return generator.beta(1 + y, 2 - y), y

    return sample
