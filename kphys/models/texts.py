"""Text: the classifier that takes raw strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kphys import _arguments
from kphys.models import _parts
from kphys.models._heads import classifier_head
from kphys.models._texts import FIRST_WORD, some, take_texts
from kphys.models._training import finish_model
from kphys.models._word_vectors import WordVectors
from kphys.models.dense import LearningRate
from kphys.models.recurrent import recurrent_stack

EMBEDDING_DIM = 64
_ADAPT = "make one with vectorization = keras.layers.TextVectorization() and vectorization.adapt(texts)."


def text_classifier(
    vectorization: keras.layers.TextVectorization,
    num_classes: int,
    *,
    embedding_dim: int | None = None,
    word_vectors: WordVectors | None = None,
    trainable_embedding: bool = True,
    cell: str = "lstm",
    units: int | Sequence[int] = (64,),
    bidirectional: bool = False,
    layer_normalization: bool = False,
    multilabel: bool = False,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a recurrent network that tells classes of texts apart: raw strings in, probabilities out.

    `vectorization` cuts a text into words and numbers them, an embedding turns word w into the vector E(w), a row of a
    table that is learnt, and the layers of cells of `rnn_classifier` read these vectors one by one, x(t) = E(w(t)). The
    class is read off their last state. Shorter texts of a batch are padded, and the padding counts nowhere.

    Args:
        vectorization: A `keras.layers.TextVectorization` that has seen texts (`adapt`) or was given its `vocabulary`.
            It says what a word is, and with `output_sequence_length` after how many words a text is cut: texts in
            memory are then cut into words once, before the first epoch (four bytes a word), and long trainings take
            half the time and less. With `max_tokens` the rarest words share one vector with all words that come later;
            without it that vector is not trained.
        num_classes: Number of classes, or of labels with `multilabel`, as in `mlp_classifier`.
        embedding_dim: Number of components of E(w). `None`: 64, or as many as `word_vectors` have.
        word_vectors: Trained `WordVectors`, such as `word_vectors` or `WordVectors.from_file` give: E(w) starts as the
            vector of the word w, looked up as it stands, then in lower case. Words without a vector start at 0.
            `vectorization` may take their words, `TextVectorization(vocabulary=vectors.vocabulary.words)`. `None`: E
            starts at random.
        trainable_embedding: `False` keeps E as it starts.
        cell, units, bidirectional, layer_normalization: As in `rnn_classifier`.
        multilabel: As in `mlp_classifier`.
        dropout, l1, l2: As in `rnn_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `keras.Model`: strings in, a list or an array `(batch,)`, or a data set with batches of them;
        outputs, targets and logs of `mlp_classifier`. The `.keras` file holds the vocabulary. What is loaded from it is
        a plain Keras model, to which texts are given as Keras has it, `tf.constant(texts)`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Those of `rnn_classifier`; Bengio, Ducharme, Vincent and Jauvin, 2003, "A neural probabilistic language model"
        (the table of word vectors).

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from kphys.models.texts import text_classifier
        >>> texts = ["a muon decays", "the muon decays", "a star shines", "the star shines"] * 20
        >>> vectorization = keras.layers.TextVectorization()
        >>> vectorization.adapt(texts)
        >>> model = text_classifier(vectorization, 2, embedding_dim=8, units=8, learning_rate=0.02, seed=0)
        >>> history = model.fit(texts, np.array([0, 0, 1, 1] * 20), epochs=8, verbose=0)
        >>> probability = model.predict(["The star!", "A muon"], verbose=0)
        >>> probability.shape, bool(probability[0, 0] > 0.5 > probability[1, 0])
        ((2, 1), True)
    """
    vectorization = _checked_vectorization(vectorization)
    num_classes = _parts.num_classes(num_classes, multilabel)
    head = classifier_head(num_classes, multilabel=multilabel)
    rows = None if word_vectors is None else _rows(vectorization, word_vectors)
    seeds = _parts.Seeds(seed)
    embedding = _parts.embedding(
        vectorization.vocabulary_size(),
        _embedding_dim(embedding_dim, rows),
        seeds,
        mask_zero=True,
        trainable=_arguments.flag("trainable_embedding", trainable_embedding),
    )
    texts = keras.Input((), dtype="string", name="texts")
    words = vectorization(texts)  # (batch, words)
    if words.shape[1] is None:
        # Where all texts of a batch are empty, there is still something to read.
        words = ops.pad(words, [[0, 0], [0, 1]])
    features = recurrent_stack(
        embedding(words),
        units,
        cell=cell,
        bidirectional=bidirectional,
        layer_normalization=layer_normalization,
        return_sequences=False,
        regularization=_parts.Regularization(dropout, l1, l2),
        seeds=seeds,
    )
    model = finish_model(
        texts,
        features,
        head,
        family="recurrent of any length",  # XLA has no strings, but what `take_texts` makes of some.
        optimizer=optimizer,
        learning_rate=learning_rate,
        seed=seeds(),
        check_data=check_data,
        name=_parts.model_name(name, "text_classifier"),
    )
    if rows is not None:
        embedding.set_weights([rows])
    take_texts(model, vectorization, check_data)
    return model


def _checked_vectorization(layer: Any) -> keras.layers.TextVectorization:
    if not isinstance(layer, keras.layers.TextVectorization):
        raise TypeError(
            f"`vectorization` must be an adapted keras.layers.TextVectorization, got {type(layer).__name__}: {_ADAPT}"
        )
    config = layer.get_config()
    for argument, wanted in (("output_mode", "int"), ("ragged", False)):
        if config[argument] != wanted:
            raise ValueError(
                f"`vectorization` must give every word of a text its number, got one with {argument}="
                f"{config[argument]!r}: make it with {argument}={wanted!r}."
            )
    if config["split"] is None:
        raise ValueError(
            "`vectorization` must cut texts into words, got one with split=None: make it with split='whitespace' or "
            "'character'."
        )
    if layer.vocabulary_size() <= FIRST_WORD:
        raise ValueError(f"`vectorization` must be adapted to texts first, got one that knows no word: {_ADAPT}")
    return layer


def _embedding_dim(value: int | None, rows: np.ndarray | None) -> int:
    if value is None:
        return EMBEDDING_DIM if rows is None else rows.shape[1]
    value = _arguments.integer("embedding_dim", value)
    if rows is not None and value != rows.shape[1]:
        raise ValueError(
            f"`embedding_dim` is {value}, but `word_vectors` have {rows.shape[1]} components: leave it out."
        )
    return value


def _rows(vectorization: keras.layers.TextVectorization, word_vectors: Any) -> np.ndarray:
    """Gives the table that has the vector of every word in the row where `vectorization` looks for it."""
    if not isinstance(word_vectors, WordVectors):
        raise TypeError(
            f"`word_vectors` must be trained kphys.WordVectors, got {type(word_vectors).__name__}: train "
            "word_vectors(...), or read a file with WordVectors.from_file."
        )
    words = vectorization.get_vocabulary()
    numbers = {row: word_vectors.vocabulary.known(words[row]) for row in range(FIRST_WORD, len(words))}
    known = {row: number for row, number in numbers.items() if number is not None}
    if not known:
        others = word_vectors.vocabulary.names(range(min(3, len(word_vectors.vocabulary))))
        raise ValueError(
            f"`word_vectors` must hold words of `vectorization`, such as {some(words[FIRST_WORD:])}, got vectors of "
            f"others, such as {some(others)}: train them on texts that are written alike."
        )
    table = np.zeros((len(words), word_vectors.embedding_dim), "float32")
    table[list(known)] = word_vectors.vectors[list(known.values())]
    return table
