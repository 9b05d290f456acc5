"""Clip gradients in the compiled training step, and say how often it happened."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kphys import _arguments
from kphys.callbacks._clipping import CLIPS
from kphys.callbacks._gradient_steps import GradientSteps
from kphys.callbacks._optimizers import innermost, is_agent, log_prefix, optimizers_with_gradients

Threshold = float | keras.optimizers.schedules.LearningRateSchedule

# A look at the counter of skipped steps waits for the device: not oftener than this, in seconds.
_LOOK_EVERY = 1.0


class GradientClipping(keras.callbacks.Callback):
    """Keeps gradients from growing past a threshold c > 0, inside the compiled step.

    With g the gradients of all variables together, g_i that of one and g_u those of one unit's weights w_u, exactly one
    of:

    - `global_norm`: g → g min(1, c / ‖g‖), which keeps the direction of descent.
    - `norm`: g_i → g_i min(1, c / ‖g_i‖), each variable by itself.
    - `value`: every component into [−c, c].
    - `percentile`: as `global_norm`, where c is that percentile of all ‖g‖ since training began, this step's included.
    - `adaptive`: g_u → g_u min(1, c max(‖w_u‖, 0.001) / ‖g_u‖), each unit by itself; a bias counts as one unit.
      Units are those of a weight's last axis, which in transposed convolutions is that of the inputs.

    It works where the optimizer would clip: after loss scaling is undone, on accumulated gradients, and under
    `tf.distribute` on their sum over all replicas. A step whose gradients are not finite is left out as a whole:
    weights, moving averages, optimizer and metrics stay as they were. `max_skipped` such steps in a row end training
    with an error.

    The logs of an epoch get `gradient_norm` and `gradient_norm_max`, mean and maximum of ‖g‖ before clipping,
    `clipped_fraction`, the share of steps in which something was clipped, and `skipped_steps`, the number left out.
    Where a model has several optimizers, as attributes `generator_optimizer` and so on, each is clipped by itself and
    its logs begin with `generator_`; if one leaves a step out, the others may take it, but moving averages and metrics
    stay as they were. Put it before callbacks that write logs. An epoch that leaves every step out logs NaN, as the
    norms of one without a step are. Afterwards the optimizers are as they were.

    Args:
        global_norm, norm, value: The threshold c, a number or a `keras.optimizers.schedules.LearningRateSchedule` of
            the optimizer's iterations. A number may be changed in training through `threshold`.
        percentile: In (0, 100]; 10 is usual. Found to 0.6 %, for norms from 1e-19 to 1e19.
        adaptive: The largest ratio c of gradient to weight; 0.01 is usual.
        max_skipped: Number of steps in a row without finite gradients that end training. A loss scaling, which tries
            scales out by such steps, needs up to 16.
        log_dir: Folder of a TensorBoard log to which the norm of every step goes as `batch_gradient_norm`. `None`: only
            the logs of epochs.

    Raises:
        ValueError, TypeError: None or several of the five, a threshold that is not a positive number; in `fit`, an
            optimizer that clips, or a second GradientClipping.
        FloatingPointError: In `fit`, after `max_skipped` steps in a row; names the first variable with such a gradient.

    Reference:
        Pascanu, Mikolov and Bengio, 2013, "On the difficulty of training recurrent neural networks".
        Seetharaman, Wichern, Pardo and Le Roux, 2020, "AutoClip: adaptive gradient clipping for source separation
        networks".
        Brock, De, Smith and Simonyan, 2021, "High-performance large-scale image recognition without normalization",
        who leave the last layer unclipped.

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import GradientClipping
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> model = mlp_regressor(1, hidden_units=4, seed=0)
        >>> history = model.fit(x, 1000 * x, callbacks=[GradientClipping(global_norm=1.0)], verbose=0)
        >>> history.history["clipped_fraction"], history.history["skipped_steps"]
        ([1.0], [0])
    """

    # Its batch hook only looks at a counter now and then, so a call may train on many batches.
    batches_may_share_a_call = True

    def __init__(
        self,
        *,
        global_norm: Threshold | None = None,
        norm: Threshold | None = None,
        value: Threshold | None = None,
        percentile: float | None = None,
        adaptive: float | None = None,
        max_skipped: int = 20,
        log_dir: str | os.PathLike[str] | None = None,
    ):
        super().__init__()
        asked = zip(CLIPS, (global_norm, norm, value, percentile, adaptive), strict=True)
        given = {mode: threshold for mode, threshold in asked if threshold is not None}
        if len(given) != 1:
            raise ValueError(
                f"Exactly one of {', '.join(f'`{mode}`' for mode in CLIPS)} must be given, got "
                f"{', '.join(given) or 'none'}: GradientClipping(global_norm=1.0) is the usual one."
            )
        # Under their own names, as other callbacks keep theirs: a record of the run reads them.
        self.global_norm, self.norm, self.value = global_norm, norm, value
        self.percentile, self.adaptive = percentile, adaptive
        ((self.mode, threshold),) = given.items()
        self._steps: dict[str, GradientSteps] = {}
        self._threshold = self._checked(self.mode, threshold)
        self.max_skipped = _arguments.integer("max_skipped", max_skipped)
        self.log_dir = None if log_dir is None else Path(log_dir)

    def _checked(self, name: str, threshold: Any) -> Threshold:
        if isinstance(threshold, keras.optimizers.schedules.LearningRateSchedule):
            if self.mode in ("global_norm", "norm", "value") and not self._steps:
                return threshold
            raise TypeError(
                f"`{name}` must be a number: only `global_norm`, `norm` and `value` take a schedule, and only when the "
                "callback is made."
            )
        threshold = _arguments.real(name, threshold, positive=True)
        if self.mode == "percentile" and threshold > 100:
            raise ValueError(f"`{name}` must be a percentile above 0 and up to 100, got {threshold:g}.")
        return threshold

    @property
    def threshold(self) -> Threshold:
        """The threshold c, percentile or ratio; a new number holds from the next step on, without a new trace."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        threshold = self._checked("threshold", value)
        for steps in self._steps.values():
            steps.set_threshold(threshold)
        self._threshold = threshold

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the place of the optimizers' own clipping."""
        optimizers = optimizers_with_gradients(self.model, "GradientClipping")
        for optimizer in optimizers.values():
            _refuse_clipping(innermost(optimizer))
        settings = (self.mode, self._threshold, self.max_skipped, self._num_steps_kept(), bool(self.model.jit_compile))
        with self.model.distribute_strategy.scope():
            self._steps = {
                log_prefix(name): GradientSteps(optimizer, *settings) for name, optimizer in optimizers.items()
            }
        self._writer = None if self.log_dir is None else tf.summary.create_file_writer(str(self.log_dir / "train"))
        self._num_written, self._looked = 0, time.monotonic()
        for steps in self._steps.values():
            steps.install()
        self.model.train_step = _without_bad_steps(self.model, self._steps)
        # What is traced already has the old step baked in.
        self.model.make_train_function(force=True)
        # Keras does not call `on_train_end` after an error or Ctrl-C; the next training begins with this.
        self.model.make_train_function = self._make_train_function

    def _num_steps_kept(self) -> int:
        if self.log_dir is None:
            return 0
        # Keras does not know how long a generator is, and an agent's batches are rounds of several steps: then the last
        # ones of the epoch are kept.
        steps = None if is_agent(self.model) else (self.params or {}).get("steps")
        return steps or 65_536

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the sums of this epoch."""
        for steps in self._steps.values():
            steps.reset()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends a training whose gradients stay not finite, seconds after the fact: no step counts from then on."""
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._looked = time.monotonic()
            self._end_if_lost()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the epoch's means."""
        self._end_if_lost()
        used = {prefix: steps for prefix, steps in self._steps.items() if steps.used}
        if not used:
            self._remove()
            raise ValueError(
                "GradientClipping found no optimizer that takes part in the training: it looks at the model's "
                "attributes, such as `optimizer` and `generator_optimizer`."
            )
        if logs is not None:
            # Read once an epoch: nothing waits for the device in between.
            figures = {prefix: steps.figures() for prefix, steps in used.items()}
            stepped = {prefix for prefix, steps in used.items() if steps.num_steps()}
            if not stepped and any(found["skipped_steps"] for found in figures.values()):
                # Metrics of no step at all are 0, which no callback must take for a good loss.
                logs.update({name: math.nan for name in logs if not name.startswith("val_")})
            for prefix, found in figures.items():
                logs.update({prefix + name: value for name, value in found.items()})
                if is_agent(self.model) and prefix not in stepped and not found["skipped_steps"]:
                    self.model.unknown_logs |= {prefix + name for name in found}
        if self._writer is not None:
            self._write_batches()

    def _write_batches(self) -> None:
        norms = {prefix: steps.norms() for prefix, steps in self._steps.items()}
        # TensorBoard(update_freq=N) leaves summaries turned off between its batches.
        with self._writer.as_default(), tf.summary.record_if(True):
            for prefix, values in norms.items():
                for step, value in values:
                    tf.summary.scalar(f"{prefix}batch_gradient_norm", value, step=self._num_written + step)
        self._writer.flush()
        self._num_written += max((steps.num_steps() for steps in self._steps.values()), default=0)

    def _end_if_lost(self) -> None:
        for steps in self._steps.values():
            variable = steps.lost()
            if variable is not None:
                self._remove()
                raise FloatingPointError(
                    f"{self.max_skipped} steps in a row had gradients that are NaN or infinite, first that of "
                    f"`{variable}`. The model is as it was before them. Look for NaN in the data, lower the learning "
                    "rate, or clip at a smaller threshold."
                )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the optimizers as they were found."""
        self._remove()

    def _make_train_function(self, force: bool = False) -> None:
        if force:  # Somebody changes the model while it is trained.
            type(self.model).make_train_function(self.model, force=True)
        else:
            self._remove()

    def _remove(self) -> None:
        for name in ("make_train_function", "train_step"):
            vars(self.model).pop(name, None)
        for steps in self._steps.values():
            steps.remove()
        self._steps = {}
        if self._writer is not None:
            self._writer.close()
        self.model.make_train_function(force=True)


def _refuse_clipping(optimizer: keras.optimizers.Optimizer) -> None:
    for argument in ("clipnorm", "clipvalue", "global_clipnorm"):
        if getattr(optimizer, argument) is not None:
            raise ValueError(
                f"The optimizer clips gradients itself: make it without {argument}="
                f"{getattr(optimizer, argument):g}, or drop GradientClipping."
            )
    if "_clip_gradients" in vars(optimizer):
        raise ValueError("Another GradientClipping is at work in this training: pass one of them.")


def _without_bad_steps(model: keras.Model, steps: dict[str, GradientSteps]) -> Callable[[Any], Any]:
    """Gives the model's training step, after which moving averages and metrics know nothing of a skipped step."""
    train_step = model.train_step

    def step(data: Any) -> Any:
        # Not what is frozen only.
        averages = [variable for layer in model._flatten_layers() for variable in layer._non_trainable_variables]
        kept = list({id(variable): variable for variable in [*averages, *model.metrics_variables]}.values())
        before = [tf.identity(tf.convert_to_tensor(variable)) for variable in kept]
        for clipping in steps.values():
            clipping.begin_step()
        logs = train_step(data)
        skipped = tf.reduce_any([clipping.skips() for clipping in steps.values()])
        for variable, value in zip(kept, before, strict=True):
            variable.assign(tf.where(skipped, value, tf.convert_to_tensor(variable)))
        return logs

    return step
