"""The Mackey–Glass equation: its fixed point, a linear case, its tolerance, its windows."""

import numpy as np

from kphys.datasets import mackey_glass


def test_the_fixed_point_stays():
    """β/(1 + xⁿ) = γ at x = 1 for β = 2γ; unstable at a delay of 17, yet a start on it has no push."""
    _, values = mackey_glass.trajectory(200, 1.0)
    assert np.allclose(values, 1, atol=1e-8)


def test_the_linear_case_has_the_exact_solution():
    """With n = 0, dx/dt = ½ β x(t − τ) − γ x, solved by hand for the first two delays."""
    beta, gamma, delay, start = 0.3, 0.1, 2.0, 0.8
    times, values = mackey_glass.trajectory(41, start, step=0.1, delay=delay, beta=beta, gamma=gamma, exponent=0)
    drive = beta / (2 * gamma)

    def first(t):
        return start * (drive + (1 - drive) * np.exp(-gamma * t))

    def second(t):
        fed = drive * (1 - np.exp(-gamma * t)) * start * drive
        return first(delay) * np.exp(-gamma * t) + fed + beta / 2 * start * (1 - drive) * t * np.exp(-gamma * t)

    expected = np.where(times <= delay, first(times), second(times - delay))
    assert np.allclose(values[:, 0], expected, atol=1e-8)


def test_the_equation_holds_at_every_time():
    _times, values = mackey_glass.trajectory(2_001, 1.2, step=0.1, delay=17.0)
    x = values[:, 0]
    slope = (x[:-4] - 8 * x[1:-3] + 8 * x[3:-1] - x[4:]) / 1.2
    inner = np.arange(2, len(x) - 2)
    delayed = np.where(inner < 170, 1.2, x[np.maximum(inner - 170, 0)])
    right_side = 0.2 * delayed / (1 + delayed**10) - 0.1 * x[inner]
    smooth = (inner % 170 > 3) & (inner % 170 < 167)
    assert np.allclose(slope[smooth], right_side[smooth], atol=1e-5)


def test_a_smaller_tolerance_agrees():
    _, values = mackey_glass.trajectory(300, 1.2, tolerance=1e-9)
    _, finer = mackey_glass.trajectory(300, 1.2, tolerance=5e-10)
    assert np.allclose(values, finer, atol=1e-6)


def test_the_step_does_not_change_the_values():
    _, coarse = mackey_glass.trajectory(100, 1.2, step=1.7)
    _, fine = mackey_glass.trajectory(199, 1.2, step=0.85)
    assert np.allclose(coarse, fine[::2], atol=1e-12)


def test_starts_on_the_attractor():
    _, values = mackey_glass.trajectory(1_000, seed=2)
    assert values.min() > 0.2
    assert values.max() < 1.4
    assert values.std() > 0.1


def test_windows_hold_the_values_that_come_before_the_target():
    _, values = mackey_glass.trajectory(100, seed=1)
    (x_train, y_train), (x_test, _) = mackey_glass.load_data(100, timesteps=10, horizon=4, seed=1)
    values = values.astype(np.float32)
    assert x_train.shape == (67, 10, 1)
    assert y_train.shape == (67, 1)
    assert x_test.shape == (7, 10, 1)
    assert np.array_equal(x_train[5], values[5:15])
    assert np.array_equal(y_train[5], values[18])
    assert np.array_equal(x_test[0], values[80:90])
