"""What a trained classifier or regressor is worth: scores with statistical errors, as tables and plots.

Scores come from scikit-learn. Their errors come from a Poisson bootstrap of the events that are evaluated; they say
how far the finite test sample may mislead, not how another training would come out: that is `cross_validate`. Nor can
they know what the sample lacks: where nothing went wrong, 1 ± 0 is printed, and with $n$ events the accuracy may
still be as low as about $1 - 3/n$ (95 % confidence).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kphys import _arguments as check
from kphys.evaluation._folds import cross_validate
from kphys.evaluation._inputs import Events, classifier_events, predictions, regressor_events
from kphys.evaluation._results import (
    ClassifierResult,
    CrossValidationResult,
    RegressorResult,
    Score,
    split_scores,
)
from kphys.evaluation._scores import Classified, Residuals, Scores, bootstrap_errors, with_means

__all__ = [
    "ClassifierResult",
    "CrossValidationResult",
    "RegressorResult",
    "Score",
    "cross_validate",
    "evaluate_classifier",
    "evaluate_regressor",
]

UNDEFINED = {
    "selectivity": "no event lies outside the class",
    "precision": "no event was given the class",
    "recall": "no event is of the class",
    "f1": "no event is, or was given, the class",
    "roc_auc": "it takes events inside and outside the class",
}


def evaluate_classifier(
    model: Any,
    x: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    num_bins: int = 15,
    num_bootstrap: int = 200,
    batch_size: int = 256,
    seed: int | None = 0,
) -> ClassifierResult:
    r"""Scores a classifier on events that it has not seen, each score with its statistical error.

    With the weighted numbers of true and false positives and negatives $TP, FP, TN, FN$: accuracy, the share of
    events (multilabel: of events and labels) chosen rightly; selectivity, the true-negative rate $TN/(TN+FP)$;
    precision $TP/(TP+FP)$; recall $TP/(TP+FN)$; $F_1 = 2TP/(2TP+FP+FN)$; ROC AUC, the probability that an event of
    the class scores above one that is not, ties counting half; log-loss, the mean of $-\ln p$ of what is true, with
    $p$ kept within $10^{-7}$ of 0 and 1. For several classes these are taken for each class against the rest and
    averaged without weights (macro). The expected calibration error is
    $\sum_b (W_b/W)\,|\mathrm{hit}_b - \mathrm{conf}_b|$ over `num_bins` bins of equal width in confidence, $W_b$ the
    weight in a bin, $\mathrm{hit}_b$ and $\mathrm{conf}_b$ its mean hits and confidence. Multiclass: confidence in
    the chosen class, hit if the choice is right. Binary and multilabel: the predicted probability, hit if the label
    is 1, and the mean over labels. It is never negative, so a perfectly calibrated model scores above 0 by the noise
    of its bins.

    The kind is read off the shapes of the predictions and of `y`, for $n$ events:

    ========== ================================== =============================================
    kind       predictions                        `y`
    ========== ================================== =============================================
    binary     `(n, 1)`, one logistic unit        `(n,)` or `(n, 1)` of 0 and 1
    multiclass `(n, classes)`, softmax            `(n,)` or `(n, 1)` of 0 to classes − 1
    multilabel `(n, labels)`, logistic units      `(n, labels)` of 0 and 1
    ========== ================================== =============================================

    Further axes between the first and the last, such as the time steps of a many-to-many network or pixels, are
    flattened; the bootstrap then resamples whole sequences, as the steps of one are correlated.

    Args:
        model: a Keras model, or anything with `predict(x, batch_size=…, verbose=…)` that gives probabilities.
        x: what the model takes, $n$ events.
        y: the truth, integers in one of the shapes above.
        sample_weight: `(n,)`, or one weight a step; `None`: all 1. Rows of weight 0, such as padded steps, are left
            out. Weights may be negative, as those of next-to-leading-order generators are, if their sum is positive:
            every score is then the ratio of weighted sums, may leave its usual range, and is nan where a
            denominator is not positive; a note says so.
        threshold: an event belongs to the class if its probability is above, from 0 to below 1 (binary and
            multilabel; multiclass takes the most probable class).
        num_bins: bins of the calibration error, positive.
        num_bootstrap: bootstrap samples, not negative; 0 leaves the errors nan.
        batch_size: events a call of the model, positive; changes speed and memory only.
        seed: of the bootstrap; `None` takes a new one each time.

    Returns:
        A `ClassifierResult`: prints as a table; `result["f1"].value` and `.error`, `result.per_class`,
        `result.confusion_matrix`, `result.as_dict()`, `result.plot("result.png")`. A score that the events do not
        define, such as the ROC AUC of a single class, is nan, left out of means, and noted.

    Raises:
        TypeError: if `model` cannot predict or an argument is of the wrong kind.
        ValueError: if arrays are empty, of different length or shape, hold NaN, if labels are not those of the
            model, if the predictions are no probabilities, if the weights do not sum to a positive number.

    Reference:
        B. Efron, 1979, *Bootstrap methods: another look at the jackknife*.
        N. Chamandy, O. Muralidharan, A. Najmi, S. Naidu, 2012, *Estimating uncertainty for massive data streams*.
        M. P. Naeini, G. F. Cooper, M. Hauskrecht, 2015, *Obtaining well calibrated probabilities using Bayesian
        binning* (binary). C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, 2017, *On calibration of modern neural
        networks* (multiclass).

    Example:
        >>> import keras, numpy as np
        >>> from kphys.evaluation import evaluate_classifier
        >>> energy = np.random.default_rng(0).normal(size=(1000, 1))
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
        >>> result = evaluate_classifier(model, energy, energy[:, 0] > 0)
        >>> sorted(result.scores)[:3]
        ['accuracy', 'expected_calibration_error', 'f1']
    """
    threshold = check.real("threshold", threshold, minimum=0.0, below=1.0)
    num_bins = check.integer("num_bins", num_bins)
    num_bootstrap = check.integer("num_bootstrap", num_bootstrap, 0)
    batch_size, seed = check.integer("batch_size", batch_size), check.seed("seed", seed)
    probability, y = predictions(model, x, y, batch_size)
    events = classifier_events(probability, y, sample_weight)
    classified = Classified(events.kind, events.truth, events.prediction, threshold, num_bins)
    values, errors = _measure(classified, events, num_bootstrap, seed)
    scores, per_class = split_scores(values, errors)
    # The table starts with what was chosen and ends with how true the probabilities are.
    order = ("accuracy", *per_class, "log_loss", "expected_calibration_error")
    return ClassifierResult(
        title=_title(f"{events.kind} classifier", events, num_bootstrap),
        num_events=int(events.group[-1]) + 1,
        scores={name: scores[name] for name in order},
        notes=(*_undefined(per_class), *_negative(events.weight)),
        kind=events.kind,
        per_class=per_class,
        confusion_matrix=Score(values["confusion_matrix"], errors["confusion_matrix"]),
        events=classified,
        weight=events.weight,
    )


def evaluate_regressor(
    model: Any,
    x: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    residual: str = "plain",
    outlier_sigmas: float = 5.0,
    outlier_cut: float | None = None,
    num_bootstrap: int = 200,
    batch_size: int = 256,
    seed: int | None = 0,
) -> RegressorResult:
    r"""Scores a regressor on events that it has not seen, each score with its statistical error.

    From the residuals $\Delta$ = prediction − truth, weighted: bias, their mean; RMSE, the root of the mean of
    $\Delta^2$; MAE, the mean of $|\Delta|$; $\sigma_\mathrm{NMAD} = 1.4826\,\mathrm{median}|\Delta -
    \mathrm{median}\,\Delta|$, which is the standard deviation for a Gaussian and does not heed outliers; the
    fraction of outliers. If the model gives a mean $\mu$ and a variance $\sigma^2$ (`loss="gaussian_nll"`), the
    residuals are those of $\mu$, and the pulls $(\mu - \mathrm{truth})/\sigma$ are scored by mean and width
    (standard deviation): 0 and 1 if the predicted errors are right. A width above 1 says that they are too small.

    The kind is read off the shapes: predictions `(n, outputs)` are plain, `(n, outputs, 2)` hold mean and variance.
    Scores are taken for each output (`result.per_output`) and averaged over the outputs; where these have different
    units, read the former. Axes between the first and the last, such as time steps, are flattened; the bootstrap
    then resamples whole sequences.

    Args:
        model: a Keras model, or anything with `predict(x, batch_size=…, verbose=…)`.
        x: what the model takes, $n$ events.
        y: the truth, `(n, outputs)`, or `(n,)` for one output.
        sample_weight: `(n,)`, or one weight a step; `None`: all 1. Rows of weight 0 are left out. Negative weights
            are taken if their sum is positive; a median is then the first value at which half of it is reached.
        residual: `"plain"`, in the target's unit; `"relative"`, $\Delta/|\mathrm{truth}|$, as for energy
            resolutions; `"redshift"`, $\Delta/(1+\mathrm{truth})$, as for photometric redshifts.
        outlier_sigmas: an event is an outlier if it lies more than so many σ_NMAD from the median; positive.
        outlier_cut: an event is an outlier if $|\Delta|$ exceeds this, whatever σ_NMAD; positive (0.15 is usual for
            photometric redshifts); `None` counts by `outlier_sigmas`.
        num_bootstrap: bootstrap samples, not negative; 0 leaves the errors nan.
        batch_size: events a call of the model, positive; changes speed and memory only.
        seed: of the bootstrap; `None` takes a new one each time.

    Returns:
        A `RegressorResult`: prints as a table; `result["bias"].value` and `.error`, `result.per_output`,
        `result.as_dict()`, `result.plot("result.png")`. Scores: `bias`, `rmse`, `mae`, `sigma_nmad`,
        `outlier_fraction`, and with variances `pull_mean`, `pull_width`.

    Raises:
        TypeError: if `model` cannot predict or an argument is of the wrong kind.
        ValueError: if arrays are empty, of different length or shape, hold NaN, if a predicted variance is not
            positive, if the weights do not sum to a positive number, if `residual` divides by zero.

    Reference:
        D. C. Hoaglin, F. Mosteller, J. W. Tukey, 1983, *Understanding robust and exploratory data analysis*.
        G. B. Brammer, P. G. van Dokkum, P. Coppi, 2008, *EAZY: a fast, public photometric redshift code*.
        L. Demortier, L. Lyons, 2002, *Everything you always wanted to know about pulls*.

    Example:
        >>> import keras, numpy as np
        >>> from kphys.evaluation import evaluate_regressor
        >>> momentum = np.random.default_rng(0).normal(size=(1000, 3))
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> result = evaluate_regressor(model, momentum, momentum.sum(axis=1))
        >>> list(result.scores)
        ['bias', 'rmse', 'mae', 'sigma_nmad', 'outlier_fraction']
    """
    residual = check.choice("residual", residual, ("plain", "relative", "redshift"))
    outlier_sigmas = check.real("outlier_sigmas", outlier_sigmas, positive=True)
    if outlier_cut is not None:
        outlier_cut = check.real("outlier_cut", outlier_cut, positive=True)
    num_bootstrap = check.integer("num_bootstrap", num_bootstrap, 0)
    batch_size, seed = check.integer("batch_size", batch_size), check.seed("seed", seed)
    predicted, y = predictions(model, x, y, batch_size)
    events = regressor_events(predicted, y, sample_weight)
    mean, pull = events.prediction, None
    if events.kind == "gaussian":
        mean = events.prediction[..., 0]
        pull = (mean - events.truth) / np.sqrt(events.prediction[..., 1])
    delta = (mean - events.truth) / _scale(events.truth, residual)
    residuals = Residuals(delta, pull, outlier_sigmas, outlier_cut)
    scores, per_output = split_scores(*_measure(residuals, events, num_bootstrap, seed))
    kind = "regressor" if residual == "plain" else f"regressor, {residual} residuals"
    return RegressorResult(
        title=_title(kind, events, num_bootstrap),
        num_events=int(events.group[-1]) + 1,
        scores=scores,
        notes=_negative(events.weight),
        per_output=per_output,
        truth=events.truth,
        prediction=mean,
        residuals=residuals,
        weight=events.weight,
    )


def _measure(
    sample: Classified | Residuals, events: Events, num_bootstrap: int, seed: int | None
) -> tuple[Scores, Scores]:
    """Gives the scores, by scikit-learn where it takes the weights, and their bootstrap errors."""
    central = sample.scores if events.weight.min() < 0 else sample.scores_by_sklearn
    errors = bootstrap_errors(
        lambda weight: with_means(sample.scores(weight)), events.weight, events.group, num_bootstrap, seed
    )
    return with_means(central(events.weight)), errors


def _scale(truth: np.ndarray, residual: str) -> np.ndarray | float:
    if residual == "plain":
        return 1.0
    scale = np.abs(truth) if residual == "relative" else 1 + truth
    if scale.min() <= 0:
        bound = "different from 0" if residual == "relative" else "above -1"
        raise ValueError(
            f"`residual` is {residual!r}, which takes truths {bound}, but {(scale <= 0).sum()} of {truth.size} in `y` "
            f"are not, the first {truth[scale <= 0][0]:g}: leave them out, or pass residual='plain'."
        )
    return scale


def _title(kind: str, events: Events, num_bootstrap: int) -> str:
    groups, rows = int(events.group[-1]) + 1, len(events.group)
    counted = f"{groups:,} events" if groups == rows else f"{groups:,} sequences of {rows:,} steps together"
    return f"{kind}, {counted}, errors from {num_bootstrap} bootstrap samples"


def _undefined(per_class: dict[str, Score]) -> list[str]:
    notes = []
    for name, score in per_class.items():
        missing = np.flatnonzero(np.isnan(score.value))
        if len(missing) and len(score.value) == 1:
            notes.append(f"{name} is undefined: {UNDEFINED[name]}")
        elif len(missing):
            which = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            notes.append(f"{name} is undefined for class {which}, left out of the mean: {UNDEFINED[name]}")
    return notes


def _negative(weight: np.ndarray) -> tuple[str, ...]:
    number = int((weight < 0).sum())
    if not number:
        return ()
    return (f"{number} of {len(weight)} weights are negative: scores may leave their usual range",)
