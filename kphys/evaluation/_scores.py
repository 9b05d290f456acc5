"""What `kphys.evaluation` computes: weighted scores of classified events and of residuals, and their bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import metrics

Scores = dict[str, np.ndarray]

# Keras' own epsilon: a float32 sigmoid or softmax reaches exactly 0 and 1, whose logarithm does not exist.
SMALLEST_PROBABILITY = 1e-7


def ratio(numerator: np.ndarray | float, denominator: np.ndarray | float) -> np.ndarray:
    """Divides, giving nan where the denominator is no positive sum of weights."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def with_means(scores: Scores) -> Scores:
    """Adds to every `each_name`, one value a class or output, the mean `name` over those that are defined."""
    means = {}
    for name, values in scores.items():
        if name.startswith("each_"):
            defined = np.isfinite(values)
            means[name.removeprefix("each_")] = ratio(values[defined].sum(), defined.sum())
    return {**scores, **means}


def bootstrap_errors(
    statistic: Callable[[np.ndarray], Scores],
    weight: np.ndarray,
    group: np.ndarray,
    num_bootstrap: int,
    seed: int | None,
) -> Scores:
    """Gives the standard deviation of `statistic(weight)` over Poisson bootstrap samples.

    In a sample, each group of events (an event, or the steps of a sequence) enters k times, k from a Poisson
    distribution of mean 1, so that the number of events fluctuates as it does in an experiment.
    """
    generator = np.random.default_rng(seed)
    num_groups = int(group[-1]) + 1
    centre = statistic(weight)
    count = {name: np.zeros(np.shape(value)) for name, value in centre.items()}
    total, square = ({name: np.zeros(np.shape(value)) for name, value in centre.items()} for _ in range(2))
    for _ in range(num_bootstrap):
        sample = statistic(weight * generator.poisson(1.0, num_groups)[group])
        for name, value in sample.items():
            # Sums of deviations from the centre, not of values: large values lose no digits to cancellation.
            deviation = np.asarray(value) - centre[name]
            defined = np.isfinite(deviation)
            deviation = np.where(defined, deviation, 0.0)
            count[name] += defined
            total[name] += deviation
            square[name] += deviation**2
    return {name: _deviation(count[name], total[name], square[name]) for name in centre}


def _deviation(count: np.ndarray, total: np.ndarray, square: np.ndarray) -> np.ndarray:
    variance = ratio(square - ratio(total**2, count), np.maximum(count - 1, 0))
    return np.sqrt(np.maximum(variance, 0.0))


