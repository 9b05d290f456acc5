"""The lecture's second-simplest world: a walker should stop on the target."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from kphys import _arguments
from kphys.environments import _drawing
from kphys.environments._world import World


class WalkerTarget(World):
    """A walker on a line should move until it stands on the target, and stay there.

    It starts at 0 and only moves forward. The target stands at a site d from 1 to `max_target`, drawn anew for every
    episode, each with the same probability.

    Actions: 0 is staying, 1 a move to the next site.

    Observations: With `observe="target"` whether the walker is on the target, 1, or not, 0 (discrete). With
    "distance" also how far the target is, `(2,)`: that 1 or 0, and (d − position)/N from −1 to 1.

    Reward: 1 for every step that ends on the target, otherwise 0.

    End: After N steps (terminated: the game's length is the task). `info` holds `position` and `target`.

    Optimum: Move if not on the target, otherwise stay. The d-th step reaches the target, so that the return is
    N − d + 1, and N − (max_target − 1)/2 in the mean: 15.5 by default.

    Args:
        num_steps: N.
        max_target: The farthest target, at most N.
        observe: "target" or "distance".
        render_mode: "rgb_array" draws sites over time, "ansi" writes the line, `None` does neither.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Florian Marquardt, 2017, "Machine learning for physicists", lecture on reinforcement learning: policy
        gradient, the walker that should find its target.

    Example:
        >>> import gymnasium
        >>> import kphys.environments
        >>> walker = gymnasium.make("kphys/WalkerTarget-v0", num_steps=4, max_target=1)
        >>> walker.reset(seed=0)
        (0, {'position': 0, 'target': 1})
        >>> walker.step(1)
        (1, 1.0, False, False, {'position': 1, 'target': 1})
    """

    def __init__(
        self,
        *,
        num_steps: int = 20,
        max_target: int = 10,
        observe: str = "target",
        render_mode: str | None = None,
    ):
        self.num_steps = _arguments.integer("num_steps", num_steps)
        self.max_target = _arguments.integer("max_target", max_target)
        if max_target > num_steps:
            raise ValueError(
                f"`max_target` must be at most num_steps={num_steps}, got {max_target}: farther ones are out of reach."
            )
        self.observe = _arguments.choice("observe", observe, ("target", "distance"))
        if observe == "target":
            space = gymnasium.spaces.Discrete(2)
        else:
            space = gymnasium.spaces.Box(np.array([0, -1], "float32"), np.ones(2, "float32"))
        super().__init__(2, space, render_mode)

    def _begin(self) -> None:
        self._target = int(self.np_random.integers(1, self.max_target, endpoint=True))
        self._positions = [0]

    def _advance(self, action: int) -> tuple[float, bool]:
        self._positions.append(self._positions[-1] + action)
        return self._positions[-1] == self._target, len(self._positions) > self.num_steps

    def _observation(self) -> int | np.ndarray:
        distance = self._target - self._positions[-1]
        if self.observe == "target":
            return int(distance == 0)
        return np.array([distance == 0, distance / self.num_steps], "float32")

    def _info(self) -> dict[str, Any]:
        return {"position": self._positions[-1], "target": self._target}

    def _image(self) -> np.ndarray:
        """Draws sites to the right and time downwards; the steps on the target are green."""
        colours = _drawing.table(self.num_steps + 1, self.num_steps + 1)
        colours[:, self._target] = _drawing.GOLD
        for time, position in enumerate(self._positions):
            colours[time, position] = _drawing.GREEN if position == self._target else _drawing.BLUE
        return _drawing.enlarged(colours, _drawing.cell_size(self.num_steps + 1))

    def _text(self) -> str:
        sites = ["."] * (self.num_steps + 1)
        sites[self._target] = "T"
        sites[self._positions[-1]] = "W"
        return "".join(sites) + "\n"
