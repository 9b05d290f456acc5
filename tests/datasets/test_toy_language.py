"""The toy language: every sentence says what the docstring says, as often, and the analogies are those of its words."""

from collections import Counter

import numpy as np
import pytest

from kphys.datasets import toy_language


def parse(sentence):
    """Gives relation, pair and role of a sentence, which must be of the form that the docstring states."""
    first, before, word, after, last = sentence.split()
    name, number, _ = before.split("_")
    assert {before, after} <= {f"{name}_{number}_{letter}" for letter in "abcde"}
    ((role, signs),) = (
        (role, signs) for role, (form, signs) in enumerate(toy_language.RELATIONS[name]) if form.format(number) == word
    )
    assert {first, last} <= set(signs.split())
    return name, int(number), role


def test_a_word_stands_between_what_tells_its_pair_and_its_role():
    train, test = toy_language.load_data(4_000, 6, seed=1)
    assert (len(train), len(test)) == (3_600, 400)
    found = Counter(map(parse, train + test))
    # All pairs and roles, each as often to five standard deviations.
    assert set(found) == {(name, pair, role) for name in toy_language.RELATIONS for pair in range(6) for role in (0, 1)}
    np.testing.assert_allclose(list(found.values()), 4_000 / 36, atol=5 * np.sqrt(4_000 / 36))


def test_every_word_occurs_and_no_word_has_two_meanings():
    train, test = toy_language.load_data(4_000, 6)
    words = {word for sentence in train + test for word in sentence.split()}
    assert len(words) == 21 * 6 + 24
    places = [(place, word) for sentence in train for place, word in enumerate(sentence.split())]
    assert len({(min(place, 4 - place), word) for place, word in places}) == len(words)


def test_the_analogies_are_those_of_the_words():
    questions = toy_language.questions(6)
    assert list(questions) == list(toy_language.RELATIONS)
    for name, rows in questions.items():
        assert len(set(rows)) == 6 * 5
        (one, _), (other, _) = toy_language.RELATIONS[name]
        for a, b, c, d in rows:
            assert a != c
            assert [a, b] in [[one.format(i), other.format(i)] for i in range(6)]
            assert [c, d] in [[one.format(i), other.format(i)] for i in range(6)]
    words = {word for sentence in toy_language.load_data(4_000, 6)[0] for word in sentence.split()}
    assert {word for rows in questions.values() for row in rows for word in row} <= words


def test_the_seed_decides_everything():
    state = np.random.get_state()[1].copy()
    assert toy_language.load_data(50, seed=3) == toy_language.load_data(50, seed=3)
    assert toy_language.load_data(50, seed=3) != toy_language.load_data(50, seed=4)
    assert toy_language.load_data(50, seed=None) != toy_language.load_data(50, seed=None)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sentences": 0}, "`num_sentences` must be a positive integer, got 0"),
        ({"num_sentences": 2}, "of 2 samples that leaves 2 to train on and 0"),
        ({"num_pairs": 0}, "`num_pairs` must be a positive integer, got 0"),
        ({"test_fraction": float("nan")}, "`test_fraction`"),
        ({"seed": -1}, "`seed` must be None or an integer"),
    ],
)
def test_refuses_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        toy_language.load_data(**arguments)


def test_questions_refuse_bad_input():
    with pytest.raises(ValueError, match="`num_pairs` must be a positive integer, got 0"):
        toy_language.questions(0)
