"""Reinforcement learning in tables, the methods beneath the agents: exact where the world is known, learnt where not.

A world is two arrays: `P[s, a, s']`, the probability that action a leads from state s to s', and `R[s, a, s']`, the
reward of that step. An action that is not possible in a state has P[s, a] all zero; a state without any action is
terminal, and nothing follows: its value is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kphys import _arguments
from kphys.agents import _mdp
from kphys.agents._table_learning import q_learning, td_learning
from kphys.agents._tables import ActionValues, greedy

__all__ = [
    "ActionValues",
    "StateValues",
    "q_learning",
    "q_value_iteration",
    "stationary_distribution",
    "td_learning",
    "value_iteration",
]


class StateValues(NamedTuple):
    """Values of states, `(states,)`, and the best actions, `(states,)`: −1 in terminal states."""

    values: np.ndarray
    policy: np.ndarray


def value_iteration(P: Any, R: Any, discount: float = 0.95, tolerance: float = 1e-8) -> StateValues:
    """Gives the optimal values and policy of a world that is known.

    V(s) ← max_a Σ_s' P[s, a, s'] (R[s, a, s'] + γ V(s')), all states at once, until no value can be farther from the
    optimum than `tolerance`: one more round changes the error by at least the factor γ, so that γ/(1 − γ) times the
    last change bounds it.

    Args:
        P: Probabilities `P[s, a, s']`, `(states, actions, states)`; all zero where an action is not possible.
        R: Rewards `R[s, a, s']`, of the same shape.
        discount: γ, at least 0 and below 1.
        tolerance: The largest error of a value, positive.

    Returns:
        `values`, `(states,)`, 0 in terminal states, and `policy`, `(states,)`: the best action, of equally good ones
        the first, −1 in terminal states.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or a tolerance that rounding does not permit.

    Reference:
        Bellman, 1957, "A Markovian decision process"; Puterman, 1994, "Markov decision processes", section 6.3.

    Example:
        >>> import numpy as np
        >>> from kphys.agents.tabular import value_iteration
        >>> P = np.zeros((2, 2, 2))
        >>> P[0, 0, 0] = P[0, 1, 1] = 1  # Stay, or step to state 1, which is terminal.
        >>> R = np.zeros((2, 2, 2))
        >>> R[0, 0, 0], R[0, 1, 1] = 1, 5
        >>> value_iteration(P, R, discount=0.5)
        StateValues(values=array([5., 0.]), policy=array([ 1, -1]))
    """
    world = _mdp.process(P, R)
    rewards, discount = _expected_rewards(world), _mdp.discounted(discount)

    def update(values: np.ndarray) -> np.ndarray:
        return _largest(rewards + discount * (world.P @ values), world)

    values = _fixed_point(update, np.zeros(len(world.P)), discount, tolerance)
    # The policy belongs to these values.
    return StateValues(values, greedy(rewards + discount * (world.P @ values), world.possible))


def q_value_iteration(P: Any, R: Any, discount: float = 0.95, tolerance: float = 1e-8) -> ActionValues:
    """Gives the optimal values of actions and the policy of a world that is known.

    Q(s, a) ← Σ_s' P[s, a, s'] (R[s, a, s'] + γ max_a' Q(s', a')), all at once, until no value can be farther from the
    optimum than `tolerance`, as in `value_iteration`.

    Args:
        P, R, discount, tolerance: As in `value_iteration`.

    Returns:
        `q_values`, `(states, actions)`, −∞ for actions that are not possible, and `policy`, as in `value_iteration`.

    Raises:
        ValueError, TypeError: As in `value_iteration`.

    Reference:
        Géron, 2022, "Hands-on machine learning with Scikit-Learn, Keras, and TensorFlow", 3rd edition, chapter 18.

    Example:
        >>> import numpy as np
        >>> from kphys.agents.tabular import q_value_iteration
        >>> P = np.ones((1, 2, 1))
        >>> q_value_iteration(P, np.array([[[1.0], [2.0]]]), discount=0.5).q_values.round(6)
        array([[3., 4.]])
    """
    world = _mdp.process(P, R)
    rewards, discount = _expected_rewards(world), _mdp.discounted(discount)

    def update(q_values: np.ndarray) -> np.ndarray:
        return np.where(world.possible, rewards + discount * (world.P @ _largest(q_values, world)), 0)

    q_values = _fixed_point(update, np.zeros(world.possible.shape), discount, tolerance)
    return ActionValues(np.where(world.possible, q_values, -np.inf), greedy(q_values, world.possible))


def stationary_distribution(P: Any) -> np.ndarray:
    """Gives the distribution π = πP that a Markov chain has, and keeps, in the long run.

    It is solved exactly, by elimination without subtractions: also the smallest probabilities keep their digits. A
    periodic chain has one too: the share of time spent in each state. A policy makes a chain of a world:
    `P[np.arange(states), policy]`.

    Args:
        P: Probabilities `P[s, s']` to go from s to s', `(states, states)`; every row sums to 1.

    Returns:
        π, `(states,)`, 0 in states that are left for ever.

    Raises:
        ValueError, TypeError: `P` is not such an array, or has more than one set of states that is never left: then π
            depends on the start.

    Reference:
        Grassmann, Taksar and Heyman, 1985, "Regenerative analysis and steady state distributions for Markov chains".

    Example:
        >>> from kphys.agents.tabular import stationary_distribution
        >>> stationary_distribution([[0.9, 0.1], [0.3, 0.7]]).round(6)
        array([0.75, 0.25])
    """
    P = _mdp.numbers("P", P)
    if P.ndim != 2 or P.shape[0] != P.shape[1] or P.size == 0:
        raise ValueError(
            f"`P` must have the shape (states, states), got {P.shape}. A policy makes such a chain of a world with "
            "actions: P[np.arange(states), policy]."
        )
    P = _mdp.probabilities("P", P)
    classes = _recurrent_classes(P)
    if len(classes) > 1:
        shown = " and ".join(str(members[:10].tolist()) for members in classes[:3])
        raise ValueError(
            f"`P` has {len(classes)} sets of states that are never left ({shown}), so that the distribution depends on "
            "the start: give one of them alone."
        )
    members = classes[0]
    distribution = np.zeros(len(P))
    distribution[members] = _eliminated(P[np.ix_(members, members)])
    return distribution


def _expected_rewards(world: _mdp.Process) -> np.ndarray:
    return (world.P * world.R).sum(axis=2)  # (states, actions)


def _largest(q_values: np.ndarray, world: _mdp.Process) -> np.ndarray:
    """Gives the value of the best possible action of each state, 0 in terminal states."""
    best = np.where(world.possible, q_values, -np.inf).max(axis=1)
    return np.where(world.terminal, 0, best)


def _fixed_point(
    update: Callable[[np.ndarray], np.ndarray], values: np.ndarray, discount: float, tolerance: Any
) -> np.ndarray:
    tolerance = _arguments.real("tolerance", tolerance, positive=True)
    bound = math.inf
    while bound > tolerance:
        values, before = update(values), values
        bound = np.abs(values - before).max() * discount / (1 - discount)
        # Rounding errors add up as rewards do. Above this the iteration always ends.
        finest = 4 * np.finfo(float).eps * np.abs(values).max() / (1 - discount)
        if tolerance < finest:
            raise ValueError(
                f"`tolerance` must be at least {finest:.1g}, got {tolerance:g}: rounding errors of values up to "
                f"{np.abs(values).max():.3g} with discount={discount:g} allow no less."
            )
    return values


def _recurrent_classes(P: np.ndarray) -> list[np.ndarray]:
    """Gives the sets of states that lead to each other and nowhere else."""
    reach = (P > 0) | np.eye(len(P), dtype=bool)
    # Squaring doubles the length of the walks.
    for _ in range(max(1, math.ceil(math.log2(len(P))))):
        reach = (reach.astype("float32") @ reach.astype("float32")) > 0
    recurrent = (~reach | reach.T).all(axis=1)  # Whatever it leads to leads back.
    return [np.flatnonzero(row) for row in np.unique(reach[recurrent], axis=0)[::-1]]


def _eliminated(P: np.ndarray) -> np.ndarray:
    """Gives the stationary distribution of a chain in which every state leads to every other."""
    P = P.copy()
    for last in range(len(P) - 1, 0, -1):
        # The state is taken out: what passed through it goes straight.
        P[:last, last] /= P[last, :last].sum()
        P[:last, :last] += np.outer(P[:last, last], P[last, :last])
    weights = np.ones(len(P))
    for state in range(1, len(P)):
        weights[state] = weights[:state] @ P[:state, state]
    return weights / weights.sum()
