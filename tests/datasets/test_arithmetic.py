"""The arithmetic task: Python's own arithmetic is the exact solver."""

import numpy as np
import pytest

from kphys.datasets import arithmetic


def pairs(x, y):
    return list(zip(arithmetic.decode(x), arithmetic.decode(y), strict=True))


@pytest.mark.parametrize("num_digits", [1, 2, 3, 9])
@pytest.mark.parametrize("operations", ["+", "-", "+-"])
def test_every_answer_is_that_of_python(num_digits, operations):
    for x, y in arithmetic.load_data(num_digits, 90, operations, seed=1):
        assert x.dtype == y.dtype == np.int32
        assert (x.shape[1], y.shape[1]) == (2 * num_digits + 1, num_digits + 1)
        for question, answer in pairs(x, y):
            first, second = (int(number) for number in question.replace("-", "+").split("+"))
            assert question in (f"{first}+{second}", f"{first}-{second}")
            assert max(first, second) < 10**num_digits
            assert answer == str(first + second if "+" in question else first - second)
            assert "+" in operations or "+" not in question
            assert "-" in operations or "-" not in question


def test_all_problems_of_one_digit_occur_once():
    train, test = arithmetic.load_data(1)
    questions = [question for part in (train, test) for question, _ in pairs(*part)]
    assert sorted(questions) == sorted(f"{a}{o}{b}" for a in range(10) for b in range(10) for o in "+-")
    assert len(test[0]) == 40


def test_no_problem_of_the_test_is_in_the_training():
    (x_train, _), (x_test, _) = arithmetic.load_data(2, 15_000, test_fraction=0.5)
    questions = [*arithmetic.decode(x_train), *arithmetic.decode(x_test)]
    assert len(x_train) == len(x_test) == 7_500
    assert len(set(questions)) == 15_000


def test_every_number_and_operation_is_equally_likely():
    (x, _), _ = arithmetic.load_data(1, operations="-+", num_samples=200, test_fraction=0.005)
    assert sorted(set(arithmetic.decode(x[:, 1:2]))) == ["+", "-"]
    texts = arithmetic.decode(arithmetic.load_data(3, 50_000)[0][0])
    share = np.mean(["+" in text for text in texts])
    assert share == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(40_000))
    firsts = np.array([int(text.replace("-", "+").split("+")[0]) for text in texts])
    assert firsts.mean() == pytest.approx(499.5, abs=5 * 289 / np.sqrt(40_000))


def test_the_seed_fixes_the_problems():
    one, same, other = (arithmetic.load_data(3, 100, seed=seed)[0][0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_texts_become_tokens_and_come_back():
    texts = ["3+5", "120-999", "-879", "0", arithmetic.CHARACTERS]
    tokens = arithmetic.encode(texts)
    assert tokens.shape == (5, len(arithmetic.CHARACTERS))
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens[0, :4], [4, 11, 6, 0])
    np.testing.assert_array_equal(tokens[4], range(1, 13))
    assert arithmetic.decode(tokens) == texts
    np.testing.assert_array_equal(arithmetic.encode(np.array(["3", "12"]), 3), [[4, 0, 0], [2, 3, 0]])
    np.testing.assert_array_equal(arithmetic.encode(np.array(["3", "123456"])[:1]), [[4]])
    assert arithmetic.decode(np.array([[4, 0, 6], [0, 0, 0]])) == ["3", ""]
    assert arithmetic.decode(np.zeros((0, 3), int)) == []


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: arithmetic.load_data(0), ValueError, "`num_digits` must be a positive integer, got 0"),
        (lambda: arithmetic.load_data(10), ValueError, "`num_digits` must be from 1 to 9, got 10"),
        (lambda: arithmetic.load_data(1, 201), ValueError, "`num_samples` is 201, but there are 200 different"),
        (lambda: arithmetic.load_data(1, 0), ValueError, "`num_samples` must be a positive integer, got 0"),
        (lambda: arithmetic.load_data(operations="*"), ValueError, r"`operations` must be one of '\+', '-'"),
        (lambda: arithmetic.load_data(test_fraction=1.0), ValueError, "`test_fraction` must be above 0 and below 1"),
        (lambda: arithmetic.load_data(seed=-1), ValueError, "`seed` must be None or an integer"),
        (lambda: arithmetic.encode("3+5"), TypeError, r"several strings, got one: pass \['3\+5'\]"),
        (lambda: arithmetic.encode([3, 5]), TypeError, "`texts` must hold strings, got int64"),
        (lambda: arithmetic.encode([]), ValueError, "at least one string, got the shape"),
        (lambda: arithmetic.encode(["1", ""]), ValueError, r"at least one character each, texts\[1\] is empty"),
        (lambda: arithmetic.encode(["1", "2*3"]), ValueError, r"the characters .* only, got '\*' in '2\*3'"),
        (lambda: arithmetic.encode(["1", "3\0" + "5"]), ValueError, r"the characters .* only, got '\\x00'"),
        (lambda: arithmetic.encode(["1", "2×3"]), ValueError, "the characters .* only, got '×' in '2×3'"),
        (lambda: arithmetic.encode(["1", "12+3"], 3), ValueError, r"`timesteps` is 3, but '12\+3' has 4"),
        (lambda: arithmetic.decode([1, 2]), ValueError, r"`tokens` must be integers \(texts, timesteps\), got"),
        (lambda: arithmetic.decode([[1.0]]), ValueError, "`tokens` must be integers .* got float64"),
        (lambda: arithmetic.decode([[13]]), ValueError, "`tokens` must be from 0 to 12, got 13 to 13"),
    ],
)
def test_bad_input_is_refused(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
