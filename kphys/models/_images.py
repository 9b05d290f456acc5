"""What a VAE takes: two networks that fit each other, and images without targets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys.models import _arrays
from kphys.models._heads import LOG_VARIANCE_BOUND

Form = tuple[tuple[int, ...], bool]  # The shape of an image, and whether its pixels lie in [0, 1].


def checked_images(name: str, form: Form, x: Any) -> np.ndarray:
    """Gives `x` back as an array of images of this form."""
    x = _arrays._numeric(name, x)
    shape, unit_interval = form
    _arrays._check_input_shape(name, x, shape)
    _arrays._check_finite(name, x)
    if unit_interval:
        _check_unit_interval(name, x)
    return x


def check_images(names: tuple[str, str, str], form: Form, x: Any, y: Any = None, sample_weight: Any = None) -> None:
    """Raises an error that says what is wrong with images and their weights; data sets are passed over."""
    if y is not None:
        raise ValueError(f"A VAE learns from images alone: give `{names[0]}` without `{names[1]}`.")
    if not _arrays._is_array(x):
        return
    x = checked_images(names[0], form, x)
    if sample_weight is None:
        return
    sample_weight = _arrays._numeric(names[2], sample_weight)
    _arrays._check_length(names, 2, sample_weight, x)
    _arrays._check_finite(names[2], sample_weight)
    if sample_weight.shape not in ((len(x),), (len(x), 1)):
        raise ValueError(
            f"`{names[2]}` must hold one weight for every sample, shape {(len(x),)}, got {sample_weight.shape}."
        )


def _check_unit_interval(name: str, x: np.ndarray) -> None:
    if x.dtype.kind == "b" or (x.min() >= 0 and x.max() <= 1):
        return
    first = _arrays._index((x < 0) | (x > 1), 0)
    mend = "divide by 255" if 1 < x.max() <= 255 and x.min() >= 0 else "rescale it"
    raise ValueError(
        f"`{name}` must lie in [0, 1] for the Bernoulli likelihood, got {x[first]} at "
        f'{name}[{", ".join(map(str, first))}]: {mend}, or build with likelihood="gaussian".'
    )


def with_weights(method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `fit` or `evaluate` with weights for images without targets, which Keras 3.15 silently drops."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        if given.get("sample_weight") is not None and given.get("y") is None:
            given["y"] = _nothing(given["x"])
        validation_data = given.get("validation_data")
        if isinstance(validation_data, (tuple, list)) and len(validation_data) == 3 and validation_data[1] is None:
            x, _, sample_weight = validation_data
            given["validation_data"] = (x, _nothing(x), sample_weight)
        return method(*bound.args, **bound.kwargs)

    return run


def _nothing(x: Any) -> np.ndarray:
    return np.empty((len(x), 0), "float32")


def stands_for_none(y: Any) -> bool:
    """Tells whether `y` is the targets without columns that carry the weights past Keras."""
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
