"""How a decoder's outputs explain an image: the likelihoods, and the divergence of a code from its prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from kphys.models._heads import LOG_TWO_PI


def kl_divergence(mean: Any, log_variance: Any) -> Any:
    """Gives KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − 1 − ln σ²) for every row, `(batch, latent_dim)` to `(batch,)`."""
    # expm1: near the prior the difference σ² − 1 − ln σ² loses its digits otherwise.
    return 0.5 * ops.sum(ops.square(mean) + ops.expm1(log_variance) - log_variance, axis=-1)


def bernoulli_loss(x: Any, logits: Any, log_variance: Any = None) -> Any:
    """Gives −ln p(x | logits), the cross-entropies of all pixels summed, `(batch, ...)` to `(batch,)`."""
    return _sum_over_pixels(ops.binary_crossentropy(x, logits, from_logits=True))


def gaussian_loss(x: Any, mean: Any, log_variance: Any) -> Any:
    """Gives ½ Σ [(x − μ)²/σ² + ln 2πσ²] over all pixels, `(batch, ...)` to `(batch,)`."""
    pull = (x - mean) * ops.exp(-0.5 * log_variance)
    return 0.5 * _sum_over_pixels(ops.square(pull) + (LOG_TWO_PI + log_variance))


def _sum_over_pixels(values: Any) -> Any:
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], -1)), axis=-1)


@dataclass(frozen=True)
class Likelihood:
    """A row of the table: −ln p(x | outputs) for every image, the mean of x, whether x lies in [0, 1]."""

    loss: Callable[[Any, Any, Any], Any]
    mean: Callable[[Any], Any]
    unit_interval: bool


LIKELIHOODS = {
    "bernoulli": Likelihood(bernoulli_loss, ops.sigmoid, unit_interval=True),
    "gaussian": Likelihood(gaussian_loss, lambda outputs: outputs, unit_interval=False),
}
