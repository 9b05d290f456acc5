"""Greedy and beam search: the best answers of a network that gives the next token, found in one loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

Tensors = list[Any]
# Last tokens (rows, 1), states and constants, each (rows, …), to logits (rows, vocabulary) and new states.
NextLogits = Callable[[Any, Tensors, Tensors], tuple[Any, Tensors]]


class Answers(NamedTuple):
    """The best answers: tokens `(batch, max_length)`, 0 after the end, with ln p and the score that was searched by."""

    tokens: Any
    log_probs: Any
    scores: Any


class _Beams(NamedTuple):
    """Sequences under way, `beam_width` for every sample."""

    last: Any  # (batch, beams)
    tokens: Any  # (batch, beams, max_length)
    log_probs: Any  # (batch, beams)
    lengths: Any  # (batch, beams)
    ended: Any  # (batch, beams)


def best_answers(
    next_logits: NextLogits,
    states: Tensors,
    constants: Tensors,
    beam_width: int,
    max_length: Any,
    length_penalty: Any,
) -> Answers:
    """Gives for every sample the best answer that a beam of `beam_width` finds, the greedy one for 1.

    Token 0 begins an answer and ends it. A beam may lose the greedy answer on the way, so that is searched, too.
    """
    answers = _search(next_logits, states, constants, beam_width, max_length, length_penalty)
    if beam_width == 1:
        return answers
    greedy = _search(next_logits, states, constants, 1, max_length, length_penalty)
    return _better(answers, greedy)


def _search(
    next_logits: NextLogits, states: Tensors, constants: Tensors, beam_width: int, max_length: Any, length_penalty: Any
) -> Answers:
    batch = tf.shape(states[0])[0]
    states, constants = (
        [tf.repeat(tensor, beam_width, axis=0) if beam_width > 1 else tensor for tensor in tensors]
        for tensors in (states, constants)
    )

    def undecided(step: Any, beams: _Beams, best: Answers, states: Tensors) -> Any:
        # ln p only falls, and no score falls less than that of a sequence which grows to the full length at no cost.
        hoped = tf.where(beams.ended, -float("inf"), beams.log_probs / _divisor(max_length + 1, length_penalty))
        return tf.reduce_any(best.scores < tf.reduce_max(hoped, axis=1))

    def advance(step: Any, beams: _Beams, best: Answers, states: Tensors) -> tuple[Any, _Beams, Answers, Tensors]:
        logits, states = next_logits(tf.reshape(beams.last, (-1, 1)), states, constants)
        beams, parents = _extended(beams, _next_log_probs(beams, logits, step == max_length), step, length_penalty)
        if beam_width > 1:
            rows = tf.reshape(parents + beam_width * tf.range(batch)[:, None], (-1,))
            states = [tf.gather(state, rows) for state in states]
        # What has ended can be pushed out of the beam by what has not, and then end worse.
        return step + 1, beams, _better(best, _best_ended(beams, length_penalty)), states

    beams = _start(batch, beam_width, max_length)
    start = 0, beams, _best_ended(beams, length_penalty), states
    _, _, best, _ = tf.while_loop(undecided, advance, start, maximum_iterations=max_length + 1)
    return best


def _best_ended(beams: _Beams, length_penalty: Any) -> Answers:
    """Gives the best answer among the beams, at ln p = −∞ where none has ended."""
    scores = tf.where(beams.ended, beams.log_probs / _divisor(beams.lengths, length_penalty), -float("inf"))
    best = tf.argmax(scores, axis=1)
    return Answers(*(tf.gather(values, best, batch_dims=1) for values in (beams.tokens, beams.log_probs, scores)))


def _better(one: Answers, other: Answers) -> Answers:
    """Gives for every sample the answer of the higher score, `one` where they are equal."""
    better = other.scores > one.scores
    return Answers(
        tf.where(better[:, None], other.tokens, one.tokens),
        tf.where(better, other.log_probs, one.log_probs),
        tf.where(better, other.scores, one.scores),
    )


def _start(batch: Any, beam_width: int, max_length: Any) -> _Beams:
    shape = (batch, beam_width)
    # The others wait at p = 0, or all would take the same way.
    first = tf.where(tf.range(beam_width) == 0, 0.0, -float("inf"))
    return _Beams(
        last=tf.zeros(shape, tf.int32),
        tokens=tf.zeros((*shape, max_length), tf.int32),
        log_probs=tf.broadcast_to(first, shape),
        lengths=tf.zeros(shape, tf.int32),
        ended=tf.zeros(shape, tf.bool),
    )


def _next_log_probs(beams: _Beams, logits: Any, must_end: Any) -> Any:
    """Gives ln p of every next token, `(batch, beams, vocabulary)`."""
    log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    vocabulary = log_probs.shape[-1]
    log_probs = tf.reshape(log_probs, (-1, beams.last.shape[1], vocabulary))
    end_alone = tf.where(tf.range(vocabulary) == 0, 0.0, -float("inf"))
    log_probs += tf.where(must_end, end_alone, 0.0)
    # What has ended stays as it is.
    return tf.where(beams.ended[..., None], end_alone, log_probs)


def _extended(beams: _Beams, next_log_probs: Any, step: Any, length_penalty: Any) -> tuple[_Beams, Any]:
    """Gives the best sequences of one token more, and the place of each one's parent."""
    beam_width, vocabulary = next_log_probs.shape[1:]
    lengths = beams.lengths + tf.cast(~beams.ended, tf.int32)
    log_probs = beams.log_probs[..., None] + next_log_probs
    scores = log_probs / _divisor(lengths, length_penalty)[..., None]
    _, best = tf.math.top_k(tf.reshape(scores, (-1, beam_width * vocabulary)), beam_width)
    parents, last = best // vocabulary, best % vocabulary
    tokens, lengths, ended = (
        tf.gather(values, parents, batch_dims=1) for values in (beams.tokens, lengths, beams.ended)
    )
    beams = _Beams(
        last=last,
        tokens=tf.where(tf.range(tf.shape(tokens)[2]) == step, last[..., None], tokens),
        log_probs=tf.gather(tf.reshape(log_probs, (-1, beam_width * vocabulary)), best, batch_dims=1),
        lengths=lengths,
        ended=ended | (last == 0),
    )
    return beams, parents


def _divisor(length: Any, length_penalty: Any) -> Any:
    # As in Wu et al.; the length counts the end.
    return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** length_penalty
