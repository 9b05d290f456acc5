"""Deep Q-learning on Pong beside Stable-Baselines3's: steps a second, memory, and that a run goes on where it ended.

    python benchmarks/atari.py [--repeats 1] [--steps 20000] [--capacity 100000]

Both play `--steps` frames of 84×84 with the network and the hyperparameters of Mnih et al. 2015, learning from the
first 1,000 steps on; nothing is claimed of what they learn. The memory is sized for `--capacity` observations, of which
a short run fills `--steps`; "replay GB" is what it takes when a million are held. "resumed" is 1 where an agent that
was saved half-way and loaded took as many steps and updates. Needs kphys[atari]; without Stable-Baselines3 its rows are
left out (pip install stable-baselines3).
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import sys
import tempfile
import time

from _compare import Contestant, Figures, arguments, compare, peak_megabytes, torch_before_tensorflow

STEPS = "steps/s"
COLUMNS = ("seconds", STEPS, "peak MB", "replay GB", "resumed")
MILLION = 1_000_000


def kphys(given: argparse.Namespace) -> Figures:
    """Trains ours, half of it after loading."""
    import keras

    from kphys import dqn
    from kphys.agents.replay import ReplayBuffer
    from kphys.environments.atari import atari

    environment = atari("Pong", max_episode_steps=500)
    agent = dqn(
        (84, 84, 4),
        int(environment.action_space.n),
        frame_stack=4,
        n_step=1,
        double=False,
        batch_size=32,
        train_period=4,
        gradient_steps=1,
        learning_rate=1e-4,
        learning_starts=1_000,
        replay_capacity=given.capacity,
        target_update_period=1_000,
        exploration_steps=given.steps // 10,
        epsilon_end=0.01,
        seed=given.repeat,
    )
    start = time.perf_counter()
    agent.fit(environment, steps_per_epoch=given.steps // 2, verbose=0)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "pong.keras"
        agent.save(file)
        loaded = keras.models.load_model(file)
    loaded.fit(environment, steps_per_epoch=400, verbose=0)
    start = time.perf_counter()
    agent.fit(environment, steps_per_epoch=given.steps // 2, verbose=0)
    seconds += time.perf_counter() - start
    resumed = loaded.num_steps == given.steps // 2 + 400 and loaded.num_updates == (loaded.num_steps - 1_000) // 4 + 1
    resumed = resumed and len(loaded.replay) > given.steps // 2
    million = ReplayBuffer(MILLION, (84, 84, 1), "uint8", frame_stack=4).nbytes
    return {
        "seconds": seconds,
        STEPS: given.steps / seconds,
        "peak MB": peak_megabytes(),
        "replay GB": million / 1e9,
        "resumed": float(resumed),
    }


def stable_baselines3(given: argparse.Namespace) -> Figures:
    """Trains theirs."""
    import gymnasium
    import numpy as np

    torch = torch_before_tensorflow()  # Which their loggers load.
    from stable_baselines3 import DQN

    from kphys.environments.atari import atari

    torch.set_num_threads(2)
    environment = gymnasium.wrappers.FrameStackObservation(atari("Pong", max_episode_steps=500), 4)
    agent = DQN(
        "CnnPolicy",
        environment,
        batch_size=32,
        train_freq=4,
        gradient_steps=1,
        learning_rate=1e-4,
        learning_starts=1_000,
        buffer_size=given.capacity,
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
        target_update_interval=1_000,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
        seed=given.repeat,
        device="cpu",
    )
    start = time.perf_counter()
    agent.learn(given.steps)
    seconds = time.perf_counter() - start
    million = MILLION * 4 * 84 * 84 * np.dtype("uint8").itemsize
    return {"seconds": seconds, STEPS: given.steps / seconds, "peak MB": peak_megabytes(), "replay GB": million / 1e9}


def main() -> None:
    """Runs both."""
    given = arguments(__doc__, repeats=1, steps=20_000, capacity=100_000)
    contestants: dict[str, Contestant] = {"kphys": kphys}
    if importlib.util.find_spec("stable_baselines3"):
        contestants["Stable-Baselines3"] = stable_baselines3
    else:
        print("Stable-Baselines3 is not installed: its row is left out.", file=sys.stderr)
    compare({"Pong": contestants}, given, COLUMNS, STEPS)


if __name__ == "__main__":
    main()
