"""Encoders, and the decoders that are their mirror images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from kphys.models._blocks import Space
from kphys.models._codes import CodePenalty
from kphys.models._parts import (
    Regularization,
    Seeds,
    check_room,
    dense_stack,
    dropout_layer,
    initializer,
    normalized,
)
from kphys.models._tied import TiedConvolution, TiedDense


@dataclass(frozen=True)
class Ends:
    """What stands at the inputs, the code and the outputs of every autoencoder."""

    loss: str
    normalization: keras.layers.Normalization | None
    sparsity: float | None
    sparsity_weight: float
    code_l1: float

    def penalize(self, code: Any) -> Any:
        """Gives the code after its penalty, if there is one."""
        if self.sparsity is None and not self.code_l1:
            return code
        return CodePenalty(self.code_l1, self.sparsity, self.sparsity_weight, name="code_penalty")(code)

    def output(self, features: Any) -> Any:
        """Gives the reconstruction in the input's units."""
        activation = "sigmoid" if self.loss == "binary_crossentropy" else "linear"
        outputs = keras.layers.Activation(activation, dtype="float32", name="outputs")(features)
        if self.normalization is None or self.loss == "binary_crossentropy":
            return outputs
        axes, (mean, variance) = _moments(self.normalization)
        return keras.layers.Normalization(axes, mean, variance, invert=True, dtype="float32", name="denormalization")(
            outputs
        )


def _moments(layer: keras.layers.Normalization) -> tuple[tuple[int, ...], list[Any]]:
    """Gives the axes that `layer` keeps, and its mean and variance along them."""
    moments = [keras.ops.convert_to_numpy(moment) for moment in (layer.mean, layer.variance)]
    axes = tuple(sorted(axis % moments[0].ndim for axis in layer.axis))
    return axes, [moment.reshape([moment.shape[axis] for axis in axes]).tolist() for moment in moments]


def dense_mirror(
    input_shape: tuple[int, ...],
    latent_dim: int,
    *,
    hidden_units: tuple[int, ...],
    activation: str,
    tied: bool,
    ends: Ends,
    regularization: Regularization,
    batch_normalization: bool,
    seeds: Seeds,
) -> tuple[keras.Model, keras.Model]:
    """Gives encoder and decoder of dense layers."""
    inputs = keras.Input(input_shape, name="inputs")
    features = normalized(inputs, ends.normalization)
    if len(input_shape) > 1:
        features = keras.layers.Flatten(name="flatten")(features)
    features = dense_stack(features, hidden_units, activation, regularization, batch_normalization, seeds)
    code = _code(features, latent_dim, ends, regularization, seeds)
    encoder = keras.Model(inputs, code, name="encoder")

    inputs = keras.Input((latent_dim,), name="codes")
    features = inputs
    size = math.prod(input_shape)
    if tied:
        sources = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Dense)]
        for source, units in zip(reversed(sources[1:]), reversed(hidden_units), strict=True):
            layer = TiedDense(units, source, use_bias=not batch_normalization, name=f"tied_{source.name}")
            features = _activate(layer(features), activation, regularization, batch_normalization, seeds)
        features = TiedDense(size, sources[0], name=f"tied_{sources[0].name}")(features)
    else:
        features = dense_stack(features, hidden_units[::-1], activation, regularization, batch_normalization, seeds)
        check_room("`input_shape` and `hidden_units`", features.shape[-1], size)
        # A tenth of Glorot's: reconstructions begin near zero, and not with noise that has to be unlearnt first. On
        # digits a tenth less error after ten epochs.
        small = keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform", seeds())
        features = keras.layers.Dense(size, kernel_initializer=small, name="reconstruction")(features)
    if len(input_shape) > 1:
        features = keras.layers.Reshape(input_shape, name="unflatten")(features)
    return encoder, keras.Model(inputs, ends.output(features), name="decoder")


def _code(features: Any, latent_dim: int, ends: Ends, regularization: Regularization, seeds: Seeds) -> Any:
    check_room("`latent_dim`", features.shape[-1], latent_dim)
    code = keras.layers.Dense(
        latent_dim,
        activation=None if ends.sparsity is None else "sigmoid",
        kernel_initializer=initializer("sigmoid", seeds()),
        kernel_regularizer=regularization.kernel(),
        name="code",
    )(features)
    return ends.penalize(code)


def _activate(
    features: Any, activation: str, regularization: Regularization, batch_normalization: bool, seeds: Seeds
) -> Any:
    if batch_normalization:
        features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Activation(activation)(features)
    if regularization.dropout:
        features = dropout_layer(activation, regularization.dropout, seeds())(features)
    return features


def _mirror_initializer(activation: str, seed: int | None) -> keras.initializers.Initializer:
    """Gives Glorot's where He's is usual.

    From pooling the largest to the next a signal grows already, and He's kernels have it grow on: on digits twice the
    error after two epochs of a network with codes of 30 numbers.
    """
    return initializer("selu" if activation == "selu" else "linear", seed)


