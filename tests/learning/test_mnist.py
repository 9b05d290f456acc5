"""Handwritten digits, MNIST: the first 45,000 of 50,000 to train, the last 5,000 to test."""

import keras
import numpy as np
import pytest

from kphys import mlp_classifier

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def mnist(real_data):
    """`(x_train, y_train), (x_test, y_test)`, the images (n, 28, 28, 1) from 0 to 1."""
    with np.load(real_data / "mnist_50k.npz") as saved:
        x, y = saved["x"][..., np.newaxis].astype("float32") / 255, saved["y"].astype(int)
    return (x[:45_000], y[:45_000]), (x[45_000:], y[45_000:])


def _accuracy(model, mnist, batch_size, epochs):
    (x_train, y_train), (x_test, y_test) = mnist
    model.fit(x_train, y_train, batch_size=batch_size, epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test, batch_size=250, verbose=0, return_dict=True)["accuracy"]


def _with_neighbours(x, y):
    """The images and their shifts by one pixel up, down, left and right."""
    shifts = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    return np.concatenate([np.roll(x, shift, axis=(1, 2)) for shift in shifts]), np.tile(y, len(shifts))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mlp(seed, mnist, falling):
    """Two hidden layers, 2 epochs of the images in five positions each, as many steps as 10 epochs without shifts.

    Three seeds: at least 97.8 %, none may fail. Without the shifts 97.6 % is what this network reaches on these
    5,000 digits, dropout or not.
    """
    keras.utils.set_random_seed(seed)
    train, test = mnist
    shifted = _with_neighbours(*train)
    rate = falling(2e-3, shifted[0], 64, 2)
    model = mlp_classifier((28, 28, 1), 10, hidden_units=(300, 100), learning_rate=rate, seed=seed)
    assert _accuracy(model, (shifted, test), 64, 2) >= 0.978
