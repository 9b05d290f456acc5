"""Text and numbers of words, read in blocks of one size: what is in memory is one block, however long the text."""

from __future__ import annotations

import bisect
import gzip
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kphys.models._vocabulary import Vocabulary

_PIECE = 65_536  # Words that are read before they are handed on.
_CHARACTERS = 1_048_576  # Of a line that are read at once, as a sentence: there are texts in one single line.


class Piece(NamedTuple):
    """Numbers of words, `(words,)`, and the ascending positions after the first at which a sentence starts."""

    ids: np.ndarray
    starts: np.ndarray

    def cut(self, start: int, stop: int) -> Piece:
        """Gives the words from `start` up to `stop`."""
        first, last = bisect.bisect_right(self.starts, start), bisect.bisect_left(self.starts, stop)
        return Piece(self.ids[start:stop], self.starts[first:last] - start)

    def followed_by(self, other: Piece) -> Piece:
        """Gives both as one; `other` starts a sentence."""
        size = len(self.ids)
        starts = np.concatenate([self.starts, [size], other.starts + size]) if size else other.starts
        return Piece(np.concatenate([self.ids, other.ids]), starts.astype("int64"))


def blocks(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    """Gives the words of `pieces` in blocks of `size`, the last one as long as it comes out."""
    rest = Piece(np.empty(0, "int32"), np.empty(0, "int64"))
    for piece in pieces:
        if len(rest.ids):
            piece = rest.followed_by(piece)
        full = len(piece.ids) // size * size
        for start in range(0, full, size):
            yield piece.cut(start, start + size)
        rest = piece.cut(full, len(piece.ids))
    if len(rest.ids):
        yield rest


class Corpus:
    """A text in any of the forms that `WordVectors.fit` takes.

    `name` is what errors call it; `holds_words` says whether it is made of words or of numbers, `once` whether it can
    be read a single time only.
    """

    def __init__(self, x: Any, name: str):
        self.name, self._x = name, x
        self._path = self._encoded = None
        if isinstance(x, (str, os.PathLike)):
            self._path = _existing_file(name, x)
        elif not isinstance(x, Iterable) or getattr(x, "ndim", 1) == 0:
            raise TypeError(
                f"`{name}` must be a list of sentences, numbers of words, an iterator of either, or the path of a text "
                f"file, got {x!r} ({type(x).__name__})."
            )
        elif isinstance(x, np.ndarray):
            if np.ma.is_masked(x):
                raise ValueError(f"`{name}` must not have masked values: drop them, {name}.compressed() for one text.")
            self._x = np.asarray(x)  # Of a matrix every row were a matrix again.
        elif isinstance(x, (list, tuple)) and len(x) and all(isinstance(v, (int, np.integer)) for v in x[:100]):
            self._x = np.asarray(x)
        self.once = self._path is None and iter(x) is x
        self.holds_words = self._path is not None or self._first_is_text()

    def _first_is_text(self) -> bool:
        if isinstance(self._x, np.ndarray) and self._x.dtype.kind in "iuf":
            return False
        iterator, looked_at = iter(self._x), []
        for first in iterator:
            looked_at.append(first)
            if not isinstance(first, (str, list, tuple)) or len(first):
                break
        else:
            raise ValueError(f"`{self.name}` is empty: it must hold at least one sentence.")
        if self.once:
            self._x = itertools.chain(looked_at, iterator)
        if isinstance(first, (str, bytes)):
            return True
        return isinstance(first, (list, tuple)) and any(isinstance(word, str) for word in first[:1])

    @property
    def in_memory(self) -> bool:
        """Whether all of the text is in memory anyway."""
        return isinstance(self._x, (list, tuple, np.ndarray))

    def count_words(self) -> Counter[str]:
        """Counts the words in a reading of their own."""
        counter: Counter[str] = Counter()
        neighbours = False
        for words in self._sentences():
            counter.update(words)
            neighbours = neighbours or len(words) > 1
        if counter and not neighbours:
            raise self.no_neighbours()
        return counter

    def no_neighbours(self) -> ValueError:
        """Gives the error for a text of sentences of one word."""
        return ValueError(
            f"`{self.name}` has a single word of the vocabulary in every sentence: a list of words is one sentence, "
            "pass [words]."
        )

    def pieces(self, vocabulary: Vocabulary | None) -> Iterator[Piece]:
        """Gives the numbers of the words, words that the vocabulary lacks left out; `None` for numbers."""
        if self._encoded is not None:
            return iter([self._encoded])
        if self.holds_words:
            return _numbers(self._sentences(), vocabulary.index)
        return _arrays(self.name, self._x)

    def keep_encoded(self, vocabulary: Vocabulary) -> None:
        """Turns a text that is in memory into numbers once, for all epochs."""
        if self.holds_words and self.in_memory:
            pieces = list(self.pieces(vocabulary))
            sizes = [0, *itertools.accumulate(len(piece.ids) for piece in pieces)]
            starts = [piece.starts + size for piece, size in zip(pieces, sizes, strict=False)]
            joints = np.array(sizes[1:-1], "int64")
            ids = np.concatenate([piece.ids for piece in pieces]) if pieces else np.empty(0, "int32")
            self._encoded = Piece(ids, np.sort(np.concatenate([*starts, joints])).astype("int64"))

    def _sentences(self) -> Iterator[list[str]]:
        if self._path is not None:
            yield from _lines(self._path)
            return
        for index, sentence in enumerate(self._x):
            if isinstance(sentence, str):
                yield sentence.split()
            elif isinstance(sentence, (list, tuple)) and all(isinstance(word, str) for word in sentence):
                yield sentence
            else:
                raise TypeError(
                    f"`{self.name}` must hold sentences, each a string or a list of words: sentence {index} is "
                    f"{sentence!r:.60} ({type(sentence).__name__})."
                )


def _existing_file(name: str, path: str | os.PathLike[str]) -> pathlib.Path:
    # Not the method of a `Path`, which raises an error for a long text.
    if not os.path.isfile(path):
        raise ValueError(
            f"`{name}` is a string, which names a text file, and there is no file {os.fspath(path)!r:.80}: "
            "pass a text itself as a list of sentences, [text]."
        )
    return pathlib.Path(path)


def _lines(path: pathlib.Path) -> Iterator[list[str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        rest = ""
        try:
            while part := file.readline(_CHARACTERS):
                words = (rest + part).split()
                # The last word may go on in the next part.
                whole = len(part) < _CHARACTERS or part[-1].isspace()
                rest = "" if whole or not words else words.pop()
                yield words
        except UnicodeDecodeError as error:
            raise ValueError(f"The text file {str(path)!r} must be UTF-8: {error}.") from error
        except (gzip.BadGzipFile, EOFError) as error:
            raise ValueError(f"The text file {str(path)!r} must be a whole gzip file: {error}.") from error
        if rest:
            yield [rest]


def _numbers(sentences: Iterable[list[str]], index: dict[str, int]) -> Iterator[Piece]:
    ids: list[int] = []
    lengths: list[int] = []
    unknown = itertools.repeat(-1)
    for words in sentences:
        ids.extend(map(index.get, words, unknown))
        lengths.append(len(words))
        if len(ids) >= _PIECE:
            yield _known(ids, lengths)
            ids, lengths = [], []
    yield _known(ids, lengths)


def _known(ids: list[int], lengths: list[int]) -> Piece:
    numbers = np.array(ids, "int32")
    found = numbers >= 0
    # How many known words precede each sentence's end: where the next one starts once the others are gone.
    ends = np.concatenate([[0], np.cumsum(found)])[np.cumsum(lengths, dtype="int64")]
    numbers = numbers[found]
    starts = np.unique(ends)
    return Piece(numbers, starts[(starts > 0) & (starts < len(numbers))].astype("int64"))


def _arrays(name: str, x: Any) -> Iterator[Piece]:
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "iu" or x.ndim not in (1, 2):
            raise ValueError(
                f"`{name}` must hold integers, the numbers of the words, as one text `(words,)` or as "
                f"`(sentences, words)`, got the shape {x.shape} of {x.dtype}."
            )
        starts = np.arange(1, len(x)) * x.shape[1] if x.ndim == 2 else np.empty(0)
        yield Piece(x.reshape(-1), starts.astype("int64"))
        return
    held: list[np.ndarray] = []
    size = 0
    for index, item in enumerate(x):
        array = np.asarray(item)
        if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
            raise ValueError(
                f"`{name}` must hold integers, the numbers of the words of a sentence, `(words,)`: item {index} has "
                f"the shape {array.shape} of {array.dtype}."
            )
        if array.size:
            held.append(array)
            size += len(array)
        if size >= _PIECE:
            yield _joined(held)
            held, size = [], 0
    if held:
        yield _joined(held)


def _joined(arrays: list[np.ndarray]) -> Piece:
    ids = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Piece(ids, np.cumsum([len(array) for array in arrays[:-1]], dtype="int64"))
