"""Find a learning rate: train through all of them once, put everything back, and look where the loss fell."""

from __future__ import annotations

import math
import os
import signal
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kphys import _arguments
from kphys._figures import COLOR, GUIDE, panels, save
from kphys.callbacks._optimizers import is_agent, optimizers_with_gradients
from kphys.callbacks._signals import SignalWatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMOOTHING = 0.9


class LearningRateFinder(keras.callbacks.Callback):
    """Tries a range of learning rates, one a batch, and suggests one; model and optimizer are left untouched.

    Batch i of n trains with η_i = `lowest` (`highest` / `lowest`)^(i / (n − 1)). The losses L_i are smoothed by an
    exponential mean, S_i = Σ_j 0.9^(i−j) L_j / Σ_j 0.9^(i−j) over j ≤ i. The fit ends after n = `num_steps` batches, or
    before when S is not finite or above 4 times its minimum (if that is not positive, as for a log-likelihood: above it
    by 3 times its size or the fall that led to it, whichever is larger).

    The suggestion is the rate at which S falls most steeply against log η before its minimum: the middle of the
    steepest straight line fitted to a window of a fifth of the steps, over which the noise of the batches averages out.
    The first tenth of the steps, where S is a mean over few batches, counts for neither.

    Weights, batch-normalization statistics, random state, metrics and all variables of all optimizers of the model are
    put back: the next `fit` does what it would have done. (With `shuffle`, the data come in another order, as in any
    second `fit`.) Give the range test a `fit` of its own, without callbacks that judge the losses.

    Args:
        lowest, highest: First and last learning rate, 0 < `lowest` < `highest`.
        num_steps: Number of batches, and so of rates, at least 10. The default spends 17 steps on a factor of 10.

    Attributes:
        learning_rates: The rates that were tried, one a batch.
        losses: The loss of each batch alone, with the model's regularization in it.
        smoothed_losses: S of each batch.
        suggestion: A learning rate to start from, `None` before a `fit`, or if the loss never fell, as a warning says.

    Raises:
        ValueError, TypeError: Rates or a number of steps that the above does not allow; in `fit`, fewer batches than
            `num_steps`, a model without weights yet, one that logs no `loss`, as a `DCGAN`, an agent, a learning-rate
            schedule, or several steps an execution.

    Reference:
        Smith, 2017, "Cyclical learning rates for training neural networks".

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> from kphys.callbacks import LearningRateFinder
        >>> x = np.linspace(-1, 1, 640, dtype="float32")[:, None]
        >>> model = mlp_regressor(1, hidden_units=16, seed=0)
        >>> finder = LearningRateFinder()
        >>> history = model.fit(x, x**2, epochs=5, callbacks=[finder], verbose=0)
        >>> 1e-4 < finder.suggestion < 1.0
        True
        >>> figure = finder.plot()
        >>> model.optimizer.learning_rate = finder.suggestion
    """

    def __init__(self, lowest: float = 1e-6, highest: float = 1.0, num_steps: int = 100):
        super().__init__()
        self.lowest = _arguments.real("lowest", lowest, positive=True)
        self.highest = _arguments.real("highest", highest, positive=True)
        self.num_steps = _arguments.integer("num_steps", num_steps, minimum=10)
        if self.lowest >= self.highest:
            raise ValueError(
                f"`lowest` must be below `highest`, got {lowest} and {highest}: the range test goes from low to high."
            )
        self._reset()

    def _reset(self) -> None:
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed_losses: list[float] = []
        self._decayed_sum = 0.0
        self._complete = False
        self._optimizers: list[keras.optimizers.Optimizer] = []
        self._saved: list[tuple[keras.Variable, np.ndarray]] = []
        self._saved_metrics: list[tuple[keras.Variable, np.ndarray]] = []

    @property
    def suggestion(self) -> float | None:
        """The learning rate where the smoothed loss falls most steeply, `None` if it never does."""
        return steepest(self.learning_rates, self.smoothed_losses)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that everything can be put back, and keeps it."""
        self._reset()
        if is_agent(self.model):
            raise ValueError(
                "LearningRateFinder cannot put an agent back, which remembers what it played: try its learning rates "
                "in trainings of their own."
            )
        if self.model.steps_per_execution > 1:
            raise ValueError(
                "LearningRateFinder needs to act on every batch, and the model runs "
                f"{self.model.steps_per_execution} in one execution: compile it with steps_per_execution=1."
            )
        _check_built(self.model)
        self._optimizers = _ready_optimizers(self.model)
        self._saved = _values(self.model.variables)
        for optimizer in self._optimizers:
            self._saved += _values(optimizer.variables)
        self._saved_metrics = _values(self.model.metrics_variables)
        self._watch = SignalWatch(self, {signal.SIGINT: self.restore})

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks before the first batch that there will be enough of them."""
        batches, epochs = self.params["steps"], self.params["epochs"]
        if self.losses or batches is None:
            return
        if (epochs - epoch) * batches < self.num_steps:
            enough = epoch + math.ceil(self.num_steps / batches)
            raise ValueError(
                f"`num_steps` is {self.num_steps}, but `fit` has only {(epochs - epoch) * batches} batches, {batches} "
                f"an epoch: pass epochs={enough} to `fit`, or a smaller `num_steps`."
            )

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the batch's learning rate."""
        exponent = len(self.losses) / (self.num_steps - 1)
        rate = self.lowest * (self.highest / self.lowest) ** exponent
        # Keras logs means since the last reset: after this one, those of the batch alone.
        self.model.reset_metrics()
        for optimizer in self._optimizers:
            optimizer.learning_rate = rate
        self.learning_rates.append(rate)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes the batch's loss, and ends the fit when enough has been seen."""
        logs = logs or {}
        if "loss" not in logs:
            self.restore()
            raise ValueError(
                f"LearningRateFinder follows 'loss', and the model logs only {', '.join(sorted(logs)) or 'nothing'}: "
                "return one of that name from its `train_step`."
            )
        self.losses.append(float(logs["loss"]))
        self._decayed_sum = _SMOOTHING * self._decayed_sum + (1 - _SMOOTHING) * self.losses[-1]
        self.smoothed_losses.append(self._decayed_sum / (1 - _SMOOTHING ** len(self.losses)))
        self._complete = len(self.losses) == self.num_steps or _diverged(self.smoothed_losses, self.num_steps // 10)
        if self._complete:
            # Not only at the end of training: what is evaluated or saved until then is the untouched model.
            _put_back(self._saved)
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts everything back, and says if that was no range test."""
        self._watch.end()
        # Once more: Keras has just written the moving averages of an optimizer with `use_ema` over the weights.
        self.restore()
        self._saved, self._saved_metrics = [], []
        if not self._complete:
            warnings.warn(
                f"The range test ended after {len(self.losses)} of {self.num_steps} steps, before the losses said to: "
                "pass more `epochs` to `fit`, and no other callback that stops it.",
                stacklevel=2,
            )
        elif self.suggestion is None:
            warnings.warn(
                f"The loss never fell between the learning rates {self.learning_rates[0]:.3g} and "
                f"{self.learning_rates[-1]:.3g}, so there is no suggestion: look at `plot()`, and try another range.",
                stacklevel=2,
            )

    def restore(self) -> None:
        """Puts everything back as it was before the range test; a second call changes nothing more.

        The test does it itself, on Ctrl-C too; after another error in `fit` it is left to you.
        """
        if self._saved:
            _put_back(self._saved)
            # Metrics that Keras made in the first batch start anew.
            self.model.reset_metrics()
            _put_back(self._saved_metrics)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws the losses against the learning rate; saves to `path` if given.

        Args:
            path: File to write, its ending says the format (`.png`, `.pdf`, `.svg`); `None` writes nothing.

        Returns:
            A `matplotlib.figure.Figure`, which needs no screen: the loss of each batch, the smoothed loss, and the
            suggestion if there is one.

        Raises:
            RuntimeError: Before a `fit`.
        """
        if not self.losses:
            raise RuntimeError("There is nothing to plot yet: pass the LearningRateFinder to `fit` first.")
        figure = _figure(self.learning_rates, self.losses, self.smoothed_losses, self.suggestion)
        return save(figure, path)


def steepest(learning_rates: Sequence[float], smoothed_losses: Sequence[float]) -> float | None:
    """Gives the rate η of the steepest descent dS/d(log η) before the minimum of S; `None` if there is no descent."""
    window = len(smoothed_losses) // 10
    losses = np.where(np.isfinite(smoothed_losses), smoothed_losses, np.inf)[window:]
    # From one step to the next, the difference between two batches outweighs that between two rates.
    half = max(1, window)
    before = losses[: np.argmin(losses) + 1] if len(losses) else losses
    if len(before) < 2 * half + 1:
        return None
    # The slope of the least-squares line through each window, up to a factor: the rates are even on the log axis.
    slopes = np.correlate(before, np.arange(-half, half + 1), mode="valid")
    index = int(np.argmin(slopes))
    # Round-off is no descent.
    falls = slopes[index] < -1e-6 * np.abs(before).max()
    return float(learning_rates[window + half + index]) if falls else None


def _diverged(smoothed_losses: Sequence[float], first: int) -> bool:
    """Tells whether the last value is not finite, or far above the minimum of those from `first` on."""
    now = smoothed_losses[-1]
    if not math.isfinite(now) or len(smoothed_losses) <= first:
        return not math.isfinite(now)
    minimum = min(smoothed_losses[first:])
    # Four times a minimum that is not positive says nothing; what stands in for its size is the fall that led to it.
    size = minimum if minimum > 0 else max(-minimum, smoothed_losses[first] - minimum)
    return now - minimum > 3 * size


def _check_built(model: keras.Model) -> None:
    # A layer or model without a `build` of its own has no weights of its own.
    without = (keras.layers.Layer.build, keras.Model.build)
    unbuilt = [layer.name for layer in model._flatten_layers() if not layer.built and type(layer).build not in without]
    if unbuilt:
        raise ValueError(
            f"{', '.join(unbuilt)} would make weights in the first batch, too late to be put back: call the model "
            "once, as in `model(x[:1])`, before `fit`."
        )


def _ready_optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Gives all optimizers that are attributes of the model, with their variables made."""
    optimizers = optimizers_with_gradients(model, "LearningRateFinder")
    for name, optimizer in optimizers.items():
        if not isinstance(optimizer.learning_rate, keras.Variable):
            raise ValueError(
                f"The learning rate of `model.{name}` is a schedule, which sets it in every step: compile the model "
                "with a number for the range test."
            )
        if not optimizer.built and name != "optimizer":
            raise ValueError(
                f"`model.{name}` would make its variables in the first batch, too late to be put back: call its "
                "`build` with the variables that it trains before `fit`."
            )
    if "optimizer" in optimizers and not model.optimizer.built:
        # What Keras does in the first batch.
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    return list(optimizers.values())


def _values(variables: Sequence[keras.Variable]) -> list[tuple[keras.Variable, np.ndarray]]:
    return [(variable, variable.numpy()) for variable in variables]


def _put_back(saved: Sequence[tuple[keras.Variable, np.ndarray]]) -> None:
    for variable, value in saved:
        variable.assign(value)


def _figure(
    learning_rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> Figure:
    figure, (panel,) = panels(1, 6.0)
    panel.set(xscale="log", xlabel="learning rate", ylabel="loss")
    panel.plot(learning_rates, losses, ".", color=COLOR, alpha=0.3, markeredgewidth=0, label="one batch")
    panel.plot(learning_rates, smoothed, color=COLOR, label="smoothed")
    if suggestion is not None:
        panel.axvline(suggestion, color=GUIDE, linestyle=":", label=f"suggestion {suggestion:.2g}")
    # The last value may be astronomical; all before it are within reach of the minimum.
    if len(smoothed) > 1:
        low, high = min(losses[:-1]), max(smoothed[:-1])
        margin = max(0.1 * (high - low), 1e-3 * abs(high)) or 1.0
        panel.set_ylim(low - margin, high + 2 * margin)
    panel.legend(frameon=False)
    return figure
