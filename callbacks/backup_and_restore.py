"""Bring a killed training back: everything that it needs in one file, which is always whole."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any

import h5py
import keras

from kphys import _arguments
from kphys._files import local_path, named_errors, replacing
from kphys.callbacks._deadline import BATCH_SYSTEM, TIME
from kphys.callbacks._fit import callbacks_of, fit_frame
from kphys.callbacks._frequency import WritesFiles, checked_save_freq
from kphys.callbacks._optimizers import is_agent
from kphys.callbacks._weights import saved_weights
from kphys.callbacks.early_stopping import EarlyStopping

_EPOCH, _RANDOM = "epoch", "random_states"  # Attributes of the file.
_FOR_NOW = (BATCH_SYSTEM, TIME)  # Why `EarlyStopping` ends a training that goes on another time.


class BackupAndRestore(WritesFiles, keras.callbacks.BackupAndRestore):
    """Keeps the state of training on disk, so that a killed `fit` that is started again goes on where it was.

    When an epoch is over, weights, optimizer, random states and the number of the next epoch go into one file,
    `latest.weights.h5` in `backup_dir`; a later `fit` with this callback loads it and begins with that epoch. On a CPU,
    with the same data in the same order, the weights come out bit by bit as if nothing had happened.

    The file is written beside, and then put in place: a kill at any moment, and a full disk, leave it whole. Keras' own
    callback writes over it, first the weights and then, in a second file, the epoch: a kill leaves a damaged file, or
    an epoch's weights with the number of another. It also forgets how often dropout has drawn, but for models that
    these builders returned. And the order of the callbacks does not matter here: what is kept is an epoch that all of
    them are done with. Where training is stopped for want of time, the file holds the last whole epoch, not the best
    weights that `EarlyStopping` puts back; an epoch that a signal cut off is trained again.

    After `keras.utils.set_random_seed`, `fit` has the same order of samples in every epoch; without it orders are drawn
    anew. Callbacks that remember former epochs begin anew, which is an exception to the above: `EarlyStopping` knows
    the best of the epochs since then, `GradientClipping(percentile=...)` the norms since then. So do the episodes of an
    agent, as `DQN` says.

    Args:
        backup_dir: Folder of the file, made if it is not there; for one training only.
        save_freq: "epoch", or a number of batches: then training goes on with the weights of that batch, at the
            beginning of its epoch.
        delete_checkpoint: Whether the file goes when training has ended, unless `EarlyStopping` ended it for want of
            time. With `False` the same program, started once more, has the trained model at once, with the best weights
            if they were put back; it is what a job needs that may be killed before it has saved that.

    Raises:
        ValueError, TypeError: A wrong argument; in `fit`, a model that is not built, or a file that is damaged, of
            another model, or not written by this callback.
        OSError: In `fit`, the file cannot be written; the former one is intact.

    Example:
        >>> import tempfile
        >>> import keras
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import BackupAndRestore
        >>> x, folder = np.linspace(-1, 1, 64, dtype="float32")[:, None], tempfile.mkdtemp()
        >>> def train(*callbacks):
        ...     model = mlp_regressor(1, hidden_units=4, dropout=0.1, seed=0)
        ...     callbacks = [BackupAndRestore(folder), *callbacks]
        ...     return model.fit(x, x**2, epochs=5, verbose=0, shuffle=False, callbacks=callbacks).epoch
        >>> class Interrupts(keras.callbacks.Callback):
        ...     def on_epoch_begin(self, epoch, logs=None):
        ...         if epoch == 3:
        ...             raise KeyboardInterrupt
        >>> try:
        ...     train(Interrupts())
        ... except KeyboardInterrupt:
        ...     print(train())
        [3, 4]
    """

    def __init__(
        self, backup_dir: str | os.PathLike[str], *, save_freq: str | int = "epoch", delete_checkpoint: bool = True
    ):
        folder = local_path("backup_dir", backup_dir, "runs/backup")
        delete_checkpoint = _arguments.flag("delete_checkpoint", delete_checkpoint)
        super().__init__(str(folder), checked_save_freq(save_freq), delete_checkpoint=delete_checkpoint)
        self._path = Path(self._weights_path)
        self._due, self._num_batches, self._cut_off = False, 0, False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts back what the file holds, if there is one."""
        self._due, self._batches_seen_since_last_saving, self._last_batch_seen = False, 0, 0
        if not self.model.built:
            raise ValueError(
                "BackupAndRestore keeps weights, and this model has none yet: call it once, as in `model(x[:1])`, "
                "before `fit`."
            )
        # Keras' `fit` asks this attribute where to begin; what an earlier `fit` left in it is not meant.
        self.model._initial_epoch = self._restored_epoch() if self._path.exists() else None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the file, if an epoch has ended: by now all callbacks are done with it."""
        self.model._initial_epoch = None  # It has served: another `fit` begins where it is told to.
        self._current_epoch, self._num_batches, self._cut_off = epoch, 0, False
        if self._due:
            self._save_model()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the file, if it is time for that."""
        self._num_batches, self._cut_off = batch + 1, self.model.stop_training
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes that there is something to write."""
        self._last_batch_seen = 0
        if self._is_cut_off():
            return  # The file that is there begins with this epoch.
        self._current_epoch, self._due = epoch + 1, True

    def _is_cut_off(self) -> bool:
        """Whether somebody stopped this epoch in its midst. Those who judge epochs do it at the end."""
        judged = any(callback.stop_reason not in (None, *_FOR_NOW) for callback in self._judges())
        if not self.model.stop_training or judged:
            return False
        steps = None if is_agent(self.model) else self._params().get("steps")
        return self._cut_off if steps is None else self._num_batches < steps

    def before_restoring(self) -> None:
        """Writes the file, if training is to go on another time: others are about to put back what was best."""
        if self._due and self._keeps_file() and not self._is_over():
            self._save_model()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Deletes the file, or writes it for the last time."""
        self.model._initial_epoch = None  # Where no epoch was left.
        if not self._keeps_file():
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # Something else is in it, or it was never made.
                self._path.parent.rmdir()
        elif self._due:
            if self._is_over():
                for callback in self._judges():
                    callback.restore()
                self._current_epoch = max(self._current_epoch, self._params().get("epochs") or 0)
            self._save_model()

    def _params(self) -> dict[str, Any]:
        return self.params or {}

    def _judges(self) -> list[Any]:
        """Gives the `EarlyStopping`s of this `fit`."""
        every = callbacks_of(fit_frame(self.model))
        return [callback for callback in every if isinstance(callback, EarlyStopping)]

    def _keeps_file(self) -> bool:
        return not self.delete_checkpoint or self._ended_for_now()

    def _ended_for_now(self) -> bool:
        return self._has_more() and any(callback.stop_reason in _FOR_NOW for callback in self._judges())

    def _has_more(self) -> bool:
        return self._current_epoch < (self._params().get("epochs") or math.inf)

    def _is_over(self) -> bool:
        """Whether training has come to its end, rather than being stopped for want of time, or by who knows what."""
        judged = any(callback.stop_reason is not None for callback in self._judges())
        return not self._has_more() or (judged and not self._ended_for_now())

    def _save_model(self) -> None:
        self._due = False
        states = [state.numpy() for state in _random_states(self.model)]
        content = saved_weights(self.model, **{_EPOCH: self._current_epoch, _RANDOM: states})
        with named_errors("BackupAndRestore", self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as file:
                file.write(content)

    def _restored_epoch(self) -> int:
        """Puts back the state of the model and gives the epoch that comes next."""
        try:
            with h5py.File(self._path) as file:
                epoch, states = int(file.attrs[_EPOCH]), file.attrs[_RANDOM]
        except (KeyError, OSError) as error:
            cause = "was not written by this callback" if isinstance(error, KeyError) else "is damaged"
            raise ValueError(
                f"{str(self._path)!r} {cause}: choose another `backup_dir`, or delete it to train from the beginning."
            ) from error
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            with self.model.distribute_strategy.scope():
                optimizer.build(self.model.trainable_variables)
        try:
            self.model.load_weights(self._path)
            for variable, state in zip(_random_states(self.model), states, strict=True):
                variable.assign(state)
        except ValueError as error:
            raise ValueError(
                f"{str(self._path)!r} is the backup of another model: choose another `backup_dir`, or delete it to "
                "train from the beginning."
            ) from error
        return epoch


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """Gives what layers that draw remember: Keras counts it to the variables, but not to the weights that it saves."""
    known = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    return [variable for variable in model.variables if id(variable) not in known]
