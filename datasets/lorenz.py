"""The Lorenz system: three coupled equations for convection, chaotic at the usual parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kphys import _arguments
from kphys.datasets import _series
from kphys.datasets._split import Arrays

_TRANSIENT = 20.0


def load_data(
    num_steps: int = 10_000,
    timesteps: int = 50,
    horizon: int = 1,
    *,
    step: float = 0.02,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives windows of a Lorenz trajectory and the states that follow them.

    One trajectory on the attractor (see `trajectory`) is cut in time: the last `test_fraction` of it is the test,
    and no window reaches across the cut.

    Args:
        num_steps: Number of states of the trajectory, training and test together.
        timesteps: Number of states in each input window.
        horizon: How many steps after the window's last state the target lies.
        step: Time between two states, in the system's dimensionless time.
        sigma: Prandtl number σ.
        rho: Rayleigh number over its critical value, ρ.
        beta: Geometric factor β.
        test_fraction: Share of the trajectory that goes to the test, between 0 and 1.
        seed: Seed of the initial state; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, in the order of time. `x`: (n, timesteps, 3), float32, the
        dimensionless columns x (convection), y and z (temperature differences). `y`: (n, 3), float32, the same
        columns `horizon` steps later.

    Raises:
        ValueError: A number that is not positive, a window longer than a part of the trajectory, a `test_fraction`
            outside (0, 1).
        TypeError: An argument of the wrong kind.

    Licence: simulated, free of rights.

    Reference:
        E. N. Lorenz, 1963, "Deterministic nonperiodic flow".

    Example:
        >>> from kphys.datasets import lorenz
        >>> (x_train, y_train), (x_test, y_test) = lorenz.load_data(1000, timesteps=20)
        >>> x_train.shape, y_train.shape
        ((780, 20, 3), (780, 3))
    """
    _series.check_split(num_steps, timesteps, horizon, test_fraction)
    _, states = trajectory(num_steps, step=step, sigma=sigma, rho=rho, beta=beta, seed=seed)
    return _series.split_in_time(states, timesteps, horizon, test_fraction)


def trajectory(
    num_steps: int = 10_000,
    initial_state: Sequence[float] | None = None,
    *,
    step: float = 0.02,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    tolerance: float = 1e-10,
    seed: int | None = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Integrates dx/dt = σ(y − x), dy/dt = x(ρ − z) − y, dz/dt = xy − βz by DOP853.

    Chaos multiplies an error by e about every 1.1 units of time: after some 25 units two tolerances give different
    trajectories, each of them on the attractor.

    Args:
        num_steps: Number of states, at least 2.
        initial_state: x, y, z at time 0. By default a random state, followed for 20 units of time beforehand, so
            that the trajectory starts on the attractor.
        step: Time between two states; the integrator chooses its own.
        sigma: Prandtl number σ, positive.
        rho: Rayleigh number over its critical value ρ, positive.
        beta: Geometric factor β, positive.
        tolerance: Relative and absolute tolerance of the integrator.
        seed: Seed of the random state; `None` for fresh randomness.

    Returns:
        Times (num_steps,) from 0 and states (num_steps, 3), float64.

    Raises:
        ValueError: A number that is not positive and finite, an initial state that is not three numbers.
        TypeError: An argument of the wrong kind.

    Reference:
        E. N. Lorenz, 1963, "Deterministic nonperiodic flow".

    Example:
        >>> from kphys.datasets import lorenz
        >>> times, states = lorenz.trajectory(100, [1.0, 1.0, 1.0])
        >>> times.shape, states.shape
        ((100,), (100, 3))
    """
    times = _series.sample_times(num_steps, step)
    sigma = _arguments.real("sigma", sigma, positive=True)
    rho = _arguments.real("rho", rho, positive=True)
    beta = _arguments.real("beta", beta, positive=True)
    tolerance = _arguments.real("tolerance", tolerance, positive=True)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        x, y, z = state
        return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

    if initial_state is None:
        start = rng.uniform([-10.0, -10.0, 15.0], [10.0, 10.0, 35.0])
        start = _series.integrate(derivative, start, np.array([0.0, _TRANSIENT]), tolerance)[-1]
    else:
        start = _series.initial_state("initial_state", initial_state, 3)
    return times, _series.integrate(derivative, start, times, tolerance)
