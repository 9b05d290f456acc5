"""Returns, advantages and targets against sums written out by hand."""

import numpy as np
import pytest

from kphys import _arguments
from kphys.agents.returns import discounted_returns, normalized, td_targets, time_means


def test_discounted_returns_are_the_sums_written_out():
    rewards = np.random.default_rng(0).normal(size=7)
    by_hand = [sum(0.9 ** (k - t) * rewards[k] for k in range(t, 7)) for t in range(7)]
    np.testing.assert_allclose(discounted_returns(rewards, 0.9), by_hand, rtol=1e-12)


@pytest.mark.parametrize(("discount", "expected"), [(0.0, [1, -2, 4]), (1.0, [3, 2, 4]), (0.5, [1, 0, 4])])
def test_discounted_returns_of_three_rewards(discount, expected):
    np.testing.assert_allclose(discounted_returns([1, -2, 4], discount), expected)


def test_discounted_returns_of_long_episodes_stay_exact():
    assert discounted_returns(np.ones(100_000), 1.0)[0] == 100_000


def test_no_rewards_have_no_returns():
    assert discounted_returns([], 0.9).shape == (0,)


@pytest.mark.parametrize("rewards", [[1.0, np.nan], [np.inf], [[1.0]], 1.0])
def test_rewards_that_are_no_finite_row_are_refused(rewards):
    with pytest.raises(ValueError, match="`rewards` must be a finite array of one axis"):
        discounted_returns(rewards, 0.9)


@pytest.mark.parametrize(("discount", "error"), [(1.01, ValueError), (-0.1, ValueError), ("1", TypeError)])
def test_a_discount_is_from_0_to_1(discount, error):
    with pytest.raises(error, match="`discount` must be a number"):
        _arguments.share("discount", discount)


def test_normalized_advantages_have_mean_0_and_deviation_1():
    advantages = normalized(np.random.default_rng(0).normal(5, 3, 50))
    assert abs(advantages.mean()) < 1e-12
    assert abs(advantages.std() - 1) < 1e-12


def test_normalized_keeps_order_and_shape():
    np.testing.assert_allclose(normalized([[1.0], [3.0], [2.0]]), np.sqrt(1.5) * np.array([[-1], [1], [0]]))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -3.3])
def test_equal_advantages_are_normalized_to_0(value):
    np.testing.assert_array_equal(normalized(np.full(7, value)), np.zeros(7))


def test_time_means_are_those_of_the_episodes_that_got_so_far():
    # Of one episode with three steps and one with one.
    np.testing.assert_allclose(time_means([6.0, 5.0, 4.0, 2.0], [0, 1, 2, 0]), [4, 5, 4, 4])


def test_time_means_need_no_order_of_times():
    np.testing.assert_allclose(time_means([1.0, 10.0, 3.0], [4, 0, 4]), [2, 10, 2])


NEXT_Q = [[2.0, 4.0], [5.0, -1.0], [0.0, 7.0]]


def test_td_targets_go_on_after_a_time_limit_and_not_after_the_end():
    # The first goes on, the second terminated, the third is one of three steps.
    targets = td_targets([1.0, 1.0, 2.0], [0.9, 0.0, 0.9**3], NEXT_Q)
    np.testing.assert_allclose(targets, [1 + 0.9 * 4, 1, 2 + 0.9**3 * 7], rtol=1e-6)


def test_double_targets_take_the_value_of_what_the_other_network_chooses():
    targets = td_targets([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], NEXT_Q, choosing_q=[[3.0, 1.0], [0.0, 1.0], [0.0, 9.0]])
    np.testing.assert_allclose(targets, [2, -1, 7])
