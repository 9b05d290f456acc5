"""Memory and speed of replay buffers: kphys beside Stable-Baselines3, for CartPole's vectors and for Atari's images.

    python benchmarks/replay.py [--repeats 3] [--vectors 100000] [--frames 4000] [--calls 100]

CartPole: episodes of 200 steps added in pieces of 256, then 128 batches of 64 a call, the rhythm of the rl-zoo. Atari:
episodes of 800 steps, stacks of four 84×84 images, added in pieces of 4, then one batch of 32 a call. The buffers are
full; prioritized ones get new priorities for each call. Draws end in tensors, TensorFlow's for kphys and PyTorch's for
Stable-Baselines3, which adds steps one by one, draws a batch a call, and has no prioritized buffer. With its
`optimize_memory_usage` time-outs count as terminations; kphys knows them apart. The ratio is of samples drawn.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from _compare import SPEED, Contestant, Figures, arguments, compare

BYTES, ADDED = "bytes/transition", "added/s"
INSTALLED = importlib.util.find_spec("stable_baselines3") is not None


class Task(NamedTuple):
    """What is stored, and how it is added and drawn."""

    shape: tuple[int, ...]
    dtype: str
    frame_stack: int
    steps: int
    episode: int
    piece: int
    num_batches: int
    batch_size: int


def task_of(name: str, given: argparse.Namespace) -> Task:
    """Gives the numbers of a task."""
    if name == "CartPole":
        return Task((4,), "float32", 1, given.vectors, 200, 256, 128, 64)
    return Task((84, 84), "uint8", 4, given.frames, 800, 4, 1, 32)


def figures(size: float, seconds: float, task: Task, draw: Callable[[], Any], calls: int) -> Figures:
    """Gives bytes a transition, steps added a second and transitions drawn a second, a median of `calls`."""
    times = []
    # The first half warms up: memory that was never read may take a hundred times as long.
    for _ in range(2 * calls):
        start = time.perf_counter()
        draw()
        times.append(time.perf_counter() - start)
    drawn = task.num_batches * task.batch_size
    return {BYTES: size, ADDED: task.steps / seconds, SPEED: drawn / statistics.median(times[calls:])}


def kphys(given: argparse.Namespace, name: str, prioritized: bool = False) -> Figures:
    """Fills and draws from ours."""
    import numpy as np
    import tensorflow as tf

    from kphys.agents.replay import ReplayBuffer

    task, generator = task_of(name, given), np.random.default_rng(0)
    settings = {"frame_stack": task.frame_stack, "prioritized": prioritized}
    buffer = ReplayBuffer(task.steps + task.steps // task.episode, task.shape, task.dtype, **settings)
    path = generator.integers(0, 256, (task.piece + 1, *task.shape)).astype(task.dtype)
    path[-1] = path[0]
    rest = np.zeros(task.piece, int), np.ones(task.piece)
    ends = np.arange(task.steps + task.piece) % task.episode == task.episode - 1
    nothing = np.zeros(task.piece, bool)
    start = time.perf_counter()
    for first in range(0, task.steps, task.piece):
        buffer.extend(0, path[:-1], *rest, ends[first : first + task.piece], nothing, path[1:])
    seconds = time.perf_counter() - start

    def draw() -> Any:
        batches = buffer.sample(task.num_batches, task.batch_size, generator, 0.4 if prioritized else None)
        indices = batches.pop("indices")
        if prioritized:
            buffer.update_priorities(indices, generator.normal(size=indices.shape))
        return [tf.constant(array) for array in batches.values()]

    return figures(buffer.nbytes / len(buffer), seconds, task, draw, given.calls)


def stable_baselines(given: argparse.Namespace, name: str, optimized: bool = False) -> Figures:
    """Fills and draws from Stable-Baselines3's."""
    import numpy as np
    from gymnasium import spaces
    from stable_baselines3.common.buffers import ReplayBuffer

    task = task_of(name, given)
    # Images have their channels first there.
    shape = (task.frame_stack, *task.shape) if task.frame_stack > 1 else task.shape
    observations = spaces.Box(0, 255, shape, np.dtype(task.dtype).type)
    settings = {"optimize_memory_usage": optimized, "handle_timeout_termination": not optimized}
    buffer = ReplayBuffer(task.steps, observations, spaces.Discrete(2), "cpu", **settings)
    seen = np.random.default_rng(0).integers(0, 256, (2, 1, *shape)).astype(task.dtype)
    action, reward, infos = np.zeros((1, 1), int), np.ones(1), [{}]
    start = time.perf_counter()
    for step in range(task.steps):
        done = np.array([step % task.episode == task.episode - 1])
        buffer.add(seen[step % 2], seen[1 - step % 2], action, reward, done, infos)
    seconds = time.perf_counter() - start
    arrays = [array for array in vars(buffer).values() if isinstance(array, np.ndarray)]

    def draw() -> Any:
        return [buffer.sample(task.batch_size) for _ in range(task.num_batches)]

    return figures(sum(array.nbytes for array in arrays) / task.steps, seconds, task, draw, given.calls)


def contestants(name: str) -> dict[str, Contestant]:
    """Gives ours, and Stable-Baselines3's where it is installed."""
    makers: dict[str, Contestant] = {"kphys": kphys, "kphys, prioritized": functools.partial(kphys, prioritized=True)}
    if INSTALLED:
        makers["SB3"] = stable_baselines
        makers["SB3, optimize_memory_usage"] = functools.partial(stable_baselines, optimized=True)
    return {label: functools.partial(maker, name=name) for label, maker in makers.items()}


if __name__ == "__main__":
    if not INSTALLED:
        print(
            "Stable-Baselines3 is not installed: its rows are left out (pip install stable-baselines3).",
            file=sys.stderr,
        )
    given = arguments(__doc__, vectors=100_000, frames=4000, calls=100)
    compare({name: contestants(name) for name in ("CartPole", "Atari")}, given, (BYTES, ADDED, SPEED))
