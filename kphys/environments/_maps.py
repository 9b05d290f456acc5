"""Maps of walls and treasures: read, drawn at random, and as a Markov decision process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kphys import _arguments

Cell = tuple[int, int]

_LAYOUTS = {
    "small": ("S..#..", ".#.#.T", ".#....", "...##.", ".#....", "T#.#.."),
    "rooms": (
        "S...#...T",
        "....#....",
        ".........",
        "....#....",
        "##.###.##",
        "....#....",
        "....#....",
        "T.......T",
        "....#....",
    ),
}
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # Up, right, down, left: (rows, columns).
_STATES_AT_MOST = 2000


class MapModel(NamedTuple):
    """A map as arrays, as `TreasureMap.model` gives it."""

    P: np.ndarray
    R: np.ndarray
    observations: np.ndarray
    starts: np.ndarray


class Maze(NamedTuple):
    """Where the walls are, `(height, width)`, the treasures, and the cells to start in."""

    walls: np.ndarray
    treasures: tuple[Cell, ...]
    starts: tuple[Cell, ...]

    def after(self, cell: Cell, remaining: frozenset[Cell], action: int) -> tuple[Cell, int, frozenset[Cell]]:
        """Gives the cell after a step, the number of treasures found, and what remains."""
        to = self.neighbour(cell, _MOVES[action])
        return to, int(to in remaining), remaining - {to}

    def neighbour(self, cell: Cell, move: Cell) -> Cell:
        """Gives the cell that a move leads to: the same one where a wall or the edge is in the way."""
        to = cell[0] + move[0], cell[1] + move[1]
        inside = 0 <= to[0] < self.walls.shape[0] and 0 <= to[1] < self.walls.shape[1]
        return to if inside and not self.walls[to] else cell

    def seen(self, cell: Cell, remaining: Iterable[Cell]) -> np.ndarray:
        """Gives the image of walls, treasures and agent, `(height, width, 3)`."""
        image = np.zeros((*self.walls.shape, 3), "uint8")
        image[self.walls, 0] = 255
        for treasure in remaining:
            image[(*treasure, 1)] = 255
        image[(*cell, 2)] = 255
        return image

    def within_reach(self, cell: Cell) -> set[Cell]:
        """Gives all cells that a walk can reach."""
        found, border = {cell}, [cell]
        while border:
            here = border.pop()
            new = {self.neighbour(here, move) for move in _MOVES} - found
            found |= new
            border.extend(new)
        return found


def read(layout: Any) -> Maze:
    """Gives the map of a known name or of strings."""
    if isinstance(layout, str):
        known = _arguments.choice("layout", layout, [*_LAYOUTS, "random"], also=", or a list of strings")
        layout = _LAYOUTS[known]
    if not isinstance(layout, (list, tuple)) or not all(isinstance(row, str) for row in layout):
        raise TypeError(f'`layout` must be a name or a list of strings such as ["S..", ".#T"], got {layout!r}.')
    if not layout or len({len(row) for row in layout}) > 1 or not layout[0]:
        lengths = [len(row) for row in layout]
        raise ValueError(f"`layout` must hold strings of one length, got the lengths {lengths}: fill up with '#'.")
    marks = np.array([list(row) for row in layout])
    unknown = sorted(set(marks.ravel().tolist()) - set("#.TS"))
    if unknown:
        raise ValueError(f"`layout` may hold '#' (wall), '.' (floor), 'T' (treasure), 'S' (start), got {unknown}.")
    maze = Maze(marks == "#", _cells(marks == "T"), _cells(marks == "S") or _cells(marks == "."))
    return _checked(maze)


def _checked(maze: Maze) -> Maze:
    if not maze.treasures or not maze.starts:
        missing = "treasure 'T'" if not maze.treasures else "start 'S' nor floor '.' to start on"
        raise ValueError(f"`layout` has no {missing}: put one in.")
    for start in maze.starts:
        lost = set(maze.treasures) - maze.within_reach(start)
        if lost:
            raise ValueError(
                f"`layout` has a treasure at (row, column) {min(lost)} that cannot be reached from {start}: open a "
                "wall, or mark the places to start with 'S'."
            )
    return maze


def _cells(mask: np.ndarray) -> tuple[Cell, ...]:
    return tuple((int(row), int(column)) for row, column in np.argwhere(mask))


class DrawingRules(NamedTuple):
    """How random maps are drawn; a call draws one."""

    size: tuple[int, int]
    num_treasures: int
    wall_share: float

    def __call__(self, generator: np.random.Generator) -> Maze:
        for _ in range(1000):
            maze = Maze(generator.random(self.size) < self.wall_share, (), ())
            rest, part = set(_cells(~maze.walls)), set()
            while rest:
                found = maze.within_reach(min(rest))
                rest -= found
                part = max(part, found, key=len)
            if len(part) > self.num_treasures:
                cells = sorted(part)
                chosen = generator.choice(len(cells), self.num_treasures + 1, replace=False)
                start, *treasures = (cells[index] for index in chosen)
                return Maze(maze.walls, tuple(treasures), (start,))
        raise ValueError(
            f"`size` {self.size} leaves no room for {self.num_treasures} treasures and a start between walls of share "
            f"{self.wall_share:g}, in 1000 draws: make the map larger, or with fewer walls."
        )


def drawing_rules(size: Sequence[int] | None, num_treasures: int | None, wall_share: float | None) -> DrawingRules:
    """Gives the rules, checked; `None` is the usual value."""
    size = _arguments.integers("size", (8, 8) if size is None else size)
    if len(size) != 2:
        raise ValueError(f"`size` must be height and width such as (8, 8), got {size}.")
    num_treasures = _arguments.integer("num_treasures", 2 if num_treasures is None else num_treasures)
    if num_treasures >= size[0] * size[1]:
        raise ValueError(
            f"`num_treasures` must leave a cell to start in, got {num_treasures} on {size[0] * size[1]} cells."
        )
    wall_share = _arguments.real("wall_share", 0.2 if wall_share is None else wall_share, minimum=0, below=0.5)
    return DrawingRules((size[0], size[1]), num_treasures, wall_share)


def model(maze: Maze, step_cost: float) -> MapModel:
    """Gives the map as a Markov decision process."""
    states = {(cell, frozenset(maze.treasures)): index for index, cell in enumerate(maze.starts)}
    steps = []  # (from, action, to, reward)
    waiting = list(states)
    for here in waiting:  # Grows on the way.
        for action in range(len(_MOVES) if here[1] else 0):
            cell, found, remaining = maze.after(*here, action)
            if (cell, remaining) not in states:
                states[cell, remaining] = len(states)
                waiting.append((cell, remaining))
            steps.append((states[here], action, states[cell, remaining], found - step_cost))
        if len(states) > _STATES_AT_MOST:
            raise ValueError(
                f"The map has more than {_STATES_AT_MOST} states, cells times sets of treasures: the arrays of its "
                "model would not fit. Use fewer treasures or cells."
            )
    *index, rewards = zip(*steps, strict=True)
    P, R = np.zeros((2, len(states), len(_MOVES), len(states)))
    P[tuple(index)], R[tuple(index)] = 1, rewards
    starts = np.zeros(len(states))
    starts[: len(maze.starts)] = 1 / len(maze.starts)
    return MapModel(P, R, np.stack([maze.seen(*state) for state in states]), starts)
