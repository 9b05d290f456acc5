"""Signals that arrive while a model is trained: Ctrl-C, and what a batch system sends before it ends a job."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kphys.callbacks._fit import fit_frame


class SignalWatch:
    """Calls `actions[number]()` when a signal arrives in a `fit` of `model`, from now until `end`.

    Afterwards an interrupt (Ctrl-C) goes on to whom it would have reached; other signals end here. Outside of `fit`, as
    after an error that ended it, the watch ends itself. In another thread than the main one Python hears no signals,
    and this does nothing.
    """

    def __init__(self, model: Any, actions: dict[int, Callable[[], None]]):
        self._model, self._actions, self._watching = model, actions, True
        self._before: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # Not the main thread.
            for number in actions:
                self._before[number] = signal.signal(number, self._hear)

    def end(self) -> None:
        """Gives the signals back."""
        self._watching = False
        for number, before in self._before.items():
            # One that was installed later hands on to this one until it ends too.
            if signal.getsignal(number) == self._hear:
                signal.signal(number, before)

    def _hear(self, number: int, frame: types.FrameType | None) -> None:
        hears = self._watching and fit_frame(self._model) is not None
        if hears:
            with tf.init_scope():  # It can come while Keras traces a function.
                self._actions[number]()
            if number != signal.SIGINT:
                return
        before = self._before[number]
        self.end()
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
