"""Binary handwritten digits, MNIST: the first 45,000 of 50,000 to train, a thousand of the last 5,000 to test."""

import keras
import numpy as np
import pytest

from kphys.models.variational import vae

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

EPOCHS, SHIFTED, BATCH = 20, 16, 100


@pytest.fixture(scope="module")
def binary_mnist(real_data):
    """Images (n, 28, 28) of 0 and 1, drawn once with the grey level as probability: for training, for the test."""
    with np.load(real_data / "mnist_50k.npz") as saved:
        grey = saved["x"].astype("float32") / 255
    x = (np.random.default_rng(0).random(grey.shape) < grey).astype("float32")
    return x[:45_000], x[45_000:46_000]


def _shifted(x, generator):
    """Every image shifted by −1, 0 or 1 pixel along each axis, at random."""
    shifts, moved = generator.integers(-1, 2, size=(len(x), 2)), np.empty_like(x)
    for shift in np.unique(shifts, axis=0):
        chosen = (shifts == shift).all(axis=1)
        moved[chosen] = np.roll(x[chosen], shift, axis=(1, 2))
    return moved


def test_the_likelihood_of_digits(binary_mnist, falling):
    """784-400-40-400-784: −ln p(x) by 200 importance samples at most 100 nats an image after 20 epochs.

    Seed 0 reaches 98.7, known to 0.7 on a thousand images, with shifts in all but the last 4 epochs; after 80 epochs
    95.0. Without shifts it is 96.2 after 100 epochs, with a bound of 95.5 on the training images and 101.1 on the
    others: this network learns its images by heart.
    """
    train, test = binary_mnist
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(1)
    model = vae((28, 28), 40, hidden_units=(400,), learning_rate=falling(2e-3, train, BATCH, EPOCHS), seed=0)
    for epoch in range(EPOCHS):
        x = _shifted(train, generator) if epoch < SHIFTED else train
        model.fit(x, batch_size=BATCH, initial_epoch=epoch, epochs=epoch + 1, verbose=0)
    nats = -model.log_likelihood(test, 200, seed=0).mean()
    assert nats <= 100
    assert nats < model.evaluate(test, batch_size=250, verbose=0, return_dict=True)["loss"]
