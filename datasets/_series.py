"""Time series: integrated by SciPy, cut into windows, split in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kphys import _arguments
from kphys.datasets._split import Arrays, split_counts


def check_windows(length: int, timesteps: int, horizon: int) -> int:
    """Gives the number of steps from a window's first state to its target; a series of `length` must hold one."""
    timesteps = _arguments.integer("timesteps", timesteps)
    horizon = _arguments.integer("horizon", horizon)
    ahead = timesteps + horizon - 1
    if length <= ahead:
        raise ValueError(
            f"`timesteps` is {timesteps} with `horizon` {horizon}, but the series (or its part for training or "
            f"testing) has only {length} steps: it takes at least {ahead + 1}, or shorter windows."
        )
    return ahead


def check_split(num_steps: int, timesteps: int, horizon: int, test_fraction: float) -> None:
    """Refuses, before anything is integrated, a series that is too short for windows in both of its parts."""
    num_steps = _arguments.integer("num_steps", num_steps, minimum=2)
    for length in split_counts(num_steps, test_fraction):
        check_windows(length, timesteps, horizon)


def windows(series: np.ndarray, timesteps: int, horizon: int = 1) -> Arrays:
    """Cuts `series` (length, features) into inputs and the states to forecast.

    Input `i` is `series[i : i + timesteps]`, its target the state `horizon` steps after the input's last one.

    Returns:
        `x`: (n, timesteps, features) and `y`: (n, features), float32, with n = length − timesteps − horizon + 1.
    """
    ahead = check_windows(len(series), timesteps, horizon)
    x = np.lib.stride_tricks.sliding_window_view(series, timesteps, axis=0)[: len(series) - ahead]
    x = np.ascontiguousarray(np.moveaxis(x, -1, 1), dtype=np.float32)  # (n, timesteps, features)
    return x, series[ahead:].astype(np.float32)


def split_in_time(series: np.ndarray, timesteps: int, horizon: int, test_fraction: float) -> tuple[Arrays, Arrays]:
    """Cuts the last `test_fraction` of `series` off for the test, then each part into its own windows."""
    num_train, _ = split_counts(len(series), test_fraction)
    return windows(series[:num_train], timesteps, horizon), windows(series[num_train:], timesteps, horizon)


def sample_times(num_steps: int, step: float) -> np.ndarray:
    """Gives the times 0, step, 2 step, … of `num_steps` states."""
    num_steps = _arguments.integer("num_steps", num_steps, minimum=2)
    return _arguments.real("step", step, positive=True) * np.arange(num_steps)


def initial_state(name: str, value: object, length: int) -> np.ndarray:
    """Gives `value` back as an array of `length` finite numbers."""
    state = np.asarray(value)
    if state.shape != (length,) or state.dtype.kind not in "iuf" or not np.isfinite(state).all():
        raise ValueError(f"`{name}` must hold {length} finite numbers, got {value!r}.")
    return state.astype(np.float64)


def integrate(
    derivative: Callable[[float, np.ndarray], np.ndarray],
    start: np.ndarray,
    times: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Integrates with the Runge–Kutta method DOP853 and gives the states at `times`: (length, features)."""
    from scipy.integrate import solve_ivp

    solution = solve_ivp(
        derivative, (times[0], times[-1]), start, method="DOP853", t_eval=times, rtol=tolerance, atol=tolerance
    )
    if not solution.success:
        raise ValueError(
            f"the integration stopped at t = {solution.t[-1]:g}: {solution.message} Take other parameters."
        )
    return solution.y.T
