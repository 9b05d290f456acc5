"""What a reward was worth: discounted returns, advantages and the targets of Q-learning, as pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kphys import _arguments


def discounted_returns(rewards: Any, discount: float) -> np.ndarray:
    """Gives the reward to go of every step of an episode, G_t = r_t + γ r_{t+1} + γ² r_{t+2} + ….

    Args:
        rewards: Rewards of one episode in order, `(steps,)`.
        discount: γ, from 0 to 1.

    Returns:
        An array `(steps,)` of float64.

    Raises:
        ValueError, TypeError: Rewards that are not a finite array of one axis, or a discount out of range.

    Example:
        >>> from kphys.agents.returns import discounted_returns
        >>> discounted_returns([1.0, 0.0, 2.0], 0.5)
        array([1.5, 1. , 2. ])
    """
    from scipy.signal import lfilter

    rewards = np.asarray(rewards, "float64")
    if rewards.ndim != 1 or not np.isfinite(rewards).all():
        raise ValueError(f"`rewards` must be a finite array of one axis, got shape {rewards.shape}: {rewards!r}.")
    discount = _arguments.share("discount", discount)
    # G_t = r_t + γ G_{t+1} is a recursive filter that runs backwards.
    return lfilter([1.0], [1.0, -discount], rewards[::-1])[::-1].copy()


def normalized(advantages: Any) -> np.ndarray:
    """Gives advantages less their mean and over their standard deviation; all zeros where they are all the same.

    Args:
        advantages: An array of any shape.

    Example:
        >>> from kphys.agents.returns import normalized
        >>> normalized([1.0, 3.0])
        array([-1.,  1.])
    """
    advantages = np.asarray(advantages, "float64")
    deviations = advantages - advantages.mean()
    spread = deviations.std()
    # What is left of equal numbers is rounding.
    return deviations / spread if spread > 1e-12 * max(1.0, np.abs(advantages).max()) else np.zeros_like(advantages)


def td_targets(rewards: Any, discounts: Any, next_q: Any, choosing_q: Any = None) -> Any:
    """Gives the targets of Q-learning, y = R + Γ Q⁻(s', a*).

    a* is the best action by Q⁻ itself (Mnih et al. 2015) or, double Q-learning, by another estimate (van Hasselt et
    al. 2016). For n steps R = Σ_{k<n} γᵏ r_k and Γ = γⁿ. Γ is 0 where the episode terminated: nothing comes after. It
    is not where a time limit cut the episode off.

    Args:
        rewards: R, `(batch,)`.
        discounts: Γ, `(batch,)`.
        next_q: Q⁻(s', ·) of the target network, `(batch, num_actions)`.
        choosing_q: Q(s', ·) of the network that chooses a*. `None`: `next_q` chooses.

    Returns:
        Targets `(batch,)`, a tensor.

    Reference:
        Mnih et al., 2015, "Human-level control through deep reinforcement learning".
        van Hasselt, Guez and Silver, 2016, "Deep reinforcement learning with double Q-learning".

    Example:
        >>> import numpy as np
        >>> from kphys.agents.returns import td_targets
        >>> np.asarray(td_targets([1.0, 1.0], [0.5, 0.0], [[2.0, 4.0], [2.0, 4.0]]))
        array([3., 1.], dtype=float32)
        >>> np.asarray(td_targets([1.0], [0.5], [[2.0, 4.0]], choosing_q=[[1.0, 0.0]]))
        array([2.], dtype=float32)
    """
    next_q = ops.convert_to_tensor(next_q)
    best = ops.argmax(next_q if choosing_q is None else choosing_q, axis=-1)
    values = ops.take_along_axis(next_q, best[:, None], axis=-1)[:, 0]
    return ops.convert_to_tensor(rewards) + ops.convert_to_tensor(discounts) * values


def time_means(returns: Any, times: Any) -> np.ndarray:
    """Gives for every step the mean over the steps at the same time, of those episodes that got so far.

    Args:
        returns: One number each step, `(steps,)`.
        times: At which time of its episode that was, from 0, `(steps,)`.

    Example:
        >>> from kphys.agents.returns import time_means
        >>> time_means([3.0, 1.0, 5.0], times=[0, 1, 0])
        array([4., 1., 4.])
    """
    returns, times = np.asarray(returns, "float64"), np.asarray(times)
    return (np.bincount(times, returns) / np.maximum(np.bincount(times), 1))[times]
