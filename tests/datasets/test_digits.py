"""The digits inside the installation."""

import numpy as np

from kphys.datasets import digits


def test_holds_every_digit_once_in_equal_shares():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert x_train.shape == (1438, 8, 8, 1)
    assert x_test.shape == (359, 8, 8, 1)
    assert x_train.dtype == np.float32
    assert y_train.dtype == np.int64
    assert x_train.min() == 0
    assert x_train.max() == 1
    assert np.array_equal(np.unique(16 * x_train), np.arange(17))
    shares = np.bincount(y_test) / np.bincount(np.concatenate([y_train, y_test]))
    assert abs(shares - 0.2).max() < 0.005


def test_train_and_test_do_not_overlap_beyond_the_original():
    from sklearn.datasets import load_digits

    original = load_digits(return_X_y=True)[0]
    (x_train, _), (x_test, _) = digits.load_data()
    together = 16 * np.concatenate([x_train, x_test]).reshape(-1, 64)
    assert np.array_equal(np.sort(together @ np.arange(64)), np.sort(original @ np.arange(64)))
