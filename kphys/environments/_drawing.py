"""Small pictures with NumPy alone: tables of coloured cells."""

from __future__ import annotations

import numpy as np

BACKGROUND = (246, 246, 242)
LINES = (214, 214, 208)
DARK = (58, 62, 70)
BLUE = (38, 98, 186)
RED = (196, 52, 44)
GOLD = (240, 180, 30)
GREEN = (58, 148, 84)


def table(rows: int, columns: int) -> np.ndarray:
    """Gives an empty table, `(rows, columns, 3)`, a colour for every cell."""
    return np.full((rows, columns, 3), BACKGROUND, "uint8")


def cell_size(cells: int) -> int:
    """Gives the pixels of a cell where `cells` stand side by side: 20, fewer where the picture would get too large."""
    return int(np.clip(700 // cells // 2 * 2, 2, 20))


def enlarged(colours: np.ndarray, size: int) -> np.ndarray:
    """Gives a table's picture, `size` pixels a cell, with thin lines between the cells.

    `size` is even, so that the picture's sides are: films need that.
    """
    image = colours.repeat(size, axis=0).repeat(size, axis=1)
    if size >= 8:
        image[::size] = image[:, ::size] = LINES
    return image


def put_mark(image: np.ndarray, row: int, column: int, size: int, colour: tuple[int, int, int]) -> None:
    """Draws a disc into a cell."""
    distances = np.hypot(*np.ogrid[0.5 - size / 2 : size / 2, 0.5 - size / 2 : size / 2])
    cell = image[row * size : (row + 1) * size, column * size : (column + 1) * size]
    cell[distances < 0.36 * size] = colour


def diverging(values: np.ndarray) -> np.ndarray:
    """Gives colours for `values` from −1, blue, over 0, white, to 1, red: `(*values.shape, 3)`."""
    values = np.clip(values, -1, 1)[..., None]
    ends = np.where(values < 0, BLUE, RED)
    return np.round(255 + np.abs(values) * (ends - 255.0)).astype("uint8")


def put_arrow(image: np.ndarray, row: int, column: int, size: int, direction: str) -> None:
    """Draws an arrow into a cell: to the right "+x", left "-x", up "+y", down "-y"; a small square for "none"."""
    right, down = np.meshgrid(*2 * [(np.arange(size) + 0.5) / size - 0.5])  # Both from -0.5 to 0.5.
    turned = {"+x": (right, down), "-x": (-right, down), "+y": (-down, right), "-y": (down, right)}
    if direction in turned:
        along, across = turned[direction]
        shaft = (np.abs(across) < 0.1) & (along > -0.4) & (along < 0.1)
        head = (along >= 0) & (np.abs(across) < 0.4 - along)
        drawn = shaft | head
    else:
        drawn = (np.abs(right) < 0.1) & (np.abs(down) < 0.1)
    image[row * size : (row + 1) * size, column * size : (column + 1) * size][drawn] = DARK


def put_bar(image: np.ndarray, column: int, size: int, rows: int, share: float) -> None:
    """Draws a bar into the lowest `rows` cells of a column: `share` of their height."""
    height = round(rows * size * min(share, 1.0))
    image[len(image) - height :, column * size + 1 : (column + 1) * size] = GREEN
