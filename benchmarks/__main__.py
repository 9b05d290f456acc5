"""All tasks beside their peers in one table.

    python -m benchmarks [TASK ...] [--repeats 3] [--json benchmarks/results.json]

From the repository's root. Every task is a file of this folder, whose contestants take turns; peers that are not
installed are left out with a word. The figures of every run are written as JSON, after every task. "of the machine" is
the rate of the operations in products with kernels, as a share of what TensorFlow reaches with matrices of 2048×2048
here and now. The table of ratios at the end is the README's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks._compare import FLOPS, QUALITY, SPEED, Figures, print_table, readable, times_faster

FOLDER = pathlib.Path(__file__).parent
# Task -> its file with arguments, and what its quality is.
TASKS = {
    "mlp": (["mlp.py"], "accuracy"),
    "mlp_512": (["mlp.py", "--batch-size", "512"], "accuracy"),
    "cnn": (["cnn.py"], "accuracy"),
    "rnn": (["rnn.py"], "accuracy"),
    "sequences": (["sequences.py"], None),
    "autoencoders": (["autoencoders.py"], None),
    "gan": (["gan.py"], None),
    "words": (["words.py", "--stream-words", "1000000"], "ρ"),
    "tabular": (["tabular.py"], "AUC"),
    "reinforce": (["reinforce.py"], "mean return"),
    "replay": (["replay.py"], None),
    "dqn": (["dqn.py", "--only", "CartPole-v1"], None),
    "atari": (["atari.py"], None),
}
NEEDS = {"atari": "ale_py"}  # What a task cannot do without.
# What a column is called, and the figures that it shows, the first of those that a task has.
COLUMNS = {
    "first epoch [s]": ("first epoch [s]",),
    "epoch, or all [s]": ("epoch [s]", "seconds", "training [s]", "fit [s]"),
    "samples, steps/s": (SPEED, "steps/s"),
    "peak MB": ("peak MB",),
}


def main() -> None:
    """Runs the tasks and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; default all")
    parser.add_argument("--repeats", type=int, default=3, help="default 3")
    results_file = FOLDER / "results.json"
    parser.add_argument(
        "--json", type=pathlib.Path, default=results_file, help="file for the figures of every run, written anew"
    )
    given = parser.parse_args()
    unknown = set(given.tasks) - set(TASKS)
    if unknown:
        parser.error(f"no task {', '.join(sorted(unknown))}: there are {', '.join(TASKS)}.")
    results: dict[str, Any] = {"machine": machine(), "tasks": {}}
    for task in given.tasks or TASKS:
        print(f"{task}:", file=sys.stderr, flush=True)
        if task in NEEDS and not importlib.util.find_spec(NEEDS[task]):
            print(f"  {NEEDS[task]} is not installed: left out.", file=sys.stderr)
            continue
        results["tasks"][task] = {"matrix products [GFLOP/s]": product_rate(), **run(task, given.repeats)}
        given.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    head = ["", *COLUMNS, "quality", "ratio", "of the machine"]
    print_table([head, *(row for task, result in results["tasks"].items() for row in rows(task, result))])
    print()
    print_table(summary(results["tasks"]))
    print(f"the figures of every run are in {given.json}")


def run(task: str, repeats: int) -> dict[str, Any]:
    """Gives what the file of a task has written."""
    (file, *arguments), _ = TASKS[task]
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder) / "results.json"
        command = [sys.executable, str(FOLDER / file), *arguments, "--repeats", str(repeats), "--json", str(results)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return json.loads(results.read_text())


def machine() -> dict[str, Any]:
    """Gives what the figures depend on."""
    from importlib import metadata

    packages = ("tensorflow", "keras", "torch", "scikit-learn", "stable-baselines3", "gensim")
    installed = {package.metadata["Name"]: package.version for package in metadata.distributions()}
    versions = {package: installed[package] for package in packages if package in installed}
    return {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version(), **versions}


def product_rate() -> float:
    """Gives the rate of products of matrices of 2048×2048, the median of five, in GFLOP/s; in a process of its own."""
    code = "from benchmarks.__main__ import time_products; print(time_products())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    return float(done.stdout.split()[-1])


def time_products(size: int = 2048) -> float:
    """Gives what `product_rate` does, in this process."""
    import tensorflow as tf

    matrix = tf.random.normal((size, size))
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - start)
    return 2e-9 * size**3 / statistics.median(seconds[1:])


def rows(task: str, result: dict[str, Any]) -> list[list[str]]:
    """Gives the rows of a task."""
    found = []
    for group, contestants in result["groups"].items():
        first = next(iter(contestants.values()))
        for name, runs in contestants.items():
            share = first[0].get(FLOPS, float("nan")) * median(runs, SPEED) / 1e9 / result["matrix products [GFLOP/s]"]
            ratio = times_faster(first, runs, result["ratio of"])
            cells = [readable(median(runs, *figures)) for figures in COLUMNS.values()]
            quality = readable(median(runs, *(name for name in (QUALITY, TASKS[task][1]) if name)))
            found.append([f"{task}: {group}, {name}", *cells, quality, f"{ratio:.2f}", readable(100 * share) + " %"])
    return found


def median(runs: list[Figures], *names: str) -> float:
    """Gives the median over the runs of the first of these figures that they have; NaN without."""
    for name in names:
        if name in runs[0]:
            return statistics.median(run[name] for run in runs)
    return float("nan")


def summary(tasks: dict[str, Any]) -> list[list[str]]:
    """Gives the ratios as a table of peers."""
    groups = {
        f"{group} ({task})" if task not in ("mlp", "cnn", "rnn", "gan") else group: (contestants, result["ratio of"])
        for task, result in tasks.items()
        for group, contestants in result["groups"].items()
    }
    names = dict.fromkeys(name for contestants, _ in groups.values() for name in [*contestants][1:])
    peers = [name for name in names if not name.startswith("kphys")]
    table = [["over", *groups]]
    for peer in peers:
        row = [peer]
        for contestants, ratio_of in groups.values():
            ours = next(iter(contestants.values()))
            row.append(f"{times_faster(ours, contestants[peer], ratio_of):.1f}" if peer in contestants else "")
        table.append(row)
    return table


if __name__ == "__main__":
    main()
