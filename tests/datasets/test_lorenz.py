"""The Lorenz system: its fixed points, its symmetry, its tolerance, its windows."""

import numpy as np
import pytest

from kphys.datasets import lorenz

SIDE = np.sqrt(8 / 3 * 27)


@pytest.mark.parametrize("point", [[0, 0, 0], [SIDE, SIDE, 27], [-SIDE, -SIDE, 27]])
def test_fixed_points_stay(point):
    _, states = lorenz.trajectory(200, point)
    assert np.allclose(states, point, atol=1e-8)


def test_symmetric_under_rotation_about_z():
    _, states = lorenz.trajectory(300, [1.0, 2.0, 20.0])
    _, turned = lorenz.trajectory(300, [-1.0, -2.0, 20.0])
    assert np.allclose(states * [-1, -1, 1], turned, atol=1e-9)


def test_volume_shrinks_at_the_exact_rate():
    """The flow's divergence is −(σ + 1 + β) everywhere: three neighbours span a volume that falls by its exponent."""
    start, offset, end = np.array([1.0, 1.0, 20.0]), 1e-5, 0.2
    corners = [start, *(start + offset * axis for axis in np.eye(3))]
    first, *others = (lorenz.trajectory(2, c, step=end, tolerance=1e-12)[1][-1] for c in corners)
    volume = np.linalg.det(np.array(others) - first) / offset**3
    assert np.isclose(np.log(volume), -(10 + 1 + 8 / 3) * end, rtol=1e-3)


def test_a_smaller_tolerance_agrees():
    _, states = lorenz.trajectory(500, [1.0, 1.0, 20.0], tolerance=1e-9)
    _, finer = lorenz.trajectory(500, [1.0, 1.0, 20.0], tolerance=5e-10)
    assert np.allclose(states, finer, atol=1e-4)


def test_starts_on_the_attractor():
    times, states = lorenz.trajectory(2_000, seed=7)
    assert times[0] == 0
    assert np.isclose(times[1], 0.02)
    assert abs(states[:, 0]).max() < 25
    assert states[:, 2].min() > 0
    assert states[:, 2].max() < 55
    # Known mean of z on the attractor: 23.55.
    assert abs(states[:, 2].mean() - 23.55) < 1.5


def test_windows_hold_the_states_that_come_before_the_target():
    _, states = lorenz.trajectory(100, seed=1)
    (x_train, y_train), (x_test, y_test) = lorenz.load_data(100, timesteps=5, horizon=3, seed=1)
    states = states.astype(np.float32)
    assert x_train.shape == (73, 5, 3)
    assert x_test.shape == (13, 5, 3)
    assert np.array_equal(x_train[0], states[:5])
    assert np.array_equal(y_train[0], states[7])
    assert np.array_equal(y_train[-1], states[79]), "the training reaches up to the cut"
    assert np.array_equal(x_test[0], states[80:85])
    assert np.array_equal(y_test[-1], states[99])
