"""Layers for space without an edge: circular padding, and pooling that every shift sees alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("kphys")
class PeriodicPadding(keras.layers.Layer):
    """Continues every spatial axis by its own other end: `padding` is (before, after) for all of them.

    `(batch, *space, channels)` in, each axis of space longer by before + after out. Along an axis shorter than the
    padding the image repeats.
    """

    def __init__(self, padding: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = tuple(padding)

    def call(self, inputs: Any) -> Any:
        before, after = self.padding
        outputs = inputs
        for axis in range(1, len(inputs.shape) - 1):
            size = inputs.shape[axis]
            repeats = [outputs] * (before // size + after // size)
            parts = [_slice(outputs, axis, size - before % size, size), *repeats, outputs]
            outputs = ops.concatenate([*parts, _slice(outputs, axis, 0, after % size)], axis=axis)
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *space, channels = input_shape
        return (batch, *(size + sum(self.padding) for size in space), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


@keras.saving.register_keras_serializable("kphys")
class PeriodicPooling(keras.layers.Layer):
    """Pools over windows of 2 along every spatial axis, `dilation` pixels apart, at every pixel; the shape stays.

    Pooling with stride 2 keeps every second window, and a shift by one pixel keeps the others. Here all are kept, and
    what follows looks `2 * dilation` apart: the same numbers for each phase, and the output shifts with the input.

    Reference: Holschneider et al., 1989, "A real-time algorithm for signal analysis with the help of the wavelet
    transform" (the algorithme à trous).
    """

    def __init__(self, dilation: int, mode: str = "max", **kwargs: Any):
        super().__init__(**kwargs)
        self.dilation = dilation
        self.mode = mode

    def call(self, inputs: Any) -> Any:
        outputs = inputs
        for axis in range(1, len(inputs.shape) - 1):
            size = inputs.shape[axis]
            shift = self.dilation % size
            ahead = ops.concatenate([_slice(outputs, axis, shift, size), _slice(outputs, axis, 0, shift)], axis=axis)
            outputs = ops.maximum(outputs, ahead) if self.mode == "max" else (outputs + ahead) / 2
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dilation": self.dilation, "mode": self.mode}


def _slice(values: Any, axis: int, start: int, stop: int) -> Any:
    return values[(slice(None),) * axis + (slice(start, stop),)]
