"""How time and memory grow with the work: data, width, depth, length of sequences, size of the memory of an agent.

    python benchmarks/scaling.py [--only "data, streamed" ...] [--picture benchmarks/scaling.png]

Every point has a process of its own. Seconds are those of an epoch after the first, or of a hundred draws; the exponent
is the slope of a straight line through the logarithms of the upper half of the points, where the work itself outweighs
what every call costs. An exponent of 1 is proportional; 2 is expected of the width. Data are made up on the fly:
"data, streamed" by a `tf.data` pipeline, whose memory is not to grow; "data, in memory" as arrays before.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np
from _compare import Clock, Figures, figures_of, peak_megabytes, print_table, readable

SECONDS, MEMORY = "seconds", "peak MB"
FEATURES = 10


def fitted(model: Any, *data: Any, **settings: Any) -> Figures:
    """Gives the seconds of an epoch after the first."""
    import keras

    clock = Clock()
    mark = keras.callbacks.LambdaCallback(on_epoch_end=clock.mark)
    model.fit(*data, epochs=3, verbose=0, callbacks=[mark], **settings)
    return {SECONDS: clock.figures(1)["epoch [s]"], MEMORY: peak_megabytes()}


def perceptron(samples: int, units: int = 64, layers: int = 2) -> Figures:
    """Trains on arrays."""
    from kphys import mlp_regressor

    x = np.random.default_rng(0).normal(size=(samples, FEATURES)).astype("float32")
    model = mlp_regressor(FEATURES, hidden_units=(units,) * layers, seed=0)
    return fitted(model, x, x.sum(axis=1), batch_size=min(1024, samples // 4))


def stream(samples: int) -> Figures:
    """Trains on a pipeline that makes its batches up."""
    import tensorflow as tf

    from kphys import mlp_regressor

    def batch(number: Any) -> tuple[Any, Any]:
        x = tf.random.stateless_normal((1024, FEATURES), (0, number))
        return x, tf.reduce_sum(x, axis=1)

    data = tf.data.Dataset.range(samples // 1024).map(batch).prefetch(4)
    return fitted(mlp_regressor(FEATURES, hidden_units=(64, 64), seed=0), data)


def sequences(length: int) -> Figures:
    """Trains an LSTM on 1,024 sequences."""
    from kphys import rnn_regressor

    x = np.random.default_rng(0).normal(size=(1024, length, 4)).astype("float32")
    return fitted(rnn_regressor((length, 4), units=32, seed=0), x, x[:, -1, 0], batch_size=64)


def memory(transitions: int) -> Figures:
    """Fills a replay buffer, then draws 64 transitions a hundred times."""
    from kphys.agents.replay import ReplayBuffer

    buffer, generator = ReplayBuffer(transitions, (4,), prioritized=True), np.random.default_rng(0)
    rows = 10_000
    frames = generator.normal(size=(rows, 4)).astype("float32")
    ends = np.zeros(rows, bool)
    following = np.roll(frames, -1, axis=0)  # The last is followed by the first.
    for _ in range(transitions // rows):
        buffer.extend(0, frames, np.zeros(rows, int), np.ones(rows), ends, ends, following)
    start = time.perf_counter()
    for _ in range(100):
        buffer.sample(1, 64, generator, 0.4)
    return {SECONDS: time.perf_counter() - start, MEMORY: peak_megabytes()}


# What grows -> the function, and the sizes.
SCALES = {
    "data, in memory": (perceptron, [10**4, 10**5, 10**6, 10**7]),
    "data, streamed": (stream, [10**4, 10**5, 10**6, 10**7]),
    "width": (lambda units: perceptron(8192, units), [64, 128, 256, 512, 1024, 2048]),
    "depth": (lambda layers: perceptron(8192, 128, layers), [1, 2, 4, 8, 16, 32]),
    "sequence length": (sequences, [16, 32, 64, 128, 256, 512]),
    "replay": (memory, [10**4, 10**5, 10**6, 10**7]),
}


def main() -> None:
    """Measures, prints a table and draws it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCALES, nargs="+", default=list(SCALES))
    parser.add_argument("--picture", type=pathlib.Path, default=pathlib.Path(__file__).with_suffix(".png"))
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        name, size = given.point
        print(json.dumps(SCALES[name][0](int(size))))
        return
    found = {name: [in_own_process(name, size) for size in SCALES[name][1]] for name in given.only}
    head = ["", "sizes", "seconds", "exponent", "peak MB", "exponent of memory"]
    print_table([head, *(row(name, figures) for name, figures in found.items())])
    draw(found, given.picture)
    print(f"\nThe plot is in {given.picture}.")


def in_own_process(name: str, size: int) -> Figures:
    """Gives the figures of one point."""
    command = [sys.executable, __file__, "--point", name, str(size)]
    figures = figures_of(command, f"{name}, {size}")
    print(f"  {name}, {size}: {figures}", file=sys.stderr, flush=True)
    return figures


def exponent(sizes: list[int], values: list[float]) -> float:
    """Gives the slope of the upper half in double logarithms."""
    upper = slice(len(sizes) // 2 - (len(sizes) < 5), None)
    return float(np.polyfit(np.log(sizes[upper]), np.log(values[upper]), 1)[0])


def row(name: str, figures: list[Figures]) -> list[str]:
    """Gives the row of what grows."""
    sizes = SCALES[name][1]
    cells = [name, f"{sizes[0]:,} to {sizes[-1]:,}"]
    for column in (SECONDS, MEMORY):
        values = [point[column] for point in figures]
        cells += [f"{readable(values[0])} to {readable(values[-1])}", f"{exponent(sizes, values):.2f}"]
    return cells


def draw(found: dict[str, list[Figures]], picture: pathlib.Path) -> None:
    """Draws seconds and memory against the size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(2, len(found), figsize=(3 * len(found), 5), squeeze=False, layout="constrained")
    for column, (name, figures) in zip(axes.T, found.items(), strict=True):
        sizes = SCALES[name][1]
        for axis, unit in zip(column, (SECONDS, MEMORY), strict=True):
            values = [point[unit] for point in figures]
            axis.loglog(sizes, values, "o-")
            # At least a decade around the middle, labelled at whole powers of ten only.
            middle = np.sqrt(min(values) * max(values))
            axis.set_ylim(min(0.7 * min(values), middle / 4), max(1.4 * max(values), 4 * middle))
            for direction in (axis.xaxis, axis.yaxis):
                direction.set_minor_formatter(ticker.NullFormatter())
            axis.set_title(f"exponent {exponent(sizes, values):.2f}", fontsize=9)
        column[1].set_xlabel(name)
    axes[0, 0].set_ylabel("time [s]")
    axes[1, 0].set_ylabel("peak memory [MB]")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
