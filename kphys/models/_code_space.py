"""What a trained variational autoencoder is asked: codes of images, images of codes, the likelihood of images."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.models._arrays import check_finite
from kphys.models._functions import compiled

_ELEMENTS_AT_ONCE = 4_194_304  # Numbers in the widest layer of one call: bounds the memory.


class CodeSpace:
    """The questions, for a model with `encoder`, `decoder`, `posterior`, `means` and `reconstruction_loss`.

    Every answer is NumPy. Their noise comes from a seed of their own, so that asking in the midst of a training leaves
    the training as it is.
    """

    def encode(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Gives mean μ and log-variance ln σ² of the codes of images `x`, each `(samples, latent_dim)`."""
        return self._codes(self._images("x", x))

    def decode(self, codes: Any) -> np.ndarray:
        """Gives the mean images of `codes`, `(samples, latent_dim)` to `(samples, *input_shape)`."""
        codes = np.asarray(codes, "float32")
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim or len(codes) == 0:
            raise ValueError(f"`codes` must have the shape (samples, {self.latent_dim}), got {codes.shape}.")
        check_finite("codes", codes)
        return _in_batches(self._decode, codes, self._rows(self.decoder))[0]

    def reconstruct(self, x: Any) -> np.ndarray:
        """Gives the mean images of the mean codes of images `x`, what `predict` gives, `(samples, *input_shape)`."""
        return self.decode(self.encode(x)[0])

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """Gives the mean images of `n` codes drawn from the prior N(0, 1), `(n, *input_shape)`.

        Args:
            n: Number of images.
            seed: Fixes the draws. `None`: new ones each time.
        """
        generator = np.random.default_rng(_arguments.seed("seed", seed))
        return self.decode(generator.standard_normal((_arguments.integer("n", n), self.latent_dim)))

    def interpolate(self, x1: Any, x2: Any, steps: int = 10) -> np.ndarray:
        """Gives the images on the straight lines between the mean codes of `x1` and `x2`.

        Args:
            x1: The images at the start, `(samples, *input_shape)`.
            x2: As many images for the end.
            steps: Number of images on each line, both ends among them, at least 2.

        Returns:
            `(samples, steps, *input_shape)`.
        """
        steps = _arguments.integer("steps", steps, minimum=2)
        starts, ends = (self._codes(self._images(name, x))[0] for name, x in (("x1", x1), ("x2", x2)))
        if len(starts) != len(ends):
            raise ValueError(f"`x1` and `x2` must have the same length, got {len(starts)} and {len(ends)} samples.")
        share = np.linspace(0, 1, steps, dtype="float32")[:, None]  # (steps, 1)
        codes = (1 - share) * starts[:, None] + share * ends[:, None]
        images = self.decode(codes.reshape(-1, self.latent_dim))
        return images.reshape(len(starts), steps, *images.shape[1:])

    def latent_grid(self, n: int = 20) -> np.ndarray:
        """Gives the plane of two-dimensional codes as n × n images, `(n, n, *input_shape)`.

        Image [i, j] belongs to the code (q_i, q_j) with q_k the quantile (k + ½)/n of the prior: equal shares of it.
        """
        if self.latent_dim != 2:
            raise ValueError(
                f"`latent_grid` shows codes of two dimensions, got latent_dim={self.latent_dim}: build with "
                "latent_dim=2, or take `sample` or `interpolate`."
            )
        n = _arguments.integer("n", n)
        quantiles = [statistics.NormalDist().inv_cdf((index + 0.5) / n) for index in range(n)]
        codes = np.stack(np.meshgrid(quantiles, quantiles, indexing="ij"), axis=-1)
        images = self.decode(codes.reshape(-1, 2))
        return images.reshape(n, n, *images.shape[1:])

    def active_units(self, x: Any, threshold: float = 0.01) -> np.ndarray:
        """Tells which dimensions of the code say something about images `x`, `(latent_dim,)` of `True` and `False`.

        A unit is active if the variance of its mean μ over the images exceeds `threshold`; one that has collapsed onto
        the prior has the same mean for all. Their number is the sum.

        Args:
            x: At least two images.
            threshold: A number that is not negative, for a prior of variance 1; 0.01 is Burda et al.'s.

        Reference:
            Burda, Grosse and Salakhutdinov, 2016, "Importance weighted autoencoders".
        """
        threshold = _arguments.real("threshold", threshold, minimum=0)
        means = self.encode(x)[0]
        if len(means) < 2:
            raise ValueError(f"`x` must hold at least two samples, as a variance is taken over them, got {len(means)}.")
        return means.var(axis=0) > threshold

    def log_likelihood(self, x: Any, num_samples: int = 200, *, seed: int | None = None) -> np.ndarray:
        """Gives an estimate of ln p(x) for every image, in nats, `(samples,)`, by importance sampling.

        ln p(x) ≈ ln (1/K) Σ_k p(x | z_k) p(z_k) / q(z_k | x) with K codes z_k drawn from the encoder's q. In the mean
        it is too low, by less the larger K, and never below the bound that training raises.

        Args:
            x: The images, `(samples, *input_shape)`.
            num_samples: K.
            seed: Fixes the draws. `None`: new ones each time.

        Reference:
            Rezende, Mohamed and Wierstra, 2014, "Stochastic backpropagation and approximate inference in deep
            generative models"; Burda, Grosse and Salakhutdinov, 2016, "Importance weighted autoencoders".
        """
        x = self._images("x", x)
        num_samples = _arguments.integer("num_samples", num_samples)
        generator = np.random.default_rng(_arguments.seed("seed", seed))
        rows = self._rows(self.encoder, self.decoder)
        draws = min(num_samples, rows)
        images = max(1, rows // draws)
        answers = []
        for start in range(0, len(x), images):
            log_weights = [
                self._log_weights(
                    x[start : start + images],
                    np.int32(min(draws, num_samples - done)),
                    generator.integers(2**31, size=2, dtype="int32"),
                ).numpy()
                for done in range(0, num_samples, draws)
            ]
            answers.append(_log_mean_exp(np.concatenate(log_weights)))
        return np.concatenate(answers)

    def _codes(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return _in_batches(self._encode, images, self._rows(self.encoder))

    def _rows(self, *networks: Any) -> int:
        widest = max(math.prod(layer.output.shape[1:]) for network in networks for layer in network.layers[1:])
        return max(1, _ELEMENTS_AT_ONCE // max(widest, math.prod(self.input_shape[1:])))

    @functools.cached_property
    def _encode(self) -> Callable[..., Any]:
        return compiled(_posterior, self, signature=[tf.TensorSpec(self.input_shape, "float32")])

    @functools.cached_property
    def _decode(self) -> Callable[..., Any]:
        return compiled(_means, self, signature=[tf.TensorSpec((None, self.latent_dim), "float32")])

    @functools.cached_property
    def _log_weights(self) -> Callable[..., Any]:
        signature = tf.TensorSpec(self.input_shape, "float32"), tf.TensorSpec((), "int32"), tf.TensorSpec((2,), "int32")
        return compiled(_log_weights, self, signature=signature)


def _posterior(model: Any, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return model.posterior(x)


def _means(model: Any, codes: tf.Tensor) -> tuple[tf.Tensor]:
    return (model.means(codes),)


def _log_weights(model: Any, x: tf.Tensor, draws: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Gives ln p(x, z) − ln q(z | x) for `draws` codes of every image, `(draws, images)`."""
    mean, log_variance = model.posterior(x)
    noise = tf.random.stateless_normal((draws, tf.shape(x)[0], model.latent_dim), seed)
    codes = mean + ops.exp(0.5 * log_variance) * noise  # (draws, images, latent_dim)
    # The normalizations of prior and posterior cancel.
    log_ratio = 0.5 * ops.sum(log_variance + ops.square(noise) - ops.square(codes), axis=-1)
    copies = tf.tile(x, [draws] + [1] * (len(x.shape) - 1))
    loss = model.reconstruction_loss(copies, tf.reshape(codes, (-1, model.latent_dim)))
    return log_ratio - tf.reshape(loss, tf.shape(log_ratio))


def _in_batches(function: Callable[..., Any], values: np.ndarray, rows: int) -> tuple[np.ndarray, ...]:
    parts = [function(values[start : start + rows]) for start in range(0, len(values), rows)]
    return tuple(np.concatenate([part.numpy() for part in column]) for column in zip(*parts, strict=True))


def _log_mean_exp(values: np.ndarray) -> np.ndarray:
    """Gives ln of the mean of exp(values) over the first axis, without overflow."""
    values = values.astype(float)
    largest = values.max(axis=0)
    return largest + np.log(np.mean(np.exp(values - largest), axis=0))
