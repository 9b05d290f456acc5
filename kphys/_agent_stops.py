"""The stops of the tour at which agents learn to play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import kphys
from kphys._figures import COLOR, GUIDE, panels, save
from kphys._tour import Data, Part, Stop

_POLE = "CartPole-v1"
_STEPS = 2_000  # Of an epoch.


def _pole(quick: bool) -> Data:
    return (_POLE, None), (_POLE, None)


def _chance(data: Data) -> tuple[str, float]:
    import gymnasium

    environment = gymnasium.make(_POLE)
    environment.action_space.seed(0)
    returns = []
    for seed in range(100):
        environment.reset(seed=seed)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, _ = environment.step(environment.action_space.sample())
            rewards.append(reward)
            over = terminated or truncated
        returns.append(sum(rewards))
    return "by chance", float(np.mean(returns))


def _judge_agent(model: Any, test: Part, picture: Path) -> tuple[float, float]:
    history = model.history.history
    steps = np.cumsum(np.full(len(history["episode_return"]), _STEPS)) / 1_000
    figure, (axis,) = panels(1, 5.6)
    axis.plot(steps, history["episode_return"], color=GUIDE, label="while it learns")
    axis.plot(steps, history["val_episode_return"], color=COLOR, label="its best actions")
    axis.set(xlabel="steps (thousands)", ylabel="return of an episode", ylim=(0, 520))
    axis.legend(frameon=False)
    save(figure, picture)
    return model.evaluate(test[0], 50)


AGENT_STOPS = {
    "reinforce": Stop(
        "a pole on a cart, by its own episodes",
        _pole,
        lambda data: kphys.reinforce(4, 2, seed=0),
        epochs=30,
        score="return",
        threshold=300.0,
        simple=_chance,
        judge=_judge_agent,
        takes={"steps_per_epoch": _STEPS},
    ),
    "dqn": Stop(
        "a pole on a cart, from memory",
        _pole,
        lambda data: kphys.dqn(4, 2, global_clipnorm=None, seed=0),
        epochs=10,
        score="return",
        threshold=200.0,
        simple=_chance,
        judge=_judge_agent,
        takes={"steps_per_epoch": _STEPS},
    ),
}
