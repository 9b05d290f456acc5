"""What trained word vectors are asked: neighbours, analogies, the odd one out, and how they do in tests."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kphys import _arguments

_SCORES_AT_ONCE = 4_194_304  # Similarities in memory at a time.
_MEND = "for the words of this text, or a larger vocabulary."


class SimilarityScore(NamedTuple):
    """How well similarities agree with those that people gave.

    Spearman's ρ, its standard error √((1 − ρ²) / (n − 2)), the number n of pairs it comes from, and the share of all
    pairs that were left out as a word of them is not in the vocabulary.
    """

    correlation: float
    error: float
    num_pairs: int
    out_of_vocabulary: float


class AnalogyScore(NamedTuple):
    """How many questions of a section were answered right, of how many, and how many had an unknown word."""

    num_correct: int
    num_questions: int
    num_unknown: int

    @property
    def accuracy(self) -> float:
        """The share of right answers, NaN without questions."""
        return self.num_correct / self.num_questions if self.num_questions else math.nan


class WordAnswers:
    """The questions, for a model with `words`, an `Embedding`, and `vocabulary`."""

    @property
    def vectors(self) -> np.ndarray:
        """The vectors of the words of the vocabulary, `(words, embedding_dim)`."""
        return keras.ops.convert_to_numpy(self.words.embeddings)[: len(self.vocabulary)]

    def __getitem__(self, word: str | int) -> np.ndarray:
        """Gives the vector of a word, `(embedding_dim,)`; raises a `KeyError` that names the nearest spelling."""
        number = self.vocabulary.number(word)
        return keras.ops.convert_to_numpy(self.words.embeddings[number])

    def __contains__(self, word: Any) -> bool:
        """Says whether the vocabulary holds a word."""
        try:
            self.vocabulary.number(word)
        except KeyError:
            return False
        return True

    def similarity(self, first: str | int, second: str | int) -> float:
        """Gives the cosine of the angle between the vectors of two words, from −1 to 1."""
        one, other = _units(np.stack([self[first], self[second]]))
        return float(one @ other)

    def most_similar(self, word: str | int, n: int = 10) -> list[tuple[Any, float]]:
        """Gives the `n` words whose vectors have the greatest cosine with that of `word`, which is left out."""
        number = self.vocabulary.number(word)
        units = _units(self.vectors)
        return self._nearest(units, units[number], [number], n)

    def analogy(self, first: str | int, second: str | int, third: str | int, n: int = 10) -> list[tuple[Any, float]]:
        """Gives the `n` words nearest to first − second + third, these three left out: king − man + woman = queen.

        The three vectors are scaled to length 1 before, and the words are ordered by the cosine.

        Reference:
            Mikolov, Yih and Zweig, 2013, "Linguistic regularities in continuous space word representations".
        """
        numbers = [self.vocabulary.number(word) for word in (first, second, third)]
        units = _units(self.vectors)
        return self._nearest(units, np.array([1, -1, 1]) @ units[numbers], numbers, n)

    def doesnt_match(self, words: Sequence[str | int]) -> Any:
        """Gives the word of `words` whose vector has the least cosine with their mean."""
        if isinstance(words, str):
            words = words.split()
        if len(words) < 3:
            raise ValueError(f"`words` must hold at least three words, one of which does not match, got {words!r}.")
        units = _units(np.stack([self[word] for word in words]))
        return words[int(np.argmin(units @ units.mean(axis=0)))]

    def _nearest(
        self, units: np.ndarray, target: np.ndarray, left_out: Sequence[int], n: int
    ) -> list[tuple[Any, float]]:
        n = min(_arguments.integer("n", n), len(units) - len(set(left_out)))
        scores = units @ (target / max(np.linalg.norm(target), 1e-30))
        scores[list(left_out)] = -np.inf
        best = np.argsort(-scores, kind="stable")[:n]
        return list(zip(self.vocabulary.names(best), scores[best].tolist(), strict=True))

    def evaluate_similarity(self, pairs: Iterable[tuple[str, str, float]] | str | os.PathLike[str]) -> SimilarityScore:
        """Gives Spearman's rank correlation of cosines with the similarities that people gave to pairs of words.

        Words are looked up as they stand, then in lower case.

        Args:
            pairs: `(word, word, similarity)` each, or the path of a file with such lines, separated by tabs or commas;
                lines that start with # are passed over.

        Raises:
            ValueError: Fewer than three pairs of known words, or a pair or line that is none; the message names it.
        """
        from scipy import stats

        pairs = list(_read_pairs(pairs) if isinstance(pairs, (str, os.PathLike)) else pairs)
        _check_pairs(pairs)
        numbers = [(self.vocabulary.known(one), self.vocabulary.known(other)) for one, other, _ in pairs]
        known = [index for index, pair in enumerate(numbers) if None not in pair]
        if len(known) < 3:
            raise ValueError(f"`pairs` must hold at least three pairs of known words, got {len(known)}: train {_MEND}")
        units = _units(self.vectors)
        first, second = np.array([numbers[index] for index in known]).T
        cosines = (units[first] * units[second]).sum(axis=1)
        rho = float(stats.spearmanr(cosines, [pairs[index][2] for index in known]).statistic)
        error = math.sqrt((1 - rho**2) / (len(known) - 2))
        return SimilarityScore(rho, error, len(known), 1 - len(known) / len(pairs))

    def evaluate_analogies(self, file: str | os.PathLike[str]) -> dict[str, AnalogyScore]:
        """Gives the score of every section of a file of analogies, and of "total".

        A question `a b c d` is answered right where d is the word nearest to b − a + c, as in `analogy`. Words are
        looked up as they stand, then in lower case; questions with an unknown word are counted apart.

        Args:
            file: A text file: a line `: name` starts a section, each other line is a question of four words.

        Raises:
            ValueError: A line that is neither; the message names it.
        """
        sections = _read_questions(pathlib.Path(file))
        units = _units(self.vectors)
        scores = {name: self._section(units, questions) for name, questions in sections.items()}
        return {**scores, "total": AnalogyScore(*(sum(column) for column in zip(*scores.values(), strict=True)))}

    def _section(self, units: np.ndarray, questions: list[list[str]]) -> AnalogyScore:
        numbers = [[self.vocabulary.known(word) for word in question] for question in questions]
        known = np.array([question for question in numbers if None not in question], "int64").reshape(-1, 4)
        correct, rows = 0, max(1, _SCORES_AT_ONCE // len(units))
        for start in range(0, len(known), rows):
            a, b, c, d = known[start : start + rows].T
            scores = (units[b] - units[a] + units[c]) @ units.T  # (questions, words)
            for given in (a, b, c):
                scores[np.arange(len(a)), given] = -np.inf
            correct += int((scores.argmax(axis=1) == d).sum())
        return AnalogyScore(correct, len(known), len(numbers) - len(known))

    def embedding_layer(self, trainable: bool = True) -> keras.layers.Embedding:
        """Gives a Keras `Embedding` that holds a copy of the vectors, for any other model: numbers of words in.

        Args:
            trainable: Whether that model's training shall change them.
        """
        layer = keras.layers.Embedding(
            self.vocabulary_size,
            self.embedding_dim,
            trainable=_arguments.flag("trainable", trainable),
        )
        layer.build()
        layer.set_weights([keras.ops.convert_to_numpy(self.words.embeddings)])
        return layer


def _units(vectors: np.ndarray) -> np.ndarray:
    # A vector of zeros stays one.
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)


def _check_pairs(pairs: list[Any]) -> None:
    for index, pair in enumerate(pairs):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 3:
            raise ValueError(f"`pairs` must hold (word, word, similarity) each, got pairs[{index}] = {pair!r}.")
        _arguments.real(f"pairs[{index}][2]", pair[2])


def _read_pairs(path: str | os.PathLike[str]) -> Iterator[tuple[str, str, float]]:
    with pathlib.Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("#") or not line.strip():
                continue
            try:
                first, second, score = line.replace(",", "\t").split("\t")
                yield first.strip(), second.strip(), _arguments.real("similarity", float(score))
            except ValueError as error:
                raise ValueError(
                    f"{os.fspath(path)!r}, line {number} must be two words and a number, separated by tabs or commas, "
                    f"got {line.strip()!r:.60}."
                ) from error


def _read_questions(path: pathlib.Path) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    name = "questions"
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            if words and words[0].startswith(":"):
                name = line.strip()[1:].strip()
                sections.setdefault(name, [])
            elif len(words) == 4:
                sections.setdefault(name, []).append(words)
            elif words:
                raise ValueError(
                    f"{str(path)!r}, line {number} must be four words, or a section `: name`, got {line.strip()!r:.60}."
                )
    if not sections:
        raise ValueError(f"{str(path)!r} holds no analogies: each line must be four words, or a section `: name`.")
    return sections
