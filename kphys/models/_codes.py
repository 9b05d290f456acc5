"""What holds the codes of an autoencoder small in number: the price of an active unit."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("kphys")
class CodePenalty(keras.layers.Layer):
    """Gives the codes h as they are and adds λ Σⱼ mean |hⱼ| + β Σⱼ KL(ρ‖ρ̂ⱼ) to the loss.

    KL(ρ‖ρ̂) = ρ ln(ρ/ρ̂) + (1 − ρ) ln((1 − ρ)/(1 − ρ̂)), with ρ̂ⱼ the mean of hⱼ over the batch.

    Args:
        l1: λ ≥ 0.
        sparsity: ρ, in (0, 1). `None`: no second term.
        sparsity_weight: β ≥ 0.

    Reference: Ng, 2011, "Sparse autoencoder", CS294A lecture notes.
    """

    def __init__(self, l1: float = 0.0, sparsity: float | None = None, sparsity_weight: float = 0.01, **kwargs: Any):
        super().__init__(**kwargs)
        self.l1 = l1
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight

    def call(self, inputs: Any) -> Any:
        # Half precision has no number between 0.9995 and 1.
        codes = ops.cast(inputs, "float32")
        if self.l1:
            self.add_loss(self.l1 * ops.sum(ops.mean(ops.abs(codes), axis=0)))
        if self.sparsity is not None:
            self.add_loss(self.sparsity_weight * self._divergence(ops.mean(codes, axis=0)))
        return inputs

    def _divergence(self, activity: Any) -> Any:
        rho, epsilon = self.sparsity, keras.config.epsilon()
        activity = ops.clip(activity, epsilon, 1 - epsilon)
        on, off = rho * ops.log(rho / activity), (1 - rho) * ops.log((1 - rho) / (1 - activity))
        return ops.sum(on + off)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"l1": self.l1, "sparsity": self.sparsity, "sparsity_weight": self.sparsity_weight}
        return {**super().get_config(), **own}
