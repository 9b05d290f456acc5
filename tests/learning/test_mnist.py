"""Handwritten digits, MNIST: the first 45,000 of 50,000 to train, the last 5,000 to test."""

import keras
import numpy as np
import pytest

from kphys import cnn_classifier, mlp_classifier

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


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mlp(seed, mnist, falling):
    """Two hidden layers, 10 epochs, three seeds: at least 97.8 %, none may fail."""
    keras.utils.set_random_seed(seed)
    model = mlp_classifier(
        (28, 28, 1),
        10,
        hidden_units=(300, 100),
        dropout=0.2,
        learning_rate=falling(1e-3, mnist[0][0], 32, 10),
        seed=seed,
    )
    assert _accuracy(model, mnist, 32, 10) >= 0.978


def test_plain_cnn(mnist, falling):
    """Two convolutions and a dense layer, 5 epochs, one seed: at least 99.0 %."""
    keras.utils.set_random_seed(0)
    model = cnn_classifier((28, 28, 1), 10, dropout=0.25, learning_rate=falling(2e-3, mnist[0][0], 128, 5), seed=0)
    assert _accuracy(model, mnist, 128, 5) >= 0.990


def test_resnet(mnist, falling):
    """Three stages of two residual blocks, 6 epochs, one seed: at least 99.3 %."""
    keras.utils.set_random_seed(0)
    model = cnn_classifier(
        (28, 28, 1),
        10,
        architecture="resnet",
        dropout=0.1,
        optimizer="adamw",
        learning_rate=falling(2e-3, mnist[0][0], 64, 6),
        seed=0,
    )
    assert _accuracy(model, mnist, 64, 6) >= 0.993