class Classified:
    """Classified events, arranged once so that all scores under any weights are a few sums.

    Args:
        kind: `"binary"`, `"multiclass"` or `"multilabel"`.
        truth: booleans `(events, classes)`: the event belongs to the class; one column if binary.
        probability: what the model said, `(events, classes)`, within 0 and 1.
        threshold: a class is chosen above it (binary and multilabel).
        num_bins: bins of equal width of the calibration error.
    """

    def __init__(self, kind: str, truth: np.ndarray, probability: np.ndarray, threshold: float, num_bins: int):
        self.kind, self.truth, self.probability, self.num_bins = kind, truth, probability, num_bins
        self.num_classes = truth.shape[1]
        clipped = np.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        if kind == "multiclass":
            self.label, self.choice = truth.argmax(axis=1), probability.argmax(axis=1)  # (events,)
            self.chosen = self.choice[:, None] == np.arange(self.num_classes)  # (events, classes)
            self.clipped = clipped / clipped.sum(axis=1, keepdims=True)
            self._cell = self.label * self.num_classes + self.choice
            self._right = (self.label == self.choice).astype(float)
            self._loss = -np.log(self.clipped[truth])
            confidence, hit = probability.max(axis=1, keepdims=True), self._right[:, None]
        else:
            self.chosen = probability > threshold
            self.clipped = clipped
            self._cell = (4 * np.arange(self.num_classes) + 2 * truth + self.chosen).ravel()
            self._right = (truth == self.chosen).mean(axis=1)
            self._loss = -np.log(np.where(truth, clipped, 1 - clipped)).mean(axis=1)
            confidence, hit = probability, truth
        self.confidence, self.hit = confidence, hit  # (events, 1), or (events, labels)
        self._bin = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
        self._gap = hit - confidence
        self._curves = [self._sorted_curve(column) for column in range(self.num_classes)]

    def _sorted_curve(self, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = np.argsort(-self.probability[:, column], kind="stable")
        score = self.probability[order, column]
        # Events of equal probability pass the threshold together.
        last_of_ties = np.flatnonzero(np.append(score[1:] != score[:-1], True))
        return order, self.truth[order, column].astype(float), last_of_ties

    def roc(self, column: int, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gives the weights of the negatives and of the positives above each threshold, from none to all."""
        order, truth, last_of_ties = self._curves[column]
        weight = weight[order]
        positive = np.cumsum(weight * truth)[last_of_ties]
        negative = np.cumsum(weight * (1 - truth))[last_of_ties]
        return np.append(0.0, negative), np.append(0.0, positive)

    def _area(self, column: int, weight: np.ndarray) -> float:
        negative, positive = self.roc(column, weight)
        if negative[-1] <= 0 or positive[-1] <= 0:
            return np.nan
        area = np.sum(np.diff(negative) * (positive[1:] + positive[:-1])) / 2
        return area / (negative[-1] * positive[-1])

    def confusion(self, weight: np.ndarray) -> np.ndarray:
        """Gives the weight of each (true, chosen) pair: `(classes, classes)`, or `(labels, 2, 2)`."""
        classes = self.num_classes
        if self.kind == "multiclass":
            return np.bincount(self._cell, weight, minlength=classes**2).reshape(classes, classes)
        matrices = np.bincount(self._cell, np.repeat(weight, classes), minlength=4 * classes)
        return matrices.reshape((2, 2) if self.kind == "binary" else (classes, 2, 2))

    def calibration_error(self, weight: np.ndarray) -> np.ndarray:
        """Gives Σ over bins of |weight · (hit − confidence)| over the weight, averaged over the columns."""
        gaps = [
            np.abs(np.bincount(bin_, weight * gap)).sum() for bin_, gap in zip(self._bin.T, self._gap.T, strict=True)
        ]
        return ratio(np.mean(gaps), weight.sum())

    def scores(self, weight: np.ndarray) -> Scores:
        """Gives every score as weighted sums; those per class under the name `each_…`."""
        matrix = self.confusion(weight)
        counts = _one_against_rest(matrix) if self.kind == "multiclass" else matrix.reshape(-1, 2, 2)
        (tn, fp), (fn, tp) = np.moveaxis(counts, 0, -1)  # each (classes,)
        return {
            "confusion_matrix": matrix,
            "accuracy": ratio(weight @ self._right, weight.sum()),
            "log_loss": ratio(weight @ self._loss, weight.sum()),
            "expected_calibration_error": self.calibration_error(weight),
            "each_selectivity": ratio(tn, tn + fp),
            "each_precision": ratio(tp, tp + fp),
            "each_recall": ratio(tp, tp + fn),
            "each_f1": ratio(2 * tp, 2 * tp + fp + fn),
            "each_roc_auc": np.array([self._area(column, weight) for column in range(self.num_classes)]),
        }

    def scores_by_sklearn(self, weight: np.ndarray) -> Scores:
        """Gives the same by scikit-learn, which takes no negative weights for the ROC curve."""
        truth, chosen = self.truth.astype(int), self.chosen.astype(int)
        if self.num_classes == 1:
            truth, chosen, only = truth.ravel(), chosen.ravel(), {"labels": [1]}
        else:
            only = {}
        per_class = {"average": None, "zero_division": np.nan, "sample_weight": weight, **only}
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, chosen, **per_class)
        return {
            **self._event_scores_by_sklearn(weight),
            "expected_calibration_error": self.calibration_error(weight),
            "each_selectivity": metrics.recall_score(1 - truth, 1 - chosen, **per_class),
            "each_precision": precision,
            "each_recall": recall,
            "each_f1": f1,
            "each_roc_auc": np.array(
                [
                    metrics.roc_auc_score(self.truth[:, column], self.probability[:, column], sample_weight=weight)
                    if 0 < self.truth[:, column].sum() < len(weight)
                    else np.nan
                    for column in range(self.num_classes)
                ]
            ),
        }

    def _event_scores_by_sklearn(self, weight: np.ndarray) -> Scores:
        if self.kind == "multiclass":
            true, chosen, probability = self.label, self.choice, self.clipped
            labels = np.arange(self.num_classes)
            matrix = metrics.confusion_matrix(true, chosen, labels=labels, sample_weight=weight)
        else:
            # One row an event and label: accuracy and loss are means over both, as Keras' binary ones are.
            true, chosen, probability = self.truth.ravel(), self.chosen.ravel(), self.clipped.ravel()
            labels = [False, True]
            if self.kind == "binary":
                matrix = metrics.confusion_matrix(true, chosen, labels=labels, sample_weight=weight)
            else:
                matrix = metrics.multilabel_confusion_matrix(self.truth, self.chosen, sample_weight=weight)
            weight = np.repeat(weight, self.num_classes)
        return {
            "confusion_matrix": matrix.astype(float),
            "accuracy": metrics.accuracy_score(true, chosen, sample_weight=weight),
            "log_loss": metrics.log_loss(true, probability, labels=labels, sample_weight=weight),
        }


def _one_against_rest(matrix: np.ndarray) -> np.ndarray:
    tp = np.diag(matrix)
    fn, fp = matrix.sum(axis=1) - tp, matrix.sum(axis=0) - tp
    return np.stack([matrix.sum() - tp - fn - fp, fp, fn, tp], axis=-1).reshape(-1, 2, 2)


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """Gives the value below and above which lies half the weight; `numpy.median` where all weights are equal."""
    # The stable sort merges runs that are already sorted: for residuals in order, this is one pass.
    order = np.argsort(values, kind="stable")
    values, cumulative = values[order], np.cumsum(weight[order])
    half = cumulative[-1] / 2
    if not half > 0:
        return np.nan
    return (values[np.argmax(cumulative >= half)] + values[np.argmax(cumulative > half)]) / 2


class Residuals:
    """Residuals of a regressor, arranged once so that all scores under any weights are a few sums.

    Args:
        residual: `(events, outputs)`.
        pull: residuals over the predicted standard deviations, of the same shape, or `None`.
        outlier_sigmas: beyond so many σ_NMAD from the median an event is an outlier.
        outlier_cut: beyond this residual an event is an outlier, whatever σ_NMAD; `None`: not used.
    """

    def __init__(
        self,
        residual: np.ndarray,
        pull: np.ndarray | None,
        outlier_sigmas: float,
        outlier_cut: float | None,
    ):
        self.residual, self.pull = residual, pull
        self.outlier_sigmas, self.outlier_cut = outlier_sigmas, outlier_cut
        self._order = np.argsort(residual, axis=0)
        self._sorted = np.take_along_axis(residual, self._order, axis=0)

    def scores(self, weight: np.ndarray) -> Scores:
        """Gives every score as weighted sums, one value an output."""
        moments = {
            "each_bias": weight @ self.residual,
            "each_rmse": weight @ self.residual**2,
            "each_mae": weight @ np.abs(self.residual),
        }
        scores = {name: ratio(value, weight.sum()) for name, value in moments.items()}
        scores["each_rmse"] = _root(scores["each_rmse"])
        return {**scores, **self._spread(weight), **self._pulls(weight)}

    def scores_by_sklearn(self, weight: np.ndarray) -> Scores:
        """Gives the same by scikit-learn where it has the score."""
        given = {"sample_weight": weight, "multioutput": "raw_values"}
        none = np.zeros_like(self.residual)
        return {
            "each_bias": np.average(self.residual, axis=0, weights=weight),
            "each_rmse": metrics.root_mean_squared_error(none, self.residual, **given),
            "each_mae": metrics.mean_absolute_error(none, self.residual, **given),
            **self._spread(weight),
            **self._pulls(weight),
        }

    def _spread(self, weight: np.ndarray) -> Scores:
        sigma, outliers = [], []
        for order, residual in zip(self._order.T, self._sorted.T, strict=True):
            ordered = weight[order]
            distance = np.abs(residual - weighted_median(residual, ordered))
            sigma.append(1.4826 * weighted_median(distance, ordered))
            if self.outlier_cut is None:
                far = distance > self.outlier_sigmas * sigma[-1]
            else:
                far = np.abs(residual) > self.outlier_cut
            outliers.append(ratio(ordered @ far, ordered.sum()))
        return {"each_sigma_nmad": np.array(sigma), "each_outlier_fraction": np.array(outliers)}

    def _pulls(self, weight: np.ndarray) -> Scores:
        if self.pull is None:
            return {}
        mean = ratio(weight @ self.pull, weight.sum())
        variance = ratio(weight @ (self.pull - mean) ** 2, weight.sum())
        return {"each_pull_mean": mean, "each_pull_width": _root(variance)}


def _root(mean_square: np.ndarray) -> np.ndarray:
    # Negative weights can make a mean of squares negative: then it has no root.
    return np.sqrt(np.where(mean_square >= 0, mean_square, np.nan))
