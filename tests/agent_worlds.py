"""Small environments of which everything is known."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

EPISODE = 20  # Steps of an episode on the line.


class Counting(gymnasium.Env):
    """Shows (episode's seed, time): what belongs together can be told. Ends after `length` steps, in the way given."""

    observation_space = gymnasium.spaces.Box(-1, 2**31, (2,), "float64")
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, length: int = 5, terminates: bool = False, reward: Any = 1.0):
        self.length, self.terminates, self.reward = length, terminates, reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.number, self.time = float(self.np_random.integers(1_000)), 0
        return np.array([self.number, 0.0]), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.time += 1
        over = self.time >= self.length
        reward = self.reward(self.time, action) if callable(self.reward) else self.reward
        observation = np.array([self.number, float(self.time)])
        return observation, reward, over and self.terminates, over and not self.terminates, {}


class Line(gymnasium.Env):
    """A place x on a line and the time; steps to either side with noise, reward −|x|, cut off after a while."""

    observation_space = gymnasium.spaces.Box(-9, 9, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.x, self.time = self.np_random.normal(), 0
        return self._shown(), {}

    def _shown(self) -> np.ndarray:
        return np.array([self.x, self.time / EPISODE], "float32")

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.x = float(np.clip(self.x + 0.3 * (2 * action - 1) + 0.05 * self.np_random.normal(), -3, 3))
        self.time += 1
        return self._shown(), -abs(self.x), False, self.time >= EPISODE, {}


class Table(gymnasium.Env):
    """A Markov decision process from arrays P[s, a, s'] and R[s, a, s']; an episode begins anywhere and is cut off."""

    def __init__(self, probabilities: np.ndarray, rewards: np.ndarray, length: int = 7, terminal: int | None = None):
        self.probabilities, self.rewards, self.length, self.terminal = probabilities, rewards, length, terminal
        states, actions, _ = probabilities.shape
        self.observation_space = gymnasium.spaces.Discrete(states)
        self.action_space = gymnasium.spaces.Discrete(actions)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        states = [state for state in range(len(self.probabilities)) if state != self.terminal]
        self.state, self.time = int(self.np_random.choice(states)), 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        before = self.state
        self.state = int(self.np_random.choice(len(self.probabilities), p=self.probabilities[before, action]))
        self.time += 1
        reward = float(self.rewards[before, action, self.state])
        return self.state, reward, self.state == self.terminal, self.time >= self.length, {}


class Film(gymnasium.Env):
    """Shows gray images of 6×6 whose pixels are all 10 · time + 100 · (episode is odd), modulo 256."""

    observation_space = gymnasium.spaces.Box(0, 255, (6, 6), "uint8")
    action_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's way.

    def __init__(self, length: int = 5, render_mode: str | None = None):
        self.length, self.render_mode, self.episode = length, render_mode, -1

    def _shown(self) -> np.ndarray:
        return np.full((6, 6), (10 * self.time + 100 * (self.episode % 2)) % 256, "uint8")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return self._shown(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.time += 1
        return self._shown(), float(action), False, self.time >= self.length, {}

    def render(self) -> np.ndarray:
        return np.repeat(np.kron(self._shown(), np.ones((4, 4), "uint8"))[..., None], 3, axis=-1)
