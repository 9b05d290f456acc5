"""Write down what was trained, how, and what came of it, so that a killed run can be read too."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys._files import local_path, named_errors, replacing
from kphys.callbacks._run_information import now, peak_memory, run_information
from kphys.callbacks._setting import fingerprint
from kphys.records import CONFIG, HISTORY, OWN_COLUMNS, RESULT, holds_record, read_config, read_rows

MOST_NAMED = 3


class TrainingRecord(keras.callbacks.Callback):
    """Writes one folder a run, which a person or a program can read later: see `kphys.records`.

    - `config.json`, before the first epoch: the model's and optimizers' configuration, the arguments of `fit` (of data
      the shape and dtype, of callbacks the arguments that they keep), seeds, versions, the git commit of the current
      directory and whether tracked files differed from it, the device, the command line; and `fingerprint`, which is
      equal for runs that differ only in seeds, in names, in how the work is executed and in what watches it.
    - `history.csv`, after every epoch: `epoch` counted from 0, `seconds` with validation, and the logs; a log with
      several values has a column each, `f1[0]`, `f1[1]`. A cell is empty where the epoch had no such log.
    - `result.json`, at the end: `status` ("finished", or "stopped" where `stop_training` was set), the logs of the
      last epoch, the number of epochs, the wall time in seconds, and the most memory, in bytes, that the process and
      each GPU had held by then.

    Each file is replaced whole, so that a kill leaves the old one or the new one. JSON knows no NaN and no infinity:
    there they are the strings "NaN", "Infinity" and "-Infinity". Put TrainingRecord after callbacks that add logs; of
    several processes that train together let one write.

    Args:
        folder: Folder of this run, made if it is not there.
        seed: The run's seed, for the record only; `None`: what was given to `keras.utils.set_random_seed`, if anything.
        resume: `True` goes on with the record in `folder`, if there is one: epochs before the first one of this `fit`
            are kept, later ones are written anew, and `earlier` in `config.json` tells of the former call. For jobs
            that are started again with `BackupAndRestore` or `initial_epoch`; Keras' own one comes after the record.

    Raises:
        ValueError, TypeError: A wrong argument; in `fit`, a folder that holds a record without `resume`, or a damaged
            record.
        OSError: In `fit`, a file cannot be written; the former one is intact.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from kphys import mlp_regressor, records
        >>> from kphys.callbacks import TrainingRecord
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> folder = tempfile.mkdtemp()
        >>> model = mlp_regressor(1, hidden_units=4, seed=0)
        >>> history = model.fit(x, x**2, epochs=3, verbose=0, callbacks=[TrainingRecord(folder, seed=0)])
        >>> run = records.read(folder)
        >>> run.status, run.seed, run.history["epoch"], run.config["fit"]["x"]["shape"]
        ('finished', 0, array([0, 1, 2]), [64, 1])
    """

    def __init__(self, folder: str | os.PathLike[str], *, seed: int | None = None, resume: bool = False):
        super().__init__()
        self.folder = local_path("folder", folder, "runs/first")
        self.seed = _arguments.seed("seed", seed)
        self.resume = _arguments.flag("resume", resume)
        self._rows: list[dict[str, str]] = []
        self._first_epoch: int | None = None
        self._began = self._epoch_began = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Writes `config.json`, or refuses a folder that is taken."""
        self._began = time.perf_counter()
        self._first_epoch, self._rows = None, []
        taken = holds_record(self.folder)
        if taken and not self.resume:
            raise ValueError(
                f"`folder` {str(self.folder)!r} holds a record already: choose another folder, or pass resume=True to "
                "go on with that run."
            )
        config = run_information(self.model, self.params, self.seed)
        if taken:
            self._rows = read_rows(self.folder / HISTORY)
            config["earlier"] = _earlier(self.folder, config)
        with named_errors("TrainingRecord", self.folder / CONFIG):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write_json(CONFIG, config)
        with named_errors("TrainingRecord", self.folder / RESULT):
            (self.folder / RESULT).unlink(missing_ok=True)  # From here on the run is unfinished again.

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's clock."""
        self._epoch_began = time.perf_counter()
        if self._first_epoch is None:
            # Known only now: BackupAndRestore chooses it when training begins.
            self._first_epoch = epoch
            self._rows = [row for row in self._rows if int(row["epoch"]) < epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes `history.csv`."""
        seconds = time.perf_counter() - self._epoch_began
        self._rows.append({"epoch": str(epoch), "seconds": f"{seconds:.6f}", **_cells(logs or {})})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        self._write(HISTORY, text.getvalue())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes `result.json`."""
        first = math.inf if self._first_epoch is None else self._first_epoch
        before = sum(float(row["seconds"]) for row in self._rows if int(row["epoch"]) < first)
        last = self._rows[-1] if self._rows else {}
        result = {
            "status": "stopped" if self.model.stop_training else "finished",
            "final": {name: float(cell) for name, cell in last.items() if cell and name not in OWN_COLUMNS},
            "epochs": len(self._rows),
            "seconds": round(before + time.perf_counter() - self._began, 6),
            "peak_memory": peak_memory(),
            "ended": now(),
        }
        self._write_json(RESULT, result)

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._write(name, _json(content))

    def _write(self, name: str, text: str) -> None:
        with named_errors("TrainingRecord", self.folder / name), replacing(self.folder / name) as file:
            file.write(text.encode())


def _cells(logs: dict[str, Any]) -> dict[str, str]:
    cells = {}
    for name, value in logs.items():
        try:
            values = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise TypeError(
                f"TrainingRecord writes numbers, but the log {name!r} is {value!r}: leave it out."
            ) from None
        name = f"logged_{name}" if name in OWN_COLUMNS else name
        if values.ndim == 0:
            cells[name] = repr(float(values))
        else:
            cells.update({f"{name}[{index}]": repr(float(entry)) for index, entry in enumerate(values.ravel())})
    return cells


def _earlier(folder: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Gives, for each earlier call, what it had that this one has not; warns if it trained something else."""
    if not (folder / CONFIG).exists():
        return []
    former, read = read_config(folder), json.loads(_json(config))  # As it will be read: with lists for tuples.
    old, new = former["setting"], read["setting"]
    # More epochs than before is what going on means, and a learning rate may have fallen meanwhile.
    rates = {name: value for name, value in old.items() if name.endswith("learning_rate")}
    expected = {"fit.epochs", *rates}
    different = [name for name in {**old, **new} if old.get(name) != new.get(name) and name not in expected]
    if not different:
        config["setting"] = {**new, **rates}
        config["fingerprint"] = fingerprint(config["setting"])
    if different:
        named = "; ".join(f"{name} was {old.get(name)}, is {new.get(name)}" for name in different[:MOST_NAMED])
        warnings.warn(
            f"resume=True goes on with a run of another setting in {str(folder)!r}: {named}"
            f"{' and more' if len(different) > MOST_NAMED else ''}.",
            stacklevel=2,
        )
    changed = {name: value for name, value in former.items() if name != "earlier" and read.get(name) != value}
    return [*former.get("earlier", ()), changed]


def _json(content: dict[str, Any]) -> str:
    return json.dumps(_strict(content), indent=2, allow_nan=False, default=str) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
