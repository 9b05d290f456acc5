"""Save models while they train, each file whole."""

from __future__ import annotations

import glob
import math
import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from kphys import _arguments
from kphys._files import local_path, named_errors, replaced, replacing
from kphys.callbacks._frequency import WritesFiles, checked_save_freq
from kphys.callbacks._weights import saved_weights

_BEST = "best"  # The attribute, and what the comment of a `.keras` file begins with.


class ModelCheckpoint(WritesFiles, keras.callbacks.ModelCheckpoint):
    """Keras' callback, with its arguments; a kill or a full disk leaves the file of before.

    Each file is written beside and then put in place. And the best stays the best: with `save_best_only` the file says
    which value it has, and a `fit` that goes on, with an `initial_epoch` or `BackupAndRestore`, compares with that one
    (Keras' callback takes the first value that it meets for the best, and overwrites a better model). NaN is never it.

    Args:
        filepath: File, or a pattern such as "model-{epoch:02d}-{val_loss:.3f}.keras" for one a time; ends in ".keras",
            with `save_weights_only` in ".weights.h5". Its folder is made if it is not there.
        monitor: Log that says how good the model is.
        verbose: 1 says what is saved.
        save_best_only: Whether only what is better than all before is saved.
        save_weights_only: Whether weights and optimizer are saved, without the model.
        mode: "min", "max", or "auto", which knows it of losses and of Keras' metrics.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: Value of `monitor` that the first file must beat; `None`: none.

    Raises:
        ValueError, TypeError: A wrong argument.
        OSError: In `fit`, a file cannot be written; the former one is intact.

    Example:
        >>> import tempfile
        >>> import keras
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import ModelCheckpoint
        >>> x, folder = np.linspace(-1, 1, 64, dtype="float32")[:, None], tempfile.mkdtemp()
        >>> model = mlp_regressor(1, hidden_units=4, seed=0)
        >>> checkpoint = ModelCheckpoint(f"{folder}/best.keras", monitor="val_loss", save_best_only=True)
        >>> history = model.fit(x, x**2, epochs=3, verbose=0, validation_split=0.25, callbacks=[checkpoint])
        >>> keras.saving.load_model(f"{folder}/best.keras").name == model.name
        True
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        path = local_path("filepath", filepath, "runs/best.keras")
        save_weights_only = _arguments.flag("save_weights_only", save_weights_only)
        ending = ".weights.h5" if save_weights_only else ".keras"
        if not path.name.endswith(ending):
            raise ValueError(f"`filepath` must end in {ending!r}, got {str(filepath)!r}.")
        mode = _arguments.choice("mode", mode, ("auto", "min", "max"))
        save_freq = checked_save_freq(save_freq)
        save_best_only = _arguments.flag("save_best_only", save_best_only)
        super().__init__(
            str(path), monitor, verbose, save_best_only, save_weights_only, mode, save_freq, initial_value_threshold
        )
        self._began, self._best_before = False, None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Makes ready for a training."""
        self._began, self._best_before = False, None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks up the best value so far, if training goes on."""
        super().on_epoch_begin(epoch, logs)
        goes_on, self._began = epoch > 0 and not self._began, True
        if goes_on and self.save_best_only:
            self._best_before = self._best_so_far()

    def _best_so_far(self) -> float | None:
        path = Path(self.filepath)
        pattern = re.sub(r"\{.*?\}", "*", glob.escape(path.name))
        # Hidden files are what a kill left unfinished.
        files = [file for file in path.parent.glob(pattern) if not file.name.startswith(".")]
        return _kept_best(max(files, key=lambda file: file.stat().st_mtime_ns)) if files else None

    def _take_best_before(self) -> None:
        """Has the value in the file of before count, now that Keras' metrics, which say what is better, are built."""
        if self.monitor_op is None:
            self._set_monitor_op()
        best, self._best_before = self._best_before, None
        if best is not None and (self.best is None or self._is_improvement(best, self.best)):
            self.best = best

    def _is_improvement(self, value: Any, reference: Any) -> bool:
        return not math.isnan(value) and super()._is_improvement(value, reference)

    def _save_model(self, epoch: int, batch: int | None, logs: dict[str, Any] | None) -> None:
        if self.save_best_only:
            if self.monitor not in (logs or {}):
                warnings.warn(
                    f"`monitor` {self.monitor!r} is not among the logs {', '.join(sorted(logs or {}))}: "
                    "ModelCheckpoint cannot tell whether this is the best, and saves nothing.",
                    stacklevel=2,
                )
                return
            self._take_best_before()
        path = Path(self._get_file_path(epoch, batch, logs))
        if not self._should_save_model(epoch, batch, logs, str(path)):
            return
        best = {_BEST: float(self.best)} if self.save_best_only and self.best is not None else {}
        with named_errors("ModelCheckpoint", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.save_weights_only:
                with replacing(path) as file:
                    file.write(saved_weights(self.model, **best))
            else:
                with replaced(path) as unfinished:
                    self.model.save(unfinished)
                    if best:
                        with zipfile.ZipFile(unfinished, "a") as archive:
                            archive.comment = f"{_BEST}={best[_BEST]!r}".encode()


def _kept_best(path: Path) -> float | None:
    """Gives the value in the file; `None` if there is none, as in files of others."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name, _, value = archive.comment.decode(errors="replace").partition("=")
        return float(value) if name == _BEST else None
    with h5py.File(path) as file:
        value = file.attrs.get(_BEST)
    return None if value is None else float(value)
