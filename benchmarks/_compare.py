"""Runs the contestants of a benchmark side by side and prints one table.

Every run has a process of its own, so that no contestant's threads or memory weigh on another. A repeat runs all of
them one after the other; a ratio is taken inside a repeat, where the machine was in the same mood, before the median.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import importlib.util
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Figures = dict[str, float]
Contestant = Callable[[argparse.Namespace], Figures]
Groups = dict[str, dict[str, Contestant]]
Runs = dict[tuple[str, str], list[Figures]]  # By group and contestant, one a repeat.

SPEED = "samples/s"
QUALITY = "quality"  # On digits that were not trained on, or of an agent's episodes.
FLOPS = "FLOP a sample"
TESTED = 45_000  # The first digit to test on.
EPOCH_COLUMNS = ("first epoch [s]", "epoch [s]", SPEED, "CPU [s]", "peak MB")


def arguments(
    doc: str, repeats: int = 3, only: Iterable[str] = (), writes: bool = True, **defaults: int
) -> argparse.Namespace:
    """Gives the command line's arguments.

    These are `--repeats`, an integer for each of `defaults`, `--only` some of `only`, and the file of what `writes`.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if only:
        parser.add_argument("--only", nargs="+", choices=tuple(only), default=tuple(only), help="default: all")
    for name, value in {"repeats": repeats, **defaults}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"default {value}")
    if writes:
        parser.add_argument("--json", type=pathlib.Path, help="file for the figures of every run")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def with_torch(contestants: dict[str, Contestant], **peers: Contestant) -> dict[str, Contestant]:
    """Gives `contestants` and `peers`, or only the first where PyTorch is not installed."""
    if importlib.util.find_spec("torch"):
        return {**contestants, **peers}
    print("PyTorch is not installed: its rows are left out (pip install torch).", file=sys.stderr)
    return contestants


def in_every_group(names: Iterable[str], contestants: dict[str, Callable[..., Figures]]) -> Groups:
    """Gives every contestant, a function of a group's name and the arguments, in every group."""
    return {group: {name: functools.partial(run, group) for name, run in contestants.items()} for group in names}


def compare(groups: Groups, given: argparse.Namespace, columns: Iterable[str], ratio_of: str = SPEED) -> Runs:
    """Runs everything in `groups` interleaved, prints the medians of `columns` and gives the figures of all runs.

    The last column is how many times faster than each row the first row of its group is, by the speed or the seconds
    that `ratio_of` names. In the process of one contestant nothing is given.
    """
    if given.contestant:
        group, name = given.contestant
        print(json.dumps(groups[group][name](given)))
        return {}
    runs: Runs = {}
    for repeat in range(given.repeats):
        for group, contestants in groups.items():
            for name in contestants:
                runs.setdefault((group, name), []).append(_in_own_process(group, name, repeat))
    print_table(_rows(groups, runs, list(columns), ratio_of))
    if given.json:
        kept = {group: {name: runs[group, name] for name in names} for group, names in groups.items()}
        given.json.write_text(json.dumps({"ratio of": ratio_of, "groups": kept}, indent=1))
    return runs


def _in_own_process(group: str, name: str, repeat: int) -> Figures:
    command = [sys.executable, *sys.argv, "--contestant", group, name, "--repeat", str(repeat)]
    figures = figures_of(command, f"{group}, {name}")
    print(f"  {group}, {name}: done", file=sys.stderr)
    return figures


def figures_of(command: list[str], name: str) -> Figures:
    """Gives the figures that a process of its own prints as its last line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _rows(groups: Groups, runs: Runs, columns: list[str], ratio_of: str) -> list[list[str]]:
    rows = [["", *columns, "ratio"]]
    for group, contestants in groups.items():
        first = runs[group, next(iter(contestants))]
        for name in contestants:
            figures = runs[group, name]
            medians = [statistics.median(run.get(column, math.nan) for run in figures) for column in columns]
            rows.append([f"{group}, {name}", *map(readable, medians), f"{times_faster(first, figures, ratio_of):.2f}"])
    return rows


def times_faster(ours: list[Figures], theirs: list[Figures], ratio_of: str = SPEED) -> float:
    """Gives how many times faster `ours` are: the median of the ratios inside each repeat."""
    speeds = ratio_of.endswith("/s")
    ratios = (our[ratio_of] / their[ratio_of] for our, their in zip(ours, theirs, strict=True))
    return statistics.median(ratio if speeds else 1 / ratio for ratio in ratios)


def readable(value: float) -> str:
    """Gives three or four digits of `value`."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"


