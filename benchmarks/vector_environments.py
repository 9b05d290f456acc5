"""Steps a second of an agent that plays in many environments at once, in one process and in several.

    python benchmarks/vector_environments.py [--repeats 3] [--steps 8000] [--microseconds 1000]

`kphys.dqn` plays without learning: in one CartPole, in Gymnasium's `SyncVectorEnv` of several, which steps them one
after the other, and in its `AsyncVectorEnv`, which has a process for each; then the same with an environment whose
step takes `--microseconds` of a processor, as simulations of physics do. The ratio is how many times faster than each
row one environment plays: below 1 the row is the faster one.
"""

from __future__ import annotations

import argparse
import functools
import time
from typing import Any

import gymnasium
from _compare import SPEED, Contestant, Figures, arguments, compare, peak_megabytes

NUMBERS = (2, 4, 8, 16)


class Costly(gymnasium.Wrapper):
    """Has every step take its time."""

    def __init__(self, environment: gymnasium.Env, seconds: float):
        super().__init__(environment)
        self.seconds = seconds

    def step(self, action: int) -> Any:
        """Computes for nothing."""
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return super().step(action)


def make(microseconds: int) -> gymnasium.Env:
    """Gives CartPole, made to last."""
    environment = gymnasium.make("CartPole-v1")
    return Costly(environment, 1e-6 * microseconds) if microseconds else environment


def play(given: argparse.Namespace, costly: bool, num: int, processes: bool) -> Figures:
    """Times an epoch."""
    from kphys import dqn

    one = functools.partial(make, given.microseconds if costly else 0)
    kind = gymnasium.vector.AsyncVectorEnv if processes else gymnasium.vector.SyncVectorEnv
    environment = kind([one] * num) if num > 1 else one()
    agent = dqn(4, 2, learning_starts=10**9, exploration_steps=1, seed=0)
    agent.fit(environment, steps_per_epoch=512, verbose=0)
    start = time.perf_counter()
    agent.fit(environment, steps_per_epoch=given.steps, verbose=0)
    seconds = time.perf_counter() - start
    environment.close()
    return {SPEED: given.steps / seconds, "peak MB": peak_megabytes()}


def contestants(costly: bool) -> dict[str, Contestant]:
    """Gives the ways to play."""
    several = {
        f"{num} in {'processes' if processes else 'one process'}": (num, processes)
        for num in NUMBERS
        for processes in (False, True)
    }
    ways = {"one": (1, False), **several}
    return {
        name: functools.partial(play, costly=costly, num=num, processes=processes)
        for name, (num, processes) in ways.items()
    }


if __name__ == "__main__":
    groups = {"CartPole": contestants(costly=False), "costly": contestants(costly=True)}
    compare(groups, arguments(__doc__, steps=8_000, microseconds=1_000), (SPEED, "peak MB"))
