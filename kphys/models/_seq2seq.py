"""The class of encoder-decoders: a sequence is read, and answered with another, token by token."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from kphys import _arguments
from kphys.models._answering import Answering
from kphys.models._arrays import NAMES, VALIDATION_NAMES, validation_parts
from kphys.models._saved import KeepsState, with_parts
from kphys.models._seq2seq_parts import check_seq2seq_networks
from kphys.models._tokens import check_pairs, step_weights, teacher_forcing
from kphys.models._training import keep_keras_promises


@keras.saving.register_keras_serializable("kphys")
class Seq2Seq(Answering, KeepsState, keras.Model):
    """An encoder-decoder: learns to answer sequences of tokens with sequences of tokens.

    The encoder reads a question x into states, from which the decoder gives p(y_t | y_1 … y_{t−1}, x), one token after
    the other. Training minimizes the mean of −ln p over the tokens, with the right tokens before each given (teacher
    forcing); asked for an answer, the decoder goes on from its own.

    Tokens are integers from 1; 0 pads sequences at their end, in x and y. To the decoder 0 is also what comes before
    the first token and after the last: it learns to end. Nobody needs tokens for start and end, or shifted targets;
    where the encoder masks it, padding changes nothing.

    `fit(x, y)` and `evaluate(x, y)` take arrays `(samples, timesteps)` and `(samples, out_timesteps)`, or a data set of
    such batches. Under teacher forcing they log, the end counted among the tokens and padding nowhere: `loss`, in nats
    a token; `accuracy`, the share of tokens that are most probable; `sequence_accuracy`, the share of answers all of
    whose tokens are, which are those that the greedy search gives. `sample_weight` is one for a sample or one for a
    token of y, and the end has that of the last token; as in Keras, weights do not change what the sum of losses is
    divided by. `predict(x)` gives the greedy answers, `(samples, max_length)`, as `generate(x)`. Compile it with an
    optimizer alone.

    Args:
        encoder: A functional Keras model, tokens `(batch, timesteps)` to the decoder's states at its start, each
            `(batch, units)`, then whatever the decoder shall be given at every step, such as a memory `(batch,
            timesteps, features)` for attention and its mask. It must mask 0, as `Embedding(mask_zero=True)` does, or
            padding is read like a token.
        decoder: One from tokens `(batch, steps)` and the outputs of `encoder`, in their order, to the logits of the
            next tokens, `(batch, steps, output_vocabulary_size)`, and the states after the last step.
        input_vocabulary_size: Number of different tokens in x, 0 included.
        max_length: Most tokens of an answer. `None`: as many as the widest `y` of `fit` has columns.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, padding) before
            they start; data sets and generators are not looked through.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or an encoder and a decoder that do not fit;
            the message says the mend.

    Reference:
        Sutskever, Vinyals and Le, 2014, "Sequence to sequence learning with neural networks"; Cho et al., 2014,
        "Learning phrase representations using RNN encoder-decoder"; Williams and Zipser, 1989, "A learning algorithm
        for continually running fully recurrent neural networks" (teacher forcing).

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from kphys.models.sequences import Seq2Seq
        >>> layers = keras.layers
        >>> question = keras.Input((None,))
        >>> encoder = keras.Model(question, layers.GRU(16)(layers.Embedding(5, 8, mask_zero=True)(question)))
        >>> tokens, state = keras.Input((None,)), keras.Input((16,))
        >>> gru = layers.GRU(16, return_sequences=True, return_state=True)
        >>> outputs, last = gru(layers.Embedding(5, 8)(tokens), initial_state=state)
        >>> decoder = keras.Model([tokens, state], [layers.Dense(5)(outputs), last])
        >>> model = Seq2Seq(encoder, decoder, 5)
        >>> model.compile("adam")
        >>> x = np.array([[1, 2, 3], [4, 2, 0]])
        >>> history = model.fit(x, x[:, :2], verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss', 'sequence_accuracy']
        >>> model.generate(x).shape
        (2, 2)
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        input_vocabulary_size: int,
        *,
        max_length: int | None = None,
        check_data: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_seq2seq_networks(encoder, decoder)
        self.encoder, self.decoder = encoder, decoder
        self.input_vocabulary_size = _arguments.integer("input_vocabulary_size", input_vocabulary_size, minimum=2)
        self._given_length = None if max_length is None else _arguments.integer("max_length", max_length)
        self.check_data = _arguments.flag("check_data", check_data)
        # TensorFlow's own variable: a fact about the data, which Keras shall not count among the weights.
        self._longest = tf.Variable(
            self._given_length or 0, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
        self._trackers = [keras.metrics.Mean(name=name) for name in ("loss", "accuracy", "sequence_accuracy")]
        self._searches = {}
        self.built = True
        # As on every model of the house, but here: loaded from a file it has them, too.
        keep_keras_promises(self, self.check_arrays if self.check_data else None)

    @property
    def output_vocabulary_size(self) -> int:
        """The number of different tokens in answers, 0 included."""
        return self.decoder.outputs[0].shape[-1]

    @property
    def max_length(self) -> int | None:
        """The most tokens of an answer; `None` before the first `fit` tells."""
        return int(self._longest.numpy()) or None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that make up the logs."""
        return self._trackers

    # === Training ===

    def logits(self, x: Any, y: Any, training: bool = False) -> Any:
        """Gives the logits of every token of the answers `y`, those before it given, as a tensor.

        They are `(batch, out_timesteps + 1, output_vocabulary_size)`: the last step is for the end.
        """
        given, _, _ = teacher_forcing(tf.cast(y, tf.int32))
        return self._decoded(given, *self._read(x, training), training)[0]

    def _read(self, x: Any, training: bool = False) -> tuple[list[Any], list[Any]]:
        """Gives the decoder's first states, and what else it is given at every step."""
        x = tf.cast(x, tf.int32)
        if x.shape[1] == 1:
            x = tf.pad(x, ((0, 0), (0, 1)))  # Keras warns of attention to a single step.
        outputs = keras.tree.flatten(self.encoder(x, training=training))
        # Without the masks that Keras hangs on them, and a decoder does not take.
        outputs = [tf.identity(output) for output in outputs]
        num_states = len(self.decoder.outputs) - 1
        return outputs[:num_states], outputs[num_states:]

    def _decoded(
        self, tokens: Any, states: list[Any], constants: list[Any], training: bool = False
    ) -> tuple[Any, list[Any]]:
        logits, *states = keras.tree.flatten(self.decoder([tokens, *states, *constants], training=training))
        return tf.cast(logits, tf.float32), states

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains on a batch; gives the logs."""
        x, y, sample_weight = self._unpack(data)
        if self._given_length is None:
            self._longest.assign(tf.maximum(self._longest, tf.shape(y)[1]))
        with tf.GradientTape() as tape:
            terms = self._terms(x, y, sample_weight, training=True)
            # Over the tokens of all replicas together: gradients are summed over them.
            loss = tf.reduce_sum(terms["losses"]) / self._over_replicas(tf.reduce_sum(terms["counts"]))
            penalty = terms["penalty"] / self.distribute_strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss + penalty)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return self._logs(**terms)

    def _over_replicas(self, value: Any) -> Any:
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return value
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates a batch; gives the logs."""
        return self._logs(**self._terms(*self._unpack(data), training=False))

    def _unpack(self, data: Any) -> tuple[Any, Any, Any]:
        if self.loss is not None or self._compile_metrics is not None:
            raise ValueError("A Seq2Seq brings its own loss and metrics: compile it with an optimizer alone.")
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None:
            raise ValueError("A Seq2Seq learns from pairs: give the answers y to x, a data set as batches (x, y).")
        return x, tf.cast(y, tf.int32), sample_weight

    def _terms(self, x: Any, y: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        """Gives what loss and metrics are made of: the penalty of the weights, and for every step of every answer."""
        _, targets, counts = teacher_forcing(y)
        weights = step_weights(sample_weight, y, counts)
        logits = self.logits(x, y, training)
        losses = weights * tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        right = tf.equal(targets, tf.argmax(logits, axis=-1, output_type=tf.int32))
        return {"losses": losses, "right": right, "weights": weights, "counts": counts, "penalty": sum(self.losses)}

    def _logs(self, losses: Any, right: Any, weights: Any, counts: Any, penalty: Any) -> dict[str, Any]:
        loss, accuracy, sequence_accuracy = self._trackers
        number = tf.reduce_sum(counts)
        loss.update_state(tf.reduce_sum(losses) / number + penalty, number)
        accuracy.update_state(tf.cast(right, tf.float32), weights)
        each = tf.reduce_sum(weights, axis=1) / tf.reduce_sum(counts, axis=1)
        sequence_accuracy.update_state(tf.reduce_all(right | tf.equal(weights, 0), axis=1), each)
        return self.get_metrics_result()

    # === Arrays and files ===

    def check_arrays(
        self, x: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None, class_weight: Any = None
    ) -> None:
        """Raises the error that says what is wrong with the arrays of `fit` or `evaluate`."""
        check = functools.partial(check_pairs, (self.input_vocabulary_size, self.output_vocabulary_size))
        if class_weight is not None:
            raise ValueError("`class_weight` takes one label a sample, and answers have many: pass `sample_weight`.")
        check(NAMES, x, y, sample_weight)
        for part in validation_parts(validation_data):
            check(VALIDATION_NAMES, *part)

    def _kept_state(self) -> dict[str, Any]:
        return {**super()._kept_state(), "max_length": self._longest}

    def load_own_variables(self, store: Any) -> None:
        """Puts weights and state back; a length of answers that was given stays."""
        super().load_own_variables(store)
        if self._given_length is not None:
            self._longest.assign(self._given_length)

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "input_vocabulary_size": self.input_vocabulary_size,
            "max_length": self._given_length,
            "check_data": self.check_data,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Seq2Seq:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, ("encoder", "decoder"), custom_objects))
