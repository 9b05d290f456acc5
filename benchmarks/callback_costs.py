"""What kphys' callbacks cost an epoch, beside those of Keras that do the same.

    python benchmarks/callback_costs.py [--repeats 5] [--epochs 6] [--samples 3200]

A perceptron 784-300-100-10, for the images a convolutional autoencoder of 28×28, trains with one callback at a time,
all ways in turn in one process. A cost is the time of an epoch beyond one without callbacks, in milliseconds, the
median over epochs and then over repeats: what is done once an epoch does not grow with the data. Files go to a
temporary folder. What clipping costs a step is in `gradient_clipping.py`.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
from _compare import arguments, clocked, digits, print_table

import kphys
from kphys import callbacks as ours

theirs = keras.callbacks
SECONDS = ("epoch [s]", "CPU [s]")
# Name -> kphys' callback and Keras', if it has one, each of a folder and some images.
CALLBACKS: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "EarlyStopping": (
        lambda folder, x: ours.EarlyStopping("loss", patience=99, restore_best_weights=True),
        lambda folder, x: theirs.EarlyStopping("loss", patience=99, restore_best_weights=True),
    ),
    "EarlyStopping, significance": (
        lambda folder, x: ours.EarlyStopping("loss", patience=99, significance=2.0, window=3),
        None,
    ),
    "ModelCheckpoint": (
        lambda folder, x: ours.ModelCheckpoint(folder / "ours.keras"),
        lambda folder, x: theirs.ModelCheckpoint(folder / "theirs.keras"),
    ),
    "BackupAndRestore": (
        lambda folder, x: ours.BackupAndRestore(folder / "ours"),
        lambda folder, x: theirs.BackupAndRestore(folder / "theirs"),
    ),
    "TrainingRecord": (lambda folder, x: ours.TrainingRecord(folder / "record"), None),
    "ImageLogger": (lambda folder, x: ours.ImageLogger(folder / "images", x), None),
}


def main() -> None:
    """Trains in all ways, in turn, and prints a table."""
    given = arguments(__doc__, repeats=5, epochs=6, samples=3200, batch_size=32, writes=False)
    images = digits(given.samples, (28, 28, 1))[0]
    flat = images.reshape(-1, 784), digits(given.samples, (784,))[1]
    perceptron = kphys.mlp_classifier(784, 10, hidden_units=(300, 100), seed=0)
    mirror = kphys.conv_autoencoder((28, 28, 1), seed=0)
    costs: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for _ in range(given.repeats):
        bare = {model: seconds(given, model, data, []) for model, data in ((perceptron, flat), (mirror, (images,)))}
        for name, place, make in ways():
            model, data = (mirror, (images,)) if name == "ImageLogger" else (perceptron, flat)
            with tempfile.TemporaryDirectory() as folder:
                took = seconds(given, model, data, [make(pathlib.Path(folder), images[:16])])
            more = tuple(1e3 * (with_it - without) for with_it, without in zip(took, bare[model], strict=True))
            costs.setdefault((name, place), []).append(more)
    table = [["milliseconds an epoch", "kphys", "CPU", "Keras", "CPU"]]
    for name in CALLBACKS:
        found = [costs.get((name, place)) for place in range(2)]
        cells = [cell for runs in found for cell in (map(median, zip(*runs, strict=True)) if runs else ("-", "-"))]
        table.append([name, *cells])
    print_table(table)


def ways() -> Iterator[tuple[str, int, Callable[..., Any]]]:
    """Gives every callback's name, whether it is kphys' (0) or Keras' (1), and what makes it."""
    for name, pair in CALLBACKS.items():
        for place, make in enumerate(pair):
            if make is not None:
                yield name, place, make


def seconds(given: argparse.Namespace, model: keras.Model, data: tuple[Any, ...], callbacks: list[Any]) -> list[float]:
    """Trains some epochs more and gives what one takes, by the clock and of processor time."""
    figures = clocked(model, data, given, callbacks)
    return [figures[name] for name in SECONDS]


def median(values: tuple[float, ...]) -> str:
    """Gives the median in a readable form."""
    return f"{statistics.median(values):.1f}"


if __name__ == "__main__":
    main()
