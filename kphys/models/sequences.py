"""Text and sequences: networks that write on, character by character, and those that answer a sequence with one."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._char_rnn import CharRNN
from kphys.models._characters import character_dataset
from kphys.models._forecast import forecast
from kphys.models._seq2seq import Seq2Seq
from kphys.models._seq2seq_parts import Layers, decoder_network, encoder_network
from kphys.models._training import compile_for
from kphys.models.dense import LearningRate
from kphys.models.recurrent import recurrent_stack

__all__ = ["CharRNN", "Seq2Seq", "char_rnn", "character_dataset", "forecast", "seq2seq"]


def char_rnn(
    vocabulary_size: int,
    *,
    cell: str = "lstm",
    units: int | Sequence[int] = (256, 256),
    embedding_dim: int = 64,
    layer_normalization: bool = False,
    stateful: bool = False,
    batch_size: int | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> CharRNN:
    """Gives a network that foretells the next character of a text, and writes text of its own.

    Every character has a vector, which recurrent layers read (the cells of `rnn_classifier`); softmax over their last
    states gives p(next | all before). Training minimizes the mean of −ln p, in nats a character.

    Args:
        vocabulary_size: Number of characters, `len(dataset.vocabulary)`.
        cell: "lstm", "gru" or "simple".
        units: Units of each recurrent layer; the length is the depth.
        embedding_dim: Components of a character's vector, which starts from N(0, 1).
        layer_normalization: As in `rnn_classifier`.
        stateful: `True` carries the states from batch to batch, for data sets with `stateful=True`: the network learns
            with a memory longer than the pieces. Every epoch, evaluation and prediction starts from the state zero.
        batch_size: Pieces in every batch, with `stateful` only.
        dropout, l1, l2: As in `rnn_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `CharRNN`, a `keras.Model`: numbers of characters `(batch, timesteps)` in, probabilities `(batch,
        timesteps, vocabulary_size)` out. `fit` takes a `character_dataset`, or arrays of numbers x and y, and logs
        `loss`, in nats a character, and `accuracy`. `generate(prompt, length, temperature, seed)` writes.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Sutskever, Martens and Hinton, 2011, "Generating text with recurrent neural networks"; Graves, 2013, "Generating
        sequences with recurrent neural networks"; Karpathy, 2015, "The unreasonable effectiveness of recurrent neural
        networks".

    Example:
        >>> from kphys.models.sequences import char_rnn, character_dataset
        >>> dataset = character_dataset("to be or not to be " * 100, 20, 8, seed=0)
        >>> model = char_rnn(len(dataset.vocabulary), units=32, learning_rate=0.02, seed=0)
        >>> history = model.fit(dataset, epochs=10, verbose=0)
        >>> model.generate("to be or", 11, temperature=0)
        ' not to be '
    """
    vocabulary_size = _arguments.integer("vocabulary_size", vocabulary_size, minimum=2)
    embedding_dim = _arguments.integer("embedding_dim", embedding_dim)
    stateful = _arguments.flag("stateful", stateful)
    if stateful != (batch_size is not None):
        raise ValueError(
            "`batch_size` goes with `stateful`: states belong to the rows of a batch, whose number must be known, and "
            f"without they are not kept; got stateful={stateful} and batch_size={batch_size}."
        )
    batch_size = None if batch_size is None else _arguments.integer("batch_size", batch_size)
    _parts.check_room("`batch_size` and `units`", batch_size or 1, max(_arguments.integers("units", units)))
    seeds = _parts.Seeds(seed)

    inputs = keras.Input((None,), batch_size=batch_size, dtype="int32", name="inputs")
    features = _parts.embedding(vocabulary_size, embedding_dim, seeds, spread=1.0)(inputs)
    features = recurrent_stack(
        features,
        units,
        cell=cell,
        bidirectional=False,
        layer_normalization=layer_normalization,
        return_sequences=True,
        regularization=_parts.Regularization(dropout, l1, l2),
        seeds=seeds,
        stateful=stateful,
    )
    _parts.check_room("`vocabulary_size` and `units`", features.shape[-1], vocabulary_size)
    outputs = keras.layers.Dense(
        vocabulary_size,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seeds()),
        dtype="float32",
        name="outputs",
    )(features)
    network = keras.Model(inputs, outputs, name="network")
    model = CharRNN(network, check_data=check_data, name=_parts.model_name(name, "char_rnn"))
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    compile_for("recurrent", model, optimizer, learning_rate, "sparse_categorical_crossentropy", [accuracy])
    return model


def seq2seq(
    input_vocabulary_size: int,
    output_vocabulary_size: int,
    *,
    cell: str = "lstm",
    units: int | Sequence[int] = (256,),
    embedding_dim: int = 64,
    bidirectional: bool = False,
    attention: bool = False,
    max_length: int | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> Seq2Seq:
    """Gives a network that answers sequences of tokens with sequences of tokens: sums, formulas, translations.

    An encoder of recurrent layers reads the question (the cells of `rnn_classifier`). Its last states are the first of
    a decoder of as many layers, whose softmax gives p(next token | question, answer so far). Training minimizes the
    mean of −ln p over the tokens of the right answers.

    Tokens are integers from 1; 0 pads sequences at their end and is the decoder's sign for start and end, which you
    need not put into x or y.

    Args:
        input_vocabulary_size: Number of different tokens in x, 0 included: tokens are 1 to `input_vocabulary_size` − 1.
        output_vocabulary_size: The same for y.
        cell: "lstm", "gru" or "simple".
        units: Units of each recurrent layer, in encoder and decoder; the length is the depth.
        embedding_dim: Components of a token's vector.
        bidirectional: `True` has the encoder read forwards and backwards, `units` in each direction; a linear layer
            makes the decoder's first states of both.
        attention: `True` lets the decoder look back at every step t at all states m_s of the encoder, by weights
            softmax_s(h_t · W m_s): Luong's attention, `keras.layers.Attention`. For long questions.
        max_length: Most tokens of an answer. `None`: as many as the widest `y` of `fit` has columns.
        dropout: Share of the units left out in each training step, in [0, 1), on the way into every recurrent layer
            and out of the last.
        l1, l2: As in `rnn_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `Seq2Seq`, a `keras.Model`: `fit(x, y)` takes integers `(samples, timesteps)` and
        `(samples, out_timesteps)` and logs `loss`, in nats a token, `accuracy` and `sequence_accuracy`. `predict(x)`
        and `generate(x)` give the answers; `generate` also by beam search and with their probabilities.
        On a CPU training compiles anew for every width of its batches: pad those of a data set to one width, or
        compile again with `jit_compile=False`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Sutskever, Vinyals and Le, 2014, "Sequence to sequence learning with neural networks"; Luong, Pham and Manning,
        2015, "Effective approaches to attention-based neural machine translation"; Zaremba, Sutskever and Vinyals,
        2014, "Recurrent neural network regularization" (where dropout goes).

    Example:
        >>> import numpy as np
        >>> from kphys.models.sequences import seq2seq
        >>> x = np.random.default_rng(0).integers(1, 4, size=(512, 3))
        >>> model = seq2seq(4, 4, units=32, learning_rate=0.02, seed=0)
        >>> history = model.fit(x, x[:, ::-1], epochs=10, verbose=0)
        >>> model.generate(np.array([[1, 2, 3]]))
        array([[3, 2, 1]], dtype=int32)
    """
    input_vocabulary_size = _arguments.integer("input_vocabulary_size", input_vocabulary_size, minimum=2)
    output_vocabulary_size = _arguments.integer("output_vocabulary_size", output_vocabulary_size, minimum=2)
    bidirectional = _arguments.flag("bidirectional", bidirectional)
    attention = _arguments.flag("attention", attention)
    layers = Layers(cell, units, embedding_dim, _parts.Regularization(dropout, l1, l2), _parts.Seeds(seed))
    encoder = encoder_network(input_vocabulary_size, layers, bidirectional, attention)
    model = Seq2Seq(
        encoder,
        decoder_network(output_vocabulary_size, layers, encoder.outputs, attention),
        input_vocabulary_size,
        max_length=max_length,
        check_data=check_data,
        name=_parts.model_name(name, "seq2seq"),
    )
    compile_for("recurrent", model, optimizer, learning_rate)
    return model
