"""A training that is killed at random moments and goes on, row by row of the promises' table.

    OPENBLAS_NUM_THREADS=1 python kill_process.py FOLDER KILLS SEED ROW...

Every attempt is a process of its own, forked from this one, which has imported everything and computed nothing: it has
one thread, so that a fork is a fresh process without the seconds of the imports. Prints an `Outcome` a row, as JSON.

A moment is "never"; "calls:N", the N-th call of a function after the first epoch that a process trains, most of which
are made while files are written; or "seconds:T", so much processor time after the begin of `fit`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
from contract_table import BATCH, ROWS, Row

from kphys import callbacks as ours
from kphys._files import replacing

EPOCHS = 24  # More than kills take.
BACKUP, CHECKPOINTS, RUN, RESULT, PACE = "backup", "checkpoints", "run", "result.npz", "pace.json"
UNFINISHED = ".unfinished.*"
# What counts the time that training takes differs between any two runs.
CLOCKS = ("seconds", "steps_per_second", "words_per_second")


class Kill(keras.callbacks.Callback):
    """Leaves no chance to tidy up: at the moment given the process gets SIGKILL."""

    def __init__(self, moment: str):
        super().__init__()
        self.kind, _, self.value = moment.partition(":")
        self.calls, self.seconds = 0, 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Sets the clock."""
        self._began = time.process_time()
        if self.kind == "seconds":
            threading.Thread(target=self._wait, daemon=True).start()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Begins to count calls, and notes how long the first two epochs took."""
        if self.kind in ("calls", "counted") and not self.calls:
            sys.setprofile(self._count)
        if epoch == 1:
            self.seconds = time.process_time() - self._began

    def _wait(self) -> None:
        while time.process_time() - self._began < float(self.value):
            time.sleep(0.001)
        _die()

    def _count(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += 1
        if self.kind == "calls" and self.calls >= int(self.value):
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, name: str, moment: str = "never", *, stock: bool = False, save_freq: Any = "epoch") -> None:
    """Trains a row, or goes on with it; all its numbers go into a file. `stock`: with callbacks of Keras."""
    row, callbacks = ROWS[name], keras.callbacks if stock else ours
    check_files(folder, row.build())  # Another model: agents take over more than their variables.
    keras.utils.set_random_seed(7)
    model, kill = row.build(), Kill(moment)
    _fit(
        row,
        model,
        [
            kill,
            callbacks.BackupAndRestore(str(folder / BACKUP), save_freq=save_freq, delete_checkpoint=False),
            callbacks.ModelCheckpoint(str(folder / CHECKPOINTS / "last.keras")),
            callbacks.ModelCheckpoint(str(folder / CHECKPOINTS / "last.weights.h5"), save_weights_only=True),
            ours.TrainingRecord(folder / RUN, seed=7, resume=True),
        ],
    )
    sys.setprofile(None)
    pace = {"calls": kill.calls // (EPOCHS - 1), "seconds": kill.seconds}
    (folder / PACE).write_text(json.dumps(pace))
    with replacing(folder / RESULT) as file:
        np.savez(file, *(value.numpy() for value in _everything(model)))


def _fit(row: Row, model: keras.Model, callbacks: list[keras.callbacks.Callback]) -> None:
    if not row.kind.batches:
        row.fit(model, epochs=EPOCHS, callbacks=callbacks)
    else:  # Shuffled, with a last batch that is smaller.
        model.fit(*row.data(), batch_size=BATCH // 2 - 1, epochs=EPOCHS, verbose=0, callbacks=callbacks)


def _everything(model: keras.Model) -> list[Any]:
    """Gives the weights, the random states, and what the optimizers remember."""
    measured = {id(variable) for variable in model.metrics_variables}
    state = [variable for variable in model.variables if id(variable) not in measured]
    optimizers = (value for _, value in sorted(vars(model).items()) if isinstance(value, keras.optimizers.Optimizer))
    return state + [variable for optimizer in optimizers for variable in optimizer.variables]


def check_files(folder: Path, model: keras.Model) -> None:
    """Loads every file that lies at its place, into `model` where it is one of weights; raises if it cannot be read."""
    for file in sorted(folder.rglob("[!.]*.weights.h5")):
        model.load_weights(file)
    for file in sorted(folder.rglob("[!.]*.keras")):
        keras.saving.load_model(file)


# === The other side ===


@dataclasses.dataclass
class Outcome:
    """What became of a training that was killed again and again."""

    row: str
    kills: int = 0
    while_writing: int = 0  # Kills that left an unfinished file.
    failures: list[str] = dataclasses.field(default_factory=list)  # Of what was asked; none, if all is well.


def survive(folder: Path, name: str, kills: int, seed: int, **settings: Any) -> Outcome:
    """Kills the training of a row at random moments, lets it end, and compares it with one that was left alone."""
    whole, killed, outcome = folder / "whole", folder / "killed", Outcome(name)
    if attempt(whole, name, "counted", **settings):
        outcome.failures.append("could not be trained at all")
        return outcome
    pace, generator = json.loads((whole / PACE).read_text()), random.Random(f"{name} {seed}")
    for _ in range(kills):
        if (killed / RESULT).exists():
            break
        status = attempt(killed, name, random_moment(generator, **pace), **settings)
        outcome.kills += status == -signal.SIGKILL
        outcome.while_writing += any(killed.rglob(UNFINISHED))
        if status not in (0, -signal.SIGKILL):
            outcome.failures.append(f"could not go on after kill {outcome.kills}")
            return outcome
    if attempt(killed, name, "never", **settings):
        outcome.failures.append(f"could not go on after kill {outcome.kills}")
    else:
        outcome.failures += differences(killed, whole)
    return outcome


def attempt(*arguments: Any, **settings: Any) -> int:
    """Calls `train` in a new process and gives how that ended: 0 well, 1 with an error, -9 by SIGKILL."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("This process has several threads, and cannot fork: set OPENBLAS_NUM_THREADS=1.")
    process = os.fork()
    if process == 0:
        status = 1
        try:
            train(*arguments, **settings)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def random_moment(generator: random.Random, calls: int, seconds: float) -> str:
    """Gives a moment: mostly in the writing of the next epoch and a half, else anywhere in the first two epochs."""
    if generator.random() < 0.7:
        # A share of an epoch's calls, so that a seed's moments stay where they are when Keras makes a few more of them.
        return f"calls:{1 + int(generator.uniform(0, 1.5) * calls)}"
    return f"seconds:{generator.uniform(0, seconds):.3f}"


def differences(killed: Path, whole: Path) -> list[str]:
    """Says what a training that was killed has come to, where that is not what it comes to undisturbed."""
    found = []
    with np.load(killed / RESULT) as one, np.load(whole / RESULT) as other:
        different = [name for name in other.files if not np.array_equal(one[name], other[name], equal_nan=True)]
        if different:
            found.append(f"{len(different)} of {len(other.files)} arrays differ")
    rows, expected = (_history(path) for path in (killed, whole))
    if [row["epoch"] for row in rows] != [str(epoch) for epoch in range(EPOCHS)]:
        found.append(f"the history has the epochs {' '.join(row['epoch'] for row in rows)}")
    elif rows != expected:
        found.append("the history has other logs")
    return found


def _history(folder: Path) -> list[dict[str, str]]:
    with (folder / RUN / "history.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in CLOCKS} for row in csv.DictReader(file)]


if __name__ == "__main__":
    folder, kills, seed, *names = sys.argv[1:]
    for name in names:
        print(json.dumps(dataclasses.asdict(survive(Path(folder) / name, name, int(kills), int(seed)))), flush=True)
