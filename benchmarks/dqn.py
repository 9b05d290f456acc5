"""Deep Q-learning beside Stable-Baselines3's: time, and how many seeds solve the task.

    python benchmarks/dqn.py [--repeats 10] [--only CartPole-v1]

Every repeat trains an agent of each row with another seed, each in a process of its own, on as many steps as rl-zoo
does. "kphys" and "Stable-Baselines3" have the hyperparameters that rl-zoo tuned for the latter: their times are
compared. "kphys, own settings" has the builder's defaults and what stands in `OWN`. An agent is judged by the mean
return of 100 episodes of its best actions; solved is at least 475, −85 and −110, and the second table counts all seeds.
Stable-Baselines3 has one thread, with which it is faster than with two: networks as small as these wait for one
another. Without it its rows are left out (pip install stable-baselines3).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import statistics
import sys
import time
from typing import Any

from _compare import (
    QUALITY,
    Contestant,
    Figures,
    Runs,
    arguments,
    compare,
    peak_megabytes,
    print_table,
    torch_before_tensorflow,
)

# Task -> steps, what counts as solved, and rl-zoo's hyperparameters in kphys' words.
TASKS = {
    "CartPole-v1": (
        50_000,
        475,
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "replay_capacity": 100_000,
            "learning_starts": 1_000,
            "target_update_period": 10,
            "train_period": 256,
            "gradient_steps": 128,
            "exploration_steps": 8_000,
            "epsilon_end": 0.04,
        },
    ),
    "Acrobot-v1": (
        100_000,
        -85,
        {
            "learning_rate": 6.3e-4,
            "batch_size": 128,
            "replay_capacity": 50_000,
            "learning_starts": 1_000,
            "target_update_period": 250,
            "train_period": 4,
            "gradient_steps": 4,
            "exploration_steps": 12_000,
            "epsilon_end": 0.1,
        },
    ),
    "MountainCar-v0": (
        120_000,
        -110,
        {
            "learning_rate": 4e-3,
            "batch_size": 128,
            "replay_capacity": 10_000,
            "learning_starts": 1_000,
            "target_update_period": 600,
            "train_period": 16,
            "gradient_steps": 8,
            "discount": 0.98,
            "exploration_steps": 24_000,
            "epsilon_end": 0.07,
        },
    ),
}
PLAIN = {"double": False, "n_step": 1, "delta": 1.0, "hidden_units": (256, 256)}


# Where the builder's defaults are not what we would take: here those of rl-zoo, but with a double network that sums up
# three rewards, and a learning rate that falls linearly to this one.
OWN = {"MountainCar-v0": {**TASKS["MountainCar-v0"][2], "delta": 1.0, "hidden_units": (256, 256)}}
FINAL_RATES = {"MountainCar-v0": 4e-4}


def kphys(given: argparse.Namespace, task: str) -> Figures:
    """Trains one of ours as rl-zoo does."""
    return trained(task, given.repeat, {**TASKS[task][2], **PLAIN})


def own_settings(given: argparse.Namespace, task: str) -> Figures:
    """Trains one of ours as we would."""
    import keras

    settings: dict[str, Any] = dict(OWN.get(task, {}))
    if task in FINAL_RATES:
        updates = TASKS[task][0] // settings["train_period"] * settings["gradient_steps"]
        decay = keras.optimizers.schedules.PolynomialDecay
        settings["learning_rate"] = decay(settings["learning_rate"], updates, FINAL_RATES[task])
    return trained(task, given.repeat, settings)


def trained(task: str, seed: int, settings: dict[str, Any]) -> Figures:
    """Trains one of ours."""
    import gymnasium

    from kphys import dqn

    environment = gymnasium.make(task)
    shape, actions = environment.observation_space.shape, environment.action_space.n
    start = time.perf_counter(), time.process_time()
    agent = dqn(shape, actions, seed=seed, **settings)
    agent.fit(environment, steps_per_epoch=TASKS[task][0], verbose=0)
    return {**since(start), QUALITY: agent.evaluate(task, 100).mean, "peak MB": peak_megabytes()}


def stable_baselines3(given: argparse.Namespace, task: str) -> Figures:
    """Trains one of theirs as rl-zoo does."""
    torch = torch_before_tensorflow()  # Which their loggers load.
    from stable_baselines3 import DQN
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)  # With networks as small as these more threads wait for one another.
    steps, _, settings = TASKS[task]
    start = time.perf_counter(), time.process_time()
    agent = DQN(
        "MlpPolicy",
        task,
        learning_rate=settings["learning_rate"],
        batch_size=settings["batch_size"],
        buffer_size=settings["replay_capacity"],
        learning_starts=settings["learning_starts"],
        gamma=settings.get("discount", 0.99),
        target_update_interval=settings["target_update_period"],
        train_freq=settings["train_period"],
        gradient_steps=settings["gradient_steps"],
        exploration_fraction=settings["exploration_steps"] / steps,
        exploration_final_eps=settings["epsilon_end"],
        policy_kwargs={"net_arch": [256, 256]},
        seed=given.repeat,
        device="cpu",
    )
    agent.learn(steps)
    figures = since(start)
    mean, _ = evaluate_policy(agent, agent.get_env(), n_eval_episodes=100, warn=False)
    return {**figures, QUALITY: float(mean), "peak MB": peak_megabytes()}


def since(start: tuple[float, float]) -> Figures:
    """Gives the seconds since `start`, on the wall and of processor time."""
    return {"seconds": time.perf_counter() - start[0], "CPU [s]": time.process_time() - start[1]}


def main() -> None:
    """Runs all and prints two tables."""
    given = arguments(__doc__, repeats=10, only=TASKS)
    contestants: dict[str, Contestant] = {"kphys": kphys}
    if importlib.util.find_spec("stable_baselines3"):
        contestants["Stable-Baselines3"] = stable_baselines3
    else:
        print("Stable-Baselines3 is not installed: its rows are left out.", file=sys.stderr)
    contestants["kphys, own settings"] = own_settings
    groups = {
        task: {name: functools.partial(train, task=task) for name, train in contestants.items()} for task in given.only
    }
    runs = compare(groups, given, ("seconds", "CPU [s]", "peak MB"), "seconds")
    if runs:
        print()
        print_table([["", "solved", "return", "±", "of every seed"], *seeds(runs)])


def seeds(runs: Runs) -> list[list[str]]:
    """Gives rows of how many seeds solved a task, and the mean return with its standard error."""
    rows = []
    for (task, name), figures in runs.items():
        returns = [run[QUALITY] for run in figures]
        error = statistics.stdev(returns) / math.sqrt(len(returns)) if len(returns) > 1 else math.nan
        solved = sum(value >= TASKS[task][1] for value in returns)
        every = ", ".join(f"{value:.1f}" for value in returns)
        row = [f"{solved} of {len(returns)}", f"{statistics.mean(returns):.1f}", f"{error:.1f}", every]
        rows.append([f"{task}, {name}", *row])
    return rows


if __name__ == "__main__":
    main()
