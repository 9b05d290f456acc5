"""Whether a logged value should fall or rise, by its name."""

from __future__ import annotations

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
    "poisson",
    "logcosh",
)


def direction(monitor: str, mode: str) -> int:
    """Gives 1 where lower is better, −1 where higher is; `mode` is "min", "max" or "auto"."""
    if mode != "auto":
        return 1 if mode == "min" else -1
    words = monitor.lower().split("_")
    for sign, known in ((1, _FALLS), (-1, _RISES)):
        if any(word in known for word in words):
            return sign
    raise ValueError(
        f"`mode` 'auto' does not know whether `monitor` {monitor!r} should fall or rise: pass 'min' or 'max'."
    )
