"""Clip gradients in the compiled training step, and say how often it happened."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kphys import _arguments


class GradientClipping(keras.callbacks.Callback):
    """Keeps gradients from growing past a threshold c > 0, inside the compiled step.

    With g the gradients of all variables together and g_i that of one, exactly one of:

    - `global_norm`: g → g min(1, c / ‖g‖), which keeps the direction of descent.
    - `norm`: g_i → g_i min(1, c / ‖g_i‖), each variable by itself.
    - `value`: every component into [−c, c].

    It works where the optimizer would clip: after loss scaling is undone, on accumulated gradients, and under
    `tf.distribute` on their sum over all replicas. The logs get `gradient_norm`, the mean of ‖g‖ before clipping
    over the steps of the epoch, and `clipped_fraction`, the share of steps in which something was clipped. Put it
    before callbacks that write logs. Afterwards the optimizer is as it was.

    Args:
        global_norm, norm, value: The threshold c. `threshold` may be changed between epochs.

    Raises:
        ValueError, TypeError: None or several of the three, a threshold that is not a positive number; in `fit`, an
            optimizer that clips, or a second GradientClipping.

    Reference:
        Pascanu, Mikolov and Bengio, 2013, "On the difficulty of training recurrent neural networks".

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import GradientClipping
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> model = mlp_regressor(1, hidden_units=4, seed=0)
        >>> history = model.fit(x, 1000 * x, callbacks=[GradientClipping(global_norm=1.0)], verbose=0)
        >>> history.history["clipped_fraction"]
        [1.0]
    """

    def __init__(self, *, global_norm: float | None = None, norm: float | None = None, value: float | None = None):
        super().__init__()
        given = {
            mode: threshold
            for mode, threshold in (("global_norm", global_norm), ("norm", norm), ("value", value))
            if threshold is not None
        }
        if len(given) != 1:
            raise ValueError(
                "Exactly one of `global_norm`, `norm` and `value` must be given, got "
                f"{', '.join(given) or 'none'}: GradientClipping(global_norm=1.0) is the usual one."
            )
        ((self.mode, threshold),) = given.items()
        self._threshold = _arguments.real(self.mode, threshold, positive=True)
        self._state: dict[str, tf.Variable] = {}

    @property
    def threshold(self) -> float:
        """The threshold c; a new value holds from the next step on, without a new trace."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = _arguments.real("threshold", value, positive=True)
        if self._state:
            self._state["threshold"].assign(self._threshold)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the place of the optimizer's own clipping."""
        optimizer = _innermost(self.model.optimizer)
        for argument in ("clipnorm", "clipvalue", "global_clipnorm"):
            if getattr(optimizer, argument) is not None:
                raise ValueError(
                    f"The optimizer clips gradients itself: make it without {argument}="
                    f"{getattr(optimizer, argument):g}, or drop GradientClipping."
                )
        if "_clip_gradients" in vars(optimizer):
            raise ValueError("Another GradientClipping is at work in this training: pass one of them.")
        self._make_state()
        optimizer._clip_gradients = self._clip
        # What is traced already has the old clipping baked in.
        self.model.make_train_function(force=True)
        # Keras does not call `on_train_end` after an error or Ctrl-C; the next training begins with this.
        self.model.make_train_function = self._remove

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the sums of this epoch."""
        for name in ("steps", "norm", "clipped"):
            self._state[name].assign(0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the epoch's means."""
        if logs is not None:
            # Read once an epoch: nothing waits for the device in between.
            steps, norm, clipped = (float(self._state[name].numpy()) for name in ("steps", "norm", "clipped"))
            logs["gradient_norm"] = norm / max(steps, 1.0)
            logs["clipped_fraction"] = clipped / max(steps, 1.0)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the optimizer as it was found."""
        self._remove()

    def _remove(self, force: bool = True) -> None:
        vars(self.model).pop("make_train_function", None)
        vars(_innermost(self.model.optimizer)).pop("_clip_gradients", None)
        self._state = {}
        self.model.make_train_function(force=True)

    def _make_state(self) -> None:
        with self.model.distribute_strategy.scope():
            settings = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
            self._state = {name: tf.Variable(0.0, **settings) for name in ("steps", "norm", "clipped")}
            self._state["threshold"] = tf.Variable(self._threshold, **settings)

    def _clip(self, gradients: list[tf.Tensor | tf.IndexedSlices]) -> list[tf.Tensor]:
        # Dense: a row that occurs twice in the batch has one gradient, the sum.
        gradients, replicas = _summed_over_replicas([tf.convert_to_tensor(gradient) for gradient in gradients])
        norms = [tf.norm(tf.cast(gradient, tf.float32)) for gradient in gradients]
        global_norm = tf.norm(tf.stack(norms))
        threshold = self._state["threshold"]
        if self.mode == "value":
            clipped = [tf.clip_by_value(gradient, -threshold, threshold) for gradient in gradients]
            largest = tf.reduce_max([tf.reduce_max(tf.abs(gradient)) for gradient in gradients])
        elif self.mode == "norm":
            clipped = [g * (threshold / tf.maximum(n, threshold)) for g, n in zip(gradients, norms, strict=True)]
            largest = tf.reduce_max(norms)
        else:
            factor = threshold / tf.maximum(global_norm, threshold)
            clipped = [gradient * factor for gradient in gradients]
            largest = global_norm
        self._state["steps"].assign_add(1.0)
        self._state["norm"].assign_add(global_norm)
        self._state["clipped"].assign_add(tf.cast(largest > threshold, tf.float32))
        # The optimizer sums over the replicas, each of which has the whole gradient here.
        return [gradient / replicas for gradient in clipped] if replicas > 1 else clipped


def _innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Gives the optimizer inside a loss scaling, where gradients have their true size."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _summed_over_replicas(gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], int]:
    """Gives the gradients of the whole batch, and the number of replicas that each hold them."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return gradients, 1
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients), context.num_replicas_in_sync
