"""What the small worlds share: the frame of an episode, and its pictures."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from kphys import _arguments


class World(gymnasium.Env):
    """An environment with `num_actions` actions; a subclass says what begins, what a step does and what is seen."""

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's form)

    def __init__(self, num_actions: int, observation_space: gymnasium.Space, render_mode: str | None):
        if render_mode is not None:
            _arguments.choice("render_mode", render_mode, self.metadata["render_modes"], also=", or None")
        self.action_space = gymnasium.spaces.Discrete(num_actions)
        self.observation_space = observation_space
        self.render_mode = render_mode
        self._running = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode, which `seed` fixes wholly. Gives the observation and further information."""
        super().reset(seed=seed)
        if options:
            raise ValueError(
                f"`options` must be None or empty, got {options!r}: give the settings to `gymnasium.make`."
            )
        self._begin()
        self._running = True
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step. Gives observation, reward, whether the game ended, `False`, and further information."""
        if not self._running:
            raise gymnasium.error.ResetNeeded("No episode is running: call `reset` before `step`.")
        if not self.action_space.contains(action):
            raise ValueError(f"`action` must be an integer from 0 to {self.action_space.n - 1}, got {action!r}.")
        reward, terminated = self._advance(int(action))
        self._running = not terminated
        return self._observation(), float(reward), bool(terminated), False, self._info()

    def render(self) -> np.ndarray | str | None:
        """Gives the episode so far as an image `(height, width, 3)`, 0 to 255, or as text, as `render_mode` says."""
        if self.render_mode is None:
            gymnasium.logger.warn('Nothing is drawn without a render_mode: make the environment with "rgb_array".')
            return None
        return self._image() if self.render_mode == "rgb_array" else self._text()

    def _begin(self) -> None:
        raise NotImplementedError

    def _advance(self, action: int) -> tuple[float, bool]:
        """Takes the step. Gives the reward and whether the game is over."""
        raise NotImplementedError

    def _observation(self) -> Any:
        raise NotImplementedError

    def _info(self) -> dict[str, Any]:
        return {}

    def _image(self) -> np.ndarray:
        raise NotImplementedError

    def _text(self) -> str:
        raise NotImplementedError
