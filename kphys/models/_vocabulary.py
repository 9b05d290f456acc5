"""The words of a text, each with its number and how often it was counted."""

from __future__ import annotations

import json
import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kphys import _arguments

_SPELLINGS = 100_000  # Words that a misspelt one is compared with: the most frequent ones; each costs 10 µs.


class UnknownWord(KeyError):
    """A word or a number that the vocabulary does not hold."""

    def __str__(self) -> str:
        # Not in quotation marks, as a KeyError has it.
        return self.args[0]


class Vocabulary:
    """Words and counts by number. Where only numbers are known, `words` is `None`, and a number is its own name.

    Args:
        words: The words, word i at place i. `None`: numbers alone.
        counts: How often each was counted. `None`: not counted yet.
    """

    def __init__(self, words: Sequence[str] | None, counts: Any = None):
        self.words = None if words is None else list(words)
        self.counts = None if counts is None else np.asarray(counts, "int64")
        self.index = {} if words is None else {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.counts) if self.words is None else len(self.words)

    @classmethod
    def of_text(cls, counter: Counter[str], size: int) -> Vocabulary:
        """Gives the `size` most frequent words, the most frequent one first; equals in order of appearance."""
        common = counter.most_common(size)
        return cls([word for word, _ in common], [count for _, count in common])

    @classmethod
    def checked(cls, words: Any, counts: Any, size: int) -> Vocabulary:
        """Gives the vocabulary of a user's `words` and `counts`, for at most `size` words."""
        if isinstance(words, str) or not isinstance(words, (Sequence, np.ndarray)):
            raise TypeError(f"`words` must be a list of words, got {words!r} ({type(words).__name__}).")
        words = [str(word) if isinstance(word, np.str_) else word for word in words]
        wrong = next((index for index, word in enumerate(words) if not isinstance(word, str) or not word), None)
        if wrong is not None:
            raise TypeError(f"`words` must hold words alone, got words[{wrong}] = {words[wrong]!r}.")
        if not words:
            raise ValueError("`words` must hold at least one word, got none.")
        if len(words) > size:
            raise ValueError(
                f"`words` holds {len(words)} words, but `vocabulary_size` is {size}: "
                f"drop the rare ones, or build with vocabulary_size={len(words)}."
            )
        if len(set(words)) < len(words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"`words` must hold every word once, got {twice!r} twice.")
        return cls(words, None if counts is None else _checked_counts(counts, len(words)))

    def number(self, key: Any) -> int:
        """Gives the number of a word, or a number back; raises `UnknownWord`."""
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            if not 0 <= key < len(self):
                raise UnknownWord(f"The word number {key} is not in the vocabulary, which has 0 to {len(self) - 1}.")
            return int(key)
        if not isinstance(key, str):
            raise TypeError(f"A word must be a string, or its number, got {key!r} ({type(key).__name__}).")
        if self.words is None:
            raise UnknownWord(f"The word {key!r} is unknown: these vectors were trained on numbers, ask for a number.")
        number = self.index.get(key)
        if number is None:
            nearest = _arguments.nearest(key, self.words[:_SPELLINGS])
            raise UnknownWord(f"The word {key!r} is not in the vocabulary of {len(self)} words.{nearest}")
        return number

    def known(self, key: Any) -> int | None:
        """Gives the number of a word of a test file, as it stands or in lower case, or `None`."""
        if self.words is None:
            return None
        number = self.index.get(key)
        return self.index.get(key.lower()) if number is None else number

    def names(self, numbers: Iterable[int]) -> list[Any]:
        """Gives the words of `numbers`, or the numbers where there are no words."""
        return [int(number) if self.words is None else self.words[number] for number in numbers]

    def save(self, path: pathlib.Path) -> None:
        """Writes words and counts."""
        counts = None if self.counts is None else self.counts.tolist()
        path.write_text(json.dumps({"words": self.words, "counts": counts}), encoding="utf-8")

    @classmethod
    def load(cls, path: pathlib.Path) -> Vocabulary:
        """Reads what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def _checked_counts(counts: Any, size: int) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.shape != (size,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"`counts` must be {size} integers, one for each of `words`, got the shape {counts.shape} of "
            f"{counts.dtype}."
        )
    if (counts < 0).any() or not counts.any():
        raise ValueError("`counts` must not be negative, and at least one must be above zero.")
    return counts
