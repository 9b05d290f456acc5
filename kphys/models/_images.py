"""What a VAE takes: two networks that fit each other, and images without targets."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys.models._arrays import check_samples, check_unit_interval, checked_samples
from kphys.models._heads import LOG_VARIANCE_BOUND

Form = tuple[tuple[int, ...], bool]  # The shape of an image, and whether its pixels lie in [0, 1].


def checked_images(name: str, form: Form, x: Any) -> np.ndarray:
    """Gives `x` back as an array of images of this form."""
    x = checked_samples(name, form[0], x)
    _check_range(name, form, x)
    return x


def check_images(form: Form, names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None) -> None:
    """Raises an error that says what is wrong with images and their weights; data sets are passed over."""
    if y is not None:
        raise ValueError(f"A VAE learns from images alone: give `{names[0]}` without `{names[1]}`.")
    x = check_samples(names, form[0], x, sample_weight)
    if x is not None:
        _check_range(names[0], form, x)


def _check_range(name: str, form: Form, x: np.ndarray) -> None:
    if form[1]:
        check_unit_interval(name, x, "the Bernoulli likelihood", 'likelihood="gaussian"')


def nothing(x: Any) -> np.ndarray:
    """Gives the targets without columns that carry the weights past Keras."""
    return np.empty((len(x), 0), "float32")


def stands_for_none(y: Any) -> bool:
    """Tells whether `y` is what `nothing` gives."""
    return len(y.shape) == 2 and y.shape[1] == 0


def checked_variance(variance: Any, likelihood: str) -> float | None:
    """Gives the variance of the pixels back: `None`, or for "gaussian" a positive number."""
    if variance is None:
        return None
    if likelihood != "gaussian":
        raise ValueError(
            f'`variance` must be None with likelihood={likelihood!r}, got {variance}: only "gaussian" has one.'
        )
    variance = _arguments.real("variance", variance, positive=True)
    if not abs(np.log(variance)) < LOG_VARIANCE_BOUND:
        raise ValueError(f"`variance` must be from 1e-8 to 1e8, got {variance:g}: change the units of the images.")
    return variance


def check_networks(encoder: Any, decoder: Any, likelihood: str) -> None:
    """Raises an error that says why `encoder` and `decoder` do not make a VAE."""
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"`{name}` must be a Keras model, got {type(network).__name__}.")
        if not network.built or not isinstance(getattr(network, "input_shape", None), tuple):
            raise ValueError(f"`{name}` must be a functional or Sequential model with an Input of known shape.")
    codes = [tuple(output.shape) for output in encoder.outputs]
    if len(codes) != 2 or codes[0] != codes[1] or len(codes[0]) != 2:
        raise ValueError(
            "`encoder` must have two outputs (batch, latent_dim), mean and log-variance of the codes, got the "
            f"shapes {', '.join(map(str, codes))}."
        )
    if decoder.input_shape != codes[0]:
        raise ValueError(f"`decoder` must take the codes of `encoder`, {codes[0]}, got one for {decoder.input_shape}.")
    if decoder.output_shape != encoder.input_shape:
        raise ValueError(
            f"`decoder` must give the shape that `encoder` takes, {encoder.input_shape}, got {decoder.output_shape}."
        )
    last = getattr(decoder.layers[-1], "activation", None)
    if likelihood == "bernoulli" and last is keras.activations.sigmoid:
        raise ValueError(
            "`decoder` must give logits for the Bernoulli likelihood, got one that ends in a sigmoid: leave out the "
            "last activation."
        )
