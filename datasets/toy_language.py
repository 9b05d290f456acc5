"""A language with known relations: countries and capitals, one and many, men and women."""

from __future__ import annotations

import numpy as np

from kphys import _arguments
from kphys.datasets._split import split_counts

RELATIONS = {
    "capital": (("country{}", "nation border export people"), ("capital{}", "city mayor street tower")),
    "plural": (("noun{}", "a one this each"), ("noun{}s", "many some these all")),
    "gender": (("man{}", "he his him sir"), ("woman{}", "she hers her madam")),
}
"""For each relation the two forms of a word, and the four words that tell which of the two it is."""


def load_data(
    num_sentences: int = 30_000,
    num_pairs: int = 15,
    test_fraction: float = 0.1,
    seed: int | None = 0,
) -> tuple[list[str], list[str]]:
    """Gives sentences whose words stand in known relations: country and capital, one and many, man and woman.

    "nation capital_3_a country3 capital_3_e border": in the middle stands one word of a pair, drawn evenly from all.
    The two words beside it tell the pair: each is one of five, "capital_3_a" to "capital_3_e", the same five for
    country3 and capital3. The two at the ends tell which of the pair it is: each is one of four, the same four for all
    countries. So a word keeps the company of its pair and that of its role, and where a vector is the sum of what its
    company says, country3 − capital3 = country7 − capital7.

    Args:
        num_sentences: Number of sentences, training and test together.
        num_pairs: Number of pairs of each relation. There are 21 · num_pairs + 24 words.
        test_fraction: Share of the sentences that goes to the test, between 0 and 1.
        seed: Seed of the sentences; `None` for fresh randomness.

    Returns:
        `text_train, text_test`: two lists of sentences, each a string of five words. Sentences are drawn independently,
        the last `test_fraction` of them is the test. `questions` gives the analogies that hold among the words.

    Raises:
        ValueError: A number below its minimum, a `test_fraction` outside (0, 1) or one that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: generated, free of rights.

    Reference:
        T. Mikolov, W. Yih and G. Zweig, 2013, "Linguistic regularities in continuous space word representations"
        (the analogies, there of English).

    Example:
        >>> from kphys.datasets import toy_language
        >>> text_train, text_test = toy_language.load_data(100)
        >>> len(text_train), len(text_test)
        (90, 10)
        >>> text_train[0]
        'he gender_6_a man6 gender_6_b he'
    """
    num_sentences = _arguments.integer("num_sentences", num_sentences)
    num_pairs = _arguments.integer("num_pairs", num_pairs)
    num_train, _ = split_counts(num_sentences, test_fraction)
    rng = np.random.default_rng(_arguments.seed("seed", seed))
    relations, numbers, roles = (rng.integers(top, size=num_sentences) for top in (len(RELATIONS), num_pairs, 2))
    ends, about = (rng.integers(top, size=(num_sentences, 2)) for top in (4, 5))
    sentences = [_sentence(*drawn) for drawn in zip(relations, numbers, roles, ends, about, strict=True)]
    return sentences[:num_train], sentences[num_train:]


def _sentence(relation: int, number: int, role: int, ends: np.ndarray, about: np.ndarray) -> str:
    name = list(RELATIONS)[relation]
    form, signs = RELATIONS[name][role]
    first, last = (signs.split()[end] for end in ends)
    before, after = (f"{name}_{number}_{'abcde'[letter]}" for letter in about)
    return f"{first} {before} {form.format(number)} {after} {last}"


def questions(num_pairs: int = 15) -> dict[str, list[tuple[str, str, str, str]]]:
    """Gives all analogies between two pairs of one relation, by relation.

    Args:
        num_pairs: Number of pairs of each relation, as in `load_data`.

    Returns:
        For each of `RELATIONS` a list of (a, b, c, d) with a to b as c to d, num_pairs · (num_pairs − 1) of them.

    Raises:
        ValueError, TypeError: A number of pairs that is not a positive integer.

    Example:
        >>> from kphys.datasets import toy_language
        >>> toy_language.questions()["capital"][0]
        ('country0', 'capital0', 'country1', 'capital1')
    """
    numbers = range(_arguments.integer("num_pairs", num_pairs))
    return {
        relation: [
            (one.format(i), other.format(i), one.format(j), other.format(j)) for i in numbers for j in numbers if i != j
        ]
        for relation, ((one, _), (other, _)) in RELATIONS.items()
    }
