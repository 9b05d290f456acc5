"""A grid with walls and treasures, seen as an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from kphys import _arguments
from kphys.environments import _drawing, _maps
from kphys.environments._maps import MapModel
from kphys.environments._world import World


class TreasureMap(World):
    """Walk through a grid with walls and collect all treasures, in few steps.

    A step against a wall or out of the map leaves the agent where it is. What was collected is gone.

    Actions: 0 is up, 1 right, 2 down, 3 left.

    Observations: The map as an image of bytes, 0 or 255, `(height, width, 3)`; the channels are walls, treasures and
    agent.

    Reward: 1 for a treasure, less `step_cost` for every step.

    End: When all treasures are collected (terminated). `gymnasium.make` cuts off after 200 steps (truncated: the walk
    could have gone on); its `max_episode_steps` sets another limit.

    Optimum: The shortest walk through all treasures: with T treasures and n steps T − n·`step_cost`, that is 1.86 in
    "small" (14 steps) and 2.70 in "rooms" (30 steps). `model` gives any map as arrays, from which
    `kphys.agents.tabular.value_iteration` finds it.

    Args:
        layout: "small" (6 × 6, 2 treasures), "rooms" (9 × 9, 3 treasures), a list of equally long strings, or "random"
            for a new map in every episode. In the strings "#" is a wall, "." floor, "T" a treasure, "S" a place to
            start; of several starts each is as likely, and without any so is all floor.
        step_cost: What a step costs, not negative.
        size: Height and width of a random map. `None`: (8, 8).
        num_treasures: Treasures on a random map. `None`: 2.
        wall_share: The share of walls on a random map, at least 0 and below 0.5: each cell is one with this
            probability. Start and treasures are drawn in the largest connected part. `None`: 0.2.
        render_mode: "rgb_array" draws the map, "ansi" writes it (agent "A"), `None` does neither.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or a treasure that cannot be reached; the
            message says the mend.

    Reference:
        Florian Marquardt, 2017, "Machine learning for physicists", lecture on reinforcement learning: the treasure
        hunt; Sutton and Barto, 2018, "Reinforcement learning: an introduction", chapter 3 (grid worlds).

    Example:
        >>> import gymnasium
        >>> import kphys.environments
        >>> world = gymnasium.make("kphys/TreasureMap-v0", layout=["S#T", "..."], render_mode="ansi")
        >>> observation, info = world.reset(seed=0)
        >>> print(world.render(), end="")
        A#T
        ...
        >>> [world.step(action)[2] for action in (2, 1, 1, 0)]
        [False, False, False, True]
        >>> model = world.unwrapped.model()
        >>> model.P.shape, model.observations.shape
        ((5, 4, 5), (5, 2, 3, 3))
    """

    def __init__(
        self,
        *,
        layout: str | Sequence[str] = "small",
        step_cost: float = 0.01,
        size: Sequence[int] | None = None,
        num_treasures: int | None = None,
        wall_share: float | None = None,
        render_mode: str | None = None,
    ):
        self.step_cost = _arguments.real("step_cost", step_cost, minimum=0)
        self._random = isinstance(layout, str) and layout == "random"
        if self._random:
            self._draw = _maps.drawing_rules(size, num_treasures, wall_share)
            self._maze, shape = None, self._draw.size
        else:
            for name, value in (("size", size), ("num_treasures", num_treasures), ("wall_share", wall_share)):
                if value is not None:
                    raise ValueError(f'`{name}` must be None with a fixed layout, got {value!r}: use layout="random".')
            self._maze = _maps.read(layout)
            shape = self._maze.walls.shape
        super().__init__(4, gymnasium.spaces.Box(0, 255, (*shape, 3), np.uint8), render_mode)

    def model(self) -> MapModel:
        """Gives the map as exact arrays: what each action does, and what is seen in each state.

        A state is the agent's cell and the treasures that remain, as far as a walk from a start can lead there. With
        `layout="random"` it is the map of the running episode.

        Returns:
            `P[s, a, s']` and `R[s, a, s']`, probabilities and rewards, `(states, 4, states)`; `observations`,
            `(states, height, width, 3)`; `starts`, the probability that an episode begins in a state, `(states,)`. In
            a state without treasures the game is over and no action is possible: there P is all zero.

        Raises:
            ValueError: There are more than 2000 states: the arrays would not fit.
            gymnasium.error.ResetNeeded: With `layout="random"` before the first `reset`.

        Example:
            >>> from kphys.environments import TreasureMap
            >>> model = TreasureMap(layout=["S.T"]).model()
            >>> float(model.R[1, 1, 2]), model.starts.tolist()
            (0.99, [1.0, 0.0, 0.0])
        """
        if self._maze is None:
            raise gymnasium.error.ResetNeeded("A random map is drawn by `reset`: call it before `model`.")
        return _maps.model(self._maze, self.step_cost)

    def _begin(self) -> None:
        if self._random:
            self._maze = self._draw(self.np_random)
        maze = self._maze
        self._cell = maze.starts[self.np_random.integers(len(maze.starts))]
        self._remaining = frozenset(maze.treasures)

    def _advance(self, action: int) -> tuple[float, bool]:
        self._cell, found, self._remaining = self._maze.after(self._cell, self._remaining, action)
        return found - self.step_cost, not self._remaining

    def _observation(self) -> np.ndarray:
        return self._maze.seen(self._cell, self._remaining)

    def _info(self) -> dict[str, Any]:
        return {"position": self._cell, "treasures_left": len(self._remaining)}

    def _image(self) -> np.ndarray:
        walls = self._maze.walls
        colours, size = _drawing.table(*walls.shape), _drawing.cell_size(max(walls.shape))
        colours[walls] = _drawing.DARK
        for cell in self._remaining:
            colours[cell] = _drawing.GOLD
        image = _drawing.enlarged(colours, size)
        _drawing.put_mark(image, *self._cell, size, _drawing.BLUE)
        return image

    def _text(self) -> str:
        marks = np.where(self._maze.walls, "#", ".")
        for cell in self._remaining:
            marks[cell] = "T"
        marks[self._cell] = "A"
        return "".join("".join(row) + "\n" for row in marks)
