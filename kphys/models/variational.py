"""Variational autoencoders: generative models that learn a code for images from the images alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._sampling import Sampling
from kphys.models._training import compile_for
from kphys.models._vae import VAE, Beta
from kphys.models.dense import Activation, LearningRate

__all__ = ["VAE", "Sampling", "conv_vae", "vae"]


def vae(
    input_shape: int | Sequence[int],
    latent_dim: int,
    *,
    hidden_units: int | Sequence[int] = (400,),
    beta: Beta = 1.0,
    likelihood: str = "bernoulli",
    variance: float | None = None,
    activation: Activation = "relu",
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> VAE:
    """Gives a variational autoencoder of dense layers.

    The encoder computes the distribution N(μ, σ²) of the code z of an image x, the decoder the distribution of the
    images of a code. It learns by minimizing −E ln p(x | z) + β KL(N(μ, σ²) ‖ N(0, 1)); the first term is the
    cross-entropy, or the squared error over 2σ², summed over the pixels.

    Args:
        input_shape: Shape of one image, without the batch axis: `(28, 28, 1)`, `(28, 28)` or `784`.
        latent_dim: Number of dimensions of the code.
        hidden_units: Units of each hidden layer of the encoder; the decoder has them in the opposite order.
        beta: β ≥ 0, or a Keras schedule of the optimizer's iterations, as in `VAE`.
        likelihood: "bernoulli" for pixels from 0 to 1, or "gaussian" for any.
        variance: σ² of the Gaussian pixels. `None`: one for all pixels, which is learnt.
        activation: As in `mlp_classifier`.
        optimizer, learning_rate, name: As in `mlp_classifier`.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes the starting weights and the noise of training. `None`: new ones each time. The order of batches is
            Keras': fix it with `keras.utils.set_random_seed`.

    Returns:
        A compiled `VAE`, a `keras.Model`: images `(batch, *input_shape)` in, their reconstructions out. `fit(x)` takes
        images alone; it logs `loss`, `reconstruction_loss` and `kl_loss` in nats an image. `sample`, `encode`,
        `decode`, `reconstruct`, `interpolate`, `latent_grid`, `log_likelihood` and `active_units` ask the trained one.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Kingma and Welling, 2014, "Auto-encoding variational Bayes"; Higgins et al., 2017, "beta-VAE: learning basic
        visual concepts with a constrained variational framework".

    Example:
        >>> import numpy as np
        >>> from kphys.models.variational import vae
        >>> x = np.random.default_rng(0).integers(0, 2, size=(64, 8, 8))
        >>> model = vae((8, 8), 2, hidden_units=16, seed=0)
        >>> history = model.fit(x, epochs=2, verbose=0)
        >>> model.sample(5, seed=0).shape
        (5, 8, 8)
        >>> model.log_likelihood(x[:3], num_samples=10, seed=0).shape
        (3,)
    """
    input_shape = _parts.shape("input_shape", input_shape, range(1, 6), "such as (784,) or (28, 28, 1)")
    latent_dim = _arguments.integer("latent_dim", latent_dim)
    hidden_units = _arguments.integers("hidden_units", hidden_units)
    activation = _parts.activation_name(activation)
    seeds = _parts.Seeds(seed)

    inputs = keras.Input(input_shape, name="inputs")
    features = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    encoder = _encoder(inputs, _dense_stack(features, hidden_units, activation, seeds), latent_dim, seeds)

    codes = keras.Input((latent_dim,), name="codes")
    features = _dense_stack(codes, hidden_units[::-1], activation, seeds)
    _parts.check_room("`input_shape` and `hidden_units`", features.shape[-1], math.prod(input_shape))
    outputs = _linear(math.prod(input_shape), "outputs", seeds)(features)
    if len(input_shape) > 1:
        outputs = keras.layers.Reshape(input_shape, dtype="float32", name="images")(outputs)
    return _finished(
        encoder,
        keras.Model(codes, outputs, name="decoder"),
        "dense autoencoder",
        optimizer,
        learning_rate,
        beta=beta,
        likelihood=likelihood,
        variance=variance,
        check_data=check_data,
        seed=seeds(),
        name=_parts.model_name(name, "vae"),
    )


def conv_vae(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    filters: int | Sequence[int] = (32, 64),
    kernel_size: int = 3,
    beta: Beta = 1.0,
    likelihood: str = "bernoulli",
    variance: float | None = None,
    activation: Activation = "relu",
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> VAE:
    """Gives a variational autoencoder of convolutions, for images, signals and volumes.

    Every convolution of the encoder halves the resolution, every transposed convolution of the decoder doubles it. It
    learns as `vae` does.

    Args:
        input_shape: Shape of one sample with the channels last: `(length, channels)`, `(height, width, channels)` or
            `(depth, height, width, channels)`; every axis but the last a multiple of 2 to the number of `filters`.
        latent_dim: Number of dimensions of the code.
        filters: Channels of each convolution of the encoder; the decoder has them in the opposite order.
        kernel_size: Pixels along each axis of a convolution, at least 2.
        beta, likelihood, variance, activation, optimizer, learning_rate, check_data, seed, name: As in `vae`.

    Returns:
        A compiled `VAE`, as from `vae`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, an image that cannot be halved that often
            among them; its message says the mend.

    Reference:
        Kingma and Welling, 2014, "Auto-encoding variational Bayes"; Radford, Metz and Chintala, 2016, "Unsupervised
        representation learning with deep convolutional generative adversarial networks" (strides in place of pooling).

    Example:
        >>> import numpy as np
        >>> from kphys.models.variational import conv_vae
        >>> model = conv_vae((8, 8, 1), 2, filters=(4, 8), seed=0)
        >>> model.predict(np.zeros((3, 8, 8, 1)), verbose=0).shape
        (3, 8, 8, 1)
        >>> model.latent_grid(4).shape
        (4, 4, 8, 8, 1)
    """
    form = "(length, channels), (height, width, channels) or (depth, height, width, channels)"
    input_shape = _parts.shape("input_shape", input_shape, (2, 3, 4), form)
    latent_dim = _arguments.integer("latent_dim", latent_dim)
    filters = _arguments.integers("filters", filters)
    kernel_size = _arguments.integer("kernel_size", kernel_size, minimum=2)
    activation = _parts.activation_name(activation)
    smallest = _smallest_image(input_shape, filters)
    seeds = _parts.Seeds(seed)

    inputs = features = keras.Input(input_shape, name="inputs")
    axes = len(smallest)
    for width in filters:
        features = _strided(f"Conv{axes}D", features, width, kernel_size, activation, seeds)
    encoder = _encoder(inputs, keras.layers.Flatten(name="flatten")(features), latent_dim, seeds)

    codes = keras.Input((latent_dim,), name="codes")
    features = _dense_stack(codes, (math.prod(smallest) * filters[-1],), activation, seeds)
    features = keras.layers.Reshape((*smallest, filters[-1]), name="smallest_image")(features)
    for width in filters[-2::-1]:
        features = _strided(f"Conv{axes}DTranspose", features, width, kernel_size, activation, seeds)
    _check_filters(features, input_shape[-1], kernel_size)
    outputs = getattr(keras.layers, f"Conv{axes}DTranspose")(
        input_shape[-1],
        kernel_size,
        strides=2,
        padding="same",
        kernel_initializer=keras.initializers.GlorotUniform(seeds()),
        dtype="float32",
        name="outputs",
    )(features)
    return _finished(
        encoder,
        keras.Model(codes, outputs, name="decoder"),
        "convolutional",
        optimizer,
        learning_rate,
        beta=beta,
        likelihood=likelihood,
        variance=variance,
        check_data=check_data,
        seed=seeds(),
        name=_parts.model_name(name, "conv_vae"),
    )


def _smallest_image(input_shape: tuple[int, ...], filters: tuple[int, ...]) -> tuple[int, ...]:
    factor = 2 ** len(filters)
    if any(size % factor for size in input_shape[:-1]):
        raise ValueError(
            f"`input_shape` {input_shape} cannot be halved {len(filters)} times, once for each of `filters`: every "
            f"axis but the last must be a multiple of {factor}; pad or crop the images, or give other `filters`."
        )
    return tuple(size // factor for size in input_shape[:-1])


def _dense_stack(features: Any, units: Sequence[int], activation: str, seeds: _parts.Seeds) -> Any:
    return _parts.dense_stack(features, units, activation, _parts.Regularization(0, 0, 0), False, seeds)


def _strided(kind: str, features: Any, filters: int, kernel_size: int, activation: str, seeds: _parts.Seeds) -> Any:
    _check_filters(features, filters, kernel_size)
    convolution = getattr(keras.layers, kind)(
        filters,
        kernel_size,
        strides=2,
        padding="same",
        kernel_initializer=_parts.initializer(activation, seeds()),
    )
    return keras.layers.Activation(activation)(convolution(features))


def _check_filters(features: Any, filters: int, kernel_size: int) -> None:
    pixels = kernel_size ** (len(features.shape) - 2)
    _parts.check_room("`filters` and `kernel_size`", pixels, features.shape[-1], filters)


def _linear(units: int, name: str, seeds: _parts.Seeds) -> keras.layers.Dense:
    # float32 whatever the policy, as every output in this house.
    initializer = keras.initializers.GlorotUniform(seeds())
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", name=name)


def _encoder(inputs: Any, features: Any, latent_dim: int, seeds: _parts.Seeds) -> keras.Model:
    _parts.check_room("`latent_dim`", features.shape[-1], latent_dim)
    outputs = [_linear(latent_dim, name, seeds)(features) for name in ("mean", "log_variance")]
    return keras.Model(inputs, outputs, name="encoder")


def _finished(
    encoder: keras.Model, decoder: keras.Model, family: str, optimizer: Any, learning_rate: Any, **settings: Any
) -> VAE:
    model = VAE(encoder, decoder, **settings)
    compile_for(family, model, optimizer, learning_rate)
    return model
