"""What is no digit is noticed: 6,000 MNIST digits to train, 500 others against the same with their pixels shuffled."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kphys.models.autoencoders import autoencoder
from kphys.models.variational import vae

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def digits(real_data):
    """`train, usual, shuffled`, images (n, 28, 28) from 0 to 1; all are shuffled by the same order of pixels."""
    with np.load(real_data / "mnist_50k.npz") as saved:
        x = saved["x"].astype("float32") / 255
    usual = x[45_000:45_500]
    order = np.random.default_rng(0).permutation(28 * 28)
    return x[:6_000], usual, usual.reshape(-1, 28 * 28)[:, order].reshape(usual.shape)


def _area(score, usual, odd):
    labels = np.repeat([0, 1], [len(usual), len(odd)])
    return roc_auc_score(labels, np.concatenate([score(usual), score(odd)]))


def test_by_the_error_of_an_autoencoder(digits):
    """784-100-30-100-784, 10 epochs, seed 0: `anomaly_score` has an area under the ROC curve of at least 0.95."""
    train, usual, shuffled = digits
    keras.utils.set_random_seed(0)
    model = autoencoder((28, 28), 30, hidden_units=(100,), seed=0)
    model.fit(train, batch_size=50, epochs=10, verbose=0)
    assert _area(model.anomaly_score, usual, shuffled) >= 0.95


def test_by_the_likelihood_of_a_variational_autoencoder(digits):
    """784-400-40-400-784, 10 epochs, seed 0: −ln p(x) by 50 importance samples has one of at least 0.95 as well."""
    train, usual, shuffled = digits
    keras.utils.set_random_seed(0)
    model = vae((28, 28), 40, hidden_units=(400,), seed=0)
    model.fit(train, batch_size=50, epochs=10, verbose=0)
    assert _area(lambda images: -model.log_likelihood(images, 50, seed=0), usual, shuffled) >= 0.95
