"""The episodes under way while an agent plays, and what has come of those that ended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kphys.agents._worlds import Copies, Transitions, Vector


class Play:
    """Episodes in every copy of `worlds`; `next_seed` gives the seed of a copy's next episode."""

    def __init__(self, worlds: Copies | Vector, next_seed: Callable[[int], int], frame_stack: int = 1):
        self.worlds, self._next_seed, self._frame_stack = worlds, next_seed, frame_stack
        self.num = worlds.num
        self.ended: list[tuple[int, float, int]] = []  # Copies, returns and lengths.
        self.begin()

    def begin(self) -> None:
        """Begins new episodes in all copies."""
        self.frames = self.worlds.begin_all([self._next_seed(copy) for copy in range(self.num)])
        _check_first(self.frames)
        self.observations = self._first_stack(self.frames)
        self.returns, self.lengths = np.zeros(self.num), np.zeros(self.num, int)

    def _first_stack(self, frames: np.ndarray) -> np.ndarray:
        return frames if self._frame_stack == 1 else np.tile(frames, self._frame_stack)

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> Transitions:
        """Takes one action in every copy; episodes that ended are noted, and others begun.

        Copies that are not `active` wait, or where `worlds` cannot wait, play on, and nothing is noted of them.
        """
        transitions = self.worlds.step(actions, self.frames, active)
        fresh = transitions.terminated | transitions.truncated | ~transitions.real
        over = fresh & transitions.real
        if active is not None:
            transitions = transitions._replace(real=transitions.real & active)
        self.returns += np.where(transitions.real, transitions.rewards, 0.0)
        self.lengths += transitions.real
        self.frames = transitions.observations
        if fresh.any():
            self._begin_others(over, transitions.real)
            _check_first(self.frames[fresh])
        self._stack(fresh)
        return transitions

    def _begin_others(self, over: np.ndarray, real: np.ndarray) -> None:
        """Notes the episodes of the copies that are `over` if they were `real`, and begins new ones there."""
        copies, noted = np.flatnonzero(over), np.flatnonzero(over & real)
        if not len(copies):
            return
        figures = (noted, self.returns[noted], self.lengths[noted])
        self.ended += zip(*(array.tolist() for array in figures), strict=True)
        self.returns[copies], self.lengths[copies] = 0.0, 0
        seeds = [self._next_seed(copy) for copy in copies.tolist()]
        self.frames = self.worlds.begin(self.frames, copies, seeds)

    def _stack(self, fresh: np.ndarray) -> None:
        if self._frame_stack == 1:
            self.observations = self.frames
            return
        channels = self.frames.shape[-1]
        self.observations = np.concatenate([self.observations[..., channels:], self.frames], axis=-1)
        if fresh.any():
            self.observations[fresh] = self._first_stack(self.frames[fresh])

    @property
    def num_untouched(self) -> int:
        """The number of episodes of which no step has been made."""
        return int((self.lengths == 0).sum())


def _check_first(observations: np.ndarray) -> None:
    if not np.isfinite(observations).all():
        raise FloatingPointError(
            "The environment began an episode with an observation that is not finite, and nothing was learnt from it: "
            "find the cause in its `reset`."
        )


def check_finite(first_step: int, **arrays: np.ndarray) -> None:
    """Raises the error that names the step, if an environment gave what is not finite; arrays `(steps, copies, …)`."""
    for name, array in arrays.items():
        if np.isfinite(array).all():
            continue
        values = array.reshape(array.shape[0] * array.shape[1], -1)
        step = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise FloatingPointError(
            f"The environment gave the {name} {values[step].squeeze()} in step {first_step + step + 1}: training has "
            "stopped before learning from it. Find the cause in the environment."
        )
