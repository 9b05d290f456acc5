"""Layers that use the weights of another one, transposed."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

# Files hold the name of the layer that a tied one belongs to; whoever reads the file says where it is to be found.
_ENCODER: contextvars.ContextVar[keras.Model | None] = contextvars.ContextVar("encoder", default=None)


@contextlib.contextmanager
def tied_to(encoder: keras.Model) -> Iterator[None]:
    """Within it, layers made from a configuration are tied to those of `encoder`."""
    token = _ENCODER.set(encoder)
    try:
        yield
    finally:
        _ENCODER.reset(token)


class _Tied(keras.layers.Layer):
    """The kernel of `source`, and a bias of its own.

    Made from a configuration outside of `tied_to`, as for a decoder that is loaded without its encoder, it has its own
    kernel of the same shape.
    """

    def __init__(self, source: keras.layers.Layer | str, use_bias: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.source = source if isinstance(source, str) else source.name
        self.use_bias = use_bias
        self.kernel = None if isinstance(source, str) else source.kernel

    def add_weights(self, kernel_shape: tuple[int, ...], width: int) -> None:
        if self.kernel is None:
            self.kernel = self.add_weight(shape=kernel_shape, initializer="glorot_uniform", name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")

    def add_bias(self, outputs: Any) -> Any:
        return outputs + ops.cast(self.bias, outputs.dtype) if self.use_bias else outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "source": self.source, "use_bias": self.use_bias}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Tied:
        encoder = _ENCODER.get()
        config = dict(config)
        config["dtype"] = keras.dtype_policies.get(config["dtype"])
        if encoder is not None:
            config["source"] = encoder.get_layer(config["source"])
        return cls(**config)


@keras.saving.register_keras_serializable("kphys")
class TiedDense(_Tied):
    """Gives h Wᵀ + b, W the kernel of the dense layer `source`, of `units` inputs.

    `(batch, features)` to `(batch, units)`.

    Reference: Vincent et al., 2010, "Stacked denoising autoencoders".
    """

    def __init__(self, units: int, source: keras.layers.Layer | str, **kwargs: Any):
        super().__init__(source, **kwargs)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.add_weights((self.units, input_shape[-1]), self.units)

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return self.add_bias(ops.matmul(inputs, ops.transpose(kernel)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("kphys")
class TiedConvolution(_Tied):
    """Gives the transpose of the convolution `source` over images, stride 1 and same padding, plus a bias.

    `(batch, height, width, channels)` to `(batch, height, width, filters)`, with `filters` the channels that `source`
    takes.

    Reference: Masci et al., 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction".
    """

    def __init__(self, filters: int, kernel_size: int, source: keras.layers.Layer | str, **kwargs: Any):
        super().__init__(source, **kwargs)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.add_weights((self.kernel_size, self.kernel_size, self.filters, input_shape[-1]), self.filters)

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return self.add_bias(ops.conv_transpose(inputs, kernel, strides=1, padding="same"))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}
