"""REINFORCE on CartPole-v1: what the agent reaches over seeds, and its speed beside PyTorch's.

    python benchmarks/reinforce.py [--repeats 3] [--steps 60000]
    python benchmarks/reinforce.py --seeds 5 [--steps 150000]

Both train a network 4-64-64-2 (tanh) by Adam, 5e-3, with an update every 16 episodes on the rewards to go less their
mean at each step. PyTorch in the usual way: one environment, one step at a time, `torch.distributions.Categorical`, the
logarithms of the probabilities kept until the update. `samples/s` are steps of the environment, in training with all
that belongs to it, import and building left out; the ratio is how many times faster kphys is. The aim is at least 3.

With `--seeds` kphys alone: the mean return of 100 episodes after at most so many steps, and how many seeds reach 475.
The aim is all of five.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from _compare import SPEED, Figures, arguments, compare, with_torch

EPISODES, UNITS, LEARNING_RATE, DISCOUNT = 16, 64, 5e-3, 0.99
MARGIN = EPISODES * 500  # An epoch ends with an update: this many steps too late at most.


def kphys(given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    from kphys import reinforce

    agent = reinforce(4, 2, seed=given.repeat)
    started = time.perf_counter()
    history = agent.fit("CartPole-v1", steps_per_epoch=given.steps, verbose=0).history
    return _figures(time.perf_counter() - started, agent.num_steps, history["episode_return"][0])


def torch_loop(given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import gymnasium
    import torch

    torch.set_num_threads(1)  # Two are no faster for one small row at a time.
    torch.manual_seed(given.repeat)
    policy = torch.nn.Sequential(
        torch.nn.Linear(4, UNITS),
        torch.nn.Tanh(),
        torch.nn.Linear(UNITS, UNITS),
        torch.nn.Tanh(),
        torch.nn.Linear(UNITS, 2),
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=given.repeat)
    steps, returns = 0, []
    started = time.perf_counter()
    while steps < given.steps:
        log_probabilities, to_go = [], []
        for _ in range(EPISODES):
            observation, _ = environment.reset()
            rewards, over = [], False
            while not over:
                chances = torch.distributions.Categorical(logits=policy(torch.from_numpy(observation)))
                action = chances.sample()
                log_probabilities.append(chances.log_prob(action))
                observation, reward, terminated, truncated, _ = environment.step(action.item())
                rewards.append(reward)
                over = terminated or truncated
            going, row = 0.0, []
            for reward in reversed(rewards):
                going = reward + DISCOUNT * going
                row.append(going)
            to_go.append(row[::-1])
            returns.append(sum(rewards))
        advantages = torch.tensor(_less_mean(to_go), dtype=torch.float32)
        loss = -(torch.stack(log_probabilities) * advantages).sum() / EPISODES
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += len(advantages)
    return _figures(time.perf_counter() - started, steps, float(np.mean(returns)))


def _less_mean(to_go: list[list[float]]) -> np.ndarray:
    """Gives the rewards to go of all episodes, less their mean at each step."""
    table = np.full((len(to_go), max(map(len, to_go))), np.nan)
    for row, values in zip(table, to_go, strict=True):
        row[: len(values)] = values
    table -= np.nanmean(table, axis=0)
    return table[~np.isnan(table)]


def _figures(seconds: float, steps: int, mean_return: float) -> Figures:
    return {"training [s]": seconds, SPEED: steps / seconds, "mean return": mean_return}


def reached(given: argparse.Namespace) -> None:
    """Prints what `given.seeds` seeds reach."""
    from kphys import reinforce

    means = []
    for seed in range(given.seeds):
        agent = reinforce(4, 2, seed=seed)
        started = time.perf_counter()
        agent.fit("CartPole-v1", steps_per_epoch=given.steps - MARGIN, verbose=0)
        seconds = time.perf_counter() - started
        mean, error = agent.evaluate("CartPole-v1", episodes=100, seed=1_000 + seed)
        means.append(mean)
        print(f"seed {seed}: {agent.num_steps:,} steps in {seconds:.1f} s, return {mean:.1f} ± {error:.1f}", flush=True)
    spread = np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    print(f"{np.mean(means):.1f} ± {spread:.1f}, {sum(mean >= 475 for mean in means)} of {len(means)} seeds reach 475")


if __name__ == "__main__":
    given = arguments(__doc__, steps=60_000, seeds=0)
    if given.seeds:
        reached(given)
    else:
        contestants = with_torch({"kphys": kphys}, PyTorch=torch_loop)
        compare({"CartPole": contestants}, given, ("training [s]", SPEED, "mean return"))
