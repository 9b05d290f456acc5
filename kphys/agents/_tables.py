"""Tables of action values, and what is best by them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ActionValues(NamedTuple):
    """Values of actions, `(states, actions)`, −∞ where not possible, and the best actions, `(states,)`."""

    q_values: np.ndarray
    policy: np.ndarray


def greedy(q_values: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """Gives the best possible action of each state, of equally good ones the first, and −1 where there is none."""
    best = np.where(possible, q_values, -np.inf).argmax(axis=1)
    return np.where(possible.any(axis=1), best, -1)
