"""Files of weights that are made in memory and written in one piece."""

from __future__ import annotations

import io
from typing import Any

import h5py
import keras


class _Memory(io.BytesIO):
    """A file in memory, under a name that Keras takes for one of weights."""

    def __fspath__(self) -> str:
        return "memory.weights.h5"

    __str__ = __fspath__


def saved_weights(model: keras.Model, **attributes: Any) -> memoryview:
    """Gives what `model.save_weights` writes, with more attributes of the file.

    In memory, as HDF5 cannot be trusted with a full disk: closing a file that it could not write may end the process.
    """
    memory = _Memory()
    model.save_weights(memory)
    with h5py.File(memory, "a") as file:
        file.attrs.update(attributes)
    return memory.getbuffer()
