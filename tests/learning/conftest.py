"""What the learning tests share: scaling layers, the falling learning rate, and where the real data are."""

import os
from pathlib import Path

import keras
import pytest


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real data."""
    folder = os.environ.get("KPHYS_DATA")
    if not folder:
        pytest.skip("KPHYS_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def scale():
    """A function that gives a normalization adapted to an array, feature by feature."""

    def scale(values):
        layer = keras.layers.Normalization()
        layer.adapt(values)
        return layer

    return scale


@pytest.fixture(scope="session")
def falling():
    """A function that gives a learning rate which falls to 0, as half a cosine, over the whole training."""

    def falling(learning_rate, x, batch_size, epochs):
        return keras.optimizers.schedules.CosineDecay(learning_rate, epochs * -(-len(x) // batch_size))

    return falling
