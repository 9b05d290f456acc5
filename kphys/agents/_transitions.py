"""Transitions in arrays that are allocated once: one ring of observations for each environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kphys.agents import _replay_checks

ARRAYS = ("observations", "actions", "rewards", "terminated", "truncated", "ages", "drawable")
RINGS = ("newest", "filled", "running")
_STEPS = (("actions", np.int32), ("rewards", np.float32), ("terminated", np.bool_), ("truncated", np.bool_))


class Transitions:
    """Holds what `ReplayBuffer` draws from; its arguments are the same, checked already.

    A slot holds an observation, what was done and came of it, and the observation's age in its episode; the next slot
    of the ring holds the observation after it. The last observation of an episode has a slot too, never drawn.
    """

    def __init__(
        self,
        ring: int,
        observation_shape: tuple[int, ...],
        dtype: np.dtype,
        num_environments: int,
        frame_stack: int,
        n_step: int,
        discount: float,
    ) -> None:
        self.ring, self.num_environments = ring, num_environments
        self.frame_stack, self.n_step, self.discount = frame_stack, n_step, discount
        slots = ring * num_environments
        # Position p of environment e is slot p · num_environments + e: the next one is num_environments further, and
        # one wrap at the end of the arrays serves all rings. Zeros cost no memory before they are written.
        self.observations = np.zeros((slots, *observation_shape), dtype)
        self.actions = np.zeros(slots, np.int32)
        self.rewards = np.zeros(slots, np.float32)
        self.terminated, self.truncated = np.zeros(slots, bool), np.zeros(slots, bool)
        self.ages = np.zeros(slots, np.int32)
        self.drawable = np.zeros(slots, bool)
        self.num_drawable = 0
        # Of each environment: the position of its newest observation, its slots in use, whether its episode goes on.
        self.newest = np.full(num_environments, -1)
        self.filled = np.zeros(num_environments, np.int64)
        self.running = np.zeros(num_environments, bool)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that has a value for each slot."""
        return {name: getattr(self, name) for name in ARRAYS}

    def extend(self, environment: int, *arrays: ArrayLike) -> np.ndarray:
        """Adds transitions of one environment and gives the slots that may or may no longer be drawn."""
        observations, actions, rewards, terminated, truncated, next_observations = self._checked(environment, arrays)
        n, ended = len(rewards), terminated | truncated
        ends = np.flatnonzero(ended)
        last_end = int(ends[-1]) if len(ends) else -1
        ages, completed = self._new_ages(environment, ended), self._completed(environment, n, last_end >= 0)
        # The observation after an end, or after the last step, takes a place of its own.
        closed = ends if last_end == n - 1 else np.append(ends, n - 1)
        places = np.arange(n) + np.cumsum(ended) - ended
        start = int(self.newest[environment]) + (not self.running[environment])
        total, first = int(places[-1]) + 2, 0
        if total > self.ring:
            # What would be overwritten at once is not written at all.
            first = int(np.searchsorted(places, total - self.ring))
            closed = closed[places[closed] + 1 >= total - self.ring]

        slots = self._slots(environment, start + places[first:])
        self.observations[slots] = observations[first:]
        self.actions[slots] = actions[first:]
        self.rewards[slots] = rewards[first:]
        self.terminated[slots] = terminated[first:]
        self.truncated[slots] = truncated[first:]
        self.ages[slots] = ages[first:]
        closing = self._slots(environment, start + places[closed] + 1)
        self.observations[closing] = next_observations[closed]
        self.ages[closing] = ages[closed] + 1

        self.filled[environment] = min(self.ring, max(int(self.filled[environment]), start + total))
        self.newest[environment] = (start + total - 1) % self.ring
        self.running[environment] = last_end < n - 1
        complete = max(0, max(last_end, n - self.n_step) + 1 - first)
        on = ((completed, True), (slots[:complete], True))
        return self._change(environment, *on, (slots[complete:], False), (closing, False))

    def close(self, environment: int) -> np.ndarray:
        """Marks the running episode, if there is one, as truncated; gives the slots that may be drawn now."""
        if not self.running[environment]:
            return np.zeros(0, np.int64)
        completed = self._completed(environment, 0, True)
        self.truncated[self._slots(environment, int(self.newest[environment]) - 1)] = True
        self.running[environment] = False
        return self._change(environment, (completed, True))

    def _checked(self, environment: int, arrays: Sequence[ArrayLike]) -> list[np.ndarray]:
        shape, dtype = self.observations.shape[1:], self.observations.dtype
        observations = _replay_checks.steps("observations", arrays[0], dtype, shape)
        n = len(observations)
        steps = [_replay_checks.steps(name, arrays[i + 1], kind, (), n) for i, (name, kind) in enumerate(_STEPS)]
        following = _replay_checks.steps("next_observations", arrays[5], dtype, shape, n)
        newest = self._slots(environment, int(self.newest[environment]))
        if self.running[environment] and not (observations[0] == self.observations[newest]).all():
            raise ValueError(
                f"`observations[0]` is not the last of the `next_observations` that came before it, and the episode of "
                f"environment {environment} has not ended: add transitions in the order of time, or call "
                f"close({environment}) before another episode."
            )
        return [observations, *steps, following]

    def _new_ages(self, environment: int, ended: np.ndarray) -> np.ndarray:
        steps = np.arange(len(ended), dtype=np.int32)
        begun = np.zeros_like(steps)
        begun[1:] = np.maximum.accumulate(steps[1:] * ended[:-1])
        ages = steps - begun
        if self.running[environment]:
            ages[begun == 0] += self.ages[self._slots(environment, int(self.newest[environment]))]
        return ages

    def _completed(self, environment: int, num_new: int, ended: bool) -> np.ndarray:
        """Gives the slots whose last missing steps come with `num_new` new ones, or with the episode's end."""
        if self.n_step == 1 or not self.running[environment]:
            return np.zeros(0, np.int64)
        newest = int(self.newest[environment])
        steps = np.arange(1, min(self.n_step - 1, int(self.ages[self._slots(environment, newest)])) + 1)
        return self._slots(environment, newest - (steps if ended else steps[steps + num_new >= self.n_step]))

    def _change(self, environment: int, *changes: tuple[np.ndarray, bool]) -> np.ndarray:
        """Makes slots drawable or not, the last word standing, and gives all of them."""
        changes = (*changes, (self._cut_off(environment), False))
        for slots, value in changes:
            self.num_drawable += value * len(slots) - np.count_nonzero(self.drawable[slots])
            self.drawable[slots] = value
        return np.concatenate([slots for slots, _ in changes])

    def _cut_off(self, environment: int) -> np.ndarray:
        """Gives the slots whose stacks of frames reach into what is overwritten."""
        if self.frame_stack == 1 or self.filled[environment] < self.ring:
            return np.zeros(0, np.int64)
        distance = np.arange(self.frame_stack - 1)
        oldest = self._slots(environment, self.newest[environment] + 1 + distance)
        return oldest[self.ages[oldest] > distance]

    def _slots(self, environment: int, positions: Any) -> Any:
        return positions % self.ring * self.num_environments + environment

    def gather(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """Gives the transitions that begin in the given slots."""
        last, rewards = slots, self.rewards[slots]
        discounts = np.full(len(slots), self.discount, np.float32)
        for step in range(1, self.n_step):
            ended = self.terminated.take(last, mode="wrap") | self.truncated.take(last, mode="wrap")
            last = last + self.num_environments * ~ended
            further = self.rewards.take(last, mode="wrap") * np.float32(self.discount**step)
            rewards += np.where(ended, np.float32(0), further)
            discounts[~ended] = self.discount ** (step + 1)
        discounts[self.terminated.take(last, mode="wrap")] = 0
        return {
            "observations": self._look(slots),
            "actions": self.actions[slots],
            "rewards": rewards,
            "discounts": discounts,
            "next_observations": self._look(last + self.num_environments),
        }

    def _look(self, slots: np.ndarray) -> np.ndarray:
        if self.frame_stack == 1:
            return self.observations.take(slots, axis=0, mode="wrap")
        height, width = self.observations.shape[1:3]
        frames = self.observations.reshape(len(self.observations), height, width, -1)
        depth = frames.shape[3]
        images = np.empty((len(slots), height, width, self.frame_stack * depth), frames.dtype)
        ages = self.ages.take(slots, mode="wrap")
        # One frame after the other: faster than one gather of all, whose copy leaves the cache.
        for number in range(self.frame_stack):
            backs = np.minimum(ages, self.frame_stack - 1 - number) * self.num_environments
            frame = frames.take(slots - backs, axis=0, mode="wrap")
            images[..., number * depth : (number + 1) * depth] = frame
        return images
