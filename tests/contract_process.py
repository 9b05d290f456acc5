"""What the contract asks of a new process, for all rows at once: `python contract_process.py TASK FOLDER ROW...`."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from contract_table import ROWS


def build(folder: Path, names: list[str]) -> None:
    """Saves the weights that the seed gives here."""
    for name in names:
        np.savez(folder / f"{name}.npz", *ROWS[name].build().get_weights())


def load(folder: Path, names: list[str]) -> None:
    """Saves what the models found in `folder` predict here."""
    for name in names:
        model = keras.models.load_model(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", model.predict(ROWS[name].inputs(), verbose=0))


def mirror(folder: Path, names: list[str]) -> None:
    """Saves the weights after an epoch of two batches on two devices."""
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    (name,) = names  # Collective operations of a second model in the same process can meet those of the first.
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = ROWS[name].build()
    history = ROWS[name].fit(model, batches=2)
    np.savez(folder / f"{name}.npz", np.asarray(list(history.history.values())), *model.get_weights())


if __name__ == "__main__":
    task, folder, *names = sys.argv[1:]
    {"build": build, "load": load, "mirror": mirror}[task](Path(folder), names)
