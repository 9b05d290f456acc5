"""The optimizers of a model, which may be several."""

from __future__ import annotations

import keras


def optimizers_of(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Gives them by the names of the model's attributes that they are."""
    return {name: value for name, value in vars(model).items() if isinstance(value, keras.optimizers.Optimizer)}


def optimizers_with_gradients(model: keras.Model, callback: str) -> dict[str, keras.optimizers.Optimizer]:
    """Gives the optimizers for a callback that works through what they are given; refuses models that do without."""
    if getattr(model, "trains_without_optimizer", False):
        raise ValueError(
            f"{callback} works through the gradients that an optimizer is given, and {type(model).__name__} makes its "
            "steps itself, with no more of its optimizer than the learning rate: leave the callback out."
        )
    return optimizers_of(model)


def is_agent(model: keras.Model) -> bool:
    """Says whether `model` plays: it keeps more than variables, and its batches are rounds of several steps."""
    return getattr(model, "plays", False)


def log_prefix(name: str) -> str:
    """Gives what the logs of an optimizer begin with: "" for "optimizer", "critic_" for "critic_optimizer".

    An attribute of another name is its own prefix: "slow_" for "slow".
    """
    return name.removesuffix("optimizer") if name.endswith("optimizer") else f"{name}_"


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Gives the optimizer inside a loss scaling, where gradients have their true size."""
    return getattr(optimizer, "inner_optimizer", optimizer)
