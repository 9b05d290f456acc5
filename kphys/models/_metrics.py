"""The metrics that Keras has not, or has without counting masks: registered, but kept out of files of stock layers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def like_mean(y_true: Any, y_pred: Any) -> Any:
    """Gives the targets the shape of the predicted means: `(batch,)` becomes `(batch, 1)`."""
    return ops.reshape(ops.cast(y_true, y_pred.dtype), ops.shape(y_pred)[:-1])


def _weights_by_step(values: Any, y_pred: Any, sample_weight: Any) -> Any:
    """Gives one weight for each sample, or time step, of `values`: what was given times the mask of `y_pred`.

    Keras' AUC and RMSE pass over the mask, and its AUC takes weights of the samples of a sequence for weights of its
    steps: padded steps would count.
    """
    weights = ops.ones_like(values[..., 0])
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, weights.dtype)
        if len(sample_weight.shape) > len(weights.shape):
            sample_weight = ops.squeeze(sample_weight, -1)
        while len(sample_weight.shape) < len(weights.shape):
            sample_weight = ops.expand_dims(sample_weight, -1)
        weights = weights * sample_weight
    mask = getattr(y_pred, "_keras_mask", None)
    return weights if mask is None else weights * ops.cast(mask, weights.dtype)


@keras.saving.register_keras_serializable("kphys")
class SequenceAUC(keras.metrics.AUC):
    """The area under the ROC curve over all time steps that are not padding."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        weights = ops.reshape(_weights_by_step(y_pred, y_pred, sample_weight), (-1,))
        width = y_pred.shape[-1]
        super().update_state(ops.reshape(y_true, (-1, width)), ops.reshape(y_pred, (-1, width)), weights)


@keras.saving.register_keras_serializable("kphys")
class OneVersusRestAUC(keras.metrics.Metric):
    """The area under the ROC curve of each class against the rest, averaged over the classes; integer labels.

    A step adds the weights to one histogram of the scores, (members or others, buckets, classes): a fifth of the cost
    of `keras.metrics.AUC` with one-hot labels, and the same area. A class that none or all belong to does not count.

    Reference: Hand and Till, 2001, "A simple generalisation of the area under the ROC curve for multiple class
    classification problems".
    """

    def __init__(self, num_classes: int, num_thresholds: int = 200, name: str = "auc", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.num_thresholds = num_thresholds
        self.histogram = self.add_weight(
            shape=(2 * num_thresholds * num_classes,), initializer="zeros", name="histogram"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        weights = ops.reshape(_weights_by_step(y_pred, y_pred, sample_weight), (-1, 1))
        scores = ops.reshape(y_pred, (-1, self.num_classes))
        classes = ops.arange(self.num_classes, dtype="int32")
        members = ops.cast(ops.cast(ops.reshape(y_true, (-1, 1)), "int32") == classes, "int32")
        # Bucket b holds the scores above threshold b and up to the next, of thresholds from 0 to 1.
        last = self.num_thresholds - 1
        buckets = ops.cast(ops.clip(ops.ceil(scores * last) - 1, 0, last), "int32")
        cells = (members * self.num_thresholds + buckets) * self.num_classes + classes
        self.histogram.assign_add(
            ops.segment_sum(
                ops.reshape(weights * ops.ones_like(scores), (-1,)),
                ops.reshape(cells, (-1,)),
                2 * self.num_thresholds * self.num_classes,
            )
        )

    def result(self) -> Any:
        cells = ops.reshape(self.histogram, (2, self.num_thresholds, self.num_classes))
        above = ops.flip(ops.cumsum(ops.flip(cells, axis=1), axis=1), axis=1)
        above = ops.concatenate([above, ops.zeros_like(above[:, :1])], axis=1)
        totals = above[:, :1]
        defined = ops.all(totals[:, 0] != 0, axis=0)
        rates = above / ops.where(totals == 0, ops.ones_like(totals), totals)
        others, members = rates[0], rates[1]
        areas = ops.sum((others[:-1] - others[1:]) * (members[:-1] + members[1:]) / 2, axis=0)
        defined = ops.cast(defined, areas.dtype)
        return ops.sum(areas * defined) / ops.maximum(ops.sum(defined), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "num_thresholds": self.num_thresholds}


@keras.saving.register_keras_serializable("kphys")
class SequenceRootMeanSquaredError(keras.metrics.RootMeanSquaredError):
    """The root mean squared error over all time steps that are not padding."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        weights = _weights_by_step(y_pred, y_pred, sample_weight)
        super().update_state(ops.reshape(y_true, ops.shape(y_pred)), y_pred, weights)


@keras.saving.register_keras_serializable("kphys")
class MeanAbsoluteErrorOfMean(keras.metrics.MeanAbsoluteError):
    """The mean absolute error of the mean of a Gaussian prediction."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        mean = y_pred[..., 0]
        super().update_state(like_mean(y_true, y_pred), mean, _weights_by_step(mean, y_pred, sample_weight))


@keras.saving.register_keras_serializable("kphys")
class RootMeanSquaredErrorOfMean(keras.metrics.RootMeanSquaredError):
    """The root mean squared error of the mean of a Gaussian prediction."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        mean = y_pred[..., 0]
        super().update_state(like_mean(y_true, y_pred), mean, _weights_by_step(mean, y_pred, sample_weight))
