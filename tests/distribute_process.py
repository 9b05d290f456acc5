"""One worker of a job, or what it is held against: `python distribute_process.py TASK FOLDER NAME...`.

The environment says which worker. What a worker finds goes to `FOLDER/OWN.npz`, where OWN is its place or the task.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from contract_table import ROWS

import kphys
from kphys.callbacks import (
    BackupAndRestore,
    EarlyStopping,
    GradientClipping,
    ImageLogger,
    ModelCheckpoint,
    TrainingRecord,
)
from kphys.distribute import _on_replicas

EPOCHS, BATCH, KILLED_EPOCH = 4, 12, 2
VALIDATED = "mlp_classifier[multiclass]"
LOGS = "loss", "gradient_norm", "gradient_norm_max", "clipped_fraction"


def own_place() -> str:
    """Gives which of the workers this is."""
    return str(json.loads(os.environ["TF_CONFIG"])["task"]["index"])


def train_rows(names: list[str], scope: contextlib.AbstractContextManager) -> dict[str, np.ndarray]:
    """Gives what training each row of the promises' table comes to: logs and weights, of one row more."""
    results = {}
    with scope:
        for name in names:
            print(name, flush=True)  # Where it stands, should it fail.
            row = ROWS[name]
            keras.utils.set_random_seed(4)
            model = row.build(xla=False)
            history = row.fit(model, batches=2, epochs=2, validate=name == VALIDATED).history
            results |= {f"{name}/{key}": np.asarray(value) for key, value in history.items()}
            if name == VALIDATED:
                results[f"{name}/predictions"] = model.predict(row.inputs(), batch_size=5, verbose=0)
            results |= {f"{name}/weight {index}": value for index, value in enumerate(model.get_weights())}
    return results


def rows(folder: Path, names: list[str]) -> None:
    """Trains rows as one of the workers."""
    np.savez(folder / f"{own_place()}.npz", **train_rows(names, kphys.distribute.strategy()))


def mirror(folder: Path, names: list[str]) -> None:
    """Trains rows on two replicas of one process."""
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    # Without collective operations: those of a second model in the same process can meet those of the first.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())
    np.savez(folder / "mirror.npz", **train_rows(names, _on_replicas(strategy)))


def straight_line(epochs: int, *callbacks: keras.callbacks.Callback) -> tuple[keras.Model, keras.callbacks.History]:
    """Trains a small network, in batches of another order than the samples'."""
    keras.utils.set_random_seed(4)
    x = np.linspace(-1, 1, 8 * BATCH, dtype="float32")[:, None]
    model = kphys.mlp_regressor(1, hidden_units=4, seed=3)
    history = model.fit(x, 2 * x + 1, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=list(callbacks))
    return model, history


def powers_of_two(callbacks: list[keras.callbacks.Callback]) -> list[float]:
    """Gives the mean of 2⁰ … 2¹¹ as `fit` finds it in random batches: another one if it leaves one out."""
    x = 2.0 ** np.arange(12, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mae")
    return model.fit(x, 0 * x, batch_size=4, epochs=2, verbose=0, callbacks=callbacks).history["loss"]


def clipping(log_dir: Path | None = None) -> GradientClipping:
    """Gives a callback that cuts some of `straight_line`'s steps short, and not all."""
    return GradientClipping(global_norm=2.0, log_dir=log_dir)


class StopsHere(keras.callbacks.Callback):
    """Wants to stop after the first epoch, on the last worker alone."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stops."""
        self.model.stop_training = not kphys.distribute.is_chief()


class EndsJob(EarlyStopping):
    """Has the last worker alone hear of the end of its job, in the second epoch."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Gets the signal."""
        if self.epoch == 1 and not kphys.distribute.is_chief():
            signal.raise_signal(signal.SIGTERM)


def files(folder: Path, names: list[str]) -> None:
    """Trains with all that writes, and saves, as one of the workers."""
    shared = folder / "shared"
    with kphys.distribute.strategy():
        mean = powers_of_two([])  # No seed yet.
        stopped = powers_of_two([StopsHere()])
        record, checkpoint = TrainingRecord(shared / "record"), ModelCheckpoint(shared / "best.keras", "loss", 0, True)
        callbacks = [
            record,
            checkpoint,
            keras.callbacks.ModelCheckpoint(str(shared / "{epoch}.weights.h5"), save_weights_only=True),
            keras.callbacks.TensorBoard(shared / "board"),
            keras.callbacks.CSVLogger(str(shared / "log.csv")),
            BackupAndRestore(shared / "backup", delete_checkpoint=False),
            clipping(shared / "norms"),
            stop := EndsJob(
                "loss", patience=9, restore_best_weights=True, batch_system=True, checkpoint=shared / "job.keras"
            ),
            keras.callbacks.BackupAndRestore(str(shared / "keras-backup"), delete_checkpoint=False),
        ]
        model, history = straight_line(5, *callbacks)
        cnn = kphys.cnn_classifier((8, 8, 1), 2, filters=2, hidden_units=2)
        images = np.zeros((4, 8, 8, 1), "float32")
        cnn.fit(images, np.arange(4) % 2, verbose=0, callbacks=[ImageLogger(shared / "images")])
        model.save(shared / "model.keras")
        again = keras.models.load_model(shared / "model.keras").get_weights()
    same = all(np.array_equal(a, b) for a, b in zip(again, model.get_weights(), strict=True))
    paths = np.array([str(record.folder), checkpoint.filepath])
    np.savez(folder / f"{own_place()}.npz", mean=mean, stopped=stopped, same=same,
             logs=[history.history[name] for name in LOGS], paths=paths, chief=kphys.distribute.is_chief(),
             ended=[stop.best_epoch, stop.stopped_epoch], reason=stop.stop_reason,
             weights=model.get_weights()[0])  # fmt: skip


class Kill(keras.callbacks.Callback):
    """Leaves this worker no chance to tidy up in the middle of an epoch."""

    _epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Ends the process."""
        if self._epoch == KILLED_EPOCH and batch == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def job(folder: Path, names: list[str]) -> None:
    """Trains with a backup as one of the workers; the worker in `names` is killed."""
    with kphys.distribute.strategy():
        killed = [Kill()] if own_place() in names else []
        model, history = straight_line(EPOCHS, BackupAndRestore(folder / "backup"), *killed)
    np.savez(folder / f"{own_place()}.npz", np.asarray(history.epoch), *model.get_weights())


def refused(folder: Path, names: list[str]) -> None:
    """Notes what workers are told that do not fit together."""
    said = []
    x = np.zeros((12, 1), "float32")
    place = int(own_place())
    for seed, number in ((place, 12), (1, 8 + 4 * place)):
        keras.utils.set_random_seed(seed)
        try:
            with kphys.distribute.strategy():
                model = kphys.mlp_regressor(1, hidden_units=2, seed=0)
                model.fit(x[:number], x[:number], batch_size=4, verbose=0)
        except ValueError as error:
            said.append(str(error))
    np.savez(folder / f"{own_place()}.npz", said=said)


if __name__ == "__main__":
    task, folder, *names = sys.argv[1:]
    tasks = {"rows": rows, "mirror": mirror, "files": files, "job": job, "refused": refused}
    tasks[task](Path(folder), names)
