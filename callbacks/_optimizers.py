"""The optimizers of a model, which may be several."""

from __future__ import annotations

import keras


def optimizers_of(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Gives them by the prefix of their logs: "" for `model.optimizer`, "critic_" for `model.critic_optimizer`."""
    return {
        name.removesuffix("optimizer"): value
        for name, value in vars(model).items()
        if name.endswith("optimizer") and isinstance(value, keras.optimizers.Optimizer)
    }


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Gives the optimizer inside a loss scaling, where gradients have their true size."""
    return getattr(optimizer, "inner_optimizer", optimizer)
