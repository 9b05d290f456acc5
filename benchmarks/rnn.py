"""Training speed of recurrent networks of 64 units that read images row by row, 28 steps of 28 features.

    python benchmarks/rnn.py [--repeats 3] [--epochs 3] [--samples 19200] [--batch-size 32]

LSTM and GRU, each as `kphys.rnn_classifier`; as Keras written by hand with its defaults; in PyTorch with everything in
memory, shuffled indices and the fused Adam. The ratio is how many times faster kphys trains than the row. All log loss
and accuracy, kphys the area under the ROC curve too. The aim is at least 1.2 times Keras by hand, and at least PyTorch.
"""

from __future__ import annotations

import argparse

from _compare import (
    EPOCH_COLUMNS,
    Figures,
    arguments,
    compare,
    digits,
    fit_keras,
    fit_torch,
    in_every_group,
    with_torch,
)


def kphys(cell: str, given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    from kphys import rnn_classifier

    model = rnn_classifier((28, 28), 10, cell=cell.lower(), units=64)
    return fit_keras(model, *digits(given.samples, (28, 28)), given)


def by_hand(cell: str, given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    import keras

    layers = [keras.Input((28, 28)), getattr(keras.layers, cell)(64), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return fit_keras(model, *digits(given.samples, (28, 28)), given)


def torch_loop(cell: str, given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = getattr(torch.nn, cell)(28, 64, batch_first=True)
            self.outputs = torch.nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.outputs(self.recurrent(x)[0][:, -1])

    x, y = map(torch.from_numpy, digits(given.samples, (28, 28)))
    return fit_torch(Network(), x, y, given)


if __name__ == "__main__":
    contestants = with_torch({"kphys": kphys, "Keras by hand": by_hand}, PyTorch=torch_loop)
    groups = in_every_group(("LSTM", "GRU"), contestants)
    compare(groups, arguments(__doc__, epochs=3, samples=19_200, batch_size=32), EPOCH_COLUMNS)
