"""The tour: `python -m kphys` trains every family on data inside the package and says what came out."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

import kphys
from kphys import _arguments
from kphys.callbacks import GradientClipping
from kphys.datasets import digits, double_pendulum, ising, mackey_glass, recall

Data = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Stop:
    """One family of the tour: what it learns, from which data, and what it must reach.

    `simple` gives what is reached without a network, as a word and a number in the units of `score`.
    """

    data: str
    load: Callable[[bool], Data]
    build: Callable[[Data], keras.Model]
    epochs: int
    score: str
    threshold: float
    simple: Callable[[Data], tuple[str, float]]
    higher_is_better: bool = True
    batch_size: int = 32

    def passes(self, value: float) -> bool:
        """Says whether `value` reaches the threshold."""
        return value >= self.threshold if self.higher_is_better else value <= self.threshold


class Row(NamedTuple):
    """One line of the table at the end."""

    family: str
    data: str
    result: str
    reference: str
    seconds: float
    passed: bool


def _digits(quick: bool) -> Data:
    return digits.load_data()


def _spins(quick: bool) -> Data:
    return ising.load_data(size=16, num_samples=1500 if quick else 4000)


def _energies(quick: bool) -> Data:
    (x_train, _), (x_test, _) = _spins(quick)
    return (x_train, ising.energy(x_train)[:, None]), (x_test, ising.energy(x_test)[:, None])


def _swings(quick: bool) -> Data:
    return double_pendulum.load_data(num_steps=2000 if quick else 5000, timesteps=5, step=0.05)


def _series(quick: bool) -> Data:
    return mackey_glass.load_data(num_steps=1500 if quick else 4000, timesteps=30, horizon=6)


def _memories(quick: bool) -> Data:
    return recall.load_data(num_samples=2500 if quick else 7500, timesteps=10 if quick else 20)


def _scale(values: np.ndarray) -> keras.layers.Normalization:
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def _logistic(data: Data) -> tuple[str, float]:
    from sklearn.linear_model import LogisticRegression

    (x_train, y_train), (x_test, y_test) = data
    model = LogisticRegression(max_iter=1000).fit(x_train.reshape(len(x_train), -1), y_train)
    return "logistic regression", model.score(x_test.reshape(len(x_test), -1), y_test)


def _most_frequent(data: Data) -> tuple[str, float]:
    (_, y_train), (_, y_test) = data
    return "always the most frequent", float(np.mean(y_test == np.bincount(y_train.ravel()).argmax()))


def _mean(data: Data) -> tuple[str, float]:
    (_, y_train), (_, y_test) = data
    return "always the mean", float(np.sqrt(np.mean((y_test - y_train.mean(axis=0)) ** 2)))


def _persistence(data: Data) -> tuple[str, float]:
    _, (x_test, y_test) = data
    last = x_test[:, -1, : y_test.shape[-1]]
    return "as the last value", float(np.sqrt(np.mean((y_test - last) ** 2)))


def _mlp_regressor(data: Data) -> keras.Model:
    (x, y), _ = data
    return kphys.mlp_regressor(
        x.shape[1:],
        y.shape[1],
        hidden_units=(128, 128),
        activation="silu",
        normalization=_scale(x),
        target_normalization=_scale(y),
        seed=0,
    )


def _rnn_regressor(data: Data) -> keras.Model:
    (x, y), _ = data
    scaling = {"normalization": _scale(x), "target_normalization": _scale(y)}
    return kphys.rnn_regressor(x.shape[1:], cell="gru", units=32, learning_rate=5e-3, seed=0, **scaling)


def _rnn_classifier(data: Data) -> keras.Model:
    (x, y), _ = data
    return kphys.rnn_classifier(
        (None, x.shape[-1]), int(y.max()) + 1, units=64, return_sequences=True, learning_rate=1e-2, seed=0
    )


STOPS = {
    "mlp_classifier": Stop(
        "handwritten digits, 8×8",
        _digits,
        lambda data: kphys.mlp_classifier((8, 8, 1), 10, dropout=0.2, seed=0),
        epochs=40,
        score="accuracy",
        threshold=0.96,
        simple=_logistic,
    ),
    "mlp_regressor": Stop(
        "double pendulum, 0.05 s ahead",
        _swings,
        _mlp_regressor,
        epochs=40,
        score="rmse",
        threshold=0.05,
        simple=_mean,
        higher_is_better=False,
    ),
    "cnn_classifier": Stop(
        "Ising configurations, ordered or not",
        _spins,
        lambda data: kphys.cnn_classifier((16, 16, 1), 2, filters=(8, 16), periodic=True, seed=0),
        epochs=6,
        score="accuracy",
        threshold=0.90,
        simple=_most_frequent,
    ),
    "cnn_regressor": Stop(
        "Ising configurations, energy per site",
        _energies,
        lambda data: kphys.cnn_regressor((16, 16, 1), filters=(8, 16), periodic=True, learning_rate=3e-3, seed=0),
        epochs=10,
        score="rmse",
        threshold=0.1,
        simple=_mean,
        higher_is_better=False,
    ),
    "rnn_classifier": Stop(
        "recall of a marked symbol",
        _memories,
        _rnn_classifier,
        epochs=4,
        score="accuracy",
        threshold=0.98,
        simple=_most_frequent,
    ),
    "rnn_regressor": Stop(
        "Mackey–Glass series, 6 steps ahead",
        _series,
        _rnn_regressor,
        epochs=15,
        score="rmse",
        threshold=0.03,
        simple=_persistence,
        higher_is_better=False,
    ),
}


def visit(family: str, folder: Path, quick: bool) -> Row:
    """Trains `family`, writes its plot and its logs below `folder`, and gives its line of the table."""
    stop = STOPS[family]
    start = time.monotonic()
    keras.utils.set_random_seed(0)
    data = stop.load(quick)
    (x_train, y_train), (x_test, y_test) = data
    model = stop.build(data)
    logs = folder / "logs" / family / time.strftime("%Y%m%d-%H%M%S")
    model.fit(
        x_train,
        y_train,
        batch_size=stop.batch_size,
        epochs=stop.epochs,
        validation_data=(x_test, y_test),
        callbacks=[GradientClipping(global_norm=1.0), keras.callbacks.TensorBoard(logs, write_graph=False)],
        verbose=0,
    )
    evaluate = kphys.evaluate_classifier if family.endswith("classifier") else kphys.evaluate_regressor
    result = evaluate(model, x_test, y_test, num_bootstrap=100)
    result.plot(folder / f"{family}.png")
    value, error = result[stop.score]
    word, simple = stop.simple(data)
    sign = "≥" if stop.higher_is_better else "≤"
    return Row(
        family,
        stop.data,
        f"{stop.score} {value:.4f} ± {error:.4f} ({sign} {stop.threshold:g})",
        f"{simple:.4f} {word}",
        time.monotonic() - start,
        stop.passes(value),
    )


def table(rows: Sequence[Row]) -> str:
    """Gives the rows as text, in columns."""
    lines = [("family", "data", "result", "reference", "seconds", "")]
    lines += [(*row[:4], f"{row.seconds:.0f}", "" if row.passed else "MISSED") for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kphys", description="Train every family of kphys, and look.")
    parser.add_argument("--only", nargs="+", metavar="FAMILY", default=list(STOPS), help="families to visit")
    parser.add_argument("--out", type=Path, default=Path("kphys_tour"), help="folder for plots and logs")
    parser.add_argument("--quick", action="store_true", help="less data, for a first look")
    parser.add_argument("--list", action="store_true", help="say which families there are, and stop")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tour; gives 0 if every family reached its threshold, else 1."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{family:16}{stop.data}" for family, stop in STOPS.items()))
        return 0
    try:
        for family in options.only:
            _arguments.choice("--only", family, STOPS)
        options.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    # TensorFlow counts every new model as a retracing, and says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    rows: list[Row] = []
    for number, family in enumerate(options.only, start=1):
        print(f"[{number}/{len(options.only)}] {family}: {STOPS[family].data} …", flush=True)
        rows.append(visit(family, options.out, options.quick))
        print(f"      {rows[-1].result}, {rows[-1].seconds:.0f} s", flush=True)
    print(f"\n{table(rows)}\n")
    print(f"Plots are in {options.out.resolve()}. To look at the training:\n")
    logs = shlex.quote(str(options.out / "logs"))
    print(f"    {sys.executable} -m tensorboard.main --logdir {logs}\n\nand open the address that it prints.")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
