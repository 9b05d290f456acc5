"""Whole episodes, played by chance after a policy and laid out one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kphys.agents._play import Play, check_finite


class Episodes(NamedTuple):
    """The steps of some episodes, one row each, episode after episode.

    `numbers` and `times` say which episode and which step of it a row is, both from 0; `last_rows` where episodes end.
    `last_observations` are what was seen after that, `cut_off` where a time limit was all that ended it.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    numbers: np.ndarray
    times: np.ndarray
    last_rows: np.ndarray
    last_observations: np.ndarray
    cut_off: np.ndarray

    def each(self, function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Gives `function` of every episode's part of `rows`, one after the other."""
        return np.concatenate([function(part) for part in np.split(rows, self.last_rows[:-1] + 1)])


def quotas(episodes: int, num: int) -> np.ndarray:
    """Gives how many of `episodes` each of `num` copies plays.

    They are fixed beforehand: the first ones that end would be the short ones.
    """
    return np.array([len(range(copy, episodes, num)) for copy in range(num)])


def play_episodes(
    play: Play,
    quota: np.ndarray,
    probabilities: Callable[[np.ndarray], np.ndarray],
    generator: np.random.Generator,
    first_step: int,
) -> Episodes:
    """Plays so many episodes in every copy, by chance after `probabilities`, observations to `(copies, actions)`."""
    left, rows = quota.copy(), []
    while (active := left > 0).any():
        observations = play.observations
        actions = drawn(probabilities(observations), generator.random(play.num))
        following, rewards, terminated, truncated, real = play.step(actions, active)
        copies = np.flatnonzero(real)
        check_finite(first_step, reward=rewards[None, copies], observation=following[None, copies])
        first_step += len(copies)
        ends = (terminated | truncated) & real
        if ends.any():
            left[ends] -= 1
        last = following[ends], (truncated & ~terminated)[ends]
        rows.append((observations[copies], actions[copies], rewards[copies], copies, ends[copies], *last))
    return _in_order(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))


def drawn(probabilities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Gives an action for every row of probabilities, from numbers in [0, 1)."""
    sums = probabilities.cumsum(axis=1, dtype="float64")
    # From above 0 to 1: what has no probability is never drawn.
    return (sums < (1 - uniform[:, None]) * sums[:, -1:]).sum(axis=1)


def _in_order(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    copies: np.ndarray,
    ends: np.ndarray,
    last_observations: np.ndarray,
    cut_off: np.ndarray,
) -> Episodes:
    """Puts steps, which came copy beside copy, behind one another."""
    order = np.argsort(copies, kind="stable")
    last_rows = np.flatnonzero(ends[order])
    numbers = np.cumsum(ends[order]) - ends[order]
    times = np.arange(len(order)) - np.concatenate([[0], last_rows[:-1] + 1])[numbers]
    ended = np.argsort(copies[ends], kind="stable")
    rows: Any = (array[order] for array in (observations, actions, rewards))
    return Episodes(*rows, numbers, times, last_rows, last_observations[ended], cut_off[ended])
