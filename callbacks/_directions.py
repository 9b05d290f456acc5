"""Whether a logged value should fall or rise, by its name."""

from __future__ import annotations

from typing import Any

# What a log's name says about its direction: a part between underscores, `val_` and output names set apart.
_RISES = (
    "accuracy",
    "acc",
    "auc",
    "precision",
    "recall",
    "f1",
    "score",
    "return",
    "similarity",
    "coverage",
    "iou",
    "io",  # mean_io_u
    "correlation",
    "specificity",
    "sensitivity",
)
_FALLS = (
    "loss",
    "error",
    "mae",
    "mse",
    "rmse",
    "mape",
    "msle",
    "nll",
    "crossentropy",
    "divergence",
    "perplexity",
    "hinge",
    "huber",
    "kl",
    "cosh",
    "poisson",
    "logcosh",
)


def direction(monitor: str, mode: str) -> int | None:
    """Gives 1 where lower is better, −1 where higher is, `None` if `mode` is "auto" and the name does not say."""
    if mode != "auto":
        return 1 if mode == "min" else -1
    for word in reversed(monitor.lower().split("_")):  # What stands before says of what, as in "energy_loss".
        if word in _FALLS:
            return 1
        if word in _RISES:
            return -1
    return None


def direction_of_metric(model: Any, monitor: str) -> int:
    """Gives what Keras knows about a metric of the model of that name, or raises the error that asks for `mode`."""
    metrics = [entry for metric in model.metrics for entry in getattr(metric, "metrics", [metric])]
    for metric in metrics:
        if metric.name == monitor.removeprefix("val_") and getattr(metric, "_direction", None):
            return {"down": 1, "up": -1}[metric._direction]
    raise ValueError(
        f"`mode` 'auto' does not know whether `monitor` {monitor!r} should fall or rise: pass 'min' or 'max'."
    )
