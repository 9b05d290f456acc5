"""Runs that `kphys.callbacks.TrainingRecord` wrote: read back, and compared in one table and one plot."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kphys import _arguments

if TYPE_CHECKING:
    from kphys._comparison import Comparison

CONFIG, HISTORY, RESULT = "config.json", "history.csv", "result.json"
OWN_COLUMNS = ("epoch", "seconds")


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """One run.

    Attributes:
        folder: where it is.
        config: `config.json`.
        history: column of `history.csv` to an array `(epochs,)`, NaN where the epoch has no such value; empty before
            the first epoch is written.
        result: `result.json`, `None` for a run that was killed or still runs.
    """

    folder: Path
    config: dict[str, Any]
    history: dict[str, np.ndarray]
    result: dict[str, Any] | None

    @property
    def status(self) -> str:
        """One of "finished", "stopped" (a callback set `stop_training`), "unfinished" (killed, or running still)."""
        return "unfinished" if self.result is None else self.result["status"]

    @property
    def seed(self) -> int | None:
        """The seed that TrainingRecord was told, else that of `keras.utils.set_random_seed`, else `None`."""
        seeds = self.config["seeds"]
        return seeds["global"] if seeds["seed"] is None else seeds["seed"]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what was logged."""
        return tuple(name for name in self.history if name not in OWN_COLUMNS)

    def __repr__(self) -> str:
        epochs = len(self.history.get("epoch", ()))
        return f"Record({str(self.folder)!r}, {self.status}, epochs={epochs}, seed={self.seed})"


def read(folder: str | os.PathLike[str]) -> Record:
    """Gives the record in a folder, also of a run that was killed or still runs.

    Args:
        folder: What `TrainingRecord` was given.

    Returns:
        A `Record`. Of the strings in `result["final"]` that stand for NaN and infinity, the numbers.

    Raises:
        ValueError: The folder holds no record, or a file is damaged.
        TypeError: `folder` is no path.
    """
    folder = _path("folder", folder)
    if not folder.is_dir():
        raise ValueError(f"`folder` {str(folder)!r} holds no record: there is no such folder.")
    if not (folder / CONFIG).is_file():
        inside = [entry.name for entry in _with_records(folder)]
        hint = f" Records are in its sub-folders: {', '.join(inside[:5])}{', …' * (len(inside) > 5)}." if inside else ""
        raise ValueError(f"`folder` {str(folder)!r} holds no record: there is no {CONFIG}.{hint}")
    result = None
    if (folder / RESULT).exists():
        result = read_json(folder / RESULT)
        result["final"] = {name: float(value) for name, value in result["final"].items()}
    rows = read_rows(folder / HISTORY)
    history = {
        name: np.array([int(row[name]) if name == "epoch" else float(row[name] or "nan") for row in rows])
        for name in (rows[0] if rows else ())
    }
    return Record(folder, read_config(folder), history, result)


def compare(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], metric: str | None = None
) -> Comparison:
    r"""Gives one table and one plot of several runs, those that differ only in their seeds as mean ± error.

    With $x_i$ the values that the $n$ runs of a group ended with, the error is that of the mean,
    $\sqrt{\sum_i (x_i - \bar x)^2 / (n (n - 1))}$. Runs that were killed or still run are left out of the table's
    values, and noted.

    Args:
        folders: The runs' folders; or one folder, whose sub-folders hold the runs.
        metric: What stands first in the table and is drawn; `None`: "val_loss" if it was logged, else "loss", else what
            was logged first.

    Returns:
        A `Comparison`, which prints as a table: `comparison["label"].scores["val_loss"].value`, `.error`;
        `comparison.plot("runs.png")`.

    Raises:
        ValueError: No folders, a folder without a record or given twice, or an unknown metric.
        TypeError: What is no path.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from kphys import mlp_regressor, records
        >>> from kphys.callbacks import TrainingRecord
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> folder = tempfile.mkdtemp()
        >>> for seed in range(3):
        ...     model = mlp_regressor(1, hidden_units=4, seed=seed)
        ...     record = TrainingRecord(f"{folder}/small_{seed}", seed=seed)
        ...     history = model.fit(x, x**2, epochs=2, verbose=0, callbacks=[record])
        >>> comparison = records.compare(folder)
        >>> comparison.metric, comparison["small"].seeds
        ('loss', (0, 1, 2))
    """
    # Imported here: reading one record needs none of it.
    from kphys._comparison import compare_records

    records = [read(path) for path in _folders(folders)]
    known = list(dict.fromkeys(name for record in records for name in record.metrics))
    if not known:
        raise ValueError("`folders` hold no epoch yet: there is nothing to compare.")
    if metric is None:
        metric = next((name for name in ("val_loss", "loss") if name in known), known[0])
    return compare_records(records, _arguments.choice("metric", metric, known))


def holds_record(folder: Path) -> bool:
    """Says whether any file of a record is there."""
    return any((folder / name).exists() for name in (CONFIG, HISTORY, RESULT))


def read_json(path: Path) -> dict[str, Any]:
    """Gives what a file of a record says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} is damaged: it holds a {type(content).__name__}, not a table of names.")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """Gives what a record says about its run, refusing a file of another program."""
    config = read_json(folder / CONFIG)
    missing = [name for name in ("fingerprint", "seeds", "setting") if name not in config]
    if missing:
        raise ValueError(f"{str(folder / CONFIG)!r} was not written by TrainingRecord: it has no {missing[0]!r}.")
    return config


def read_rows(path: Path) -> list[dict[str, str]]:
    """Gives the lines of `history.csv` as they are written, none if the file is not there."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for line, row in enumerate(rows, start=2):
        if None in row or not row.get("epoch", "").isdecimal() or not all(map(_is_cell, row.values())):
            raise ValueError(f"{str(path)!r} is damaged: line {line} is not a row of the table.")
    return rows


def _is_cell(text: str | None) -> bool:
    if text is None:
        return False  # The line is shorter than the heading.
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"`{name}` must be a path, got {value!r} ({type(value).__name__}).")
    return Path(value)


def _with_records(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [entry for entry in entries if (entry / CONFIG).is_file()]


def _folders(folders: Any) -> list[Path]:
    if isinstance(folders, (str, os.PathLike)):
        folder = Path(folders)
        found = [folder] if (folder / CONFIG).is_file() else _with_records(folder)
        if not found:
            raise ValueError(f"`folders` {str(folder)!r} holds no record, and neither do its sub-folders.")
        return found
    if not isinstance(folders, Sequence):
        raise TypeError(f"`folders` must be a list of paths or one path, got {folders!r} ({type(folders).__name__}).")
    paths = [_path(f"folders[{index}]", entry) for index, entry in enumerate(folders)]
    if not paths:
        raise ValueError("`folders` must name at least one folder, got none.")
    for index, path in enumerate(paths):
        if path.resolve() in {other.resolve() for other in paths[:index]}:
            raise ValueError(f"`folders` names {str(path)!r} twice: a run counts once.")
    return paths
