"""What several workers keep in common while they train: seed, epochs, end, and files, which only the chief writes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # Alone knows whether a seed was set.

from kphys.callbacks._deadline import BATCH_SYSTEM, TIME
from kphys.callbacks.early_stopping import EarlyStopping
from kphys.callbacks.gradient_clipping import GradientClipping
from kphys.callbacks.image_logger import ImageLogger
from kphys.callbacks.training_record import TrainingRecord
from kphys.distribute._mends import replaced

# The attribute that says where a callback writes, `None` if it does not. Those of the second table read there before
# they first write.
_WRITE = {
    keras.callbacks.TensorBoard: "log_dir",
    keras.callbacks.CSVLogger: "filename",
    TrainingRecord: "folder",
    ImageLogger: "log_dir",
    GradientClipping: "log_dir",
    EarlyStopping: "checkpoint",
}
_READ_AND_WRITE = {keras.callbacks.BackupAndRestore: "backup_dir", keras.callbacks.ModelCheckpoint: "filepath"}

_NO_SEED = -1
_SHARED = (None, TIME, BATCH_SYSTEM)  # Reasons to stop that not all workers see.


class Workers:
    """The workers of a strategy, this one among them."""

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy):
        self._strategy = strategy
        resolver = strategy.cluster_resolver
        self.number, self.index = resolver.cluster_spec().num_tasks("worker"), resolver.task_id

    def tell(self, *values: int) -> np.ndarray:
        """Gives what every worker calls this with, `(workers, values)`. They wait for each other."""
        own = np.zeros((self.number, len(values)), "int64")
        own[self.index] = values
        return self._strategy.reduce("SUM", tf.constant(own), axis=None).numpy()

    def meet(self) -> None:
        """Waits until all workers have come here."""
        self.tell(0)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Keeps the workers in step: with one seed, through `fit`, and when they write files."""
        with contextlib.ExitStack() as scope:
            scope.enter_context(self._one_seed())
            folder = scope.enter_context(tempfile.TemporaryDirectory(prefix="kphys-")) if self.index else None
            self._follow_fit(scope, None if folder is None else _Elsewhere(Path(folder)))
            for method in ("save", "save_weights", "export"):
                saving = self._saving(getattr(keras.Model, method), folder)
                scope.enter_context(replaced(keras.Model, method, saving))
            yield

    @contextlib.contextmanager
    def _one_seed(self) -> Iterator[None]:
        """Has all workers draw the same orders of samples: each takes its part of the batches that it drew itself."""
        own = context.global_seed()
        told = self.tell(_NO_SEED if own is None else int(own), random.SystemRandom().randrange(2**31))
        seeds = sorted({int(seed) for seed in told[:, 0]} - {_NO_SEED})
        if len(seeds) > 1:
            raise ValueError(
                f"`keras.utils.set_random_seed` must have the same seed on all workers, got {seeds}: else each draws "
                "another order of samples, and some are never trained on."
            )
        common = seeds[0] if seeds else int(told[0, 1])
        if own is None:
            tf.random.set_seed(common)
        try:
            yield
        finally:
            if own is None and context.global_seed() == common:
                tf.random.set_seed(None)

    def _saving(self, method: Callable[..., Any], folder: str | None) -> Callable[..., Any]:
        @functools.wraps(method)
        def save(model: keras.Model, filepath: Any, *args: Any, **kwargs: Any) -> Any:
            # All write, as reading metrics adds up those of all; what others than the chief write is thrown away.
            if folder is not None and not _inside(filepath, folder):
                filepath = Path(folder, Path(filepath).name)
            result = method(model, filepath, *args, **kwargs)
            self.meet()  # Whoever reads the file next finds it whole.
            return result

        return save

    # === fit ===

    def _follow_fit(self, scope: contextlib.ExitStack, elsewhere: _Elsewhere | None) -> None:
        """Puts steps of its own around those of all callbacks together."""
        every = keras.callbacks.CallbackList
        before, after = {}, {"on_train_begin": self._check_begin, "on_epoch_end": self._stop_together}
        after["on_train_end"] = lambda callbacks: self.meet()  # BackupAndRestore has deleted its file.
        if elsewhere is not None:
            scope.callback(elsewhere.back)
            before["set_model"] = functools.partial(elsewhere.move, _WRITE)
            before["on_train_end"] = functools.partial(elsewhere.move, _READ_AND_WRITE)
            after["on_epoch_begin"] = functools.partial(elsewhere.move, _READ_AND_WRITE)
        for name in {**before, **after}:
            scope.enter_context(_around(every, name, before.get(name), after.get(name)))

    def _check_begin(self, callbacks: keras.callbacks.CallbackList) -> None:
        """Raises, on all workers, where they are about to train something else."""
        steps = callbacks.params.get("steps")
        told = self.tell(callbacks.model._initial_epoch or 0, -1 if steps is None else steps)
        begins, steps = ([int(value) for value in column] for column in told.T)
        if len(set(steps)) > 1:
            raise ValueError(
                f"`fit` must get the same data on all workers, got {steps} batches: give each the whole, it takes its "
                "own part of every batch."
            )
        if len(set(begins)) > 1:
            raise ValueError(
                f"`fit` must begin with the same epoch on all workers, got {begins}: the folder of BackupAndRestore "
                "must be in a file system that all workers see."
            )

    def _stop_together(self, callbacks: keras.callbacks.CallbackList) -> None:
        """Has all workers stop after an epoch when one does, and for its reason: their clocks differ."""
        model = callbacks.model
        model.stop_training = bool(self.tell(bool(model.stop_training)).any())
        for callback in callbacks.callbacks:
            if isinstance(callback, EarlyStopping):
                told = self.tell(_SHARED.index(callback.stop_reason) if callback.stop_reason in _SHARED else 0).max()
                if told and callback.stop_reason is None:
                    callback.stopped_epoch = callback.epoch
                callback.stop_reason = _SHARED[told] or callback.stop_reason


@contextlib.contextmanager
def _around(owner: type, name: str, before: Any = None, after: Any = None) -> Iterator[None]:
    """Has a method of `owner` call `before(self)` first and `after(self)` last, where these are given."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        if before is not None:
            before(self)
        method(self, *args, **kwargs)
        if after is not None:
            after(self)

    with replaced(owner, name, run):
        yield


class _Elsewhere:
    """Has callbacks write into `folder` what they would write where the chief does."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._numbers = itertools.count()
        self._undo: list[tuple[Any, dict[str, Any]]] = []

    def move(self, attributes: dict[type, str], callbacks: keras.callbacks.CallbackList) -> None:
        """Moves those of `callbacks` that `attributes` knows, once."""
        for callback in callbacks.callbacks:
            names = [name for kind, name in attributes.items() if isinstance(callback, kind)]
            path = getattr(callback, names[0]) if names else None
            if path is None or _inside(path, self._folder):
                continue
            old = os.fspath(path)
            place = self._folder / str(next(self._numbers))
            place.mkdir()
            new = str(place / Path(old).name)
            moved = {name: value for name, value in vars(callback).items() if _begins_with(value, old)}
            self._undo.append((callback, moved))
            for name, value in moved.items():
                setattr(callback, name, type(value)(new + os.fspath(value)[len(old) :]))

    def back(self) -> None:
        """Gives all callbacks their paths back."""
        for callback, moved in self._undo:
            vars(callback).update(moved)


def _begins_with(value: Any, path: str) -> bool:
    return isinstance(value, (str, os.PathLike)) and os.fspath(value).startswith(path)


def _inside(path: Any, folder: str | Path) -> bool:
    return Path(path).is_relative_to(folder)
