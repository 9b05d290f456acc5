"""The random walk against the binomial formulas."""

import itertools
import math

import gymnasium
import numpy as np
import pytest
from world_checks import check_world, episode_return, play

from kphys.environments import RandomWalk


@pytest.mark.parametrize("observe", ["nothing", "position"])
def test_gymnasiums_checks(observe):
    check_world("kphys/RandomWalk-v0", observe=observe)


def test_the_return_is_the_end_position_and_the_game_ends_after_n_steps():
    environment = RandomWalk(num_steps=5)
    for actions in itertools.product((0, 1), repeat=5):
        steps = play(environment, actions)
        assert sum(step[1] for step in steps) == sum(actions) - (5 - sum(actions)) == steps[-1][4]["position"]
        assert [step[2] for step in steps] == 5 * [False] + [True]


def test_twenty_steps_by_default_and_always_up_is_best():
    environment = gymnasium.make("kphys/RandomWalk-v0")
    assert episode_return(environment, [1] * 25) == 20
    assert episode_return(environment, [0] * 25) == -20


def test_nothing_is_observed_by_default():
    observations = [step[0] for step in play(RandomWalk(num_steps=4), [1, 1, 0, 1])]
    np.testing.assert_array_equal(observations, np.ones((5, 1), "float32"))


def test_position_and_time_are_observed_in_shares_of_n():
    observations = [step[0] for step in play(RandomWalk(num_steps=4, observe="position"), [0, 0, 1, 0])]
    np.testing.assert_array_equal(observations, [[0, 0], [-0.25, 0.25], [-0.5, 0.5], [-0.25, 0.75], [-0.5, 1]])


@pytest.mark.parametrize("theta", [-1.0, 0.3])
def test_the_formulas_of_the_docstring_hold_in_the_sum_over_all_walks(theta):
    n, pi = 6, 1 / (1 + math.exp(-theta))
    environment, mean, square, gradient = RandomWalk(num_steps=n), 0, 0, 0
    for actions in itertools.product((0, 1), repeat=n):
        ups = sum(actions)
        probability = pi**ups * (1 - pi) ** (n - ups)
        end = episode_return(environment, actions)
        mean, square = mean + probability * end, square + probability * end**2
        gradient += probability * end * (ups - n * pi)
    assert mean == pytest.approx(n * (2 * pi - 1))
    assert square - mean**2 == pytest.approx(4 * n * pi * (1 - pi))
    assert gradient == pytest.approx(2 * n * pi * (1 - pi))


def test_the_picture_shows_the_walk():
    environment = RandomWalk(num_steps=4, render_mode="rgb_array")
    play(environment, [1, 1, 0])
    picture = environment.render()  # 9 positions × 5 times, 20 pixels a cell.
    assert picture.shape == (180, 100, 3)
    centres = picture[10::20, 10::20].astype(int)
    walked = (centres[:, :, 2] - centres[:, :, 0] > 50).T  # Blue cells, (time, row).
    assert [np.flatnonzero(row).tolist() for row in walked] == [[4], [3], [2], [3], []]


def test_the_text_tells_step_and_position():
    environment = RandomWalk(num_steps=4, render_mode="ansi")
    play(environment, [0, 0])
    assert environment.render() == "step 2 of 4, position -2\n"


def test_long_walks_get_a_picture_too():
    environment = RandomWalk(num_steps=1000, render_mode="rgb_array")
    environment.reset(seed=0)
    assert environment.render().shape == (4002, 2002, 3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_steps": 0}, ValueError, "`num_steps` must be a positive integer, got 0"),
        ({"num_steps": 2.5}, ValueError, "`num_steps` must be a positive integer, got 2.5"),
        ({"num_steps": float("nan")}, ValueError, "`num_steps` must be a positive integer"),
        ({"num_steps": "20"}, TypeError, "`num_steps` must be a positive integer"),
        ({"observe": "positon"}, ValueError, "`observe` must be one of .* Did you mean 'position'"),
    ],
)
def test_bad_arguments_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        RandomWalk(**settings)
