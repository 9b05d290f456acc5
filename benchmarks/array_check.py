"""What looking through the arrays before training costs, as a share of one epoch.

    python benchmarks/array_check.py [--repeats 9] [--samples 45000]

`kphys.mlp_classifier` with `check_data=True` and `False` calls `fit` in turns, in one process and after a first call
that traced: the difference of the medians from the call of `fit` to the start of training is the check, which is made
once a `fit`, whatever the number of epochs. The networks are the fastest that kphys trains, where it weighs the most.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from _compare import arguments, digits, print_table, readable


def fit_seconds(model: Any, x: Any, y: Any) -> tuple[float, float]:
    """Gives the seconds from the call of `fit` to the start of training, and those of one epoch."""
    import keras

    marks = [time.perf_counter()]

    def mark(*_: Any) -> None:
        marks.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_train_begin=mark, on_epoch_end=mark)
    model.fit(x, y, verbose=0, callbacks=[clock])
    start, begin, end = marks
    return begin - start, end - begin


def row(name: str, x: Any, y: Any, classes: int, repeats: int) -> list[str]:
    """Gives the cost for one data set."""
    from kphys import mlp_classifier

    models = {check: mlp_classifier(x.shape[1], classes, check_data=check) for check in (True, False)}
    for model in models.values():
        fit_seconds(model, x, y)
    runs = {check: [] for check in models}
    for _ in range(repeats):
        for check, model in models.items():
            runs[check].append(fit_seconds(model, x, y))
    before = {check: statistics.median(begin for begin, _ in seconds) for check, seconds in runs.items()}
    epoch = statistics.median(seconds for check in runs for _, seconds in runs[check])
    cost = before[True] - before[False]
    figures = [1e3 * before[True], 1e3 * before[False], 1e3 * cost, 1e3 * epoch, 100 * cost / epoch]
    return [f"{name}, {x.shape[0]:,} × {x.shape[1]}", *map(readable, figures)]


def main() -> None:
    """Prints the cost for images and for a table of few columns."""
    import numpy as np

    given = arguments(__doc__, repeats=9, samples=45_000)
    images, labels = digits(given.samples, (784,))
    table = np.random.default_rng(0).normal(size=(len(images), 8)).astype("float32")
    head = ["", "before, checked [ms]", "before, unchecked [ms]", "the check [ms]", "epoch [ms]", "share [%]"]
    rows = [row("images", images, labels, 10, given.repeats), row("table", table, labels % 2, 2, given.repeats)]
    print_table([head, *rows])


if __name__ == "__main__":
    main()
