"""Characters as numbers: the vocabulary of a text, and data sets of its pieces."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys.models._pipelines import untuned

_AT_ONCE = 1_000_000  # Characters that are looked up at once: as a tensor of strings each takes 24 bytes.
_MOST_NAMED = 10


def character_dataset(
    text: str,
    sequence_length: int,
    batch_size: int,
    stateful: bool = False,
    *,
    vocabulary: str | None = None,
    shuffle: bool = True,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Gives a text as a data set of pieces and of what follows: for every character the next one.

    With c₀, c₁, … the numbers of the characters and T the length of the pieces, x = (c_s, …, c_{s+T−1}) and
    y = (c_{s+1}, …, c_{s+T}). Pieces do not overlap: an epoch sees no character twice.

    Args:
        text: The text.
        sequence_length: T, characters in a piece.
        batch_size: Pieces in a batch.
        stateful: `False`: pieces come in any order, and every one is read from the state zero. `True`: row i of a batch
            goes on where row i of the batch before ended, for `char_rnn(stateful=True)`, which keeps the states; each
            row reads a part of the text of its own, nothing is shuffled.
        vocabulary: The characters that have numbers, each once. `None`: those of `text`, sorted. For a text to validate
            on pass that of the text learnt from.
        shuffle: `True` draws a new order of the pieces in every epoch and leaves out those that do not fill a batch;
            `False`, for validation, keeps all in order. What does not fill a piece, at the end of the text or of each
            row's part of it, is left out.
        seed: Fixes the orders. `None`: new ones each time.

    Returns:
        A `tf.data.Dataset` of `x, y`, both integers `(batch, sequence_length)`. Its attribute `vocabulary` is the
        string of all characters, number i at place i, which `fit` takes over, and `rows` the number of rows that go
        on, `None` without `stateful`; `map`, `cache` and the like lose both.

    Raises:
        ValueError, TypeError: A text that is too short for a piece, or one a row, or holds characters that are not in
            `vocabulary`, or another argument that the above does not allow; its message says the mend.

    Reference:
        Karpathy, 2015, "The unreasonable effectiveness of recurrent neural networks".

    Example:
        >>> from kphys.models.sequences import character_dataset
        >>> dataset = character_dataset("to be or not to be", 4, 2, shuffle=False)
        >>> dataset.vocabulary
        ' benort'
        >>> x, y = next(iter(dataset))
        >>> ["".join(dataset.vocabulary[number] for number in row) for row in y.numpy()]
        ['o be', ' or ']
    """
    text = checked_text("text", text)
    sequence_length = _arguments.integer("sequence_length", sequence_length)
    batch_size = _arguments.integer("batch_size", batch_size)
    stateful = _arguments.flag("stateful", stateful)
    shuffle = _arguments.flag("shuffle", shuffle) and not stateful
    seed = _arguments.seed("seed", seed)
    rows = batch_size if stateful else 1
    if len(text) < rows * sequence_length + 1:
        several = f", and {batch_size} rows with `stateful`," if stateful else ""
        raise ValueError(
            f"`text` has {len(text)} characters, and pieces of `sequence_length` {sequence_length}{several} need "
            f"at least {rows * sequence_length + 1}: give a longer text or a smaller `sequence_length`."
        )
    vocabulary = "".join(sorted(set(text))) if vocabulary is None else checked_vocabulary(vocabulary)
    starts = _starts(len(text), sequence_length, rows)
    dataset = tf.data.Dataset.from_tensor_slices(starts)
    if shuffle:
        dataset = dataset.shuffle(len(starts), seed)
    # Batches of one size: another one at the end would be compiled anew.
    dataset = dataset.batch(batch_size, drop_remainder=stateful or (shuffle and len(starts) >= batch_size))
    numbers = tf.constant(encode("text", text, vocabulary))
    places = np.arange(sequence_length + 1)

    def piece(start: Any) -> tuple[Any, Any]:
        piece = tf.gather(numbers, start[:, None] + places)
        return piece[:, :-1], piece[:, 1:]

    dataset = untuned(dataset.map(piece).prefetch(tf.data.AUTOTUNE))
    dataset.vocabulary, dataset.rows = vocabulary, batch_size if stateful else None
    return dataset


def _starts(characters: int, length: int, rows: int) -> np.ndarray:
    """Gives where the pieces start, in the order of reading: piece by piece, and of every piece all rows."""
    pieces = (characters - 1) // rows // length
    return (np.arange(pieces)[:, None] * length + np.arange(rows) * pieces * length).reshape(-1)


def encode(name: str, text: str, vocabulary: str) -> np.ndarray:
    """Gives the numbers of the characters of `text`, `(characters,)`; refuses what `vocabulary` lacks."""
    unknown = sorted(set(text) - set(vocabulary))
    if unknown:
        named = ", ".join(map(repr, unknown[:_MOST_NAMED]))
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise ValueError(
            f"`{name}` holds characters that are not among the {len(vocabulary)} of the vocabulary: {named}{more}. "
            "Replace them, or learn from a text that has them."
        )
    lookup = keras.layers.StringLookup(vocabulary=list(vocabulary), num_oov_indices=0)
    parts = (text[start : start + _AT_ONCE] for start in range(0, len(text), _AT_ONCE))
    numbers = [lookup(tf.strings.unicode_split(part, "UTF-8")).numpy() for part in parts]
    return np.concatenate(numbers).astype("int32")


def checked_vocabulary(value: Any) -> str:
    """Gives a vocabulary back as a string, every character once."""
    if isinstance(value, (list, tuple)) and all(isinstance(character, str) for character in value):
        wrong = next((character for character in value if len(character) != 1), None)
        if wrong is not None:
            raise ValueError(f"`vocabulary` must hold single characters, got {wrong!r}.")
        value = "".join(value)
    value = checked_text("vocabulary", value)
    if len(set(value)) < len(value):
        twice = next(character for character in value if value.count(character) > 1)
        raise ValueError(f"`vocabulary` must hold every character once, got {twice!r} twice.")
    return value


def checked_text(name: str, value: Any) -> str:
    """Gives a text back, of at least one character."""
    if not isinstance(value, str):
        mend = ": pass value.decode()." if isinstance(value, bytes) else "."
        raise TypeError(f"`{name}` must be a string, got {type(value).__name__}{mend}")
    if not value:
        raise ValueError(f"`{name}` is empty: it must hold at least one character.")
    if "\0" in value:
        raise ValueError(
            f"`{name}` holds the character '\\x00' at place {value.index(chr(0))}, which ends strings in TensorFlow: "
            "remove it."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{name}` holds half of a surrogate pair at place {error.start}, which is no character: read the text "
            'with encoding="utf-8".'
        ) from None
    return value
