"""What a GAN is made of: losses as pure functions, networks that fit each other, samples without targets."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kphys.models._arrays import check_samples, check_unit_interval
from kphys.models._guards import MinibatchStddev

SampleForm = tuple[tuple[int, ...], bool]  # The shape of a sample, and whether it is an image of pixels.


def discriminator_loss(real_logits: Any, fake_logits: Any, label_smoothing: float = 0.0) -> Any:
    """Gives the cross-entropies of real samples, labelled 1 − α, and of fakes, labelled 0: two means, summed.

    With l a logit and s(l) = ln(1 + eˡ) they are s(−l) + α l and s(l).
    """
    real = ops.softplus(-real_logits) + label_smoothing * real_logits
    return ops.mean(real) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits: Any) -> Any:
    """Gives −ln D(G(z)) in the mean, the cross-entropy of fakes labelled 1, which has a slope where D is sure."""
    return ops.mean(ops.softplus(-fake_logits))


def check_gan_networks(generator: Any, discriminator: Any, guard: str | None, scale_pixels: bool) -> None:
    """Raises an error that says why `generator` and `discriminator` do not make a GAN."""
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"`{name}` must be a Keras model, got {type(network).__name__}.")
        shapes = getattr(network, "input_shape", None), getattr(network, "output_shape", None)
        if not network.built or not all(isinstance(shape, tuple) for shape in shapes):
            raise ValueError(
                f"`{name}` must be a functional or Sequential model with one Input of known shape and one output."
            )
    if len(generator.input_shape) != 2 or None in (*generator.input_shape[1:], *generator.output_shape[1:]):
        raise ValueError(
            "`generator` must take codes (batch, latent_dim) and give samples of a fixed shape, got "
            f"{generator.input_shape} to {generator.output_shape}."
        )
    if discriminator.input_shape != generator.output_shape:
        raise ValueError(
            f"`discriminator` must take what `generator` gives, {generator.output_shape}, got one for "
            f"{discriminator.input_shape}."
        )
    if discriminator.output_shape != (None, 1):
        raise ValueError(
            f"`discriminator` must give one logit a sample, (None, 1), got {discriminator.output_shape}: end in "
            "Dense(1)."
        )
    if getattr(discriminator.layers[-1], "activation", None) is keras.activations.sigmoid:
        raise ValueError(
            "`discriminator` must give a logit, got one that ends in a sigmoid: leave out the last activation."
        )
    if scale_pixels and getattr(generator.layers[-1], "activation", None) is keras.activations.sigmoid:
        raise ValueError(
            "`generator` must give pixels from −1 to 1, got one that ends in a sigmoid: end in tanh, or build with "
            "scale_pixels=False."
        )
    watches = any(isinstance(layer, MinibatchStddev) for layer in discriminator._flatten_layers())
    if guard == "minibatch_stddev" and not watches:
        raise ValueError(
            '`mode_collapse_guard` is "minibatch_stddev", but `discriminator` has no MinibatchStddev layer: put one '
            "before its last layer."
        )


def check_gan_samples(
    form: SampleForm | None, names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None
) -> None:
    """Raises an error that says what is wrong with samples; data sets are passed over.

    With `None` for a form nothing is looked through, and only what a GAN has no use for is refused.
    """
    refuse_targets(names, y, sample_weight)
    if form is None:
        return
    x = check_samples(names, form[0], x)
    if x is None or not form[1]:
        return
    if x.dtype != "uint8":
        check_unit_interval(names[0], x, "pixels that are not uint8", "DCGAN(..., scale_pixels=False)")
    elif x.max() <= 1:
        raise ValueError(
            f"`{names[0]}` is uint8, whose white is 255, but holds nothing above {x.max()}: multiply it by 255, or "
            f"pass {names[0]}.astype('float32') if 1 is white."
        )


def refuse_targets(names: tuple[str, str, str], y: Any, sample_weight: Any) -> None:
    """Raises an error for what a GAN has no use for."""
    if y is not None:
        raise ValueError(f"A GAN learns from samples alone: give `{names[0]}` without `{names[1]}`.")
    if sample_weight is not None:
        raise ValueError(
            f"A GAN counts every sample once: give `{names[0]}` without `{names[2]}`; draw samples with their weights "
            "as probabilities instead."
        )
