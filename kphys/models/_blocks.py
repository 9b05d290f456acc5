"""The convolutional architectures: one table, and the blocks that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from kphys.models._parts import Regularization, Seeds, check_room, dropout_layer, initializer
from kphys.models._periodic import PeriodicPadding, PeriodicPooling


@dataclass
class Space:
    """The layers of one network in its kind of space: 1, 2 or 3 axes, with edges or periodic.

    In periodic space nothing is thrown away: where a stride of 2 would halve the image, `dilation` doubles instead.
    """

    axes: int
    kernel_size: int
    activation: str
    batch_normalization: bool
    periodic: bool
    regularization: Regularization
    seeds: Seeds
    initializer: Callable[[str, int | None], keras.initializers.Initializer] = initializer  # Of an activation.
    dilation: int = field(default=1, init=False)

    def convolution(
        self,
        features: Any,
        filters: int,
        kernel_size: int | None = None,
        *,
        stride: int = 1,
        padding: str = "same",
        separable: bool = False,
    ) -> Any:
        """Gives the convolution of `features`; a stride counts from the next layer on if space is periodic."""
        kernel_size = kernel_size or self.kernel_size
        settings: dict[str, Any] = {"strides": stride, "padding": padding}
        if self.periodic:
            settings = {"padding": "valid", "dilation_rate": self.dilation}
            if kernel_size > 1:
                before = self.dilation * ((kernel_size - 1) // 2)
                features = PeriodicPadding((before, self.dilation * (kernel_size - 1) - before))(features)
        kind = "SeparableConv" if separable else "Conv"
        roles = ("depthwise", "pointwise") if separable else ("kernel",)
        for role in roles:
            settings[f"{role}_initializer"] = self.initializer(self.activation, self.seeds())
            settings[f"{role}_regularizer"] = self.regularization.kernel()
        pixels = kernel_size**self.axes
        sizes = (features.shape[-1], pixels + filters) if separable else (pixels, features.shape[-1], filters)
        check_room("`filters` and `kernel_size`", *sizes)
        layer = getattr(keras.layers, f"{kind}{self.axes}D")
        features = layer(filters, kernel_size, use_bias=not self.batch_normalization, **settings)(features)
        if self.periodic:
            self.dilation *= stride
        return features

    def pooling(self, features: Any, mode: str = "max") -> Any:
        """Gives `features` pooled by 2 along every axis."""
        if self.periodic:
            features = PeriodicPooling(self.dilation, mode)(features)
            self.dilation *= 2
            return features
        kind = "MaxPooling" if mode == "max" else "AveragePooling"
        return getattr(keras.layers, f"{kind}{self.axes}D")(2)(features)

    def normalize(self, features: Any) -> Any:
        """Gives `features` after batch normalization, if there is one."""
        return keras.layers.BatchNormalization()(features) if self.batch_normalization else features

    def activate(self, features: Any) -> Any:
        """Gives `features` after normalization, activation and dropout."""
        features = keras.layers.Activation(self.activation)(self.normalize(features))
        return self.drop(features)

    def drop(self, features: Any) -> Any:
        """Gives `features` after dropout, if there is one."""
        rate = self.regularization.dropout
        return dropout_layer(self.activation, rate, self.seeds())(features) if rate else features

    def global_average(self, features: Any) -> Any:
        """Gives the mean of every channel over space, `(batch, channels)`."""
        return getattr(keras.layers, f"GlobalAveragePooling{self.axes}D")()(features)


def stacked_stage(space: Space, features: Any, filters: int, architecture: Architecture, first: bool) -> Any:
    """Convolutions of one width, then pooling (LeCun et al. 1998; Simonyan and Zisserman 2015)."""
    for _ in range(architecture.blocks):
        padding = "same" if first else architecture.padding
        features = space.activate(space.convolution(features, filters, padding=padding))
    return space.pooling(features, architecture.pooling)


def residual_stage(space: Space, features: Any, filters: int, architecture: Architecture, first: bool) -> Any:
    """Blocks x + F(x) of two convolutions; all stages but the first halve the image (He et al. 2016)."""
    for block in range(architecture.blocks):
        stride = 2 if block == 0 and not first else 1
        features = _residual_block(space, features, filters, stride, architecture.squeeze)
    return features


def _residual_block(space: Space, features: Any, filters: int, stride: int, squeeze: bool) -> Any:
    dilation = space.dilation
    residual = space.activate(space.convolution(features, filters, stride=stride))
    residual = space.normalize(space.convolution(residual, filters))
    if squeeze:
        residual = _squeeze_and_excite(space, residual, filters)
    if stride > 1 or features.shape[-1] != filters:
        # The shortcut takes the same step as the first convolution, from the same place.
        space.dilation = dilation
        features = space.normalize(space.convolution(features, filters, 1, stride=stride))
    return keras.layers.Activation(space.activation)(keras.layers.Add()([features, residual]))


def _squeeze_and_excite(space: Space, features: Any, filters: int, ratio: int = 16) -> Any:
    """Weighs the channels by what the whole image says of them (Hu, Shen and Sun 2018)."""
    weights = space.global_average(features)
    squeezed = keras.layers.Dense(
        max(filters // ratio, 4), activation="relu", kernel_initializer=initializer("relu", space.seeds())
    )(weights)
    weights = keras.layers.Dense(
        filters, activation="sigmoid", kernel_initializer=initializer("sigmoid", space.seeds())
    )(squeezed)
    weights = keras.layers.Reshape((1,) * space.axes + (filters,))(weights)
    return keras.layers.Multiply()([features, weights])


def separable_stage(space: Space, features: Any, filters: int, architecture: Architecture, first: bool) -> Any:
    """Two separable convolutions and a pooling beside a strided 1×1 shortcut (Chollet 2017)."""
    dilation = space.dilation
    residual = features
    for _ in range(architecture.blocks):
        residual = space.activate(space.convolution(residual, filters, separable=True))
    residual = _same_pooling(space, residual)
    space.dilation = dilation
    shortcut = space.normalize(space.convolution(features, filters, 1, stride=2))
    return keras.layers.Add()([shortcut, residual])


def _same_pooling(space: Space, features: Any) -> Any:
    # An odd image keeps its last pixel, as in the strided shortcut beside it.
    if space.periodic:
        return space.pooling(features)
    return getattr(keras.layers, f"MaxPooling{space.axes}D")(2, padding="same")(features)


@dataclass(frozen=True)
class Architecture:
    """A row of the table: how a network is put together where the user does not say otherwise.

    `filters` has one number a stage; `stem` is whether a plain convolution comes first; `flatten` whether the head sees
    every pixel or the mean of every channel.
    """

    stage: Callable[[Space, Any, int, Architecture, bool], Any]
    filters: tuple[int, ...]
    blocks: int
    hidden_units: tuple[int, ...]
    kernel_size: int = 3
    activation: str = "relu"
    batch_normalization: bool = False
    pooling: str = "max"
    padding: str = "same"
    stem: bool = False
    squeeze: bool = False
    flatten: bool = True

    def smallest_image(self, stages: int, kernel_size: int) -> int:
        """Gives the pixels along an axis below which an image does not get through `stages` stages."""
        if not self.flatten:
            return 2 ** (stages - 1)
        size = 1
        for stage in reversed(range(stages)):
            size *= 2
            if stage > 0 and self.padding == "valid":
                size += self.blocks * (kernel_size - 1)
        return size


ARCHITECTURES = {
    "plain": Architecture(stacked_stage, (32, 64), 1, (128,)),
    "lenet5": Architecture(
        stacked_stage, (6, 16), 1, (120, 84), kernel_size=5, activation="tanh", pooling="average", padding="valid"
    ),
    "vgg": Architecture(stacked_stage, (32, 64, 128), 2, (128,)),
    "resnet": Architecture(residual_stage, (16, 32, 64), 2, (), batch_normalization=True, stem=True, flatten=False),
    "se_resnet": Architecture(
        residual_stage, (16, 32, 64), 2, (), batch_normalization=True, stem=True, flatten=False, squeeze=True
    ),
    "xception": Architecture(separable_stage, (32, 64, 128), 2, (), batch_normalization=True, stem=True, flatten=False),
}


def convolutional_features(space: Space, features: Any, filters: tuple[int, ...], architecture: Architecture) -> Any:
    """Gives `features` after all stages of `architecture`, `(batch, features)`."""
    if architecture.stem:
        features = space.activate(space.convolution(features, filters[0]))
    for index, width in enumerate(filters):
        features = architecture.stage(space, features, width, architecture, index == 0)
    if architecture.flatten and not space.periodic:
        return keras.layers.Flatten()(features)
    return space.global_average(features)
