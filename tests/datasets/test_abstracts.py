"""Abstracts in pairs of the same words."""

import itertools

import numpy as np
import pytest

from kphys.datasets import abstracts


def test_pairs_have_the_same_words_in_another_order():
    (x, y), _ = abstracts.load_data(200)
    assert y.tolist() == [0, 1] * 134
    for theory, experiment in zip(x[::2], x[1::2], strict=True):
        assert sorted(theory.split()) != theory.split()
        assert theory != experiment
        words = [
            sorted(text.replace(",", "").replace(";", "").replace(".", "").split()) for text in (theory, experiment)
        ]
        assert words[0] == words[1]


def test_what_we_did_is_the_label():
    for x, y in abstracts.load_data(300):
        for text, label in zip(x, y, strict=True):
            if text.startswith("We "):
                assert (text.split()[1] in abstracts.EXPERIMENT) == label
                break
        else:
            pytest.fail("no text of this turn")


def test_no_text_of_the_test_occurs_in_the_training():
    parts = abstracts.load_data(112_000 // 8)
    texts = list(itertools.chain(*(x for x, _ in parts)))
    assert len(set(texts)) == len(texts)


def test_the_seed_decides_everything():
    first, again, other = (abstracts.load_data(20, seed=seed)[0][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_pairs": 112_001}, ValueError, "`num_pairs` is 112001, but there are 112000 pairs: ask for fewer"),
        ({"num_pairs": 0}, ValueError, "`num_pairs` must be a positive integer, got 0"),
        ({"num_pairs": 1}, ValueError, "of 1 samples that leaves"),
        ({"test_fraction": 1.0}, ValueError, "`test_fraction` must be above 0"),
        ({"seed": "a"}, TypeError, "`seed` must be"),
    ],
)
def test_refuses_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        abstracts.load_data(**arguments)
