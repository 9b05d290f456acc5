"""Signals that arrive while a model is trained: Ctrl-C, and what a batch system sends before it ends a job."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Callable

import keras
import tensorflow as tf

from kphys.callbacks._fit import callbacks_of, fit_frame


class SignalWatch:
    """Calls `actions[number]()` when a signal arrives in a `fit` with `callback`, from now until `end`.

    Afterwards an interrupt (Ctrl-C) goes on to whom it would have reached; other signals end here. Outside of that
    `fit`, as after an error that ended it, a signal goes its way as if nobody watched. In another thread than the main
    one Python hears no signals, and this does nothing.
    """

    def __init__(self, callback: keras.callbacks.Callback, actions: dict[int, Callable[[], None]]):
        self._callback, self._actions = callback, actions
        self._relays: list[_Relay] = []
        if threading.current_thread() is threading.main_thread():
            self._relays = [relay for relay in map(_relay, actions) if relay is not None]
        for relay in self._relays:
            relay.watches.append(self)

    def end(self) -> None:
        """Gives the signals back."""
        relays, self._relays = self._relays, []
        for relay in relays:
            relay.watches.remove(self)
            relay.leave_if_idle()

    def hears(self) -> bool:
        """Says whether the `fit` of the callback is going on."""
        return any(entry is self._callback for entry in callbacks_of(fit_frame(self._callback.model)))

    def act(self, number: int) -> None:
        """Does what is to be done about the signal."""
        with tf.init_scope():  # It can come while Keras traces a function.
            self._actions[number]()


class _Relay:
    """Stands where the handler of one signal stood, and hands on to those that watch it and to that handler."""

    def __init__(self, number: int):
        self.number, self.before = number, signal.getsignal(number)
        self.watches: list[SignalWatch] = []
        signal.signal(number, self)

    def __call__(self, number: int, frame: types.FrameType | None) -> None:
        hearing = [watch for watch in self.watches if watch.hears()]
        for watch in hearing:
            watch.act(number)
        if hearing and number != signal.SIGINT:
            return
        for watch in list(self.watches):
            watch.end()
        if callable(self.before):
            self.before(number, frame)
        elif self.before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def leave_if_idle(self) -> None:
        # A handler that was installed later may hand on to this one: then it stays, and only passes on.
        if not self.watches and signal.getsignal(self.number) is self:
            signal.signal(self.number, self.before)


def _relay(number: int) -> _Relay | None:
    """Gives the relay in place, without those whose training broke off; `None` if it is not to be had."""
    present = signal.getsignal(number)
    if number == signal.SIGINT and present == signal.SIG_IGN:
        return None  # In the background of a shell, or under nohup: so it shall stay.
    if isinstance(present, _Relay):
        present.watches = [watch for watch in present.watches if watch.hears()]
        return present
    return None if present is None else _Relay(number)
