"""The walker and its target against the optimum in closed form and by brute force."""

import collections
import itertools

import gymnasium
import numpy as np
import pytest
from scipy import stats
from world_checks import check_world, episode_return, play

from kphys.environments import WalkerTarget


@pytest.mark.parametrize("observe", ["target", "distance"])
def test_gymnasiums_checks(observe):
    check_world("kphys/WalkerTarget-v0", observe=observe)


def follow(environment, seed):
    """The return of moving until the target is reached, and where that was."""
    observation, info = environment.reset(seed=seed)
    total, ended = 0, False
    while not ended:
        observation, reward, ended, _, _ = environment.step(1 - observation)
        total += reward
    return total, info["target"]


def seed_for(environment, target):
    return next(seed for seed in range(1000) if environment.reset(seed=seed)[1]["target"] == target)


@pytest.mark.parametrize("target", [1, 2, 3, 4, 5])
def test_no_sequence_of_actions_beats_the_formula(target):
    environment = WalkerTarget(num_steps=6, max_target=5)
    seed = seed_for(environment, target)
    returns = [episode_return(environment, actions, seed) for actions in itertools.product((0, 1), repeat=6)]
    assert max(returns) == 6 - target + 1
    assert follow(environment, seed) == (6 - target + 1, target)


def test_the_default_optimum_is_the_formulas():
    environment = gymnasium.make("kphys/WalkerTarget-v0")
    returns = dict(follow(environment, seed)[::-1] for seed in range(200))
    assert returns == {target: 20 - target + 1 for target in range(1, 11)}
    assert np.mean(list(returns.values())) == 20 - (10 - 1) / 2 == 15.5


def test_every_target_is_as_likely():
    environment = WalkerTarget(num_steps=5, max_target=4)
    environment.reset(seed=0)
    counts = collections.Counter(environment.reset()[1]["target"] for _ in range(4000))
    assert sorted(counts) == [1, 2, 3, 4]
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_the_steps_of_a_game():
    environment = WalkerTarget(num_steps=5, max_target=2)
    steps = play(environment, [1, 1, 0, 1, 0], seed_for(environment, 2))
    assert [step[0] for step in steps] == [0, 0, 1, 1, 0, 0]
    assert [step[1] for step in steps] == [0, 0, 1, 1, 0, 0]
    assert [step[2] for step in steps] == 5 * [False] + [True]
    assert steps[-1][4] == {"position": 3, "target": 2}


def test_the_distance_is_in_shares_of_n():
    environment = WalkerTarget(num_steps=4, max_target=2, observe="distance")
    observations = [step[0] for step in play(environment, [1, 1, 1, 0], seed_for(environment, 2))]
    np.testing.assert_array_equal(observations, [[0, 0.5], [0, 0.25], [1, 0], [0, -0.25], [0, -0.25]])


def test_picture_and_text_show_walker_and_target():
    environment = WalkerTarget(num_steps=4, max_target=2, render_mode="ansi")
    play(environment, [1], seed_for(environment, 2))
    assert environment.render() == ".WT..\n"
    environment = WalkerTarget(num_steps=4, max_target=2, render_mode="rgb_array")
    play(environment, [1, 1, 0], seed_for(environment, 2))
    centres = environment.render()[10::20, 10::20].astype(int)  # (times, sites, 3)
    red, green, blue = np.moveaxis(centres, -1, 0)
    assert np.argwhere(blue - red > 50).tolist() == [[0, 0], [1, 1]]
    assert np.argwhere(green - red > 50).tolist() == [[0, 0], [1, 1], [2, 2], [3, 2]]
    assert np.argwhere(red - blue > 50).tolist() == [[0, 2], [1, 2], [4, 2]]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_steps": 0}, ValueError, "`num_steps` must be a positive integer, got 0"),
        ({"max_target": 0}, ValueError, "`max_target` must be a positive integer, got 0"),
        ({"max_target": 21}, ValueError, "`max_target` must be at most num_steps=20, got 21"),
        ({"max_target": None}, TypeError, "`max_target` must be a positive integer"),
        ({"observe": 1}, TypeError, "`observe` must be one of 'target', 'distance', got 1"),
    ],
)
def test_bad_arguments_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        WalkerTarget(**settings)
