"""What REINFORCE takes off the return: the same gradient on average, with a smaller spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

BASELINES = ("mean", "optimal", "value")


def optimal_gradients(
    score: Callable[[Any, Any], Any],
    variables: list[Any],
    observations: Any,
    actions: Any,
    returns: Any,
    numbers: Any,
    num_episodes: int,
) -> list[Any]:
    """Gives −⟨(R − b_k) G_k⟩ for every parameter θ_k, with b_k = ⟨G_k² R⟩ / ⟨G_k²⟩, means over the episodes.

    G_k = d/dθ_k Σ_t ln π(a_t|s_t) is that of an episode, which `score` gives, Σ_t ln π, of its observations and
    actions. Only sums over the episodes are kept, four numbers a parameter.

    Args:
        score: Gives Σ_t ln π(a_t|s_t), a scalar.
        variables: θ.
        observations, actions, returns, numbers: One row each step, episode after episode: R and the episode's number,
            from 0, are the same in all rows of an episode.
        num_episodes: Their number.
    """
    lengths = tf.math.bincount(tf.cast(numbers, tf.int32), minlength=num_episodes, maxlength=num_episodes)
    lasts = tf.cumsum(lengths)

    def add(episode: Any, sums: list[list[Any]]) -> tuple[Any, list[list[Any]]]:
        last, first = lasts[episode], lasts[episode] - lengths[episode]
        with tf.GradientTape() as tape:
            total = score(observations[first:last], actions[first:last])
        gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        reward = tf.cast(returns[first], total.dtype)
        terms = ([g, reward * g, g * g, reward * g * g] for g in gradients)
        return episode + 1, [
            [old + new for old, new in zip(olds, news, strict=True)] for olds, news in zip(sums, terms, strict=True)
        ]

    start = [[tf.zeros(variable.shape) for _ in range(4)] for variable in variables]
    _, sums = tf.while_loop(lambda episode, _: episode < num_episodes, add, (tf.constant(0), start))
    return [
        (tf.math.divide_no_nan(squares_return, squares) * total - total_return) / num_episodes
        for total, total_return, squares, squares_return in sums
    ]


def entropies(probabilities: Any) -> Any:
    """Gives H = −Σ_a π(a) ln π(a) of every row of probabilities, in nats; of one column, those of two actions."""
    if probabilities.shape[-1] == 1:
        probabilities = ops.concatenate([probabilities, 1 - probabilities], axis=-1)
    # The smallest normal number: 0 ln 0 is 0.
    return -ops.sum(probabilities * ops.log(ops.maximum(probabilities, 1.2e-38)), axis=-1)


def check_baseline(
    baseline: str | None, reward_to_go: bool, normalize_advantages: bool, episodes_per_update: int
) -> None:
    """Raises an error for what does not go together with `baseline`."""
    if baseline == "optimal":
        for name, asked in (("reward_to_go", reward_to_go), ("normalize_advantages", normalize_advantages)):
            if asked:
                raise ValueError(
                    f'`{name}` must be False with baseline="optimal", which is one of every parameter, for the return '
                    'of the whole episode: leave it out, or take baseline="mean".'
                )
    if baseline in ("mean", "optimal") and episodes_per_update == 1:
        raise ValueError(
            f"`episodes_per_update` must be at least 2 with baseline={baseline!r}, got 1: a single return is its own "
            "mean, and nothing is left to learn from."
        )
