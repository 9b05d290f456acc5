"""Deep Q-learning beside Stable-Baselines3's: time, and how many seeds solve the task.

    python benchmarks/dqn.py [--seeds 10] [--task CartPole-v1]

Every row trains `--seeds` agents one after the other, each in a process of its own, on as many steps as rl-zoo does.
"kphys" has the builder's defaults, "kphys as rl-zoo" the hyperparameters that rl-zoo tuned for
Stable-Baselines3, which has them too: their times are compared. An agent is judged by the mean return of 100 episodes
of its best actions. Solved is at least 475, −85 and −110. Processor time is steadier than the clock where the machine
is busy. Without Stable-Baselines3 its rows are left out
(pip install stable-baselines3).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time

from _compare import figures_of, peak_megabytes, print_table, readable

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


def kphys(task: str, seed: int, settings: dict[str, object]) -> dict[str, float]:
    """Trains one of ours."""
    import gymnasium

    from kphys import dqn

    environment = gymnasium.make(task)
    shape, actions = environment.observation_space.shape, environment.action_space.n
    start = time.perf_counter(), time.process_time()
    agent = dqn(shape, actions, seed=seed, **settings)
    agent.fit(environment, steps_per_epoch=TASKS[task][0], verbose=0)
    return {**since(start), "return": agent.evaluate(task, 100).mean, "peak MB": peak_megabytes()}


def stable_baselines3(task: str, seed: int, settings: dict[str, object]) -> dict[str, float]:
    """Trains one of theirs."""
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)  # With networks as small as these more threads wait for one another.
    steps = TASKS[task][0]
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
        seed=seed,
        device="cpu",
    )
    agent.learn(steps)
    figures = since(start)
    mean, _ = evaluate_policy(agent, agent.get_env(), n_eval_episodes=100, warn=False)
    return {**figures, "return": float(mean), "peak MB": peak_megabytes()}


def since(start: tuple[float, float]) -> dict[str, float]:
    """Gives the seconds since `start`, on the wall and of processor time."""
    return {"seconds": time.perf_counter() - start[0], "CPU [s]": time.process_time() - start[1]}


CONTESTANTS = {
    "kphys": lambda task, seed: kphys(task, seed, {}),
    "kphys as rl-zoo": lambda task, seed: kphys(task, seed, {**TASKS[task][2], **PLAIN}),
    "Stable-Baselines3": lambda task, seed: stable_baselines3(task, seed, TASKS[task][2]),
}


def main() -> None:
    """Runs all and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        print(json.dumps(CONTESTANTS[given.contestant](given.task[0], given.seed)))
        return
    names = list(CONTESTANTS)
    if not importlib.util.find_spec("stable_baselines3"):
        print("Stable-Baselines3 is not installed: its rows are left out.", file=sys.stderr)
        names = names[:-1]
    table = [["", "seconds", "CPU [s]", "solved", "return", "±", "peak MB", "ratio", "CPU ratio"]]
    for task in given.task or TASKS:
        # Interleaved: every seed of all contestants before the next.
        runs = {name: [] for name in names}
        for seed in range(given.seeds):
            for name in names:
                runs[name].append(in_own_process(task, name, seed))
        table += [row(task, name, runs) for name in names]
    print_table(table)


def in_own_process(task: str, name: str, seed: int) -> dict[str, float]:
    """Trains one agent."""
    command = [sys.executable, sys.argv[0], "--contestant", name, "--task", task, "--seed", str(seed)]
    figures = figures_of(command, f"{task}, {name}")
    print(f"  {task}, {name}, seed {seed}: {figures}", file=sys.stderr, flush=True)
    return figures


def row(task: str, name: str, runs: dict[str, list[dict[str, float]]]) -> list[str]:
    """Gives a row; ratios are how many times faster than this one "kphys as rl-zoo" is, the median over seeds."""
    returns = [run["return"] for run in runs[name]]
    error = statistics.stdev(returns) / math.sqrt(len(returns)) if len(returns) > 1 else math.nan
    pairs = [*zip(runs[name], runs["kphys as rl-zoo"], strict=True)]
    times = ("seconds", "CPU [s]")
    solved = sum(value >= TASKS[task][1] for value in returns)
    return [
        f"{task}, {name}",
        *(readable(statistics.median(run[time] for run in runs[name])) for time in times),
        f"{solved} of {len(returns)}",
        f"{statistics.mean(returns):.1f}",
        f"{error:.1f}",
        readable(statistics.median(run["peak MB"] for run in runs[name])),
        *(f"{statistics.median(theirs[time] / ours[time] for theirs, ours in pairs):.2f}" for time in times),
    ]


if __name__ == "__main__":
    main()
