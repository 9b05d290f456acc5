"""The sunspots: which months are inputs, which are targets, and what persistence gives."""

import os

import numpy as np
import pytest

from kphys.datasets import sunspots

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not os.environ.get("KPHYS_DATA"), reason="KPHYS_DATA is not set"),
]


def test_the_last_fifth_of_the_months_are_the_test_targets_whatever_the_window():
    (_, all_months), (_, last) = sunspots.load_data(timesteps=1)
    months = np.concatenate([all_months, last])
    for timesteps, horizon in ((24, 1), (132, 1), (24, 12)):
        (x_train, y_train), (x_test, y_test) = sunspots.load_data(timesteps, horizon)
        assert x_test.shape == (564, timesteps, 1)
        assert np.array_equal(y_test, months[-564:])
        assert len(x_train) == len(y_train) == 2820 - 564 - timesteps - horizon + 1
        assert np.array_equal(x_train[timesteps + horizon - 1, 0], y_train[0])


def test_values_are_the_first_and_last_months_of_the_record():
    (x_train, _), (_, y_test) = sunspots.load_data(timesteps=3)
    assert np.allclose(x_train[0, :, 0], [58.0, 62.6, 70.0])
    assert np.isclose(y_test[-1, 0], 33.4)


def test_persistence_gives_the_known_error():
    _, (x_test, y_test) = sunspots.load_data()
    assert np.isclose(np.sqrt(np.mean((x_test[:, -1] - y_test) ** 2)), 20.1, atol=0.05)


def test_refuses_windows_longer_than_the_training_months():
    with pytest.raises(ValueError, match=r"`timesteps` is 2300 .* only 2256 months"):
        sunspots.load_data(timesteps=2300)
    with pytest.raises(ValueError, match=r"`timesteps` is 3000 .* only 2820 steps"):
        sunspots.load_data(timesteps=3000)
