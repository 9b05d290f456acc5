"""The Mackey–Glass equation: blood-cell production with a delay, chaotic for long delays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from kphys import _arguments
from kphys.datasets import _series
from kphys.datasets._split import Arrays

_TRANSIENT = 300.0


def load_data(
    num_steps: int = 5_000,
    timesteps: int = 50,
    horizon: int = 1,
    *,
    step: float = 1.0,
    delay: float = 17.0,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives windows of a Mackey–Glass series and the values that follow them.

    One series (see `trajectory`) is cut in time: the last `test_fraction` of it is the test, and no window reaches
    across the cut. The default delay of 17 is mildly chaotic; the forecasting literature often takes `horizon=84`.

    Args:
        num_steps: Number of values of the series, training and test together.
        timesteps: Number of values in each input window.
        horizon: How many steps after the window's last value the target lies.
        step: Time between two values, in the model's units (days).
        delay: Delay τ, in the same units; chaotic above about 16.8.
        test_fraction: Share of the series that goes to the test, between 0 and 1.
        seed: Seed of the initial value; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, in the order of time. `x`: (n, timesteps, 1), float32, the density
        of blood cells in dimensionless units, about 0.2 to 1.4. `y`: (n, 1), float32, `horizon` steps later.

    Raises:
        ValueError: A number that is not positive, a window longer than a part of the series, a `test_fraction`
            outside (0, 1).
        TypeError: An argument of the wrong kind.

    Licence: simulated, free of rights.

    Reference:
        M. C. Mackey and L. Glass, 1977, "Oscillation and chaos in physiological control systems".

    Example:
        >>> from kphys.datasets import mackey_glass
        >>> (x_train, y_train), (x_test, y_test) = mackey_glass.load_data(500, timesteps=20)
        >>> x_train.shape, y_train.shape
        ((380, 20, 1), (380, 1))
    """
    _series.check_split(num_steps, timesteps, horizon, test_fraction)
    _, states = trajectory(num_steps, step=step, delay=delay, seed=seed)
    return _series.split_in_time(states, timesteps, horizon, test_fraction)


def trajectory(
    num_steps: int = 5_000,
    initial_value: float | None = None,
    *,
    step: float = 1.0,
    delay: float = 17.0,
    beta: float = 0.2,
    gamma: float = 0.1,
    exponent: float = 10.0,
    tolerance: float = 1e-9,
    seed: int | None = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Integrates dx/dt = β x(t − τ) / (1 + x(t − τ)ⁿ) − γ x by the method of steps.

    Over each stretch of one delay x(t − τ) is known from the stretch before, as the continuous extension of its
    solution, so that DOP853 sees an ordinary equation. Stretches begin where the solution is not smooth.

    Args:
        num_steps: Number of values, at least 2.
        initial_value: x at all times up to 0, positive. By default random, uniform from 0.5 to 1.5, and followed
            for 300 units of time beforehand, so that the series starts on the attractor.
        step: Time between two values; the integrator chooses its own.
        delay: Delay τ, positive. The cost grows with the number of delays in the series.
        beta: Rate of production β, positive.
        gamma: Rate of decay γ, positive.
        exponent: Exponent n, not negative; at 0 the equation is linear.
        tolerance: Relative and absolute tolerance of the integrator.
        seed: Seed of the random value; `None` for fresh randomness.

    Returns:
        Times (num_steps,) from 0 and values (num_steps, 1), float64.

    Raises:
        ValueError: A number that is not positive and finite, or a negative exponent.
        TypeError: An argument of the wrong kind.

    Reference:
        M. C. Mackey and L. Glass, 1977, "Oscillation and chaos in physiological control systems".

    Example:
        >>> from kphys.datasets import mackey_glass
        >>> times, values = mackey_glass.trajectory(100, 1.2)
        >>> times.shape, values.shape
        ((100,), (100, 1))
    """
    times = _series.sample_times(num_steps, step)
    delay = _arguments.real("delay", delay, positive=True)
    beta = _arguments.real("beta", beta, positive=True)
    gamma = _arguments.real("gamma", gamma, positive=True)
    exponent = _arguments.real("exponent", exponent, minimum=0)
    tolerance = _arguments.real("tolerance", tolerance, positive=True)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    def derivative(x: np.ndarray, delayed: np.ndarray) -> np.ndarray:
        return beta * delayed / (1 + delayed**exponent) - gamma * x

    if initial_value is None:
        return times, _method_of_steps(derivative, rng.uniform(0.5, 1.5), times + _TRANSIENT, delay, tolerance)
    start = _arguments.real("initial_value", initial_value, positive=True)
    return times, _method_of_steps(derivative, start, times, delay, tolerance)


def _method_of_steps(
    derivative: Callable[[np.ndarray, np.ndarray], np.ndarray],
    start: float,
    times: np.ndarray,
    delay: float,
    tolerance: float,
) -> np.ndarray:
    """Gives x at `times`, (length, 1); `derivative` takes x(t) and x(t − delay)."""
    values = np.empty((len(times), 1))
    last = np.array([start])

    def past(_: float) -> np.ndarray:
        return np.array([start])

    for stretch in range(int(times[-1] // delay) + 1):
        solution = solve_ivp(
            lambda t, x, past=past: derivative(x, past(t)),
            (0.0, delay),
            last,
            method="DOP853",
            dense_output=True,
            rtol=tolerance,
            atol=tolerance,
        )
        inside = np.flatnonzero(times // delay == stretch)
        if inside.size:
            values[inside] = solution.sol(times[inside] - stretch * delay).T
        # Time within a stretch is the delayed time within the next one.
        past, last = solution.sol, solution.y[:, -1]
    return values
