"""Tables against exact answers: Géron's example, linear equations, closed forms; then what is refused."""

import numpy as np
import pytest

from kphys.agents.tabular import (
    q_learning,
    q_value_iteration,
    stationary_distribution,
    td_learning,
    value_iteration,
)

# Géron's three states; zeros where he writes None.
GERON_P = [
    [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.0, 0.0, 0.0], [0.8, 0.1, 0.1], [0.0, 0.0, 0.0]],
]
GERON_R = [
    [[10, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 0, -50]],
    [[0, 0, 0], [40, 0, 0], [0, 0, 0]],
]
# Actions are tried rarely behind a long stay in state 1: many short walks.
GERON_WALKS = {"num_steps": 200_000, "episode_steps": 5, "epsilon": 0.5, "seed": 0}


def random_world(seed, states=6, actions=3):
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(states), size=(states, actions)), generator.normal(
        size=(states, actions, states)
    )


def corridor():
    """Sites 0 to 3, the last one terminal: action 0 stays, action 1 goes on and pays 1 at the end."""
    P, R = np.zeros((2, 4, 2, 4))
    for site in range(3):
        P[site, 0, site] = P[site, 1, site + 1] = 1
    R[2, 1, 3] = 1
    return P, R


def solved(P, R, policy, discount):
    """The values of a policy: the solution of (1 − γ P_π) V = R_π."""
    P, R = np.asarray(P, float), np.asarray(R, float)
    rows = np.arange(len(P))
    P_pi, R_pi = P[rows, policy], (P * R).sum(axis=2)[rows, policy]
    return np.linalg.solve(np.eye(len(P)) - discount * P_pi, R_pi)


# === Value iteration ===


def test_the_values_of_geron_are_those_of_the_book():
    found = q_value_iteration(GERON_P, GERON_R, 0.90)
    infinity = np.inf
    expected = [
        [18.91891892, 17.02702702, 13.62162162],
        [0.0, -infinity, -4.87971488],
        [-infinity, 50.13365013, -infinity],
    ]
    np.testing.assert_allclose(found.q_values, expected, atol=2e-8)
    np.testing.assert_array_equal(found.policy, [0, 0, 1])


