"""The tour: `python -m kphys` trains every family on data inside the package and says what came out."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras

from kphys import _arguments
from kphys._stops import STOPS


class Row(NamedTuple):
    """One line of the table at the end."""

    family: str
    data: str
    result: str
    reference: str
    seconds: float
    passed: bool


def visit(family: str, folder: Path, quick: bool) -> Row:
    """Trains `family`, writes its plot and its logs below `folder`, and gives its line of the table."""
    stop = STOPS[family]
    start = time.monotonic()
    keras.utils.set_random_seed(0)
    data = stop.load(quick)
    train, test = data
    model = stop.build(data)
    logs = folder / "logs" / family / time.strftime("%Y%m%d-%H%M%S")
    model.fit(
        *(part for part in train if part is not None),
        validation_data=test if test[1] is not None else test[0],
        **stop.settings([keras.callbacks.TensorBoard(logs, write_graph=False)]),
    )
    value, error = stop.judge(model, test, folder / f"{family}.png")
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
