"""TD learning and Q-learning: values learnt from steps alone, as if the world were not known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from kphys import _arguments
from kphys.agents import _mdp, _walks
from kphys.agents._tables import ActionValues, greedy


def td_learning(
    P: Any,
    R: Any,
    policy: Any,
    discount: float = 0.95,
    *,
    num_steps: int = 100_000,
    learning_rate: float = 1.0,
    decay: float = 0.1,
    decay_by: str = "visits",
    start: Any = None,
    episode_steps: int | None = 100,
    seed: int | None = None,
) -> np.ndarray:
    """Gives the values of states under a policy, learnt from steps: TD(0).

    After a step from s to s' with reward r: V(s) ← V(s) + α (r + γ V(s') − V(s)). P and R only draw the steps.

    Args:
        P: Probabilities `P[s, a, s']`, `(states, actions, states)`; all zero where an action is not possible.
        R: Rewards `R[s, a, s']`, of the same shape.
        policy: The action of each state, `(states,)`, or the probabilities of all, `(states, actions)`. What it says of
            terminal states does not matter.
        discount: γ, at least 0 and below 1.
        num_steps: Steps in all; a million take about a second.
        learning_rate: α_0, positive and at most 1.
        decay: d in α = α_0 / (1 + d k), not negative; 0 keeps α_0. A small one leaves noise; one above 2 α_0 (1 − γ)
            forgets the first steps too slowly.
        decay_by: What k counts: the "visits" of the state so far, or all "steps".
        start: Where walks begin: a state, or the probabilities of all, `(states,)`. `None`: each state that is not
            terminal is as likely.
        episode_steps: A walk begins anew after so many steps, or in a terminal state. `None`: only there. The values
            look through this time limit: it does not end the world.
        seed: Fixes the draws. `None`: new ones each time.

    Returns:
        V, `(states,)`: 0 in terminal states and in states that no walk has visited.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Sutton, 1988, "Learning to predict by the methods of temporal differences".

    Example:
        >>> import numpy as np
        >>> from kphys.agents.tabular import td_learning
        >>> P = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])  # Two states in turns.
        >>> R = np.array([[[0.0, 1.0]], [[0.0, 0.0]]])
        >>> td_learning(P, R, policy=[0, 0], discount=0.5, seed=0).round(3)  # 1 / (1 - 1/4) and half of it.
        array([1.333, 0.667])
    """
    world = _mdp.process(P, R)
    learning = _walks.learning(discount, num_steps, learning_rate, decay, decay_by, episode_steps)
    actions = _walks.action_probabilities(policy, world)
    chain = (actions[:, :, None] * world.P).reshape(len(actions), -1)  # (states, actions · states)
    rewards = world.R.reshape(len(actions), -1)
    outcomes = [_walks.outcomes(row, reward, len(actions)) for row, reward in zip(chain, rewards, strict=True)]
    draws = _walks.draws(1, _walks.start_probabilities(start, world), learning.num_steps, seed)
    return np.array(_td_values(outcomes, world.terminal.tolist(), draws, learning))


def _td_values(outcomes: list, terminal: list[bool], draws: Iterator, learning: _walks.Learning) -> list[float]:
    discount, _, rate, decay, by_visits, episode_steps = learning
    values, visits = [0.0] * len(terminal), [0] * len(terminal)
    here, left = -1, 0
    for step, (draw, fresh) in enumerate(draws):
        if left == 0:
            here, left = fresh, episode_steps
        cumulative, states, rewards = outcomes[here]
        outcome = bisect_right(cumulative, draw)
        there = states[outcome]
        k = visits[here] if by_visits else step
        values[here] += rate / (1 + decay * k) * (rewards[outcome] + discount * values[there] - values[here])
        visits[here] += 1
        left = 0 if terminal[there] else left - 1
        here = there
    return values


def q_learning(
    P: Any,
    R: Any,
    discount: float = 0.95,
    *,
    num_steps: int = 100_000,
    epsilon: float = 0.1,
    exploration: float | None = None,
    learning_rate: float = 1.0,
    decay: float = 0.1,
    decay_by: str = "visits",
    start: Any = None,
    episode_steps: int | None = 100,
    seed: int | None = None,
) -> ActionValues:
    """Gives the values of actions and the best policy, learnt from steps.

    After action a in s led to s' with reward r: Q(s, a) ← Q(s, a) + α (r + γ max_a' Q(s', a') − Q(s, a)). The action
    is the best one so far, or with probability ε any. P and R only draw the steps.

    Args:
        P, R, discount, num_steps, learning_rate, decay, start, episode_steps, seed: As in `td_learning`.
        epsilon: ε, from 0 to 1.
        exploration: κ, positive: what was seldom tried counts for more, f(Q, N) = Q + κ/(1 + N) after N tries takes
            the place of Q wherever the best action is sought, in the update too. `None`: Q itself.
        decay_by: What k in α = α_0 / (1 + d k) counts: the "visits" of this action in this state so far, or all
            "steps".

    Returns:
        `q_values`, `(states, actions)`, −∞ for actions that are not possible, and `policy`, `(states,)`: the best
        action, of equally good ones the first, −1 in terminal states.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Watkins and Dayan, 1992, "Q-learning"; Géron, 2022, "Hands-on machine learning with Scikit-Learn, Keras, and
        TensorFlow", 3rd edition, chapter 18 (the exploration function).

    Example:
        >>> import numpy as np
        >>> from kphys.agents.tabular import q_learning
        >>> P = np.zeros((2, 2, 2))
        >>> P[0, 0, 0] = P[0, 1, 1] = 1  # Stay, or step to state 1, which is terminal.
        >>> R = np.zeros((2, 2, 2))
        >>> R[0, 0, 0], R[0, 1, 1] = 1, 5
        >>> q_learning(P, R, discount=0.5, num_steps=20_000, seed=0).q_values.round(2)
        array([[ 3.5,  5. ],
               [-inf, -inf]])
    """
    world = _mdp.process(P, R)
    learning = _walks.learning(discount, num_steps, learning_rate, decay, decay_by, episode_steps)
    epsilon = _arguments.real("epsilon", epsilon, minimum=0)
    if epsilon > 1:
        raise ValueError(f"`epsilon` must be a probability, at most 1, got {epsilon:g}.")
    kappa = 0.0 if exploration is None else _arguments.real("exploration", exploration, positive=True)
    draws = _walks.draws(2, _walks.start_probabilities(start, world), learning.num_steps, seed)
    q_values = np.array(_q_values(world, draws, learning, epsilon, kappa))
    return ActionValues(np.where(world.possible, q_values, -np.inf), greedy(q_values, world.possible))


def _q_values(
    world: _mdp.Process, draws: Iterator, learning: _walks.Learning, epsilon: float, kappa: float
) -> list[list[float]]:
    discount, _, rate, decay, by_visits, episode_steps = learning
    outcomes = [
        [_walks.outcomes(P, R, len(world.P)) for P, R in zip(*rows, strict=True)]
        for rows in zip(world.P, world.R, strict=True)
    ]
    choices = [np.flatnonzero(row).tolist() for row in world.possible]
    q_values = np.zeros(world.possible.shape).tolist()
    visits = np.zeros(world.possible.shape, int).tolist()
    # f(Q, N), the best action by it, and its value: kept, as a step changes them in one state alone.
    wished = np.where(world.possible, kappa, -np.inf).tolist()
    best = greedy(np.zeros(world.possible.shape), world.possible).tolist()
    value = np.where(world.terminal, 0, kappa).tolist()
    here, left = -1, 0
    for step, (chance, draw, fresh) in enumerate(draws):
        if left == 0:
            here, left = fresh, episode_steps
        if chance < epsilon:
            # Below ε the draw is as good as a new one.
            possible = choices[here]
            action = possible[int(chance / epsilon * len(possible))]
        else:
            action = best[here]
        cumulative, states, rewards = outcomes[here][action]
        outcome = bisect_right(cumulative, draw)
        there = states[outcome]
        row, tries = q_values[here], visits[here][action]
        k = tries if by_visits else step
        row[action] += rate / (1 + decay * k) * (rewards[outcome] + discount * value[there] - row[action])
        visits[here][action] = tries + 1
        f = wished[here]
        f[action] = row[action] + kappa / (2 + tries)
        value[here] = largest = max(f)
        best[here] = f.index(largest)
        left = left - 1 if choices[there] else 0
        here = there
    return q_values
