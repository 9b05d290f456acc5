"""A training that kills itself in epoch 3: `python training_record_process.py FOLDER before|after|replacing`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from kphys.callbacks.training_record import TrainingRecord

EPOCHS, KILLED = 6, 3


def build() -> keras.Model:
    """Gives a model without luck: the weights start at 0."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def train(model: keras.Model, callbacks: list[keras.callbacks.Callback]) -> None:
    """Fits a straight line, four batches an epoch, always in the same order."""
    x = np.linspace(-1, 1, 16, dtype="float32")[:, None]
    model.fit(x, 2 * x + 1, epochs=EPOCHS, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)


def backup(folder: Path) -> keras.callbacks.BackupAndRestore:
    """Gives Keras' own callback that goes on where a killed training was."""
    return keras.callbacks.BackupAndRestore(str(folder / "backup"))


class Kill(keras.callbacks.Callback):
    """Leaves no chance to tidy up when epoch 3 ends; without `armed` it does nothing."""

    armed = False

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Ends the process."""
        if self.armed and epoch == KILLED:
            _kill()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_while_replacing() -> None:
    replace = os.replace
    left = iter(range(KILLED, -1, -1))

    def replace_or_die(source: str, target: str) -> None:
        if Path(target).name == "history.csv" and next(left) == 0:
            _kill()
        replace(source, target)

    os.replace = replace_or_die


if __name__ == "__main__":
    folder, moment = Path(sys.argv[1]), sys.argv[2]
    keras.utils.set_random_seed(11)
    record = TrainingRecord(folder / "run", seed=5)
    if moment == "replacing":
        _kill_while_replacing()
    else:
        Kill.armed = True
    order = [Kill(), record] if moment == "before" else [record, Kill()]
    train(build(), [*order, backup(folder)])
