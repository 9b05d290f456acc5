"""The lecture's simplest world for policy gradients: a random walk whose end position is the return."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from kphys import _arguments
from kphys.environments import _drawing
from kphys.environments._world import World


class RandomWalk(World):
    """A walker makes N steps up or down; the return is where it ends.

    The end position is x_N = (steps up) − (steps down). With the lecture's policy of one parameter,
    π = π(up) = 1/(1 + e^(−θ)), everything is known: E[x_N] = N(2π − 1), Var[x_N] = 4Nπ(1 − π), and with
    G = d ln P(trajectory)/dθ = (steps up) − Nπ the policy gradient is E[x_N G] = 2Nπ(1 − π).

    Actions: 0 is a step down, 1 a step up.

    Observations: With `observe="nothing"` always the number 1, `(1,)`: a single linear unit without bias is the
    policy above. With "position" x_t/N from −1 to 1 and t/N from 0 to 1, `(2,)`, after t steps.

    Reward: The step itself, +1 or −1.

    End: After N steps (terminated: the game's length is the task, nothing follows). `info` holds the `position`.

    Optimum: Always up, return N. Nothing is random but the policy.

    Args:
        num_steps: N.
        observe: "nothing" or "position".
        render_mode: "rgb_array" draws positions over time, "ansi" writes a line, `None` does neither.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Florian Marquardt, 2017, "Machine learning for physicists", lecture on reinforcement learning: policy
        gradient, the simplest example; Williams, 1992, "Simple statistical gradient-following algorithms for
        connectionist reinforcement learning".

    Example:
        >>> import gymnasium
        >>> import kphys.environments
        >>> walk = gymnasium.make("kphys/RandomWalk-v0", num_steps=3)
        >>> observation, info = walk.reset(seed=0)
        >>> [walk.step(action)[1] for action in (1, 0, 1)]
        [1.0, -1.0, 1.0]
    """

    def __init__(self, *, num_steps: int = 20, observe: str = "nothing", render_mode: str | None = None):
        self.num_steps = _arguments.integer("num_steps", num_steps)
        self.observe = _arguments.choice("observe", observe, ("nothing", "position"))
        low = [0.0] if observe == "nothing" else [-1.0, 0.0]
        space = gymnasium.spaces.Box(np.array(low, "float32"), np.ones(len(low), "float32"))
        super().__init__(2, space, render_mode)

    def _begin(self) -> None:
        self._positions = [0]

    def _advance(self, action: int) -> tuple[float, bool]:
        step = 2 * action - 1
        self._positions.append(self._positions[-1] + step)
        return step, len(self._positions) > self.num_steps

    def _observation(self) -> np.ndarray:
        if self.observe == "nothing":
            return np.ones(1, "float32")
        return np.array([self._positions[-1], len(self._positions) - 1], "float32") / self.num_steps

    def _info(self) -> dict[str, Any]:
        return {"position": self._positions[-1]}

    def _image(self) -> np.ndarray:
        """Draws time to the right and position upwards, both ends of the axis within reach."""
        size = _drawing.cell_size(2 * self.num_steps + 1)
        colours = _drawing.table(2 * self.num_steps + 1, self.num_steps + 1)
        colours[self.num_steps] = _drawing.LINES
        for time, position in enumerate(self._positions):
            colours[self.num_steps - position, time] = _drawing.RED if position < 0 else _drawing.BLUE
        return _drawing.enlarged(colours, size)

    def _text(self) -> str:
        return f"step {len(self._positions) - 1} of {self.num_steps}, position {self._positions[-1]}\n"
