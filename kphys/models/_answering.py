"""How an encoder-decoder is asked: compiled searches for answers, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys.models._decoding import Answers, best_answers
from kphys.models._functions import compiled
from kphys.models._tokens import checked_tokens

_ELEMENTS_AT_ONCE = 4_194_304  # Numbers in the largest array of one call: bounds the memory.


class Answering:
    """`generate` and what `predict` calls, for a `keras.Model` with the networks of `Seq2Seq`."""

    _searches: dict[int, Callable[..., Answers]]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Gives the greedy answers, `(batch, max_length)`."""
        if tf.executing_eagerly():
            self._known_length(None)
        return self._answers(inputs, 1, self._longest, 0.0).tokens

    def _answers(self, x: Any, beam_width: int, max_length: Any, length_penalty: Any) -> Answers:
        return best_answers(self._decoded, *self._read(x), beam_width, max_length, length_penalty)

    def make_predict_function(self, force: bool = False) -> Any:
        """Makes what `predict` calls."""
        self._known_length(None)
        # Answers are as long as they get: nothing for XLA, which compiles for one size.
        jit_compile, self.jit_compile = self.jit_compile, False
        try:
            return super().make_predict_function(force)
        finally:
            self.jit_compile = jit_compile

    def generate(
        self,
        x: Any,
        max_length: int | None = None,
        *,
        beam_width: int = 1,
        length_penalty: float = 0.0,
        return_scores: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Gives the answers to `x`, each token chosen with those chosen before it given.

        The greedy search takes the most probable token at every step. Beam search keeps the `beam_width` best
        beginnings at every step, and gives the answer of the highest ln p(answer) / ((5 + n) / 6)^`length_penalty` that
        it has found, the greedy one included; n counts the tokens and the end.

        Args:
            x: Questions, `(samples, timesteps)`, integers padded with 0 at the end.
            max_length: Most tokens of an answer; there it must end. `None`: the model's `max_length`.
            beam_width: Number of beginnings that are kept; 1 is the greedy search.
            length_penalty: α ≥ 0. 0 takes the most probable answer; the larger it is, the less is held against long
                ones, whose probability is a product of more factors.
            return_scores: `True` gives ln p of the answers, in nats, as well.

        Returns:
            Integers `(samples, max_length)`, 0 after the end; with `return_scores` these and ln p, `(samples,)`.

        Raises:
            ValueError, TypeError: An argument that the above does not allow; its message says the mend.

        Reference:
            Graves, 2012, "Sequence transduction with recurrent neural networks"; Wu et al., 2016, "Google's neural
            machine translation system" (the length penalty).
        """
        x = checked_tokens("x", x, self.input_vocabulary_size)
        max_length = self._known_length(max_length)
        beam_width = _arguments.integer("beam_width", beam_width)
        length_penalty = _arguments.real("length_penalty", length_penalty, minimum=0)
        return_scores = _arguments.flag("return_scores", return_scores)
        search, rows = self._search(beam_width), self._rows(x.shape[1], beam_width)
        parts = [
            search(x[start : start + rows], np.int32(max_length), np.float32(length_penalty))
            for start in range(0, len(x), rows)
        ]
        tokens, log_probs, _ = (
            np.concatenate([part.numpy() for part in column]) for column in zip(*parts, strict=True)
        )
        return (tokens, log_probs) if return_scores else tokens

    def _known_length(self, max_length: Any) -> int:
        if max_length is not None:
            return _arguments.integer("max_length", max_length)
        if self.max_length is None:
            raise ValueError(
                "`max_length` must be given to `generate`, or to the model when it is built: it has not been trained, "
                "and cannot tell how long answers are."
            )
        return self.max_length

    def _search(self, beam_width: int) -> Callable[..., Answers]:
        if beam_width not in self._searches:
            signature = tf.TensorSpec((None, None), "int32"), tf.TensorSpec((), "int32"), tf.TensorSpec((), "float32")
            self._searches[beam_width] = compiled(_answers, self, beam_width, signature=signature)
        return self._searches[beam_width]

    def _rows(self, timesteps: int, beam_width: int) -> int:
        # The widest arrays: what the encoder makes of all steps, and the scores of every next token of every beam.
        outputs = keras.tree.flatten([layer.output for layer in self.encoder.layers])
        read = timesteps * max(output.shape[-1] or 1 for output in outputs)
        return max(1, _ELEMENTS_AT_ONCE // (beam_width * max(read, self.output_vocabulary_size)))


def _answers(model: Answering, beam_width: int, x: Any, max_length: Any, length_penalty: Any) -> Answers:
    return model._answers(x, beam_width, max_length, length_penalty)
