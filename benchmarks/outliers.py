"""Does a model of digits notice what is no digit? Autoencoders' errors and a variational one's likelihoods as a test.

    KPHYS_DATA=<folder with mnist_50k.npz> python benchmarks/outliers.py [--repeats 3] [--epochs 5]

Trained on the first 45,000 MNIST digits, in batches of 100; asked about 1,000 others, about the same with their pixels
shuffled (one order for all images), and about the same turned by 90 degrees. The autoencoder, 784-100-30-100-784,
scores by `anomaly_score`, the mean squared error; the variational one, 784-400-40-400-784, by `-log_likelihood` with 50
samples. A repeat is another seed. The aim is an area under the ROC curve of 0.95 for shuffled pixels; turned ones are
digits still, some of them (0, 1, 8) as good as before, so that there is no aim.
"""

from __future__ import annotations

import argparse
import functools
import time
from typing import Any

from _compare import Figures, arguments, compare, digits

TRAINED, ASKED = 45_000, 1_000
SHUFFLED, TURNED, SECONDS = "AUC shuffled", "AUC turned", "fit [s]"


def scored_by(kind: str, seed: int) -> tuple[Any, Any]:
    """Gives a model and the function that tells how odd each image is."""
    from kphys.models.autoencoders import autoencoder
    from kphys.models.variational import vae

    if kind == "autoencoder":
        model = autoencoder((28, 28), 30, hidden_units=(100,), seed=seed)
        return model, model.anomaly_score
    model = vae((28, 28), 40, hidden_units=(400,), seed=seed)
    return model, lambda images: -model.log_likelihood(images, 50, seed=seed)


def ask(given: argparse.Namespace, kind: str) -> Figures:
    """Trains one model and asks it."""
    import keras
    import numpy as np
    from sklearn.metrics import roc_auc_score

    x, _ = digits(TRAINED + ASKED, (28, 28))
    keras.utils.set_random_seed(given.repeat)
    model, score = scored_by(kind, given.repeat)
    start = time.perf_counter()
    model.fit(x[:TRAINED], batch_size=100, epochs=given.epochs, verbose=0)
    seconds = time.perf_counter() - start
    inside = x[TRAINED:]
    order = np.random.default_rng(given.repeat).permutation(28 * 28)
    outside = {
        SHUFFLED: inside.reshape(-1, 28 * 28)[:, order].reshape(inside.shape),
        TURNED: np.rot90(inside, axes=(1, 2)),
    }
    labels, usual = np.repeat([0, 1], ASKED), score(inside)
    areas = {name: roc_auc_score(labels, np.concatenate([usual, score(odd)])) for name, odd in outside.items()}
    return {**areas, SECONDS: seconds}


if __name__ == "__main__":
    group = {name: functools.partial(ask, kind=name) for name in ("autoencoder", "VAE")}
    compare({"MNIST": group}, arguments(__doc__, epochs=5), (SHUFFLED, TURNED, SECONDS), ratio_of=SECONDS)
