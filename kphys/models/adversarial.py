"""Generative adversarial networks: a generator that learns to make images which a discriminator takes for real."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._calls import choose
from kphys.models._coverage import ModeCoverage, gaussian_mode_coverage, mode_coverage
from kphys.models._execution import execution
from kphys.models._gan import DCGAN
from kphys.models._guards import GUARDS, MinibatchStddev
from kphys.models._optimizer_pair import Optimizer

__all__ = ["DCGAN", "MinibatchStddev", "ModeCoverage", "dcgan", "gaussian_mode_coverage", "mode_coverage"]

_SMALLEST = 4  # Pixels along the shorter axis of the smallest feature maps, as in Radford et al.
Size = tuple[int, int]  # Height and width.


def dcgan(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    filters: int | Sequence[int] | None = None,
    kernel_size: int = 4,
    mode_collapse_guard: str | None = None,
    label_smoothing: float = 0.0,
    generator_optimizer: Optimizer = None,
    discriminator_optimizer: Optimizer = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> DCGAN:
    """Gives a deep convolutional generative adversarial network.

    The generator makes images of codes z from N(0, 1): a dense layer onto the smallest feature maps, then transposed
    convolutions that double the resolution, batch normalization and ReLU after each but the last, which ends in tanh.
    The discriminator is its mirror image: convolutions that halve the resolution, LeakyReLU of slope 0.2, batch
    normalization after all but the first, one logit. Kernels start from N(0, 0.02²). They learn as in `DCGAN`. Half of
    an odd number of pixels is rounded up, and the generator comes back to the odd one: 28, 14, 7, 4.

    Args:
        image_shape: `(height, width, channels)`, such as `(28, 28, 1)`, `(32, 32, 3)` or `(64, 64, 3)`; height and
            width are at least 7 and, with an even `kernel_size`, at every halving both even or both odd.
        latent_dim: Number of dimensions of the code; 100 is usual.
        filters: Channels of each convolution of the discriminator; the generator has them in the opposite order.
            `None`: 64, then each twice the one before, down to maps of at least 4 × 4, or as far as the kernel goes:
            (64, 128, 256) for 28 × 28 and 32 × 32, (64, 128, 256, 512) for 64 × 64. With few, images of 2 pixels a side
            will do.
        kernel_size: Pixels along each axis of a convolution, at least 2. An even number, a multiple of the stride, has
            every pixel of an image touched as often as its neighbours: no pattern of a chessboard. The authors' code
            has 5, at one and a half times the cost.
        mode_collapse_guard: "replay" shows the discriminator fakes of 1024 earlier steps too, half of all;
            "minibatch_stddev" tells it how much the images of a batch differ; `None`: no guard.
        label_smoothing: α in [0, 1): the discriminator is taught the probability 1 − α for real images.
        generator_optimizer: Any Keras optimizer, by name or as an object. `None`: Adam with a learning rate of 2e-4 and
            β₁ = 0.5.
        discriminator_optimizer: Another one, likewise.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes the starting weights and the codes of training. `None`: new ones each time. The order of batches is
            Keras': fix it with `keras.utils.set_random_seed`.
        name: Name of the model.

    Returns:
        A compiled `DCGAN`, a `keras.Model`. `fit(x)` takes images alone, `(samples, *image_shape)`, floating from 0 to
        1 or uint8 from 0 to 255; 32 to 128 a batch are usual. It logs `generator_loss`, `discriminator_loss`,
        `real_accuracy` and `fake_accuracy`. `sample(n, seed)` gives images as those that went in; `predict` makes them
        of codes, `(batch, latent_dim)`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, an image that cannot be halved that often
            among them; its message says the mend.

    Reference:
        Radford, Metz and Chintala, 2016, "Unsupervised representation learning with deep convolutional generative
        adversarial networks"; Odena, Dumoulin and Olah, 2016, "Deconvolution and checkerboard artifacts".

    Example:
        >>> import numpy as np
        >>> from kphys.models.adversarial import dcgan
        >>> x = np.random.default_rng(0).integers(0, 256, size=(32, 8, 8, 1), dtype="uint8")
        >>> model = dcgan((8, 8, 1), 10, filters=4, mode_collapse_guard="replay", seed=0)
        >>> history = model.fit(x, epochs=2, verbose=0)
        >>> images = model.sample(5, seed=0)
        >>> images.shape, images.dtype
        ((5, 8, 8, 1), dtype('uint8'))
    """
    image_shape = _parts.shape("image_shape", image_shape, (3,), "(height, width, channels)")
    latent_dim = _arguments.integer("latent_dim", latent_dim)
    kernel_size = _arguments.integer("kernel_size", kernel_size, minimum=2)
    filters = _default_filters(image_shape, kernel_size) if filters is None else _arguments.integers("filters", filters)
    if mode_collapse_guard is not None:
        _arguments.choice("mode_collapse_guard", mode_collapse_guard, GUARDS, also=", or None")
    sizes = _sizes(image_shape, filters, kernel_size)
    _parts.check_room("`latent_dim` and `filters`", latent_dim, *sizes[-1], filters[-1])
    for channels in itertools.pairwise((image_shape[-1], *filters)):
        _parts.check_room("`filters` and `kernel_size`", kernel_size**2, *channels)
    seeds = _parts.Seeds(seed)

    model = DCGAN(
        _generator(image_shape, latent_dim, filters, kernel_size, sizes, seeds),
        _discriminator(image_shape, filters, kernel_size, mode_collapse_guard == "minibatch_stddev", seeds),
        mode_collapse_guard=mode_collapse_guard,
        check_data=check_data,
        seed=seeds(),
        name=_parts.model_name(name, "dcgan"),
    )
    settings = execution("convolutional")
    model.compile(generator_optimizer, discriminator_optimizer, label_smoothing, jit_compile=settings.jit_compile)
    choose(model, settings)
    return model


def _default_filters(image_shape: tuple[int, ...], kernel_size: int) -> tuple[int, ...]:
    size, fewest = image_shape[:2], 2 * _SMALLEST - 1
    if min(size) < fewest:
        raise ValueError(
            f"`image_shape` {image_shape} cannot be halved once: height and width must be at least {fewest}; pad the "
            "images, or, from 2 pixels a side on, give `filters`."
        )
    halvings = 0
    while min(size) >= fewest and (halvings == 0 or _comes_back(size, kernel_size)):
        size, halvings = _half(size), halvings + 1
    return tuple(64 * 2**index for index in range(halvings))


def _comes_back(size: Size, kernel_size: int) -> bool:
    """Says whether a transposed convolution leads to `size`: with an even kernel to both sides even, or both odd."""
    return kernel_size % 2 == 1 or size[0] % 2 == size[1] % 2


def _half(size: Size) -> Size:
    return -(-size[0] // 2), -(-size[1] // 2)


def _sizes(image_shape: tuple[int, ...], filters: tuple[int, ...], kernel_size: int) -> list[Size]:
    """Gives the sizes of the maps from the image down to the smallest, one after every halving."""
    sizes = [image_shape[:2]]
    for _ in filters:
        if min(sizes[-1]) < 2:
            raise ValueError(
                f"`image_shape` {image_shape} cannot be halved {len(filters)} times, once for each of `filters`: after "
                f"{len(sizes) - 1} a side has one pixel; give fewer `filters`, or pad the images."
            )
        sizes.append(_half(sizes[-1]))
    mixed = [size for size in sizes[:-1] if not _comes_back(size, kernel_size)]
    if mixed:
        raise ValueError(
            f"`image_shape` {image_shape} leads to maps of {mixed[0]} pixels, one side odd and one even, which take an "
            f"odd `kernel_size`, got {kernel_size}: give {kernel_size + 1}, fewer `filters`, or pad or crop the images."
        )
    return sizes


def _generator(
    image_shape: tuple[int, ...],
    latent_dim: int,
    filters: tuple[int, ...],
    kernel_size: int,
    sizes: list[Size],
    seeds: _parts.Seeds,
) -> keras.Model:
    codes = keras.Input((latent_dim,), name="codes")
    *larger, smallest = sizes
    units = math.prod(smallest) * filters[-1]
    features = keras.layers.Dense(units, use_bias=False, kernel_initializer=_normal(seeds), name="projection")(codes)
    features = keras.layers.Reshape((*smallest, filters[-1]), name="smallest_maps")(features)
    features = keras.layers.ReLU()(_normalized(features, seeds))
    for width, size in zip(filters[-2::-1], larger[:0:-1], strict=True):
        features = _doubling(width, kernel_size, size, seeds, use_bias=False)(features)
        features = keras.layers.ReLU()(_normalized(features, seeds))
    outputs = _doubling(
        image_shape[-1], kernel_size, larger[0], seeds, activation="tanh", dtype="float32", name="pixels"
    )(features)
    return keras.Model(codes, outputs, name="generator")


def _doubling(
    filters: int, kernel_size: int, size: Size, seeds: _parts.Seeds, **settings: Any
) -> keras.layers.Conv2DTranspose:
    """Gives the transposed convolution that leads to maps of `size`, twice the pixels or one less."""
    odd = [pixels % 2 for pixels in size]
    output_padding = tuple(2 - kernel_size % 2 - one for one in odd) if any(odd) else None
    return _strided("Conv2DTranspose", filters, kernel_size, seeds, output_padding=output_padding, **settings)


def _discriminator(
    image_shape: tuple[int, ...],
    filters: tuple[int, ...],
    kernel_size: int,
    watches_spread: bool,
    seeds: _parts.Seeds,
) -> keras.Model:
    images = features = keras.Input(image_shape, name="images")
    for index, width in enumerate(filters):
        features = _strided("Conv2D", width, kernel_size, seeds, use_bias=index == 0)(features)
        if index > 0:
            features = _normalized(features, seeds)
        features = keras.layers.LeakyReLU(0.2)(features)
    if watches_spread:
        features = MinibatchStddev(name="minibatch_stddev")(features)
    features = keras.layers.Flatten(name="flatten")(features)
    logit = keras.layers.Dense(1, kernel_initializer=_normal(seeds), dtype="float32", name="logit")(features)
    return keras.Model(images, logit, name="discriminator")


def _strided(kind: str, filters: int, kernel_size: int, seeds: _parts.Seeds, **settings: Any) -> keras.layers.Layer:
    return getattr(keras.layers, kind)(
        filters, kernel_size, strides=2, padding="same", kernel_initializer=_normal(seeds), **settings
    )


def _normal(seeds: _parts.Seeds, mean: float = 0.0) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(mean, 0.02, seed=seeds())


def _normalized(features: Any, seeds: _parts.Seeds) -> Any:
    # Momentum, ε and the spread of γ are those of the authors' code.
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=_normal(seeds, mean=1.0))
    return layer(features)
