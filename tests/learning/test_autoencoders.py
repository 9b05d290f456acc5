"""Handwritten digits, MNIST, from few numbers: the first 45,000 of 50,000 to train, the last 5,000 to test.

The error is the mean over pixels from 0 to 1 of the squared difference. Principal components reach 0.0177 with 32
numbers a digit and 0.0281 with 16: what can be had without hidden layers.
"""

import keras
import numpy as np
import pytest

from kphys.models.autoencoders import autoencoder, conv_autoencoder

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def digits(real_data):
    """`x_train, x_test`, the images (n, 28, 28, 1) from 0 to 1."""
    with np.load(real_data / "mnist_50k.npz") as saved:
        x = saved["x"][..., np.newaxis].astype("float32") / 255
    return x[:45_000], x[45_000:]


def _error(model, digits, epochs):
    x_train, x_test = digits
    model.fit(x_train, batch_size=64, epochs=epochs, verbose=0)
    return model.evaluate(x_test, batch_size=250, verbose=0, return_dict=True)["mse"]


def test_dense(digits, falling):
    """32 numbers, one hidden layer on either side, 10 epochs: 30 % below the principal components."""
    keras.utils.set_random_seed(0)
    rate = falling(2e-3, digits[0], 64, 10)
    model = autoencoder((28, 28, 1), 32, hidden_units=(300,), learning_rate=rate, seed=0)
    assert _error(model, digits, 10) <= 0.0119


def test_convolutional(digits, falling):
    """16 numbers, the lecture's convolutions and a dense layer to the code, 3 epochs: 30 % below as well.

    Logistic outputs and the cross-entropy reach lower squared errors here than linear outputs and the squared error.
    """
    keras.utils.set_random_seed(0)
    rate = falling(2e-3, digits[0], 64, 3)
    model = conv_autoencoder((28, 28, 1), 16, filters=(16, 32), loss="binary_crossentropy", learning_rate=rate, seed=0)
    assert _error(model, digits, 3) <= 0.0189