def print_table(rows: list[list[str]]) -> None:
    """Prints `rows`, the first of which is the head, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        print(f"| {' | '.join(cells)} |")


class Clock:
    """Stands at the end of every epoch, in seconds on the wall and of processor time over all threads."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []
        self.mark()

    def mark(self, *_: Any) -> None:
        """Notes the time."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def figures(self, samples: int) -> Figures:
        """Gives `EPOCH_COLUMNS`, medians over the epochs after the first, which traces and compiles."""
        epochs = [(wall - start, cpu - used) for (start, used), (wall, cpu) in itertools.pairwise(self.marks)]
        wall, cpu = (statistics.median(seconds) for seconds in zip(*epochs[1:], strict=True))
        return dict(zip(EPOCH_COLUMNS, (epochs[0][0], wall, samples / wall, cpu, peak_megabytes()), strict=True))


def peak_megabytes() -> float:
    """Gives the most memory that this process has held."""
    import resource

    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def clocked(model: Any, data: tuple[Any, ...], given: argparse.Namespace, callbacks: Iterable[Any] = ()) -> Figures:
    """Fits a compiled Keras model on the arrays of `data` and gives what its epochs take, `callbacks` included."""
    import keras

    clock = Clock()
    # A hook of epochs only: one of batches would be called 1,400 times an epoch. The last, so that the others count.
    callbacks = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=clock.mark)]
    model.fit(*data, batch_size=given.batch_size, epochs=given.epochs, verbose=0, callbacks=callbacks)
    return clock.figures(len(data[0]))


def as_if_long(model: Any, xla: bool | None = None) -> Any:
    """Gives a builder's `model` as a long training has it from the first step on, or with XLA, or without."""
    from kphys.models._calls import calls_of

    calls_of(model).steps_worth_xla = None if xla is False else 1
    if xla is not None:
        model.jit_compile = xla
    return model


def fit_keras(model: Any, x: Any, y: Any, given: argparse.Namespace, callbacks: Iterable[Any] = ()) -> Figures:
    """Fits a compiled Keras model on arrays and gives the figures of its epochs."""
    data = (x,) if y is None else (x, y)
    figures = {**clocked(model, data, given, callbacks), FLOPS: flops_a_sample(model)}
    if y is None or len(y) != y.size:
        return figures
    x_test, y_test = digits(50_000, x.shape[1:], TESTED)
    return {**figures, QUALITY: float((model.predict(x_test, verbose=0).argmax(axis=-1) == y_test).mean())}


def flops_a_sample(model: Any) -> float:
    """Gives the operations in the products with kernels that training on one sample takes.

    Two, a multiplication and an addition, for every number of a kernel wherever it is applied, and as many again for
    the gradient of the input, and of the kernel.
    """
    return sum(6.0 * _products(layer) for layer in model._flatten_layers(include_self=False))


def _products(layer: Any) -> int:
    if hasattr(layer, "cell"):
        return layer.input.shape[1] * sum(math.prod(weight.shape) for weight in layer.weights if len(weight.shape) == 2)
    if not hasattr(layer, "kernel") or not layer._inbound_nodes:  # The cell of a recurrent layer, say.
        return 0
    transposed = "Transpose" in type(layer).__name__
    at = layer.input.shape if transposed else layer.output.shape
    return math.prod(layer.kernel.shape) * math.prod(at[1:-1])


def torch_before_tensorflow() -> Any:
    """Loads PyTorch with what its optimizers load later, which dies when TensorFlow is there already."""
    import torch
    import torch._dynamo

    return torch


def fit_torch(network: Any, x: Any, y: Any, given: argparse.Namespace) -> Figures:
    """Trains a PyTorch classifier of digits on tensors in memory and gives the figures, its accuracy among them."""
    import torch

    figures = train_torch(network, x, y, given)
    x_test, y_test = map(torch.from_numpy, digits(50_000, x.shape[1:], TESTED))
    with torch.no_grad():
        quality = (network(x_test).argmax(1) == y_test).float().mean().item()
    return {**figures, QUALITY: quality}


def train_torch(network: Any, x: Any, y: Any, given: argparse.Namespace) -> Figures:
    """Trains a PyTorch classifier, of samples or of their steps, with loss and accuracy as Keras logs them.

    Shuffled indices in place of a DataLoader, the fused Adam, nothing read back before an epoch ends.
    """
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    clock = Clock()
    for _ in range(given.epochs):
        total, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for batch in torch.randperm(len(x)).split(given.batch_size):
            optimizer.zero_grad(set_to_none=True)
            target = y[batch].flatten()
            logits = network(x[batch]).flatten(0, -2)
            loss = torch.nn.functional.cross_entropy(logits, target)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                total += loss * len(batch)
                hits += (logits.argmax(1) == target).sum()
        total.item(), hits.item()
        clock.mark()
    return clock.figures(len(x))


def in_folder(name: str) -> str:
    """Gives a text of the folder that `KPHYS_DATA` names; an empty one where it is not there."""
    file = pathlib.Path(os.environ.get("KPHYS_DATA", "")) / name
    if not file.is_file():
        return ""
    return (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()


def digits(samples: int, shape: tuple[int, ...], first: int = 0) -> tuple[Any, Any]:
    """Gives MNIST images in [0, 1] from the folder that `KPHYS_DATA` names, without it noise of the same shape.

    Those from `first` to the one before `samples`.
    """
    import numpy as np

    file = pathlib.Path(os.environ.get("KPHYS_DATA", "")) / "mnist_50k.npz"
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 256, (samples, 28, 28), "uint8"), generator.integers(0, 10, samples)
    with contextlib.suppress(FileNotFoundError), np.load(file) as arrays:
        x, y = arrays["x"][:samples], arrays["y"][:samples]
    return (x[first:] / np.float32(255)).reshape(-1, *shape), y[first:].astype("int64")
