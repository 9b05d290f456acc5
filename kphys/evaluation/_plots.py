"""The figures of `kphys.evaluation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kphys._figures import COLOR, GUIDE, panels
from kphys.evaluation._scores import ratio, weighted_median

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kphys.evaluation._results import ClassifierResult, RegressorResult

# More classes than these give curves and numbers that nobody can tell apart.
MOST_CLASSES = 10
MOST_POINTS = 1000


def _colors(number: int) -> Any:
    from matplotlib import colormaps

    return [COLOR] if number == 1 else colormaps["viridis"](np.linspace(0.0, 0.9, number))


def classifier_figure(result: ClassifierResult) -> Figure:
    """Draws confusion matrix, ROC curves and reliability diagram."""
    figure, (matrix, curve, reliability) = panels(3, 4.6)
    _draw_confusion(matrix, result)
    _draw_roc(curve, result)
    _draw_reliability(reliability, result)
    return figure


def _draw_confusion(panel: Axes, result: ClassifierResult) -> None:
    counts = result.confusion_matrix.value
    if result.kind == "multilabel":
        counts = counts.reshape(len(counts), 4)  # (labels, 4)
        panel.set_xticks(range(4), ["true\nnegative", "false\npositive", "false\nnegative", "true\npositive"])
        rows, columns, whole = "label", "", counts.sum(axis=1)
    else:
        rows, columns, whole = "true class", "chosen class", counts.sum(axis=1)
    share = np.nan_to_num(ratio(counts, whole[:, None]))
    panel.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto" if columns == "" else "equal")
    panel.set(xlabel=columns, ylabel=rows, title="Confusion matrix (share of the row)")
    panel.spines[:].set_visible(False)
    if len(counts) > MOST_CLASSES:
        return
    panel.set_yticks(range(len(counts)))
    if columns:
        panel.set_xticks(range(len(counts)))
    size = 10 if len(counts) <= 4 else 6.5
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:.4g}" if len(counts) > 4 else f"{count:.6g}\n{share[row, column]:.1%}"
        dark = share[row, column] > 0.5
        panel.text(column, row, text, ha="center", va="center", fontsize=size, color="w" if dark else "k")


def _draw_roc(panel: Axes, result: ClassifierResult) -> None:
    areas = result.per_class["roc_auc"].value
    shown = range(min(len(areas), MOST_CLASSES))
    word = "label" if result.kind == "multilabel" else "class"
    panel.plot([0, 1], [0, 1], color=GUIDE, linestyle=":", linewidth=1)
    for column, color in zip(shown, _colors(len(shown)), strict=True):
        negative, positive = result.events.roc(column, result.weight)
        if not np.isfinite(areas[column]):
            continue
        keep = np.unique(np.linspace(0, len(negative) - 1, MOST_POINTS).astype(int))
        label = f"AUC {result['roc_auc']}" if len(areas) == 1 else f"{word} {column}: {areas[column]:.3f}"
        panel.plot(negative[keep] / negative[-1], positive[keep] / positive[-1], color=color, label=label)
    title = "ROC" if len(areas) == 1 else f"ROC, {word} against rest, AUC"
    panel.set(xlabel="false-positive rate", ylabel="true-positive rate", title=title, aspect="equal")
    panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, loc="lower right", fontsize=8 if len(areas) > 1 else 10)


def _draw_reliability(panel: Axes, result: ClassifierResult) -> None:
    events, number = result.events, result.events.num_bins
    shown = min(events.confidence.shape[1], MOST_CLASSES)
    panel.plot([0, 1], [0, 1], color=GUIDE, linestyle=":", linewidth=1)
    edges = np.linspace(0, 1, number + 1)
    weight = np.repeat(result.weight[:, None], events.confidence.shape[1], axis=1)
    share = np.histogram(events.confidence, edges, weights=weight)[0] / weight.sum()
    panel.stairs(share, edges, fill=True, color=GUIDE, alpha=0.25, label="share of the predictions")
    for column, color in zip(range(shown), _colors(shown), strict=True):
        confidence, fraction, error = _reliability(events.confidence[:, column], events.hit[:, column], result)
        panel.errorbar(confidence, fraction, error, fmt="o-", markersize=4, linewidth=1, capsize=2, color=color)
    top_label = result.kind == "multiclass"
    panel.set(
        xlabel="confidence in the chosen class" if top_label else "predicted probability",
        ylabel="fraction chosen rightly" if top_label else "fraction that is true",
        title=f"Calibration error {result['expected_calibration_error']}",
        aspect="equal",
    )
    panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    panel.legend(frameon=False, loc="upper left")


def _reliability(
    confidence: np.ndarray, hit: np.ndarray, result: ClassifierResult
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number, weight = result.events.num_bins, result.weight
    bins = np.minimum((confidence * number).astype(int), number - 1)
    inside, square, mean, true = (
        np.bincount(bins, entry, minlength=number) for entry in (weight, weight**2, weight * confidence, weight * hit)
    )
    mean, fraction = ratio(mean, inside), ratio(true, inside)
    # Σw²/(Σw)² is one over the number of events for equal weights.
    error = np.sqrt(np.clip(fraction * (1 - fraction), 0, None) * ratio(square, inside**2))
    filled = np.isfinite(mean)
    return mean[filled], fraction[filled], error[filled]


def regressor_figure(result: RegressorResult, output: int) -> Figure:
    """Draws prediction against truth, residuals and, if there are any, pulls."""
    pull = result.residuals.pull
    figure, drawn = panels(2 if pull is None else 3, 4.6)
    _draw_truth(drawn[0], result, output)
    score = {name: entry.value[output] for name, entry in result.per_output.items()}
    residual = result.residuals.residual[:, output]
    median = weighted_median(residual, result.weight)
    _draw_histogram(drawn[1], residual, result.weight, median, score["sigma_nmad"])
    drawn[1].set(
        xlabel="residual (edges: all beyond)",
        title=f"bias {score['bias']:.3g}, $\\sigma_{{NMAD}}$ {score['sigma_nmad']:.3g}",
    )
    if pull is not None:
        _draw_histogram(drawn[2], pull[:, output], result.weight, 0.0, 1.0, "expected")
        title = f"pull mean {score['pull_mean']:.3f}, width {score['pull_width']:.3f}"
        drawn[2].set(xlabel="pull: (prediction − truth) / predicted $\\sigma$", title=title)
    return figure


def _draw_truth(panel: Axes, result: RegressorResult, output: int) -> None:
    truth, prediction = result.truth[:, output], result.prediction[:, output]
    ends = [min(truth.min(), prediction.min()), max(truth.max(), prediction.max())]
    if len(truth) > MOST_POINTS:
        panel.hexbin(truth, prediction, gridsize=60, bins="log", cmap="Blues", vmin=0.2, mincnt=1, linewidths=0.1)
    else:
        panel.scatter(truth, prediction, s=8, color=COLOR, alpha=0.5, linewidths=0)
    panel.plot(ends, ends, color=GUIDE, linestyle=":", linewidth=1)
    title = "Prediction and truth" if result.truth.shape[1] == 1 else f"Prediction and truth, output {output}"
    panel.set(xlabel="truth", ylabel="prediction", title=title)


def _draw_histogram(
    panel: Axes, values: np.ndarray, weight: np.ndarray, centre: float, sigma: float, label: str = "Gaussian"
) -> None:
    """Draws the values within 5 σ, the rest in the outermost bins, and the Gaussian of that centre and σ."""
    half = 5 * sigma if np.isfinite(sigma) and sigma > 0 else max(np.abs(values - centre).max(), 1e-12)
    edges = np.linspace(centre - half, centre + half, 51)
    inside = np.clip(values, edges[0], edges[-1])
    counts = np.histogram(inside, edges, weights=weight)[0]
    panel.stairs(counts, edges, fill=True, color=COLOR, alpha=0.35)
    panel.stairs(counts, edges, color=COLOR, linewidth=1)
    if np.isfinite(sigma) and sigma > 0:
        x = np.linspace(edges[0], edges[-1], 400)
        height = weight.sum() * (edges[1] - edges[0]) / (sigma * np.sqrt(2 * np.pi))
        panel.plot(x, height * np.exp(-(((x - centre) / sigma) ** 2) / 2), color="k", linewidth=1, label=label)
        panel.legend(frameon=False, loc="upper right")
    panel.set_ylabel("events")
