"""The countdown task: an exact solver needs nothing but x."""

import numpy as np
import pytest

from kphys.datasets import countdown


def solve(x):
    outputs = np.zeros((*x.shape[:2], 1), int)
    for sequence, output in zip(x, outputs, strict=True):
        left = None
        for step, (told, number) in enumerate(sequence):
            left = number if told else left
            if left == 0:
                output[step] = 1
            left = None if left is None else left - 1
    return outputs


@pytest.mark.parametrize("timesteps", [20, 2, 7, 50])
def test_the_exact_solver_is_always_right(timesteps):
    for x, y in countdown.load_data(500, timesteps):
        assert x.shape[1:] == (timesteps, 2)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert np.array_equal(solve(x), y)


def test_every_number_occurs_and_fires_once():
    (x, y), _ = countdown.load_data(5_000, 20)
    assert set(np.unique(x[..., 1])) == set(range(11))
    assert (y.sum(axis=(1, 2)) == 1).all()
