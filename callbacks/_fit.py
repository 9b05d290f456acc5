"""The call of `fit` that a callback runs in: Keras gives callbacks only the number of epochs and steps."""

from __future__ import annotations

import sys
import types
from typing import Any

import keras


def fit_frame(model: Any) -> types.FrameType | None:
    """Gives the frame of the innermost `fit` of `model` on the call stack, `None` if there is none.

    Don't store the frame: it keeps the data of that `fit` in memory.
    """
    frame = sys._getframe(1)
    while frame is not None and not (frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model):
        frame = frame.f_back
    return frame


def callbacks_of(frame: types.FrameType | None) -> list[Any]:
    """Gives the callbacks of that `fit`, none without one; Keras puts a list of its own in the place of the user's."""
    if frame is None:
        return []
    callbacks = frame.f_locals.get("callbacks")
    found = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks))
    return [entry for entry in found if entry is not None]
