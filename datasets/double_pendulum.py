"""The double pendulum: two point masses on two rigid rods, chaotic at large swings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kphys import _arguments
from kphys.datasets import _series
from kphys.datasets._split import Arrays


def load_data(
    num_steps: int = 5_000,
    timesteps: int = 20,
    horizon: int = 1,
    *,
    step: float = 0.02,
    lengths: Sequence[float] = (1.0, 1.0),
    masses: Sequence[float] = (1.0, 1.0),
    gravity: float = 9.81,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives windows of a double pendulum's motion and the states that follow them.

    One trajectory (see `trajectory`) is cut in time: the last `test_fraction` of it is the test, and no window
    reaches across the cut. Angles come as cosine and sine, so that a rod that turns over makes no jump.

    Args:
        num_steps: Number of states of the trajectory, training and test together.
        timesteps: Number of states in each input window.
        horizon: How many steps after the window's last state the target lies.
        step: Time between two states, in seconds.
        lengths: Lengths of the upper and the lower rod, in metres.
        masses: Masses at the end of the upper and the lower rod, in kilograms.
        gravity: Acceleration of free fall, in m/s².
        test_fraction: Share of the trajectory that goes to the test, between 0 and 1.
        seed: Seed of the initial angles; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, in the order of time. `x`: (n, timesteps, 6), float32, the columns
        cos θ₁, sin θ₁, cos θ₂, sin θ₂, ω₁, ω₂: the rods' angles from the downward vertical and their angular
        velocities in rad/s. `y`: (n, 6), float32, the same columns `horizon` steps later.

    Raises:
        ValueError: A number that is not positive, a window longer than a part of the trajectory, a `test_fraction`
            outside (0, 1).
        TypeError: An argument of the wrong kind.

    Licence: simulated, free of rights.

    Reference:
        T. Shinbrot, C. Grebogi, J. Wisdom, J. A. Yorke, 1992, "Chaos in a double pendulum".

    Example:
        >>> from kphys.datasets import double_pendulum
        >>> (x_train, y_train), (x_test, y_test) = double_pendulum.load_data(1000, timesteps=20)
        >>> x_train.shape, y_train.shape
        ((780, 20, 6), (780, 6))
    """
    _series.check_split(num_steps, timesteps, horizon, test_fraction)
    _, states = trajectory(num_steps, step=step, lengths=lengths, masses=masses, gravity=gravity, seed=seed)
    angles, velocities = states[:, :2], states[:, 2:]
    columns = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(-1, 4)
    return _series.split_in_time(np.hstack([columns, velocities]), timesteps, horizon, test_fraction)


