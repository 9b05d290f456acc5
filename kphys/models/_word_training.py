"""The compiled training of word vectors: gradients by hand, matrix products over shared noise, sparse updates.

Per objective one function takes the rows of a step and gives the loss and its gradients. A score s says that a word
belongs where it was found, with the probability σ(s). All minimize −Σ w ln σ(s) over the words found and
−Σ w ln σ(−s) over the noise words, whose weight w makes them count `num_negatives` times a word found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from kphys.models._word_pairs import Layout


class Tables(NamedTuple):
    """The variables: word vectors and output vectors `(words, dim)`, with NCE a bias `(words,)`, the matrix W."""

    inputs: tf.Variable
    outputs: tf.Variable
    bias: tf.Variable | None
    recurrent: tf.Variable | None


class Gradients(NamedTuple):
    """Sums over a step: the loss, its number of words found, and the gradient for every row that was looked up."""

    loss: Any
    found: Any
    inputs: Any
    outputs: Any
    bias: Any
    recurrent: Any = None


def _logistic(scores: Any, weight: Any, found: Any) -> tuple[Any, Any]:
    """Gives the loss and its gradient by the scores; `found` is `weight` at the words found, 0 at the noise."""
    loss = tf.reduce_sum(weight * tf.nn.softplus(scores) - found * scores)
    return loss, weight * tf.sigmoid(scores) - found


def _inside(offset: Any, left: Any, right: Any) -> Any:
    """Gives 1 where a word at `offset` from the centre of a window lies in it, the centre itself left out."""
    return tf.cast((offset >= -left) & (offset <= right) & (offset != 0), "float32")


def skip_gram(inputs: Any, outputs: Any, offsets: Any, left: Any, right: Any, ratio: float) -> Gradients:
    """Gives the gradients where each word predicts every centre in whose window it lies.

    Args:
        inputs: Vectors of the words, `(groups, words, dim)`.
        outputs: Output vectors of the centres, margins included, then of the noise,
            `(groups, centres + noise, dim)`.
        offsets: What is added to their scores, `(groups, centres + noise)`.
        left: How far the window of each centre reaches, `(groups, centres)`.
        right: The same to the right.
        ratio: Weight of one noise word a word found.
    """
    centres, words = left.shape[1], inputs.shape[1]
    margin = (centres - words) // 2
    offset = margin + tf.range(words)[None, :] - tf.range(centres)[:, None]  # (centres, words)
    found = _inside(offset, left[:, :, None], right[:, :, None])  # (groups, centres, words)
    pairs = tf.reduce_sum(found, axis=1, keepdims=True)  # (groups, 1, words)
    noise = outputs.shape[1] - centres
    weight = tf.concat([found, tf.repeat(ratio * pairs, noise, axis=1)], axis=1)  # (groups, centres + noise, words)
    scores = tf.matmul(outputs, inputs, transpose_b=True) + offsets[:, :, None]
    loss, slope = _logistic(scores, weight, tf.pad(found, [[0, 0], [0, noise], [0, 0]]))
    return Gradients(
        loss,
        tf.reduce_sum(pairs),
        tf.matmul(slope, outputs, transpose_a=True),
        tf.matmul(slope, inputs),
        tf.reduce_sum(slope, axis=2),
    )


def cbow(inputs: Any, outputs: Any, offsets: Any, left: Any, right: Any, ratio: float) -> Gradients:
    """Gives the gradients where the mean of the words in a window predicts its centre.

    As in `skip_gram`, but the margins are at the words: `inputs` `(groups, margins + centres, dim)`, `outputs` and
    `offsets` those of the centres, then of the noise, `left` and `right` `(groups, centres)`.
    """
    words, centres = inputs.shape[1], left.shape[1]
    margin = (words - centres) // 2
    offset = tf.range(words)[:, None] - margin - tf.range(centres)[None, :]  # (words, centres)
    inside = _inside(offset, left[:, None, :], right[:, None, :])  # (groups, words, centres)
    count = tf.reduce_sum(inside, axis=1)  # (groups, centres)
    share = inside / tf.maximum(count, 1)[:, None, :]
    # The mask is made twice: XLA is slow where the first factor of a product is to be transposed.
    across = _inside(tf.transpose(offset), left[:, :, None], right[:, :, None]) / tf.maximum(count, 1)[:, :, None]
    means = tf.matmul(across, inputs)  # (groups, centres, dim)
    own, noise = outputs[:, :centres], outputs[:, centres:]
    found = tf.minimum(count, 1)[:, :, None]
    loss, slope, by_mean, by_own, by_noise = _one_or_noise(means, own, noise, offsets, found, ratio)
    return Gradients(
        loss,
        tf.reduce_sum(found),
        tf.matmul(share, by_mean),
        tf.concat([by_own, by_noise], axis=1),
        slope,
    )


def recurrent(
    inputs: Any,
    outputs: Any,
    offsets: Any,
    continues: Any,
    follows: Any,
    ratio: float,
    matrix: Any,
    state: Any,
) -> tuple[Gradients, Any]:
    """Gives the gradients of s(t) = σ(U w(t) + s(t − 1) W), which predicts w(t + 1), and the last state.

    Args:
        inputs: The rows U w(t), `(streams, steps, dim)`.
        outputs: Output vectors of the next words, then of the noise, `(1, streams · steps + noise, dim)`.
        offsets: What is added to their scores, `(1, streams · steps + noise)`.
        continues: 0 where a sentence starts, else 1, `(streams, steps)`.
        follows: 0 where a sentence ends, else 1, `(streams, steps)`.
        ratio: Weight of one noise word a word found.
        matrix: W, `(dim, dim)`.
        state: The state before the first step, `(streams, dim)`.
    """
    streams, steps, dim = inputs.shape
    before, states = [], []
    for t in range(steps):
        before.append(state * continues[:, t, None])
        state = tf.sigmoid(inputs[:, t] + tf.matmul(before[-1], matrix))
        states.append(state)
    flat = tf.reshape(tf.stack(states, axis=1), (1, streams * steps, dim))
    own, noise = outputs[:, : streams * steps], outputs[:, streams * steps :]
    found = tf.reshape(follows, (1, -1, 1))
    loss, slope, by_state, by_own, by_noise = _one_or_noise(flat, own, noise, offsets, found, ratio)
    by_state = tf.reshape(by_state, (streams, steps, dim))
    back, by_input = tf.zeros_like(state), []
    for t in reversed(range(steps)):
        by_input.append((by_state[:, t] + back) * states[t] * (1 - states[t]))
        back = tf.matmul(by_input[-1], matrix, transpose_b=True) * continues[:, t, None]
    by_input = tf.stack(by_input[::-1], axis=1)
    by_matrix = tf.einsum("bti,btj->ij", tf.stack(before, axis=1), by_input)
    by_outputs = tf.concat([by_own, by_noise], axis=1)
    return Gradients(loss, tf.reduce_sum(found), by_input, by_outputs, slope, by_matrix), state


def _one_or_noise(hidden: Any, own: Any, noise: Any, offsets: Any, found: Any, ratio: float) -> tuple[Any, ...]:
    """Gives loss, slope of offsets, gradients by `hidden`, `own`, `noise`: one word found each, all noise words."""
    scores = tf.concat(
        [tf.reduce_sum(hidden * own, axis=2, keepdims=True), tf.matmul(hidden, noise, transpose_b=True)], 2
    )
    size = own.shape[1]
    scores += tf.concat([offsets[:, :size, None], tf.repeat(offsets[:, None, size:], size, axis=1)], axis=2)
    weight = tf.concat([found, tf.repeat(ratio * found, noise.shape[1], axis=2)], axis=2)
    loss, slope = _logistic(scores, weight, tf.pad(found, [[0, 0], [0, 0], [0, noise.shape[1]]]))
    first, others = slope[:, :, :1], slope[:, :, 1:]
    by_offset = tf.concat([first[:, :, 0], tf.reduce_sum(others, axis=1)], axis=1)
    by_hidden = first * own + tf.matmul(others, noise)
    return loss, by_offset, by_hidden, first * hidden, tf.matmul(others, hidden, transpose_a=True)


def compiled(
    tables: Tables, layout: Layout, num_negatives: int, *, train: bool, jit_compile: bool
) -> Callable[..., tuple[Any, Any]]:
    """Gives the function that runs a whole block: arrays, prior of the scores, steps, learning rate to the sums.

    A step's words all see the vectors from before it; a word that it holds several times moves by the sum.
    """
    gradients = _OBJECTIVES[layout.objective]
    ratio = num_negatives / layout.noise

    def step(index: Any, total: Any, found: Any, state: Any, arrays: Any, prior: Any, rate: Any) -> tuple[Any, ...]:
        ids, rows, state = gradients(tables, prior, [array[index] for array in arrays], ratio, state)
        if train:
            _descend(tables.inputs, ids[0], rows.inputs, rate)
            _descend(tables.outputs, ids[1], rows.outputs, rate)
            if tables.bias is not None:
                _descend(tables.bias, ids[1], rows.bias, rate)
            if tables.recurrent is not None:
                tables.recurrent.assign_sub(rate * rows.recurrent)
        return index + 1, total + rows.loss, found + rows.found, state

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(arrays: Any, prior: Any, steps: Any, rate: Any) -> tuple[Any, Any]:
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), _first_state(tables, arrays))
        loop = tf.while_loop(
            lambda index, *_: index < steps,
            lambda *values: step(*values, arrays, prior, rate),
            start,
            parallel_iterations=1,
        )
        return loop[1], loop[2]

    return run


def _first_state(tables: Tables, arrays: Any) -> Any:
    if tables.recurrent is None:
        return tf.constant(0.0)
    return tf.zeros((arrays[0].shape[1], tables.inputs.shape[1]))


def _descend(table: tf.Variable, ids: Any, gradient: Any, rate: Any) -> None:
    rows = tf.reshape(rate * gradient, (-1, *table.shape[1:]))
    table.scatter_sub(tf.IndexedSlices(rows, tf.reshape(ids, (-1,))))


def _offsets(tables: Tables, prior: Any, ids: Any) -> Any:
    """Gives what is added to the scores: nothing with negative sampling."""
    if tables.bias is None:
        return tf.zeros(ids.shape)
    return tf.gather(tables.bias, ids) + tf.gather(prior, ids)


def _windowed(function: Callable[..., Gradients]) -> Callable[..., Any]:
    def gradients(tables: Tables, prior: Any, batch: Any, ratio: float, state: Any) -> tuple[Any, Gradients, Any]:
        inputs, outputs, left, right = batch
        rows = tf.gather(tables.inputs, inputs), tf.gather(tables.outputs, outputs)
        return (inputs, outputs), function(*rows, _offsets(tables, prior, outputs), left, right, ratio), state

    return gradients


def _recurrent(tables: Tables, prior: Any, batch: Any, ratio: float, state: Any) -> tuple[Any, Gradients, Any]:
    inputs, targets, continues, follows, noise = batch
    outputs = tf.concat([tf.reshape(targets, (1, -1)), noise[None]], axis=1)
    rows = tf.gather(tables.inputs, inputs), tf.gather(tables.outputs, outputs)
    offsets = _offsets(tables, prior, outputs)
    found, state = recurrent(*rows, offsets, continues, follows, ratio, tables.recurrent, state)
    return (inputs, outputs), found, state


_OBJECTIVES = {"skip_gram": _windowed(skip_gram), "cbow": _windowed(cbow), "recurrent": _recurrent}
