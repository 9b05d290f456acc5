"""How every figure of the house begins and ends: without pyplot, so without a screen and without global state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOR, GUIDE = "#1f5fa8", "#8a8a8a"


def panels(number: int, width: float) -> tuple[Figure, list[Axes]]:
    """Gives a figure of `number` panels side by side, each `width` inches wide."""
    # Imported here: nothing but plotting needs matplotlib.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * number, 4.4), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, number)))
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Writes the figure to `path`, if one is given, making its folder."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure
