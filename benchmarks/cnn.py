"""Training speed of a convolutional network on images of MNIST's shape, in batches of 32.

    python benchmarks/cnn.py [--repeats 3] [--epochs 3] [--samples 9600] [--batch-size 32]

Twice convolution 3×3 (32 and 64 filters), ReLU and pooling, then dense 128 and 10: `kphys.cnn_classifier` with its
"plain" architecture; Keras written by hand with its defaults; PyTorch in the channels-last memory format with shuffled
indices and the fused Adam. The ratio is how many times faster kphys trains than the row. All three log loss and
accuracy, kphys the area under the ROC curve too. The aim is at least 1.0 for both.
"""

from __future__ import annotations

import argparse

from _compare import EPOCH_COLUMNS, Figures, arguments, compare, digits, fit_keras, fit_torch, with_torch


def kphys(given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    from kphys import cnn_classifier

    model = cnn_classifier((28, 28, 1), 10, filters=(32, 64), hidden_units=128)
    return fit_keras(model, *digits(given.samples, (28, 28, 1)), given)


def by_hand(given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fit_keras(model, *digits(given.samples, (28, 28, 1)), given)


def torch_loop(given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(7 * 7 * 64, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)
    x, y = map(torch.from_numpy, digits(given.samples, (1, 28, 28)))
    return fit_torch(network, x.to(memory_format=torch.channels_last), y, given)


if __name__ == "__main__":
    contestants = with_torch({"kphys": kphys, "Keras by hand": by_hand}, PyTorch=torch_loop)
    given = arguments(__doc__, epochs=3, samples=9_600, batch_size=32)
    compare({"CNN": contestants}, given, EPOCH_COLUMNS)
