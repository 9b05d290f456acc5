"""What `kphys.evaluation` gives back: scores with their errors, printed as a table."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kphys import _arguments as check
from kphys._figures import save
from kphys.evaluation import _plots as plots
from kphys.evaluation._scores import Classified, Residuals, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More columns than these make the table wider than a screen.
MOST_COLUMNS = 5


class Score(NamedTuple):
    """A value and its statistical error: two floats, or two arrays, one entry a class or output.

    Prints with the error rounded to one significant digit (two if the first is 1) and the value to match.

    Example:
        >>> print(Score(0.98123, 0.0031))
        0.981 ± 0.003
    """

    value: Any
    error: Any

    def __str__(self) -> str:
        if np.ndim(self.value):
            return f"{self.value} ± {self.error}"
        if not math.isfinite(self.value):
            return "undefined"
        if not math.isfinite(self.error) or self.error <= 0:
            return f"{self.value:.4g} ± {self.error:.1g}"
        exponent = math.floor(math.log10(self.error))
        decimals = -exponent + (self.error / 10**exponent < 1.95)
        if decimals > 6 or exponent > 6:
            return f"{self.value:.4g} ± {self.error:.1g}"
        decimals = max(decimals, 0)
        return f"{self.value:.{decimals}f} ± {self.error:.{decimals}f}"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Scores by name: `result["accuracy"].value`, `.error`; prints as a table."""

    title: str
    num_events: int
    scores: dict[str, Score]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Score:
        if name not in self.scores:
            known = ", ".join(self.scores)
            raise KeyError(f"no score {name!r}; there are {known}.{check.nearest(name, self.scores)}")
        return self.scores[name]

    def as_dict(self) -> dict[str, Any]:
        """Gives everything that is printed, and the arrays, as plain Python values, ready for JSON."""
        return {
            "title": self.title,
            "num_events": self.num_events,
            "scores": {name: _plain(score) for name, score in self.scores.items()},
            "notes": list(self.notes),
        }

    def columns(self) -> dict[str, dict[str, str]]:
        """Gives the table's further columns: heading to score name to text."""
        return {}

    def __repr__(self) -> str:
        columns = self.columns()
        columns = columns if 1 < len(columns) <= MOST_COLUMNS else {}
        rows = [["", "all", *columns]] if columns else []
        for name, score in self.scores.items():
            rows.append([name, str(score), *(texts.get(name, "") for texts in columns.values())])
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *notes])


def _plain(score: Score) -> dict[str, Any]:
    return {name: np.asarray(entry).tolist() for name, entry in score._asdict().items()}


def _column_texts(heading: str, scores: dict[str, Score]) -> dict[str, dict[str, str]]:
    number = max((len(score.value) for score in scores.values()), default=0)
    return {
        f"{heading} {index}": {
            name: str(Score(score.value[index], score.error[index])) for name, score in scores.items()
        }
        for index in range(number)
    }


def split_scores(values: Scores, errors: Scores) -> tuple[dict[str, Score], dict[str, Score]]:
    """Gives the scores that are single numbers, and those named `each_…`, one value a class or output."""
    single, each = {}, {}
    for name, value in values.items():
        if name.startswith("each_"):
            each[name.removeprefix("each_")] = Score(value, errors[name])
        elif np.ndim(value) == 0:
            single[name] = Score(float(value), float(errors[name]))
    return single, each


@dataclass(frozen=True, eq=False, repr=False)
class ClassifierResult(Result):
    """What `evaluate_classifier` gives.

    Attributes:
        kind: `"binary"`, `"multiclass"` or `"multilabel"`.
        scores: name to `Score`, also by `result[name]`.
        per_class: name to a `Score` of arrays `(classes,)`, each class against the rest; one entry if binary.
        confusion_matrix: `Score` of arrays, weight of the events by (true, chosen) class, `(classes, classes)`;
            `(labels, 2, 2)` for multilabel.
        notes: what could not be computed, and why.
        events, weight: the events that the scores were computed from.
    """

    kind: str
    per_class: dict[str, Score]
    confusion_matrix: Score
    events: Classified
    weight: np.ndarray

    def columns(self) -> dict[str, dict[str, str]]:
        """Gives one column a class."""
        return _column_texts("label" if self.kind == "multilabel" else "class", self.per_class)

    def as_dict(self) -> dict[str, Any]:
        """Gives everything that is printed, and the arrays, as plain Python values, ready for JSON."""
        return {
            **super().as_dict(),
            "kind": self.kind,
            "per_class": {name: _plain(score) for name, score in self.per_class.items()},
            "confusion_matrix": _plain(self.confusion_matrix),
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws confusion matrix, ROC curve and calibration; saves to `path` if given.

        Args:
            path: file to write, its ending says the format (`.png`, `.pdf`, `.svg`); `None` writes nothing.

        Returns:
            A `matplotlib.figure.Figure` of three panels, which needs no screen. Error bars are the binomial
            errors of the bins.
        """
        return save(plots.classifier_figure(self), path)


@dataclass(frozen=True, eq=False, repr=False)
class RegressorResult(Result):
    """What `evaluate_regressor` gives.

    Attributes:
        scores: name to `Score`, means over the outputs, also by `result[name]`.
        per_output: name to a `Score` of arrays `(outputs,)`.
        notes: what could not be computed, and why.
        truth, prediction: `(events, outputs)`, in the target's units.
        residuals, weight: the residuals, and pulls if any, that the scores were computed from.
    """

    per_output: dict[str, Score]
    truth: np.ndarray
    prediction: np.ndarray
    residuals: Residuals
    weight: np.ndarray

    def columns(self) -> dict[str, dict[str, str]]:
        """Gives one column an output."""
        return _column_texts("output", self.per_output)

    def as_dict(self) -> dict[str, Any]:
        """Gives everything that is printed, and the arrays, as plain Python values, ready for JSON."""
        return {
            **super().as_dict(),
            "per_output": {name: _plain(score) for name, score in self.per_output.items()},
        }

    def plot(self, path: str | os.PathLike[str] | None = None, *, output: int = 0) -> Figure:
        """Draws prediction against truth, the residuals and, if the model gives variances, the pulls.

        Args:
            path: file to write, its ending says the format (`.png`, `.pdf`, `.svg`); `None` writes nothing.
            output: which output to draw, counted from 0.

        Returns:
            A `matplotlib.figure.Figure` of two or three panels, which needs no screen.
        """
        output = check.integer("output", output, 0)
        if output >= self.truth.shape[1]:
            raise ValueError(f"`output` must be below the number of outputs, {self.truth.shape[1]}, got {output}.")
        return save(plots.regressor_figure(self, output), path)


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidationResult(Result):
    """What `cross_validate` gives.

    Attributes:
        scores: metric to `Score`: mean over the folds and its standard error, also by `result[name]`.
        per_fold: metric to an array `(folds,)`.
        seeds: what `build` was called with, one a fold.
        notes: what to keep in mind.
    """

    per_fold: dict[str, np.ndarray]
    seeds: tuple[int, ...]

    def columns(self) -> dict[str, dict[str, str]]:
        """Gives one column a fold."""
        return {
            f"fold {index}": {name: f"{values[index]:.4g}" for name, values in self.per_fold.items()}
            for index in range(len(self.seeds))
        }

    def as_dict(self) -> dict[str, Any]:
        """Gives everything that is printed, and the arrays, as plain Python values, ready for JSON."""
        per_fold = {name: values.tolist() for name, values in self.per_fold.items()}
        return {**super().as_dict(), "per_fold": per_fold, "seeds": list(self.seeds)}
