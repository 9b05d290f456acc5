"""The double pendulum: its energy, its small swings, its windows."""

import numpy as np
import pytest

from kphys.datasets import double_pendulum


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_energy_is_conserved(seed):
    _, states = double_pendulum.trajectory(2_500, seed=seed)
    energies = double_pendulum.energy(states)
    assert abs(energies - energies[0]).max() < 1e-6


def test_energy_is_conserved_with_other_bodies():
    bodies = {"lengths": (0.7, 1.9), "masses": (2.5, 0.4), "gravity": 1.62}
    _, states = double_pendulum.trajectory(1_000, [3.0, -2.0, 1.0, 4.0], **bodies)
    energies = double_pendulum.energy(states, **bodies)
    assert abs(energies - energies[0]).max() < 1e-6
    assert np.ptp(states[:, 2]) > 1, "it moves"


@pytest.mark.parametrize("sign", [1, -1])
def test_small_swings_have_the_normal_frequencies(sign):
    """Equal rods and masses: ω² = (2 ± √2) g/l, with θ₂ = ∓√2 θ₁."""
    frequency = np.sqrt((2 + sign * np.sqrt(2)) * 9.81)
    start = 1e-4 * np.array([1.0, -sign * np.sqrt(2), 0.0, 0.0])
    times, states = double_pendulum.trajectory(300, start)
    expected = start[:2] * np.cos(frequency * times)[:, np.newaxis]
    assert np.allclose(states[:, :2], expected, atol=1e-8)


def test_hangs_at_rest():
    _, states = double_pendulum.trajectory(50, [0, 0, 0, 0])
    assert not states.any()
    assert np.allclose(double_pendulum.energy(states), -3 * 9.81)


def test_starts_at_rest_at_random_angles():
    _, states = double_pendulum.trajectory(2, seed=3)
    assert not states[0, 2:].any()
    assert states[0, :2].all()


def test_windows_hold_cosines_sines_and_velocities():
    _, states = double_pendulum.trajectory(100, seed=1)
    (x_train, y_train), (_x_test, y_test) = double_pendulum.load_data(100, timesteps=5, seed=1)
    assert x_train.shape == (75, 5, 6)
    assert y_test.shape == (15, 6)
    theta1, theta2, omega1, omega2 = states[5]
    expected = [np.cos(theta1), np.sin(theta1), np.cos(theta2), np.sin(theta2), omega1, omega2]
    assert np.allclose(y_train[0], expected, atol=1e-5)
    assert np.array_equal(x_train[1, -1], y_train[0])