class ConvolutionalMirror:
    """Makes the convolutional encoder, and the decoder that goes with it, tied or not."""

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_dim: int | None,
        *,
        filters: tuple[int, ...],
        kernel_size: int,
        activation: str,
        ends: Ends,
        regularization: Regularization,
        batch_normalization: bool,
        seeds: Seeds,
    ):
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.filters = filters
        self.ends = ends
        self.space = Space(
            2, kernel_size, activation, batch_normalization, False, regularization, seeds, _mirror_initializer
        )
        # Of the image and after each pooling.
        self.sizes = [image_shape[:2]]
        for _ in filters:
            self.sizes.append(tuple(-(-size // 2) for size in self.sizes[-1]))

    @property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of the encoder's last map."""
        return (*self.sizes[-1], self.filters[-1])

    def encoder(self) -> keras.Model:
        """Gives the model from images to codes."""
        inputs = keras.Input(self.image_shape, name="inputs")
        features = normalized(inputs, self.ends.normalization)
        for index, width in enumerate(self.filters, start=1):
            features = self.space.convolution(features, width)
            if index == len(self.filters) and self._code_is_map and self.ends.sparsity is not None:
                features = keras.layers.Activation("sigmoid")(self.space.normalize(features))
            else:
                features = self.space.activate(features)
            features = keras.layers.MaxPooling2D(2, padding="same")(features)
        if self._code_is_map:
            return keras.Model(inputs, self.ends.penalize(features), name="encoder")
        features = keras.layers.Flatten()(features)
        code = _code(features, self.latent_dim, self.ends, self.space.regularization, self.space.seeds)
        return keras.Model(inputs, code, name="encoder")

    def decoder(self) -> keras.Model:
        """Gives the model from codes to images, with weights of its own."""
        inputs, features = self._from_codes(None)
        stages = list(zip(self.filters[::-1], self.sizes[-2::-1], strict=True))
        # Up-sampled throughout, the map is larger than the encoder's by what a convolution without padding takes away.
        before_last = tuple(size * 2 ** (len(stages) - 1) for size in self.sizes[-1])
        takes = self.space.kernel_size - 1
        shrinks = takes > 0 and before_last == tuple(size + takes for size in self.sizes[1])
        for index, (width, size) in enumerate(stages):
            last = index == len(stages) - 1
            padding = "valid" if shrinks and last else "same"
            features = self.space.activate(self.space.convolution(features, width, padding=padding))
            features = keras.layers.UpSampling2D(2)(features)
            if last or not shrinks:
                features = _cropped(features, size)
        check_room("`filters` and `kernel_size`", self.space.kernel_size**2, features.shape[-1], self.image_shape[-1])
        features = keras.layers.Conv2D(
            self.image_shape[-1],
            self.space.kernel_size,
            padding="same",
            kernel_initializer=initializer("linear", self.space.seeds()),
            name="reconstruction",
        )(features)
        return keras.Model(inputs, self.ends.output(features), name="decoder")

    def tied_decoder(self, encoder: keras.Model) -> keras.Model:
        """Gives the model from codes to images with the kernels of `encoder`."""
        inputs, features = self._from_codes(encoder)
        sources = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
        widths = (self.image_shape[-1], *self.filters[:-1])
        for index in reversed(range(len(sources))):
            features = _cropped(keras.layers.UpSampling2D(2)(features), self.sizes[index])
            source, first = sources[index], index == 0
            features = TiedConvolution(
                widths[index],
                self.space.kernel_size,
                source,
                use_bias=first or not self.space.batch_normalization,
                name=f"tied_{source.name}",
            )(features)
            if not first:
                features = self.space.activate(features)
        return keras.Model(inputs, self.ends.output(features), name="decoder")

    @property
    def _code_is_map(self) -> bool:
        return self.latent_dim is None

    def _from_codes(self, encoder: keras.Model | None) -> tuple[Any, Any]:
        """Gives the decoder's input and the encoder's last map made from it."""
        if self._code_is_map:
            inputs = keras.Input(self.map_shape, name="codes")
            return inputs, inputs
        inputs = keras.Input((self.latent_dim,), name="codes")
        units = math.prod(self.map_shape)
        if encoder is None:
            layer = keras.layers.Dense(
                units,
                kernel_initializer=self.space.initializer(self.space.activation, self.space.seeds()),
                kernel_regularizer=self.space.regularization.kernel(),
                name="from_code",
            )
        else:
            layer = TiedDense(units, encoder.get_layer("code"), name="tied_code")
        features = keras.layers.Activation(self.space.activation)(layer(inputs))
        return inputs, keras.layers.Reshape(self.map_shape)(features)


def _cropped(features: Any, size: tuple[int, ...]) -> Any:
    excess = [have - want for have, want in zip(features.shape[1:3], size, strict=True)]
    return keras.layers.Cropping2D([(0, cut) for cut in excess])(features) if any(excess) else features
