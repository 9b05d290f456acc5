"""Training speed of a multilayer perceptron, 784-300-100-10 on images of MNIST's shape, in batches of 32.

    python benchmarks/mlp.py [--repeats 3] [--epochs 4] [--samples 45000] [--batch-size 32]

The same network and optimizer three times: `kphys.mlp_classifier`; Keras written by hand with its defaults; PyTorch
with everything in memory, shuffled indices and the fused Adam. The ratio is how many times faster kphys trains than
the row. All three log loss and accuracy, kphys the area under the ROC curve too. The aim is at least 2.5 times Keras
by hand, and at least PyTorch.
"""

from __future__ import annotations

import argparse

from _compare import EPOCH_COLUMNS, Figures, arguments, compare, digits, fit_keras, fit_torch, with_torch


def kphys(given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    from kphys import mlp_classifier

    model = mlp_classifier(784, 10, hidden_units=(300, 100))
    return fit_keras(model, *digits(given.samples, (784,)), given)


def by_hand(given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(300, activation="relu"),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fit_keras(model, *digits(given.samples, (784,)), given)


def torch_loop(given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import torch

    network = torch.nn.Sequential(
        torch.nn.Linear(784, 300),
        torch.nn.ReLU(),
        torch.nn.Linear(300, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 10),
    )
    x, y = map(torch.from_numpy, digits(given.samples, (784,)))
    return fit_torch(network, x, y, given)


if __name__ == "__main__":
    contestants = with_torch({"kphys": kphys, "Keras by hand": by_hand}, PyTorch=torch_loop)
    given = arguments(__doc__, epochs=4, samples=45_000, batch_size=32)
    compare({"MLP": contestants}, given, EPOCH_COLUMNS)
