"""REINFORCE on small worlds whose optimum is known; returns are those of the likeliest actions."""

import gymnasium
import pytest

import kphys.environments  # noqa: F401 - registers the worlds.
from kphys import reinforce

pytestmark = pytest.mark.slow

LAST_UPDATE = 16 * 500  # Steps by which an epoch may be late on CartPole.


@pytest.mark.parametrize("seed", range(5))
def test_cart_pole_is_solved_within_150_000_steps(seed):
    agent = reinforce(4, 2, seed=seed)
    agent.fit("CartPole-v1", steps_per_epoch=150_000 - LAST_UPDATE, verbose=0)
    assert agent.num_steps <= 150_000
    assert agent.evaluate("CartPole-v1", episodes=100, seed=1000 + seed).mean >= 475


@pytest.mark.parametrize("baseline", ["optimal", "value", None])
def test_cart_pole_is_learnt_with_every_baseline(baseline):
    agent = reinforce(4, 2, baseline=baseline, seed=0)
    agent.fit("CartPole-v1", steps_per_epoch=90_000, verbose=0)
    assert agent.evaluate("CartPole-v1", episodes=20).mean >= 300


@pytest.mark.parametrize("seed", range(3))
def test_the_walker_stops_on_its_target(seed):
    agent = reinforce(2, 2, seed=seed)
    agent.fit("kphys/WalkerTarget-v0", steps_per_epoch=20_000, verbose=0)
    # It moves off the target never, and on to it always: nothing is better.
    assert agent.act([[1.0, 0.0], [0.0, 1.0]]).tolist() == [1, 0]
    mean, error = agent.evaluate("kphys/WalkerTarget-v0", episodes=400)
    assert abs(mean - 15.5) < 3 * error


def test_a_walker_of_one_parameter_learns_to_go_up():
    agent = reinforce(1, 2, baseline="optimal", seed=0)
    walk = gymnasium.make("kphys/RandomWalk-v0", num_steps=20)
    agent.fit(walk, steps_per_epoch=20_000, verbose=0)
    assert agent.evaluate(walk, episodes=2).mean == 20


def test_the_map_is_walked_on_the_shortest_way():
    """Seen with seeds 0 to 2; one, as it takes minutes."""
    settings = {"entropy_bonus": 0.005, "learning_rate": 2e-3, "discount": 0.95, "episodes_per_update": 8}
    agent = reinforce((6, 6, 3), 4, hidden_units=64, seed=0, **settings)
    # Who walks by chance seldom finds both treasures: short episodes tell more for their steps.
    worlds = gymnasium.make_vec("kphys/TreasureMap-v0", num_envs=8, max_episode_steps=60)
    agent.fit(worlds, steps_per_epoch=120_000, verbose=0)
    assert abs(agent.evaluate("kphys/TreasureMap-v0", episodes=2).mean - 1.86) < 1e-5
