"""How every figure of the house begins and ends: without pyplot, so without a screen and without global state."""

from __future__ import annotations

import os
from collections.abc import Sequence
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


def draw_images(rows: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike[str]) -> Figure:
    """Draws rows of images, `(images, height, width, 1)` or of 3 channels in [0, 1], each with its name before it."""
    from matplotlib.figure import Figure

    columns = max(len(images) for _, images in rows)
    figure = Figure(figsize=(0.7 * columns + 1.2, 0.7 * len(rows) + 0.2), layout="constrained")
    for line, (name, images) in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for panel in line:
            panel.set_axis_off()
        for panel, image in zip(line, images, strict=False):
            panel.imshow(np.clip(image, 0, 1), cmap="gray_r", vmin=0, vmax=1)
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    return save(figure, path)


def save(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Writes the figure to `path`, if one is given, making its folder."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return figure
