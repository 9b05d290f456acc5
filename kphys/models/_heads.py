"""Task -> output layer, loss, metrics: one table for every classifier and regressor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from kphys import _arguments
from kphys.models._metrics import (
    MeanAbsoluteErrorOfMean,
    OneVersusRestAUC,
    RootMeanSquaredErrorOfMean,
    SequenceAUC,
    SequenceRootMeanSquaredError,
    like_mean,
)
from kphys.models._parts import check_room

LOG_VARIANCE_BOUND = 20.0
LOG_TWO_PI = math.log(2 * math.pi)


def bounded(raw: Any) -> Any:
    """Gives a log-variance b tanh(r / b), b = 20, of the raw number r: its exponential cannot overflow."""
    return LOG_VARIANCE_BOUND * ops.tanh(raw / LOG_VARIANCE_BOUND)


@keras.saving.register_keras_serializable("kphys")
class GaussianHead(keras.layers.Layer):
    """Turns `2 k` numbers into means and variances, `(…, k, 2)`.

    The log-variance is `b tanh(r / b)` of the raw number r with b = 20, so that the variance stays within e^±20 of
    the target's own and neither it nor its inverse can overflow. `mean` and `variance` are the target's moments,
    which put the outputs into its units.
    """

    def __init__(self, mean: Sequence[float], variance: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.mean = list(mean)
        # Keras' own Normalization has the same floor under the standard deviation.
        self.variance = [max(value, keras.config.epsilon() ** 2) for value in variance]
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        width = len(self.mean)
        mean = inputs[..., :width]
        log_variance = bounded(inputs[..., width:])
        scale = np.asarray(self.variance, "float32")
        mean = mean * np.sqrt(scale) + np.asarray(self.mean, "float32")
        return ops.stack([mean, ops.exp(log_variance) * scale], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], len(self.mean), 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "variance": self.variance}


@keras.saving.register_keras_serializable("kphys")
class GaussianNLL(keras.losses.Loss):
    """The negative log-likelihood of a Gaussian, ½ [ln 2πσ² + (y − μ)²/σ²], averaged over the outputs.

    Reference: Nix and Weigend, 1994, "Estimating the mean and variance of the target probability distribution".
    """

    def __init__(self, name: str = "gaussian_nll", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        mean, variance = y_pred[..., 0], ops.maximum(y_pred[..., 1], np.finfo("float32").tiny)
        # The residual over σ, squared: the gradient of r²/σ² would take 1/σ⁴, which overflows for small units.
        pull = (like_mean(y_true, y_pred) - mean) / ops.sqrt(variance)
        return ops.mean(0.5 * (LOG_TWO_PI + ops.log(variance) + ops.square(pull)), axis=-1)


def _binary_metrics(width: int, sequences: bool) -> list[keras.metrics.Metric]:
    auc = SequenceAUC if sequences else keras.metrics.AUC
    return [keras.metrics.BinaryAccuracy(name="accuracy"), auc(name="auc")]


def _multilabel_metrics(width: int, sequences: bool) -> list[keras.metrics.Metric]:
    auc = SequenceAUC if sequences else keras.metrics.AUC
    return [
        keras.metrics.BinaryAccuracy(name="accuracy"),
        auc(multi_label=True, num_labels=width, name="auc"),
    ]


def _multiclass_metrics(width: int, sequences: bool) -> list[keras.metrics.Metric]:
    auc = OneVersusRestAUC(width)
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy"), auc]


def _regression_metrics(width: int, sequences: bool) -> list[keras.metrics.Metric]:
    rmse = SequenceRootMeanSquaredError if sequences else keras.metrics.RootMeanSquaredError
    return [keras.metrics.MeanAbsoluteError(name="mae"), rmse(name="rmse")]


def _gaussian_metrics(width: int, sequences: bool) -> list[keras.metrics.Metric]:
    return [MeanAbsoluteErrorOfMean(name="mae"), RootMeanSquaredErrorOfMean(name="rmse")]


@dataclass(frozen=True)
class Task:
    """A row of the table: what the arrays given to `fit` must hold, and the end of the network that learns it."""

    targets: Literal["labels", "indicators", "real"]
    activation: str | None
    loss: Callable[..., keras.losses.Loss]
    metrics: Callable[[int, bool], list[keras.metrics.Metric]]
    units_per_target: int = 1


TASKS = {
    "binary": Task("labels", "sigmoid", keras.losses.BinaryCrossentropy, _binary_metrics),
    "multilabel": Task("indicators", "sigmoid", keras.losses.BinaryCrossentropy, _multilabel_metrics),
    "multiclass": Task("labels", "softmax", keras.losses.SparseCategoricalCrossentropy, _multiclass_metrics),
    "mse": Task("real", None, keras.losses.MeanSquaredError, _regression_metrics),
    "mae": Task("real", None, keras.losses.MeanAbsoluteError, _regression_metrics),
    "huber": Task("real", None, keras.losses.Huber, _regression_metrics),
    "gaussian_nll": Task("real", None, GaussianNLL, _gaussian_metrics, units_per_target=2),
}
REGRESSION_LOSSES = ("mse", "mae", "huber", "gaussian_nll")


@dataclass(frozen=True)
class Head:
    """The end of one network: a task, its size, and whether there is a target for every time step.

    `classes` is the number of classes or labels of a classifier, `outputs` the number of values for one target.
    """

    task: Task
    outputs: int
    classes: int | None = None
    sequences: bool = False
    delta: float | None = None
    normalization: keras.layers.Normalization | None = None

    def attach(self, features: Any, seed: int | None) -> Any:
        """Gives the output tensor on top of `features`, in the target's units, in float32 whatever the policy."""
        check_room("`num_outputs`" if self.classes is None else "`num_classes`", features.shape[-1], self.outputs)
        outputs = keras.layers.Dense(
            self.outputs * self.task.units_per_target,
            activation=self.task.activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            dtype="float32",
            name="outputs" if self._is_last else "normalized_outputs",
        )(features)
        if self._is_last:
            return outputs
        mean, variance = self._moments()
        if self.task.loss is GaussianNLL:
            return GaussianHead(mean, variance, dtype="float32", name="outputs")(outputs)
        return keras.layers.Normalization(mean=mean, variance=variance, invert=True, dtype="float32", name="outputs")(
            outputs
        )

    @property
    def _is_last(self) -> bool:
        return self.normalization is None and self.task.loss is not GaussianNLL

    def _moments(self) -> tuple[list[float], list[float]]:
        if self.normalization is None:
            return [0.0] * self.outputs, [1.0] * self.outputs
        moments = (self.normalization.mean, self.normalization.variance)
        flat = [np.ravel(ops.convert_to_numpy(moment)).astype(float) for moment in moments]
        return tuple(np.broadcast_to(moment, self.outputs).tolist() for moment in flat)

    def loss(self) -> keras.losses.Loss:
        """Gives the loss to compile with."""
        return self.task.loss() if self.delta is None else self.task.loss(delta=self.delta)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Gives the metrics to compile with."""
        return self.task.metrics(self.outputs, self.sequences)


def classifier_head(num_classes: int, *, multilabel: bool = False, sequences: bool = False) -> Head:
    """Gives the head of a classifier: binary, multilabel or multiclass."""
    num_classes = _arguments.integer("num_classes", num_classes, minimum=1 if multilabel else 2)
    if multilabel:
        return Head(TASKS["multilabel"], num_classes, num_classes, sequences)
    if num_classes == 2:
        return Head(TASKS["binary"], 1, 2, sequences)
    return Head(TASKS["multiclass"], num_classes, num_classes, sequences)


def regressor_head(
    num_outputs: int,
    loss: str,
    delta: float,
    normalization: keras.layers.Normalization | None,
    *,
    sequences: bool = False,
) -> Head:
    """Gives the head of a regressor for one of `REGRESSION_LOSSES`.

    Raises:
        ValueError: An unknown loss, a δ that is not positive, or targets whose spread "gaussian_nll" cannot hold.
    """
    loss = _arguments.choice("loss", loss, REGRESSION_LOSSES)
    delta = _arguments.real("delta", delta, positive=True, largest=_arguments.LARGEST_FACTOR)
    if loss == "gaussian_nll" and normalization is not None:
        _check_spread(normalization)
    return Head(
        TASKS[loss],
        num_outputs,
        sequences=sequences,
        delta=delta if loss == "huber" else None,
        normalization=normalization,
    )


def _check_spread(normalization: keras.layers.Normalization) -> None:
    # The gradient by the variance goes with its inverse square: beyond this it leaves float32.
    deviations = np.sqrt(np.ravel(ops.convert_to_numpy(normalization.variance)))
    for deviation in deviations[(deviations < 1e-6) | (deviations > 1e6)]:
        raise ValueError(
            f'`target_normalization` has a standard deviation of {deviation:g}, and "gaussian_nll" takes targets '
            "with one from 1e-06 to 1e+06: change their units."
        )