def test_a_larger_discount_walks_through_the_fire():
    np.testing.assert_array_equal(q_value_iteration(GERON_P, GERON_R, 0.95).policy, [0, 2, 1])
    np.testing.assert_array_equal(value_iteration(GERON_P, GERON_R, 0.95).policy, [0, 2, 1])
    np.testing.assert_array_equal(value_iteration(GERON_P, GERON_R, 0.90).policy, [0, 0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_values_solve_the_equations_of_their_policy_and_no_other_policy_is_better(seed):
    P, R = random_world(seed, states=4, actions=2)
    values, policy = value_iteration(P, R, 0.9, tolerance=1e-10)
    np.testing.assert_allclose(values, solved(P, R, policy, 0.9), atol=1e-9)
    for number in range(2**4):
        other = (number >> np.arange(4)) & 1
        assert (solved(P, R, other, 0.9) <= values + 1e-9).all()


def test_both_iterations_agree():
    P, R = random_world(0)
    values, policy = value_iteration(P, R)
    q_values, q_policy = q_value_iteration(P, R)
    np.testing.assert_allclose(q_values.max(axis=1), values, atol=2e-8)
    np.testing.assert_array_equal(policy, q_policy)


def test_terminal_states_have_value_0_and_no_action():
    P, R = corridor()
    values, policy = value_iteration(P, R, 0.5)
    np.testing.assert_allclose(values, [0.25, 0.5, 1, 0])
    np.testing.assert_array_equal(policy, [1, 1, 1, -1])
    q_values, policy = q_value_iteration(P, R, 0.5)
    np.testing.assert_allclose(q_values, [[0.125, 0.25], [0.25, 0.5], [0.5, 1], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(policy, [1, 1, 1, -1])


def test_an_action_that_is_not_possible_is_not_chosen_for_being_free():
    # Possible actions cost; the impossible one would seem to cost 0.
    P, R = np.zeros((2, 1, 2, 1))
    P[0, 1, 0], R[0, 1, 0] = 1, -1
    values, policy = value_iteration(P, R, 0.5)
    assert values[0] == pytest.approx(-2)
    assert policy[0] == 1
    assert q_value_iteration(P, R, 0.5).q_values[0].tolist() == [-np.inf, pytest.approx(-2)]


def test_of_equally_good_actions_the_first_is_taken():
    assert value_iteration(np.ones((1, 3, 1)), np.ones((1, 3, 1)), 0.5).policy.tolist() == [0]


@pytest.mark.parametrize("method", [value_iteration, q_value_iteration])
@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("tolerance", [1.0, 1e-3, 1e-9])
def test_no_value_is_farther_off_than_the_tolerance(method, discount, tolerance):
    # One state, one action, reward 1: the slowest of all, its error shrinks by the discount exactly.
    found = method(np.ones((1, 1, 1)), np.ones((1, 1, 1)), discount, tolerance)[0]
    error = abs(found.item() - 1 / (1 - discount))
    assert error <= tolerance * (1 + 1e-6)
    if discount == 0.99:
        assert error > 0.5 * tolerance  # Nor is it iterated for longer than needed.


def test_a_tolerance_finer_than_rounding_is_refused():
    P, R = random_world(0)
    with pytest.raises(ValueError, match=r"`tolerance` must be at least .*, got 1e-10: rounding errors of values"):
        value_iteration(P, 1e6 * R, 0.9, tolerance=1e-10)
    value_iteration(P, 1e6 * R, 0.9, tolerance=1e-6)


def test_a_wrong_tolerance_is_refused():
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`tolerance` must be a positive number"):
            value_iteration(GERON_P, GERON_R, tolerance=wrong)


def test_single_precision_and_integers_are_taken():
    P, R = random_world(0)
    found = value_iteration(P.astype("float32"), R.astype("float32"), 0.9).values
    np.testing.assert_allclose(found, value_iteration(P, R, 0.9).values, atol=1e-4)
    assert value_iteration([[[1]]], [[[3]]], 0.5).values == pytest.approx(6)


# === Learning from steps ===


@pytest.mark.parametrize("seed", range(5))
def test_q_learning_finds_the_policy_of_value_iteration(seed):
    P, R = random_world(seed)
    exact = q_value_iteration(P, R, 0.9)
    learnt = q_learning(P, R, 0.9, num_steps=500_000, epsilon=0.5, seed=seed)
    np.testing.assert_array_equal(learnt.policy, exact.policy)
    np.testing.assert_allclose(learnt.q_values, exact.q_values, atol=0.12)


@pytest.mark.parametrize(
    "settings",
    [{}, {"exploration": 50.0, "epsilon": 0.2}, {"decay_by": "steps", "learning_rate": 0.05, "decay": 0.002}],
    ids=["by visits", "exploration", "by steps"],
)
def test_q_learning_finds_the_values_of_geron(settings):
    exact = q_value_iteration(GERON_P, GERON_R, 0.9)
    learnt = q_learning(GERON_P, GERON_R, 0.9, **{**GERON_WALKS, **settings})
    possible = np.isfinite(exact.q_values)
    np.testing.assert_array_equal(np.isfinite(learnt.q_values), possible)
    np.testing.assert_allclose(learnt.q_values[possible], exact.q_values[possible], atol=1.0)
    np.testing.assert_array_equal(learnt.policy, exact.policy)


def test_the_exploration_function_tries_everything_without_chance():
    # Action 0 pays a little at once; without the bonus the greedy walker never tries another.
    P, R = np.ones((1, 3, 1)), np.array([[[0.1], [0.0], [1.0]]])
    settings = {"discount": 0.5, "num_steps": 2000, "epsilon": 0.0, "seed": 0}
    np.testing.assert_allclose(q_learning(P, R, **settings).q_values, [[0.2, 0, 0]], atol=0.01)
    tried = q_learning(P, R, exploration=10.0, **settings)
    assert tried.policy.tolist() == [2]
    assert tried.q_values[0, 2] == pytest.approx(2, abs=0.1)


def test_the_first_steps_are_those_of_the_equations():
    # One state, one action, reward 1, γ = ½: nothing is random.
    P = R = np.ones((1, 1, 1))
    settings = {"discount": 0.5, "learning_rate": 0.5, "decay": 1.0, "seed": 0}
    first = 0.5 * 1  # α_0 = 1/2, Q = 0.
    second = first + 0.25 * (1 + 0.5 * first - first)  # α_1 = 1/4.
    for decay_by in ("visits", "steps"):
        for learn in (lambda **more: q_learning(P, R, **more).q_values, lambda **more: td_learning(P, R, [0], **more)):
            assert learn(num_steps=1, decay_by=decay_by, **settings).item() == pytest.approx(first)
            assert learn(num_steps=2, decay_by=decay_by, **settings).item() == pytest.approx(second)
    # With κ = 4: max f(Q, N) is 4 before the first step, Q + 4/(1 + 1) before the second.
    first = 0.5 * (1 + 0.5 * 4)
    second = first + 0.25 * (1 + 0.5 * (first + 2) - first)
    found = [q_learning(P, R, num_steps=n, exploration=4.0, **settings).q_values.item() for n in (1, 2)]
    assert found == pytest.approx([first, second])


def test_visits_and_steps_count_differently():
    # Two states in turns: at the third step the first state has been visited once, and two steps were made.
    P, R = np.zeros((2, 2, 1, 2))
    P[0, 0, 1] = P[1, 0, 0] = 1
    R[0, 0, 1] = 1
    settings = {"discount": 0.0, "num_steps": 3, "learning_rate": 0.5, "decay": 1.0, "start": 0}
    by_visits = td_learning(P, R, [0, 0], decay_by="visits", **settings)
    by_steps = td_learning(P, R, [0, 0], decay_by="steps", **settings)
    np.testing.assert_allclose(by_visits, [0.5 + 0.5 / 2 * 0.5, 0])
    np.testing.assert_allclose(by_steps, [0.5 + 0.5 / 3 * 0.5, 0])
    by_visits = q_learning(P, R, decay_by="visits", **settings).q_values
    by_steps = q_learning(P, R, decay_by="steps", **settings).q_values
    np.testing.assert_allclose(by_visits, [[0.5 + 0.5 / 2 * 0.5], [0]])
    np.testing.assert_allclose(by_steps, [[0.5 + 0.5 / 3 * 0.5], [0]])


@pytest.mark.parametrize("seed", range(3))
def test_td_learning_finds_the_values_of_a_policy(seed):
    P, R = random_world(seed)
    policy = np.random.default_rng(seed).integers(3, size=6)
    values = td_learning(P, R, policy, 0.9, num_steps=200_000, seed=seed)
    np.testing.assert_allclose(values, solved(P, R, policy, 0.9), atol=0.1)


def test_td_learning_takes_policies_that_draw():
    P, R = random_world(0)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=6)  # (states, actions)
    mixed_P = np.einsum("sa,sat->st", policy, P)[:, None]
    mixed_R = (np.einsum("sa,sat->st", policy, P * R)[:, None]) / mixed_P
    expected = solved(mixed_P, mixed_R, np.zeros(6, int), 0.9)
    np.testing.assert_allclose(td_learning(P, R, policy, 0.9, num_steps=200_000, seed=0), expected, atol=0.1)


def test_time_limits_do_not_end_the_world():
    # Walks of one step: reward 1 for ever is worth 1/(1 − γ) all the same.
    P = R = np.ones((1, 1, 1))
    settings = {"discount": 0.5, "num_steps": 3000, "episode_steps": 1, "seed": 0}
    assert td_learning(P, R, [0], **settings).item() == pytest.approx(2, abs=1e-3)
    assert q_learning(P, R, **settings).q_values.item() == pytest.approx(2, abs=1e-3)


def test_walks_end_in_terminal_states_and_begin_anew():
    P, R = corridor()
    values, policy = value_iteration(P, R, 0.5)
    # With episode_steps=None only the terminal state brings the walker back.
    settings = {"discount": 0.5, "num_steps": 20_000, "episode_steps": None, "seed": 0}
    np.testing.assert_allclose(td_learning(P, R, policy, start=0, **settings), values, atol=1e-6)
    learnt = q_learning(P, R, start=[1, 0, 0, 0], epsilon=0.5, **settings)
    np.testing.assert_allclose(learnt.q_values, q_value_iteration(P, R, 0.5).q_values, atol=0.01)
    assert learnt.policy.tolist() == [1, 1, 1, -1]


def test_walks_begin_where_they_are_told():
    P, R = np.zeros((2, 4, 1, 4))
    P[np.arange(4), 0, np.arange(4)] = 1  # Nobody leaves.
    R[:] = 1
    settings = {"discount": 0.5, "num_steps": 4000, "episode_steps": 4, "seed": 0}
    assert (td_learning(P, R, [0] * 4, start=2, **settings) > 0).tolist() == [False, False, True, False]
    assert (td_learning(P, R, [0] * 4, start=[0.5, 0, 0.5, 0], **settings) > 0).tolist() == [True, False, True, False]
    assert (q_learning(P, R, **settings).q_values > 0).all()


def test_the_seed_fixes_the_draws():
    P, R = random_world(0)
    for learn in (lambda seed: q_learning(P, R, num_steps=70_000, seed=seed).q_values,
                  lambda seed: td_learning(P, R, [0] * 6, num_steps=70_000, seed=seed)):  # fmt: skip
        np.testing.assert_array_equal(learn(1), learn(1))
        assert (learn(1) != learn(2)).any()
        assert (learn(None) != learn(None)).any()


def test_the_callers_arrays_stay_as_they_are():
    P, R = random_world(0)
    copies = P.copy(), R.copy()
    value_iteration(P, R)
    q_learning(P, R, num_steps=10)
    np.testing.assert_array_equal(P, copies[0])
    np.testing.assert_array_equal(R, copies[1])


# === Markov chains ===


def test_two_states_have_the_known_distribution():
    for a, b in ((0.1, 0.3), (1e-9, 0.5), (1.0, 1.0)):
        found = stationary_distribution([[1 - a, a], [b, 1 - b]])
        np.testing.assert_allclose(found, [b / (a + b), a / (a + b)], rtol=1e-6 if a == 1e-9 else 1e-13)


def test_birth_and_death_have_the_known_distribution():
    # Detailed balance: π_i up_i = π_(i+1) down_(i+1); over 20 orders of magnitude.
    generator = np.random.default_rng(0)
    up, down = generator.uniform(0.01, 0.1, 29), generator.uniform(0.3, 0.5, 29)
    P = np.diag(up, 1) + np.diag(down, -1)
    P += np.diag(1 - P.sum(axis=1))
    expected = np.cumprod([1, *(up / down)])
    expected /= expected.sum()
    assert expected[-1] < 1e-20
    np.testing.assert_allclose(stationary_distribution(P), expected, rtol=1e-10)


def test_the_distribution_stays_and_is_what_powers_lead_to():
    P = np.random.default_rng(0).dirichlet(np.full(12, 0.3), size=12)
    found = stationary_distribution(P)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found @ P, found, atol=1e-15)
    np.testing.assert_allclose(np.linalg.matrix_power(P, 3000)[0], found, atol=1e-12)


def test_states_left_for_ever_have_no_share():
    # 0 and 1 lead to the ring 2 -> 3 -> 4 -> 2, which is periodic.
    P = np.zeros((5, 5))
    P[0, [0, 1]] = 0.5
    P[1, [0, 2]] = 0.5
    P[2, 3] = P[3, 4] = P[4, 2] = 1
    np.testing.assert_allclose(stationary_distribution(P), [0, 0, 1 / 3, 1 / 3, 1 / 3], rtol=1e-14)
    np.testing.assert_allclose(stationary_distribution([[1.0]]), [1])


def test_a_long_chain_is_seen_to_be_connected():
    # A ring of 37: the longest walk that matters has 36 steps.
    np.testing.assert_allclose(stationary_distribution(np.roll(np.eye(37), 1, axis=1)), np.full(37, 1 / 37))


def test_a_policy_makes_a_chain():
    P, R = random_world(1)
    policy = value_iteration(P, R).policy
    chain = P[np.arange(6), policy]
    np.testing.assert_allclose(stationary_distribution(chain) @ chain, stationary_distribution(chain), atol=1e-15)


def test_several_sets_that_are_never_left_are_refused():
    P = np.eye(3)
    P[1] = [0.5, 0, 0.5]
    with pytest.raises(ValueError, match=r"`P` has 2 sets of states that are never left \(\[0\] and \[2\]\)"):
        stationary_distribution(P)


# === What is refused ===


def changed(values, place, value):
    values = np.array(values, float)
    values[place] = value
    return values


BAD_WORLDS = {
    "rows": ({"P": changed(GERON_P, (0, 0, 0), 0.6)}, ValueError, r"sum to 1 .* got the sum 0.9 at \[0, 0\]"),
    "negative": ({"P": changed(GERON_P, (0, 0, 2), -0.1)}, ValueError, r"probabilities, got -0.1 at \[0, 0, 2\]"),
    "nan": ({"P": changed(GERON_P, (1, 0, 0), np.nan)}, ValueError, r"`P` must be finite, got nan at \[1, 0, 0\]"),
    "nan reward": ({"R": changed(GERON_R, (2, 1, 0), np.nan)}, ValueError, r"`R` must be finite, got nan"),
    "none": ({"P": [[[1.0], None]]}, TypeError, "`P` must be an array of real numbers.*zeros, not None"),
    "complex": ({"P": np.ones((1, 1, 1), complex)}, TypeError, "`P` must be an array of real numbers .*complex"),
    "empty": ({"P": np.zeros((0, 0, 0))}, ValueError, r"`P` must have the shape \(states, actions, states\)"),
    "two axes": ({"P": np.eye(3)}, ValueError, r"`P` must have the shape .*, got \(3, 3\)"),
    "not square": ({"P": np.ones((2, 2, 3))}, ValueError, r"`P` must have the shape .*, got \(2, 2, 3\)"),
    "rewards of actions": ({"R": np.ones((3, 3))}, ValueError, r"`R` must have the shape of `P`, \(3, 3, 3\), .*got"),
    "discount 1": ({"discount": 1.0}, ValueError, "`discount` must be a number of at least 0 and below 1, got 1.0"),
    "discount below 0": ({"discount": -0.1}, ValueError, "`discount` must be"),
    "discount nan": ({"discount": float("nan")}, ValueError, "`discount` must be"),
}


@pytest.mark.parametrize("method", [value_iteration, q_value_iteration, q_learning, td_learning])
@pytest.mark.parametrize("case", BAD_WORLDS)
def test_bad_worlds_are_refused(method, case):
    bad, error, message = BAD_WORLDS[case]
    arguments = {"P": GERON_P, "R": GERON_R, **bad}
    if method is td_learning:
        arguments["policy"] = [0, 0, 1]
    with pytest.raises(error, match=message):
        method(**arguments)


BAD_LEARNING = {
    "num_steps": (0, ValueError, "`num_steps` must be a positive integer, got 0"),
    "epsilon": (1.1, ValueError, "`epsilon` must be a probability, at most 1, got 1.1"),
    "exploration": (0.0, ValueError, "`exploration` must be a positive number"),
    "learning_rate": (1.5, ValueError, "`learning_rate` must be at most 1, got 1.5"),
    "decay": (-1.0, ValueError, "`decay` must be a number that is not negative"),
    "decay_by": ("visit", ValueError, "Did you mean 'visits'"),
    "episode_steps": (0, ValueError, "`episode_steps` must be a positive integer"),
    "start": (3, ValueError, "`start` must be a state from 0 to 2, got 3"),
    "seed": (-1, ValueError, "`seed` must be None or an integer"),
}


@pytest.mark.parametrize("name", BAD_LEARNING)
def test_bad_settings_are_refused(name):
    value, error, message = BAD_LEARNING[name]
    with pytest.raises(error, match=message):
        q_learning(GERON_P, GERON_R, **{name: value})
    if name not in ("epsilon", "exploration"):
        with pytest.raises(error, match=message):
            td_learning(GERON_P, GERON_R, [0, 0, 1], **{name: value})


def test_bad_starts_are_refused():
    P, R = corridor()
    with pytest.raises(ValueError, match="`start` must not hold terminal states, got state 3"):
        q_learning(P, R, start=3)
    with pytest.raises(ValueError, match=r"`start` must have the shape \(4,\), got \(2,\)"):
        q_learning(P, R, start=[0.5, 0.5])
    with pytest.raises(ValueError, match="`start` must sum to 1"):
        q_learning(P, R, start=[0.5, 0.1, 0, 0])
    with pytest.raises(ValueError, match="`P` has no state with a possible action"):
        q_learning(0 * P, R)


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        ([0, 1, 1], ValueError, "`policy` takes action 1 in state 1, which is not possible"),
        ([0, 0, 3], ValueError, "`policy` must hold actions from 0 to 2"),
        ([0, 0, -1], ValueError, "`policy` must hold actions from 0 to 2"),
        ([0.0, 0.0, 1.0], ValueError, r"`policy` must hold one integer a state, \(3,\), or"),
        ([0, 0], ValueError, r"got the shape \(2,\)"),
        (np.full((3, 3), 0.5), ValueError, "`policy` must sum to 1"),
        (np.zeros((3, 3)), ValueError, "`policy` must sum to 1 over the actions, got the sum 0 in state 0"),
        (np.full((3, 3), np.nan), ValueError, "`policy` must be finite"),
        (["a", "b", "c"], TypeError, "`policy` must be an array of real numbers"),
    ],
)
def test_bad_policies_are_refused(policy, error, message):
    with pytest.raises(error, match=message):
        td_learning(GERON_P, GERON_R, policy)


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (np.ones((2, 2, 2)), r"`P` must have the shape \(states, states\), got \(2, 2, 2\)"),
        (np.zeros((0, 0)), r"`P` must have the shape"),
        ([[0.5, 0.4], [0.5, 0.5]], r"`P` must sum to 1 over its last axis, got the sum 0.9 at \[0\]"),
        (np.zeros((2, 2)), "`P` must sum to 1"),
        ([[np.nan, 1], [0, 1]], "`P` must be finite"),
        ([[1.5, -0.5], [0, 1]], r"`P` must hold probabilities, got -0.5 at \[0, 1\]"),
    ],
)
def test_bad_chains_are_refused(P, message):
    with pytest.raises(ValueError, match=message):
        stationary_distribution(P)
