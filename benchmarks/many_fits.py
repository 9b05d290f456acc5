"""What a thousand trainings in one process cost: memory and seconds of each, against how many went before.

    python benchmarks/many_fits.py [--fits 1000] [--only NAME]

"new models" builds a small network and trains it three epochs, again and again, as a scan of settings does: as kphys
builds it, which for so short a training is without XLA; "cleared" calls `keras.backend.clear_session()` after each,
without which TensorFlow's caches keep a part of what was traced. "new models through XLA" are what long trainings are:
TensorFlow never frees XLA's code, and beyond hundreds of models kphys compiles the next ones without, and the table
says from which on (`kphys/models/_execution.py`). "one model" trains the same one; "Keras by hand" builds the same
network without kphys. Each has a process of its own. The slopes are those of straight lines through the second half of
the fits.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from _compare import as_if_long, print_table

import kphys
from kphys.models._calls import calls_of

MARKS = (1, 100, 250, 500, 1000)
NEIGHBOURS = 10  # The seconds of a fit are the median of so many.


class Fit(NamedTuple):
    """What was measured of one training."""

    seconds: float
    megabytes: float  # Held by the process afterwards.
    mappings: int  # Its memory mappings, of which Linux allows 65,530.
    xla: bool


def build() -> keras.Model:
    """Gives a small classifier."""
    return kphys.mlp_classifier(8, 2, hidden_units=(16, 16), seed=0)


def by_hand() -> keras.Model:
    """Gives the same network as Keras' documentation makes it."""
    layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(16, activation="relu")]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"])
    return model


def models(name: str) -> Callable[[], keras.Model]:
    """Gives what makes the model of the next fit."""
    if name == "one model":
        model = build()
        return lambda: model
    if name == "Keras by hand":
        return by_hand
    return (lambda: as_if_long(build())) if name.endswith("through XLA") else build


def measure(name: str, number: int) -> list[Fit]:
    """Trains `number` times."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 8)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int32")
    following, fits = models(name), []
    for _ in range(number):
        start = time.perf_counter()
        model = following()
        model.fit(x, y, epochs=3, verbose=0)
        if name.endswith("cleared"):
            keras.backend.clear_session()
        seconds = time.perf_counter() - start
        fits.append(Fit(seconds, _megabytes(), _mappings(), calls_of(model).uses_xla))
        if len(fits) in MARKS:
            print(f"  {name}, fit {len(fits)}: {fits[-1]}", file=sys.stderr, flush=True)
    return fits


def _megabytes() -> float:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _mappings() -> int:
    with open("/proc/self/maps") as maps:
        return sum(1 for _ in maps)


def report(name: str, fits: list[Fit]) -> None:
    """Prints the table of one contestant."""
    rows = [[name, "s/fit", "MB held", "mappings", "XLA"]]
    for mark in (mark for mark in MARKS if mark <= len(fits)):
        last = fits[mark - 1]
        seconds = statistics.median(fit.seconds for fit in fits[max(0, mark - NEIGHBOURS) : mark])
        rows.append([f"fit {mark}", f"{seconds:.3f}", f"{last.megabytes:.0f}", str(last.mappings), str(last.xla)])
    half = len(fits) // 2
    slopes = np.polyfit(np.arange(half, len(fits)), [(fit.seconds, fit.megabytes) for fit in fits[half:]], 1)[0]
    rows.append(["more with every fit", f"{slopes[0]:+.6f}", f"{slopes[1]:+.4f}", "", ""])
    print_table(rows)
    without = [index for index, fit in enumerate(fits, start=1) if not fit.xla]
    if fits[0].xla and without:
        print(f"without XLA from fit {without[0]} on")


if __name__ == "__main__":
    names = ("new models", "new models, cleared", "new models through XLA", "one model", "Keras by hand")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=1000, help="default 1000")
    parser.add_argument("--only", choices=names, help="default: all, each in a process of its own")
    given = parser.parse_args()
    if given.only:
        warnings.simplefilter("ignore")  # That XLA is left out from some fit on: the table says so.
        report(given.only, measure(given.only, given.fits))
    else:
        for name in names:
            subprocess.run([sys.executable, __file__, "--fits", str(given.fits), "--only", name], check=True)
