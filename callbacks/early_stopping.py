"""Stop when training no longer helps, or when time is up, and keep the best."""

from __future__ import annotations

import math
import os
import signal
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys._files import named_errors, replaced
from kphys.callbacks._deadline import BATCH_SYSTEM, Deadline
from kphys.callbacks._directions import direction, direction_of_metric
from kphys.callbacks._fit import callbacks_of, fit_frame
from kphys.callbacks._optimizers import optimizers_of
from kphys.callbacks._signals import SignalWatch


class EarlyStopping(keras.callbacks.Callback):
    """Stops training when a logged value has not improved for `patience` epochs, and gives the best weights back.

    The arguments up to `start_from_epoch` are those of `keras.callbacks.EarlyStopping` and mean the same. Unlike there,
    NaN or infinity is never the best value and ends training (but what an agent logs as NaN because it does not know it
    yet is left out); epochs before `start_from_epoch` are remembered too; the best weights come back also when the
    epochs run out and after Ctrl-C; and `stopped_epoch` is `None` unless training was stopped. After another error
    `restore` brings them back.

    Args:
        monitor: Name of the logged value.
        min_delta: Smallest change that is an improvement; its sign does not matter.
        patience: Number of epochs without improvement after which training stops, ≥ 0. `None`: that is no reason.
        verbose: 1 prints a line when training is stopped or weights are restored, 0 nothing.
        mode: "min", "max", or "auto", which goes by the name: down for a loss or an error, up for an accuracy, an AUC
            or a return; by what Keras knows of the metric; what says neither ends the first epoch with an error.
        baseline: Value that must be reached within `patience` epochs. `None`: none.
        restore_best_weights: `True` leaves the model with the weights of its best epoch.
        start_from_epoch: Epochs before this one do not count for `patience` and `significance`.
        restore_best_optimizer: `True` puts the optimizers' state back with the weights, for training on from there.
        min_delta_relative: Smallest improvement as a fraction of the best value's magnitude; the larger of this and
            `min_delta` counts.
        threshold: Value to reach: training stops once it is reached in `patience` epochs in a row (one, if `patience`
            is 0 or `None`). Not improving is then no reason to stop.
        significance: Number z of standard errors: training stops once the last `window` epochs show no improvement
            larger than z times its error. With t the epoch and v the value, the improvement is that of the straight
            line v = a + b t fitted to the window by least squares; b has the error √(Σr² / (n − 2) / Σ(t − t̄)²) of n
            values with residuals r, taken as independent. 2 is usual. This takes the place of the rule of `patience`.
            `None`: not looked at.
        window: Number n of epochs that `significance` looks at, ≥ 3.
        max_seconds: Training stops before the epoch that would end later than this many seconds after its begin, if it
            takes as long as the slowest so far. `None`: no limit.
        batch_system: `True` stops in order when the batch system ends the job: before the epoch that would end after
            Slurm's `SLURM_JOB_END_TIME`, and after the current call of batches upon the signals SIGTERM and SIGUSR1;
            the epoch that those cut off is not judged; on several workers it is trained to its end. `BackupAndRestore`
            beside it keeps its file then.
        checkpoint: File, ending in ".keras", to which the whole model is saved, as it is before the best weights are
            restored, when the batch system ends training. `None`: none.

    Attributes:
        best: The best value, `None` before there is one.
        best_epoch: Its epoch, counted from 0.
        stopped_epoch: The epoch after or in which training was stopped, `None` if it was not.
        epoch: The epoch that is trained now.
        stop_reason: "patience", "threshold", "significance", "time", "batch_system", "diverged", "interrupted" by
            Ctrl-C, or `None`.

    Raises:
        ValueError, TypeError: An argument out of its range; `checkpoint` without `batch_system`.

    Reference:
        Prechelt, 1998, "Early stopping - but when?".

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import EarlyStopping
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> model = mlp_regressor(1, hidden_units=4, seed=0)
        >>> stop = EarlyStopping("loss", patience=1, min_delta=1e9, restore_best_weights=True)
        >>> history = model.fit(x, x, epochs=10, callbacks=[stop], verbose=0)
        >>> stop.stop_reason, stop.best_epoch, stop.stopped_epoch
        ('patience', 0, 1)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int | None = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        *,
        restore_best_optimizer: bool = False,
        min_delta_relative: float = 0.0,
        threshold: float | None = None,
        significance: float | None = None,
        window: int = 10,
        max_seconds: float | None = None,
        batch_system: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
    ):
        super().__init__()
        self.monitor = monitor
        self.min_delta = abs(_arguments.real("min_delta", min_delta))
        self.min_delta_relative = _arguments.real("min_delta_relative", min_delta_relative, minimum=0)
        self.patience = None if patience is None else _arguments.integer("patience", patience, minimum=0)
        self.verbose = verbose
        self.mode = _arguments.choice("mode", mode, ("auto", "min", "max"))
        self.baseline = None if baseline is None else _arguments.real("baseline", baseline)
        self.restore_best_weights = _arguments.flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = _arguments.integer("start_from_epoch", start_from_epoch, minimum=0)
        self.restore_best_optimizer = _arguments.flag("restore_best_optimizer", restore_best_optimizer)
        self.threshold = None if threshold is None else _arguments.real("threshold", threshold)
        self.significance = None if significance is None else _arguments.real("significance", significance, minimum=0)
        self.window = _arguments.integer("window", window, minimum=3)
        self.max_seconds = None if max_seconds is None else _arguments.real("max_seconds", max_seconds, positive=True)
        self.batch_system = _arguments.flag("batch_system", batch_system)
        self.checkpoint = _checked_checkpoint(checkpoint, self.batch_system)
        if self.restore_best_optimizer and not self.restore_best_weights:
            raise ValueError(
                "`restore_best_optimizer` puts the optimizer back together with the weights: pass "
                "restore_best_weights=True with it."
            )
        self._sign = direction(monitor, self.mode)
        self._watch: SignalWatch | None = None
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.stopped_epoch: int | None = None
        self.stop_reason: str | None = None
        self._best_optimizers: list[np.ndarray] | None = None
        self._restored = False
        self.wait = 0
        self._values: list[float] = []  # Since `start_from_epoch`.
        self._num_reached = 0
        self.epoch = 0
        self._deadline = Deadline(self.max_seconds, self.batch_system)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets the last training."""
        self._reset()
        if self._watch is not None:
            self._watch.end()
        actions = {}
        if self.restore_best_weights:
            actions[signal.SIGINT] = self._interrupt
        if self.batch_system:
            names = [name for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
            actions.update({getattr(signal, name): self._end_in_order for name in names})
        self._watch = SignalWatch(self, actions)

    def _interrupt(self) -> None:
        self.stopped_epoch, self.stop_reason = self.epoch, "interrupted"
        self.restore()

    def _end_in_order(self) -> None:
        self._deadline.signalled = True
        # Several workers must come to the same batch: they stop at the end of the epoch.
        if not _of_several_workers(self.model):
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares this epoch with the best one, and the time with the limits."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"`monitor` {self.monitor!r} is not among the logs {', '.join(sorted(logs or {}))}: EarlyStopping "
                "cannot go by it.",
                stacklevel=2,
            )
            reason = None
        else:
            # What a signal cut off was no whole epoch; agents log NaN for what they cannot know yet.
            cut_off = self._deadline.signalled and not _of_several_workers(self.model)
            left_out = cut_off or self.monitor in getattr(self.model, "unknown_logs", ())
            reason = None if left_out else self._judge(epoch, float(value))
        reason = self._deadline.reason() or reason
        if reason is not None:
            self._stop(epoch, reason)

    def _judge(self, epoch: int, value: float) -> str | None:
        """Gives the reason to stop that lies in the value, if there is one."""
        if self._sign is None:  # Keras makes its metrics in the first batch.
            self._sign = direction_of_metric(self.model, self.monitor)
        if not math.isfinite(value):
            return "diverged"
        if self.best_epoch is not None and self.best_epoch < self.start_from_epoch <= epoch:
            self.best = None  # What a warm-up reached only serves a run that ends within it.
        improved = self._improves(value, self.best)
        if improved:
            self._keep(epoch, value)
        self._num_reached = self._num_reached + 1 if self._reaches(value) else 0
        if self.threshold is not None and self._num_reached >= max(self.patience or 0, 1):
            return "threshold"
        if epoch < self.start_from_epoch:
            return None
        self._values.append(value)
        if self.significance is not None:
            return None if self._still_falls() else "significance"
        return self._wait_for(value, improved)

    def _wait_for(self, value: float, improved: bool) -> str | None:
        self.wait += 1
        if improved:
            if self.baseline is None or self._sign * value + self.min_delta < self._sign * self.baseline:
                self.wait = 0
            return None
        waits = self.patience is not None and self.threshold is None
        return "patience" if waits and self.wait >= self.patience else None

    def _improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        return self._sign * value + max(self.min_delta, self.min_delta_relative * abs(best)) < self._sign * best

    def _reaches(self, value: float) -> bool:
        return self.threshold is not None and self._sign * value <= self._sign * self.threshold

    def _still_falls(self) -> bool:
        if len(self._values) < self.window:
            return True
        slope, error = _slope(self._values[-self.window :])
        return -self._sign * slope > self.significance * error

    def _keep(self, epoch: int, value: float) -> None:
        weights = self.model.get_weights() if self.restore_best_weights else None
        if self.restore_best_optimizer:
            self._best_optimizers = [variable.numpy() for variable in self._optimizer_variables()]
        # Last, so that Ctrl-C finds what belongs together.
        self.best, self.best_epoch, self.best_weights = value, epoch, weights

    def _optimizer_variables(self) -> list[Any]:
        return [variable for optimizer in optimizers_of(self.model).values() for variable in optimizer.variables]

    def _stop(self, epoch: int, reason: str) -> None:
        self.stopped_epoch, self.stop_reason = epoch, reason
        self.model.stop_training = True
        if self.verbose:
            print(f"Epoch {epoch + 1}: stopped early, reason: {reason}; best {self.monitor}: {self.best}.")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back, whether training was stopped or the epochs ran out."""
        try:
            for callback in callbacks_of(fit_frame(self.model)):
                if hasattr(callback, "before_restoring"):
                    callback.before_restoring()
            if self.checkpoint is not None and self.stop_reason == BATCH_SYSTEM:
                _save(self.model, self.checkpoint)
        finally:
            self.restore()
            if self._watch is not None:
                self._watch.end()

    def restore(self) -> None:
        """Puts the best weights back, and the optimizers' state with them if that was asked for.

        Training does it itself wherever it ends in order, and on Ctrl-C.
        """
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose and not self._restored:
                print(f"Restored the weights of epoch {self.best_epoch + 1}.")
        if self._best_optimizers is not None:
            for variable, value in zip(self._optimizer_variables(), self._best_optimizers, strict=True):
                variable.assign(value)
        self._restored = True


def _of_several_workers(model: keras.Model) -> bool:
    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _slope(values: Sequence[float]) -> tuple[float, float]:
    """Gives the slope of the straight line through equidistant values, and its standard error."""
    time_steps = np.arange(len(values)) - (len(values) - 1) / 2
    spread = time_steps @ time_steps
    deviations = np.asarray(values) - np.mean(values)
    slope = time_steps @ deviations / spread
    residuals = deviations - slope * time_steps
    return slope, math.sqrt(residuals @ residuals / (len(values) - 2) / spread)


def _checked_checkpoint(checkpoint: str | os.PathLike[str] | None, batch_system: bool) -> Path | None:
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if path.suffix != ".keras":
        raise ValueError(f"`checkpoint` must be a file name that ends in '.keras', got {str(path)!r}.")
    if not batch_system:
        raise ValueError("`checkpoint` is written when the batch system ends training: pass batch_system=True with it.")
    return path


def _save(model: keras.Model, path: Path) -> None:
    with named_errors("EarlyStopping", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as unfinished:
            model.save(unfinished)
