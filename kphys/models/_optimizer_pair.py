"""The two optimizers of a model of two networks, and what stands for both as its `optimizer`."""

from __future__ import annotations

from typing import Any

import keras

from kphys.models import _parts

Optimizer = str | keras.optimizers.Optimizer | None


class OptimizerPair:
    """What Keras and its callbacks ask of `model.optimizer`, of two with variables and steps of their own.

    Callbacks that look for `optimizers`, as Keras' own do, set and log the learning rate of each.
    """

    built = True

    def __init__(self, first: keras.optimizers.Optimizer, second: keras.optimizers.Optimizer):
        self.optimizers = [first, second]

    @property
    def iterations(self) -> Any:
        """The number of steps of the first."""
        return self.optimizers[0].iterations

    @property
    def variables(self) -> list[keras.Variable]:
        """The state of both."""
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]


def checked_optimizer(name: str, value: Optimizer) -> keras.optimizers.Optimizer:
    """Gives the optimizer that `value` names, or is; for `None` that of Radford et al., 2016."""
    if value is None:
        return keras.optimizers.Adam(2e-4, beta_1=0.5)
    if isinstance(value, str):
        return _parts.make_optimizer(value, None, name)
    if not isinstance(value, keras.optimizers.Optimizer):
        raise TypeError(
            f"`{name}` must be None, a Keras optimizer or its name, got {value!r}: pass the optimizers of both "
            "networks, which bring their own loss."
        )
    if value.use_ema and value.ema_overwrite_frequency is None:
        raise ValueError(
            f"`{name}` puts its moving averages in place at the end of a training, which Keras does for "
            "`model.optimizer` alone: set its ema_overwrite_frequency."
        )
    return value


def with_scaling(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Gives an optimizer with loss scaling, as `keras.Model.compile` does in half precision."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)
