"""The steps of one optimizer while `GradientClipping` is at work: clipped, skipped and counted where they happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kphys.callbacks._clipping import CLIPS, NUM_BINS, bin_of, norms_of, percentile_of
from kphys.callbacks._optimizers import innermost

Schedule = keras.optimizers.schedules.LearningRateSchedule

_OF_AN_EPOCH = ("steps", "norm", "largest", "clipped", "skipped")
# Numbers in one variable, of 64 bits: each variable more costs every step two microseconds.
_FIGURES = (*_OF_AN_EPOCH, "threshold", "in_row", "first_bad", "bad")


class GradientSteps:
    """Clips the gradients of `optimizer` and leaves out steps that are not finite, from `install` to `remove`.

    Everything it counts stands in variables, so that the host waits for the device only when it reads them.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        mode: str,
        threshold: float | Schedule,
        max_skipped: int,
        num_kept: int,
        compiled_by_xla: bool,
    ):
        self._optimizer, self._mode, self._max_skipped = optimizer, mode, max_skipped
        self._compiled_by_xla = compiled_by_xla
        self._schedule = threshold if isinstance(threshold, Schedule) else None
        self._variables: Sequence[Any] = ()
        self._measured: tuple[tf.Tensor, tf.Tensor] | None = None
        self._counts = tf.constant(True)  # Of the step being traced: whether it is not left out.
        self._clipped = False
        self._figures = _variable(tf.zeros(len(_FIGURES), tf.float64))
        if self._schedule is None:
            self.set_threshold(threshold)
        self._histogram = _variable(tf.zeros(NUM_BINS, tf.int64)) if mode == "percentile" else None
        self._norms = _variable(tf.zeros(num_kept)) if num_kept else None

    def install(self) -> None:
        """Puts itself before the optimizer's update, on the instance."""
        self._update = self._optimizer.apply
        self._optimizer.apply = self._apply
        innermost(self._optimizer)._clip_gradients = self._clip

    def remove(self) -> None:
        """Leaves the optimizer as it was found."""
        vars(self._optimizer).pop("apply", None)
        vars(innermost(self._optimizer)).pop("_clip_gradients", None)

    # === In the compiled step ===

    def _apply(self, gradients: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Does what the optimizer's `apply` does, if the gradients are finite."""
        if trainable_variables is None:
            trainable_variables = self._optimizer._trainable_variables
        pairs = [(g, v) for g, v in zip(gradients, trainable_variables, strict=True) if g is not None]
        if not pairs:
            self._update(gradients, trainable_variables)
            return
        # Dense: a row that occurs twice in the batch has one gradient, the sum.
        gradients = _summed_over_replicas([_dense(gradient, variable) for gradient, variable in pairs])
        self._variables = [variable for _, variable in pairs]
        norms, global_norm = self._norms_of(gradients)
        # After the last one that may be left out none counts, until somebody looks.
        may_step = self._read()["in_row"] < self._max_skipped
        finite = may_step & tf.math.is_finite(global_norm)
        self._count_finite(finite, norms)
        # Where Keras scales or accumulates them afterwards, those are not the norms of what is to be clipped.
        scaled = self._is_scaling or self._optimizer.loss_scale_factor or self._optimizer.gradient_accumulation_steps
        self._measured, self._clipped = None if scaled else (norms, global_norm), False
        # The optimizer sums over the replicas, each of which has the whole gradient here.
        gradients = [gradient / _num_replicas() for gradient in gradients] if _num_replicas() > 1 else gradients
        update = self._update_all_or_none if self._can_select else _apply_if
        # A loss scaling leaves steps that are not finite out itself, and learns from them.
        update(may_step if self._is_scaling else finite, self._update, gradients, self._variables)
        if not self._clipped:
            raise ValueError(
                f"GradientClipping cannot clip the gradients of {type(self._optimizer).__name__}, which hands them on "
                "to others: give those its `global_clipnorm`, and drop GradientClipping."
            )

    def _norms_of(self, gradients: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        on_cpu = not tf.config.get_visible_devices("GPU")
        return norms_of(gradients, as_products=self._compiled_by_xla and on_cpu)

    @property
    def _is_scaling(self) -> bool:
        return innermost(self._optimizer) is not self._optimizer

    @property
    def _can_select(self) -> bool:
        """Says whether a step can be left out value by value: in XLA that copies nothing, and a branch copies it all.

        Of Keras' own optimizers it is known what they change in a step through `assign` and its kin.
        """
        optimizer = self._optimizer
        # These change something past it.
        others = (keras.optimizers.LossScaleOptimizer, keras.optimizers.Muon)
        keeps_more = optimizer.use_ema or optimizer.gradient_accumulation_steps
        constrained = any(getattr(variable, "constraint", None) is not None for variable in self._variables)
        known = type(optimizer).__module__.startswith("keras.") and not isinstance(optimizer, others)
        return self._compiled_by_xla and _num_replicas() == 1 and known and not keeps_more and not constrained

    def _update_all_or_none(
        self, finite: tf.Tensor, update: Callable[..., None], gradients: list[tf.Tensor], variables: Sequence[Any]
    ) -> None:
        """Calls `update` with every new value replaced by the old one unless `finite`."""
        optimizer, weight_decay = self._optimizer, self._optimizer.weight_decay
        # Assigned is the old value, added and subtracted is nothing.
        unchanged = {"assign": tf.convert_to_tensor, "assign_add": tf.zeros_like, "assign_sub": tf.zeros_like}
        for name, old in unchanged.items():
            setattr(optimizer, name, _selecting(finite, getattr(optimizer, name), old))
        if weight_decay is not None:
            optimizer.weight_decay = tf.where(finite, weight_decay, 0.0)
        self._counts = finite
        try:
            update(gradients, variables)
        finally:
            self._counts = tf.constant(True)
            optimizer.weight_decay = weight_decay
            for name in unchanged:
                del vars(optimizer)[name]
        optimizer.iterations.assign_sub(tf.where(finite, 0, 1))

    def _count_finite(self, finite: tf.Tensor, norms: tf.Tensor) -> None:
        old, bad = self._read(), _number(~finite)
        first_bad = _number(tf.argmin(_number(tf.math.is_finite(norms))))
        self._write(
            first_bad=tf.where(old["in_row"] > 0, old["first_bad"], first_bad),
            in_row=bad * (old["in_row"] + 1),
            skipped=old["skipped"] + bad,
            bad=bad,
        )

    def _clip(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Stands where the optimizer would clip."""
        self._clipped = True
        if _num_replicas() > 1:
            gradients = [gradient * _num_replicas() for gradient in gradients]
        norms, global_norm = self._measured or self._norms_of(gradients)
        threshold = self._limit(global_norm)
        gradients, was_clipped = CLIPS[self._mode](gradients, self._variables, norms, global_norm, threshold)
        self._count(global_norm, was_clipped)
        return [gradient / _num_replicas() for gradient in gradients] if _num_replicas() > 1 else gradients

    def _limit(self, global_norm: tf.Tensor) -> tf.Tensor:
        schedule = self._schedule
        threshold = schedule(innermost(self._optimizer).iterations) if schedule else self._read()["threshold"]
        threshold = tf.cast(threshold, tf.float32)
        if self._histogram is None:
            return threshold
        one_more = tf.one_hot(bin_of(global_norm), NUM_BINS, on_value=tf.cast(self._counts, tf.int64), dtype=tf.int64)
        return percentile_of(self._histogram.assign_add(one_more), threshold)

    def _count(self, global_norm: tf.Tensor, was_clipped: tf.Tensor) -> None:
        old = self._read()
        global_norm = tf.where(self._counts, global_norm, 0.0)
        if self._norms is not None:
            # Left out, a step's place is taken by the next one.
            place = [[tf.cast(old["steps"], tf.int64) % self._norms.shape[0]]]
            self._norms.assign(tf.tensor_scatter_nd_update(self._norms, place, [global_norm]))
        self._write(
            steps=old["steps"] + _number(self._counts),
            norm=old["norm"] + _number(global_norm),
            largest=tf.maximum(old["largest"], _number(global_norm)),
            clipped=old["clipped"] + _number(self._counts & was_clipped),
        )

    def begin_step(self) -> None:
        """Forgets about the step before."""
        self._write(bad=_number(0))

    def skips(self) -> tf.Tensor:
        """Says whether the step since `begin_step` was left out."""
        return self._read()["bad"] > 0

    def _read(self) -> dict[str, tf.Tensor]:
        return dict(zip(_FIGURES, tf.unstack(self._figures), strict=True))

    def _write(self, **changes: tf.Tensor) -> None:
        self._figures.assign(tf.stack(list({**self._read(), **changes}.values())))

    # === On the host ===

    def reset(self) -> None:
        """Starts the sums of an epoch."""
        self._write(**dict.fromkeys(_OF_AN_EPOCH, _number(0)))

    def set_threshold(self, threshold: float) -> None:
        """Sets the number that the next step takes."""
        if self._schedule is not None:
            raise ValueError("`threshold` follows a schedule in this training: make GradientClipping with a number.")
        self._write(threshold=_number(threshold))

    def num_steps(self) -> int:
        """Gives the number of steps of this epoch, without those left out."""
        return int(self._read()["steps"])

    @property
    def used(self) -> bool:
        """Whether this optimizer takes part in the training."""
        return bool(self._variables)

    def figures(self) -> dict[str, float]:
        """Gives the epoch's logs; none for an optimizer that is not used."""
        if not self.used:
            return {}
        figures = {name: float(value) for name, value in self._read().items()}
        steps = figures["steps"] or math.nan
        return {
            "gradient_norm": figures["norm"] / steps,
            "gradient_norm_max": figures["largest"] if figures["steps"] else math.nan,
            "clipped_fraction": figures["clipped"] / steps,
            "skipped_steps": int(figures["skipped"]),
        }

    def norms(self) -> list[tuple[int, float]]:
        """Gives the epoch's steps, counted from 0, with their norms, as far back as they are kept."""
        kept, num_steps = self._norms.numpy(), self.num_steps()
        first = max(num_steps - len(kept), 0)
        return [(step, float(kept[step % len(kept)])) for step in range(first, num_steps)]

    def lost(self) -> str | None:
        """Gives the variable whose gradient was the first not to be finite, once too many steps were left out."""
        figures = self._read()
        if int(figures["in_row"]) < self._max_skipped:
            return None
        return self._variables[int(figures["first_bad"])].path


def _variable(value: tf.Tensor) -> tf.Variable:
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _dense(gradient: Any, variable: Any) -> tf.Tensor:
    """Gives `gradient` as a tensor of the variable's shape, which some of TensorFlow's gradients do not know."""
    gradient = tf.convert_to_tensor(gradient)
    gradient.set_shape(variable.shape)
    return gradient


def _number(value: Any) -> tf.Tensor:
    return tf.cast(value, tf.float64)


def _selecting(
    finite: tf.Tensor, change: Callable[[Any, Any], None], unchanged: Callable[[Any], tf.Tensor]
) -> Callable[[Any, Any], None]:
    def change_if_finite(variable: Any, value: Any) -> None:
        change(variable, tf.where(finite, value, tf.cast(unchanged(variable), value.dtype)))

    return change_if_finite


def _num_replicas() -> int:
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def _summed_over_replicas(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Gives the gradients of the whole batch."""
    if _num_replicas() == 1:
        return gradients
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)


def _apply_if(
    finite: tf.Tensor, update: Callable[..., None], gradients: list[tf.Tensor], variables: Sequence[Any]
) -> None:
    """Calls `update` where `finite` says so; on several replicas all together."""
    if _num_replicas() == 1:
        _do_if(finite, lambda: update(gradients, variables))
        return

    def across(strategy: tf.distribute.Strategy, finite: Any, gradients: Any) -> None:
        # A branch in which replicas meet must be chosen for all of them at once.
        first = strategy.experimental_local_results(finite)[0]
        _do_if(first, lambda: strategy.extended.call_for_each_replica(update, args=(gradients, variables)))

    tf.distribute.get_replica_context().merge_call(across, args=(finite, gradients))


def _do_if(condition: tf.Tensor, action: Callable[[], Any]) -> None:
    def branch() -> tf.Tensor:
        action()
        return tf.constant(True)

    tf.cond(condition, branch, lambda: tf.constant(False))
