"""Stop when training no longer helps, and keep the best."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np

from kphys import _arguments

# What a log's name says about its direction: a part between underscores, `val_` and output names set apart.
_RISES = (
    "accuracy",
    "acc",
    "auc",
    "precision",
    "recall",
    "f1",
    "score",
    "return",
    "similarity",
    "coverage",
    "iou",
    "correlation",
    "specificity",
    "sensitivity",
)
_FALLS = (
    "loss",
    "error",
    "mae",
    "mse",
    "rmse",
    "mape",
    "msle",
    "nll",
    "crossentropy",
    "divergence",
    "perplexity",
    "hinge",
    "poisson",
    "logcosh",
)


class EarlyStopping(keras.callbacks.Callback):
    """Stops training when a logged value has not improved for `patience` epochs, and gives the best weights back.

    The arguments are those of `keras.callbacks.EarlyStopping` and mean the same. Unlike there, NaN or infinity is never
    the best value and ends training; epochs before `start_from_epoch` are remembered too; the best weights come back
    also when the epochs run out; and `stopped_epoch` is `None` unless training was stopped.

    Args:
        monitor: Name of the logged value.
        min_delta: Smallest change that is an improvement; its sign does not matter.
        patience: Number of epochs without improvement after which training stops, ≥ 0.
        verbose: 1 prints a line when training is stopped or weights are restored, 0 nothing.
        mode: "min", "max", or "auto", which goes by the name: down for a loss or an error, up for an accuracy, an AUC
            or a return; a name that says neither is refused.
        baseline: Value that must be reached within `patience` epochs. `None`: none.
        restore_best_weights: `True` leaves the model with the weights of its best epoch.
        start_from_epoch: Epochs before this one do not count for `patience`.
        restore_best_optimizer: `True` puts the optimizer's state back with the weights, for training on from there.

    Attributes:
        best: The best value, `None` before there is one.
        best_epoch: Its epoch, counted from 0.
        stopped_epoch: The epoch after which training was stopped, `None` if it was not.
        stop_reason: "patience", "diverged" or `None`.

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
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        *,
        restore_best_optimizer: bool = False,
    ):
        super().__init__()
        self.monitor = monitor
        self.min_delta = abs(_arguments.real("min_delta", min_delta))
        self.patience = _arguments.integer("patience", patience, minimum=0)
        self.verbose = verbose
        self.mode = _arguments.choice("mode", mode, ("auto", "min", "max"))
        self.baseline = None if baseline is None else _arguments.real("baseline", baseline)
        self.restore_best_weights = _arguments.flag("restore_best_weights", restore_best_weights)
        self.start_from_epoch = _arguments.integer("start_from_epoch", start_from_epoch, minimum=0)
        self.restore_best_optimizer = _arguments.flag("restore_best_optimizer", restore_best_optimizer)
        self._sign = self._direction()
        self._reset()

    def _direction(self) -> int:
        """Gives 1 where lower is better, −1 where higher is."""
        if self.mode != "auto":
            return 1 if self.mode == "min" else -1
        words = self.monitor.lower().split("_")
        for sign, known in ((1, _FALLS), (-1, _RISES)):
            if any(word in known for word in words):
                return sign
        raise ValueError(
            f"`mode` 'auto' does not know whether `monitor` {self.monitor!r} should fall or rise: pass 'min' or 'max'."
        )

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.stopped_epoch: int | None = None
        self.stop_reason: str | None = None
        self._best_optimizer: list[np.ndarray] | None = None
        self.wait = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets the last training."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares this epoch with the best one."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"`monitor` {self.monitor!r} is not among the logs {', '.join(sorted(logs or {}))}: EarlyStopping "
                "cannot stop.",
                stacklevel=2,
            )
            return
        if not math.isfinite(value):
            self._stop(epoch, "diverged")
            return
        if self.best_epoch is not None and self.best_epoch < self.start_from_epoch <= epoch:
            self.best = None  # What a warm-up reached only serves a run that ends within it.
        improved = self._improves(value, self.best)
        if improved:
            self._keep(epoch, float(value))
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if improved:
            if self._improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience:
            self._stop(epoch, "patience")

    def _improves(self, value: float, reference: float | None) -> bool:
        return reference is None or self._sign * value + self.min_delta < self._sign * reference

    def _keep(self, epoch: int, value: float) -> None:
        self.best, self.best_epoch = value, epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()
        if self.restore_best_optimizer:
            self._best_optimizer = [variable.numpy() for variable in self.model.optimizer.variables]

    def _stop(self, epoch: int, reason: str) -> None:
        self.stopped_epoch, self.stop_reason = epoch, reason
        self.model.stop_training = True
        if self.verbose:
            print(f"Epoch {epoch + 1}: stopped early, reason: {reason}; best {self.monitor}: {self.best}.")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back, whether training was stopped or the epochs ran out."""
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                print(f"Restored the weights of epoch {self.best_epoch + 1}.")
        if self._best_optimizer is not None:
            for variable, value in zip(self.model.optimizer.variables, self._best_optimizer, strict=True):
                variable.assign(value)
