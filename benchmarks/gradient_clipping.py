"""What clipping gradients costs a training step: kphys' callback beside the optimizer's own clipping and none.

    python benchmarks/gradient_clipping.py [--repeats 5] [--epochs 4] [--samples 6400] [--batch-size 32]
        [--xla 0] [--only MLP]

kphys' perceptron 784-300-100-10, convolutional network and LSTM of 64 units on images of MNIST's shape. The callback
also looks for steps that are not finite, measures the gradients' norm and counts the clipped steps. All ways train in
one process, a few epochs each in turn: between processes the same row differs by more than clipping costs. A cost is
the median over the repeats of what a step takes more than without clipping in the same repeat, of epochs after the
first; the aim is 3 %. What goes through XLA in a long training does so here from the first step on, or with `--xla 0`
not at all.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from typing import Any

import keras
from _compare import Figures, arguments, as_if_long, clocked, digits, print_table, readable

import kphys
from kphys.callbacks import GradientClipping

STEP, CPU = "step [µs]", "CPU [µs]"
BUILDERS = {
    "MLP": ("mlp_classifier", (784,), {"hidden_units": (300, 100)}),
    "CNN": ("cnn_classifier", (28, 28, 1), {}),
    "LSTM": ("rnn_classifier", (28, 28), {"units": 64}),
}
WAYS = {
    "none": ({}, {}),
    "GradientClipping": ({"global_norm": 1.0}, {}),
    "GradientClipping, percentile": ({"percentile": 10}, {}),
    "GradientClipping, adaptive": ({"adaptive": 0.01}, {}),
    "global_clipnorm": ({}, {"global_clipnorm": 1.0}),
}


def rows(given: argparse.Namespace, family: str) -> Iterable[list[str]]:
    """Trains one family in all ways, in turn, and gives a row of the table for each."""
    builder, shape, options = BUILDERS[family]
    data = digits(given.samples, shape)
    models = {
        way: as_if_long(
            getattr(kphys, builder)(shape, 10, optimizer=keras.optimizers.Adam(**own), seed=0, **options),
            None if given.xla else False,
        )
        for way, (_, own) in WAYS.items()
    }
    runs: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for _ in range(given.repeats):
        for way, (clipping, _) in WAYS.items():
            callbacks = [GradientClipping(**clipping)] if clipping else []
            runs[way].append(steps(models[way], data, given, callbacks))
    for way in WAYS:
        medians = (statistics.median(run[column] for run in runs[way]) for column in (STEP, CPU))
        yield [f"{family}, {way}", *map(readable, medians), *(cost(runs, way, column) for column in (STEP, CPU))]


def steps(model: keras.Model, data: tuple[Any, Any], given: argparse.Namespace, callbacks: list[Any]) -> Figures:
    """Trains some epochs more and gives what a step takes."""
    figures, number = clocked(model, data, given, callbacks), -(-given.samples // given.batch_size)
    return {STEP: 1e6 * figures["epoch [s]"] / number, CPU: 1e6 * figures["CPU [s]"] / number}


def cost(runs: dict[str, list[Figures]], way: str, column: str) -> str:
    """Gives how much more `way` takes than no clipping."""
    ratios = [run[column] / none[column] for run, none in zip(runs[way], runs["none"], strict=True)]
    return f"{statistics.median(ratios) - 1:+.1%}"


if __name__ == "__main__":
    given = arguments(__doc__, repeats=5, only=BUILDERS, epochs=4, samples=6400, batch_size=32, xla=1, writes=False)
    table = [["", STEP, CPU, "cost", "by CPU"]]
    for family in given.only:
        table += rows(given, family)
    print_table(table)
