"""Deep Q-learning reaches what is known to be the best: CartPole's 500, and the optimum of small worlds.

That it turns coupled spins as well as can be is tested with `examples/spin_chain.py`.
"""

import gymnasium
import pytest

import kphys.environments  # noqa: F401 - registers the small worlds.
from kphys import dqn

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])
def test_holds_the_pole(seed):
    """CartPole-v1, the builder's defaults, 50,000 steps: at least 475 of 500; no seed may fail."""
    agent = dqn(4, 2, seed=seed)
    agent.fit("CartPole-v1", steps_per_epoch=50_000, verbose=0)
    assert agent.evaluate("CartPole-v1", episodes=100).mean >= 475


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stops_on_the_target(seed):
    """The best return is N − d + 1 for a target at d: the mean over targets 1 to 10, within 2 %; no seed may fail."""
    agent = dqn(2, 2, hidden_units=32, exploration_steps=2_000, seed=seed)
    agent.fit("kphys/WalkerTarget-v0", steps_per_epoch=6_000, verbose=0)
    assert agent.act(0) == 1  # On.
    assert agent.act(1) == 0
    mean, error = agent.evaluate("kphys/WalkerTarget-v0", episodes=400)
    assert abs(mean - 15.5) < 0.02 * 15.5 + 2 * error


def test_finds_the_treasures_on_the_image_of_a_map():
    """The shortest way to all treasures, by value iteration 1.86, within 2 %. One seed, as it takes a minute."""
    world = gymnasium.make("kphys/TreasureMap-v0")
    settings = {"n_step": 1, "batch_size": 64, "gradient_steps": 32, "delta": 1.0, "learning_rate": 1e-3}
    agent = dqn(world.observation_space.shape, 4, discount=0.97, exploration_steps=10_000, seed=0, **settings)
    agent.fit(world, steps_per_epoch=8_000, verbose=0)
    assert agent.evaluate(world, episodes=2).mean >= 0.98 * 1.86
