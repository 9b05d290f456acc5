"""The layer that draws codes, with gradients that pass through the draw."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kphys import _arguments


@keras.saving.register_keras_serializable("kphys")
class Sampling(keras.layers.Layer):
    """Draws z = μ + σ ε with ε from a standard normal distribution: the reparameterization of N(μ, σ²).

    The noise is an input like any other, so gradients reach μ and σ. The layer draws in training and outside of it;
    each call moves its own random state on, which weight files and `.keras` files keep.

    Args:
        seed: Fixes the noise. `None`: new noise each time.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError, TypeError: A `seed` that is not `None` or an integer from 0 to 2³² − 1.

    Reference:
        Kingma and Welling, 2014, "Auto-encoding variational Bayes".

    Example:
        >>> import numpy as np
        >>> from kphys.models.variational import Sampling
        >>> mean, log_variance = np.full((1000, 3), 5.0), np.zeros((1000, 3))
        >>> codes = Sampling(seed=0)((mean, log_variance))
        >>> codes.shape, bool(abs(np.mean(codes) - 5.0) < 0.1)
        (TensorShape([1000, 3]), True)
    """

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = _arguments.seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Gives a draw for each mean and log-variance ln σ², two tensors of one shape."""
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Gives the shape of the means."""
        return tuple(input_shape[0])

    def save_own_variables(self, store: Any) -> None:
        """Keeps the random state, which Keras leaves out."""
        store["seed_state"] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Puts the random state back."""
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        """Gives what the layer was made with."""
        return {**super().get_config(), "seed": self.seed}