def trajectory(
    num_steps: int = 5_000,
    initial_state: Sequence[float] | None = None,
    *,
    step: float = 0.02,
    lengths: Sequence[float] = (1.0, 1.0),
    masses: Sequence[float] = (1.0, 1.0),
    gravity: float = 9.81,
    tolerance: float = 1e-10,
    seed: int | None = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Integrates the double pendulum's equations of motion by DOP853.

    With δ = θ₁ − θ₂ the accelerations α solve the two linear equations that Lagrange's method gives,
    (m₁ + m₂) l₁ α₁ + m₂ l₂ cos δ α₂ = −m₂ l₂ ω₂² sin δ − (m₁ + m₂) g sin θ₁ and
    l₁ cos δ α₁ + l₂ α₂ = l₁ ω₁² sin δ − g sin θ₂.

    Args:
        num_steps: Number of states, at least 2.
        initial_state: θ₁, θ₂ in radians from the downward vertical, ω₁, ω₂ in rad/s at time 0. By default at rest
            at random angles, uniform from −π/2 to π/2 for the upper and from −π to π for the lower rod.
        step: Time between two states, in seconds; the integrator chooses its own.
        lengths: Lengths l₁, l₂ of the upper and the lower rod, in metres.
        masses: Masses m₁, m₂ at the end of the upper and the lower rod, in kilograms.
        gravity: Acceleration of free fall g, in m/s².
        tolerance: Relative and absolute tolerance of the integrator; at 1e-10 the energy holds to better than a
            millionth over 100 s.
        seed: Seed of the random angles; `None` for fresh randomness.

    Returns:
        Times (num_steps,) from 0 in seconds and states (num_steps, 4), float64: θ₁, θ₂, ω₁, ω₂. The angles count
        full turns.

    Raises:
        ValueError: A number that is not positive and finite, an initial state that is not four numbers.
        TypeError: An argument of the wrong kind.

    Reference:
        T. Shinbrot, C. Grebogi, J. Wisdom, J. A. Yorke, 1992, "Chaos in a double pendulum".

    Example:
        >>> from kphys.datasets import double_pendulum
        >>> times, states = double_pendulum.trajectory(100, [2.0, 1.0, 0.0, 0.0])
        >>> energies = double_pendulum.energy(states)
        >>> bool(abs(energies - energies[0]).max() < 1e-6)
        True
    """
    times = _series.sample_times(num_steps, step)
    l1, l2, m1, m2, g = _check_bodies(lengths, masses, gravity)
    tolerance = _arguments.real("tolerance", tolerance, positive=True)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        theta1, theta2, omega1, omega2 = state
        sine, cosine = np.sin(theta1 - theta2), np.cos(theta1 - theta2)
        upper = -m2 * l2 * omega2**2 * sine - (m1 + m2) * g * np.sin(theta1)
        lower = l1 * omega1**2 * sine - g * np.sin(theta2)
        alpha1 = (upper - m2 * cosine * lower) / (l1 * (m1 + m2 * sine**2))
        return np.array([omega1, omega2, alpha1, (lower - l1 * cosine * alpha1) / l2])

    if initial_state is None:
        start = np.array([rng.uniform(-np.pi / 2, np.pi / 2), rng.uniform(-np.pi, np.pi), 0.0, 0.0])
    else:
        start = _series.initial_state("initial_state", initial_state, 4)
    return times, _series.integrate(derivative, start, times, tolerance)


def energy(
    states: np.ndarray,
    *,
    lengths: Sequence[float] = (1.0, 1.0),
    masses: Sequence[float] = (1.0, 1.0),
    gravity: float = 9.81,
) -> np.ndarray:
    """Gives the total energy of each state in joules, zero where both masses would be at the pivot's height.

    Args:
        states: (n, 4): θ₁, θ₂ in radians, ω₁, ω₂ in rad/s.
        lengths: Lengths of the upper and the lower rod, in metres.
        masses: Masses at the end of the upper and the lower rod, in kilograms.
        gravity: Acceleration of free fall, in m/s².

    Returns:
        (n,), float64.
    """
    l1, l2, m1, m2, g = _check_bodies(lengths, masses, gravity)
    theta1, theta2, omega1, omega2 = np.asarray(states, dtype=np.float64).T
    kinetic = 0.5 * (m1 + m2) * (l1 * omega1) ** 2 + 0.5 * m2 * (l2 * omega2) ** 2
    kinetic += m2 * l1 * l2 * omega1 * omega2 * np.cos(theta1 - theta2)
    return kinetic - g * ((m1 + m2) * l1 * np.cos(theta1) + m2 * l2 * np.cos(theta2))


def _check_bodies(lengths: Sequence[float], masses: Sequence[float], gravity: float) -> tuple[float, ...]:
    checked = []
    for name, pair in (("lengths", lengths), ("masses", masses)):
        if isinstance(pair, str) or not np.iterable(pair) or len(pair) != 2:
            raise ValueError(f"`{name}` must be a pair of positive numbers such as (1.0, 1.0), got {pair!r}.")
        checked += [_arguments.real(f"{name}[{i}]", value, positive=True) for i, value in enumerate(pair)]
    return (*checked, _arguments.real("gravity", gravity, positive=True))
