"""The optimizers of a model, which may be several."""

from __future__ import annotations

import keras


def optimizers_of(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Gives them by the prefix of their logs: "" for `model.optimizer`, "critic_" for `model.critic_optimizer`.

    An attribute of another name is its own prefix: "slow_" for `model.slow`.
    """
    return {
        name.removesuffix("optimizer") if name.endswith("optimizer") else f"{name}_": value
        for name, value in vars(model).items()
        if isinstance(value, keras.optimizers.Optimizer)
    }


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Gives the optimizer inside a loss scaling, where gradients have their true size."""
    return getattr(optimizer, "inner_optimizer", optimizer)
