"""Sequences of tokens in arrays padded with 0: checked at the door, shifted for teacher forcing, weighted."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kphys.models._arrays import check_length, check_numbers, check_weights, refuse_no_data


def checked_tokens(name: str, tokens: Any, vocabulary_size: int) -> np.ndarray:
    """Gives `tokens` back as an array `(samples, timesteps)` of integers, 0 only at the end of a row."""
    array = check_numbers(name, tokens, vocabulary_size, "tokens")
    if array.ndim != 2:
        mend = f": one sequence needs a batch axis, {name}[None]" if array.ndim == 1 else ""
        raise ValueError(f"`{name}` must have the shape (samples, timesteps), got {array.shape}{mend}.")
    real = array != 0
    late = real[:, 1:] & ~real[:, :-1]
    if late.any():
        row, column = (int(index) for index in np.unravel_index(late.argmax(), late.shape))
        raise ValueError(
            f"`{name}` must be padded with 0 at the end of a sequence only, got {name}[{row}, {column}] = 0 before "
            f"{name}[{row}, {column + 1}] = {array[row, column + 1]}: number the tokens from 1, and move the padding "
            "to the end."
        )
    if not real[:, 0].all():
        count, first = int((~real[:, 0]).sum()), int(real[:, 0].argmin())
        raise ValueError(
            f"`{name}` must hold at least one token in every sequence, got {count} of padding alone, the first is "
            f"{name}[{first}]: drop these samples, or give emptiness a token of its own."
        )
    return array.astype("int32", copy=False)


def check_pairs(
    sizes: tuple[int, int], names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None
) -> None:
    """Raises the error that says what is wrong with questions, answers and weights; data sets are passed over.

    `sizes` are those of the two vocabularies.
    """
    if y is None and not isinstance(x, (list, tuple)) and not hasattr(x, "shape"):
        refuse_no_data(names[0], x)
        return
    x = checked_tokens(names[0], x, sizes[0])
    if y is None:
        raise ValueError(f"`{names[1]}` is missing: give one answer for each of the {len(x)} samples of `{names[0]}`.")
    y = checked_tokens(names[1], y, sizes[1])
    check_length(names, 1, y, x)
    if sample_weight is not None:
        _check_token_weights(names, sample_weight, y)


def _check_token_weights(names: tuple[str, str, str], sample_weight: Any, y: np.ndarray) -> None:
    for_tokens = np.ndim(sample_weight) == 2 and np.shape(sample_weight) != (len(y), 1)
    check_weights(names, sample_weight, y, y.shape if for_tokens else (len(y),))


def teacher_forcing(y: Any) -> tuple[Any, Any, Any]:
    """Gives what the decoder is given, what it shall answer, and what of that counts, each `(batch, steps + 1)`.

    Token 0 stands for the start and for the end; after the end nothing counts.
    """
    nothing = tf.zeros((tf.shape(y)[0], 1), y.dtype)
    given = tf.concat([nothing, y], axis=1)
    lengths = tf.math.count_nonzero(y, axis=1, dtype=tf.int32)
    counts = tf.range(tf.shape(given)[1]) <= lengths[:, None]
    return given, tf.concat([y, nothing], axis=1), tf.cast(counts, tf.float32)


def step_weights(sample_weight: Any, y: Any, counts: Any) -> Any:
    """Gives the weight of every step, 0 where nothing counts: the end has that of the last token."""
    if sample_weight is None:
        return counts
    # Once Keras has met both forms it hides even the rank.
    weights = tf.reshape(tf.cast(sample_weight, tf.float32), (tf.shape(y)[0], -1))
    weights = tf.broadcast_to(weights, tf.shape(y))
    of_tokens = tf.concat([weights, weights[:, -1:]], axis=1)
    of_ends = tf.concat([weights[:, :1], weights], axis=1)
    ends = tf.concat([tf.equal(y, 0), tf.ones_like(y[:, :1], tf.bool)], axis=1)
    return counts * tf.where(ends, of_ends, of_tokens)
