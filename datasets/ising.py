"""Spin configurations of the two-dimensional Ising model, labelled by phase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import ellipkm1

from kphys import _arguments
from kphys.datasets._split import split_counts

CRITICAL_TEMPERATURE = 2 / math.log(1 + math.sqrt(2))
"""Onsager's critical temperature of the infinite square lattice, 2.269185 J/k_B."""

TEMPERATURES = tuple(round(1.0 + 0.1 * index, 1) for index in range(26))
"""The temperatures that `load_data` takes by default: 1.0, 1.1, …, 3.5."""

_SITES_AT_ONCE = 2**17


def load_data(
    temperatures: float | Sequence[float] = TEMPERATURES,
    size: int = 40,
    num_samples: int = 2600,
    test_fraction: float = 0.2,
    seed: int | None = 0,
    return_temperatures: bool = False,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Simulates configurations of the 2-D Ising model with the label ordered or disordered.

    Spins s = ±1 on a periodic square lattice of `size` × `size` sites, energy E = −J Σ s_i s_j over nearest
    neighbours, no field, J = k_B = 1. Every configuration comes from a Markov chain of its own (see `sample`), so
    samples are independent, and so are the two parts. The default call takes about 4 s.

    Args:
        temperatures: Temperatures in units of J/k_B, all positive; 1.0, 1.1, …, 3.5 by default.
        size: Number of sites along each side, at least 2.
        num_samples: Number of configurations, training and test together, spread evenly over the temperatures;
            at least one for each.
        test_fraction: Share of the samples that goes to the test, between 0 and 1.
        seed: Seed of the simulation and of the order; `None` for fresh randomness.
        return_temperatures: Whether to return the temperature of each sample too.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, shuffled. `x`: (n, size, size, 1), float32, spins −1 and +1;
        20,000 configurations of 40 × 40 take 128 MB. `y`: (n,), int64, 1 where T is below the critical temperature
        of the infinite lattice (ordered), 0 from there on (disordered). With `return_temperatures` the temperatures
        (n,), float64, are the third array of each pair. The split is by temperature: each part holds every
        temperature in the same proportion, as nearly as whole numbers allow.

    Raises:
        ValueError: A temperature that is not positive and finite, a size below 2, fewer samples than temperatures,
            a `test_fraction` outside (0, 1) or one that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: simulated, free of rights.

    Reference:
        L. Onsager, 1944, "Crystal statistics. I. A two-dimensional model with an order-disorder transition".
        R. H. Swendsen and J.-S. Wang, 1987, "Nonuniversal critical dynamics in Monte Carlo simulations".

    Example:
        >>> from kphys.datasets import ising
        >>> (x_train, y_train), (x_test, y_test) = ising.load_data([1.5, 3.0], size=8, num_samples=100)
        >>> x_train.shape, y_train.shape, x_test.shape
        ((80, 8, 8, 1), (80,), (20, 8, 8, 1))
    """
    temperatures = _check_temperatures(temperatures)
    size = _arguments.integer("size", size, minimum=2)
    num_samples = _arguments.integer("num_samples", num_samples)
    if num_samples < len(temperatures):
        raise ValueError(
            f"`num_samples` is {num_samples}, but there are {len(temperatures)} temperatures: "
            f"ask for at least {len(temperatures)} samples, or for fewer temperatures."
        )
    counts = split_counts(num_samples, test_fraction)
    return_temperatures = _arguments.flag("return_temperatures", return_temperatures)
    streams = np.random.SeedSequence(_arguments.seed("seed", seed)).spawn(2)
    train, test = (
        _labelled(temperatures, size, count, np.random.default_rng(stream))
        for count, stream in zip(counts, streams, strict=True)
    )
    return (train, test) if return_temperatures else (train[:2], test[:2])


def sample(
    temperatures: float | Sequence[float],
    size: int = 40,
    *,
    sweeps: int | None = None,
    seed: int | None = 0,
) -> np.ndarray:
    """Draws one independent configuration at each temperature by the Swendsen–Wang algorithm.

    Each chain starts with all spins up. A sweep joins equal neighbours with probability 1 − exp(−2/T) and gives
    every cluster a new sign at random. Relaxation is slowest at the critical temperature, where the energy of
    40 × 40 spins forgets its start with a time constant of about 4 sweeps.

    Args:
        temperatures: Temperatures in units of J/k_B, all positive, one for each configuration.
        size: Number of sites along each side, at least 2. On a side of 2 each pair is joined by two bonds.
        sweeps: Number of sweeps of each chain; by default 12 size^¼ rounded up, 31 for a side of 40: the
            relaxation time grows with the side by about that power.
        seed: Seed of the simulation; `None` for fresh randomness.

    Returns:
        Spins −1 and +1, (number of temperatures, size, size), int8, in the order of the temperatures.

    Raises:
        ValueError: A temperature that is not positive and finite, a size below 2, a number of sweeps below 1.
        TypeError: An argument of the wrong kind.

    Reference:
        R. H. Swendsen and J.-S. Wang, 1987, "Nonuniversal critical dynamics in Monte Carlo simulations".

    Example:
        >>> from kphys.datasets import ising
        >>> configurations = ising.sample([2.0] * 100, size=16)
        >>> bool(abs(ising.energy(configurations).mean() - ising.exact_energy(2.0)) < 0.05)
        True
    """
    temperatures = _check_temperatures(temperatures)
    size = _arguments.integer("size", size, minimum=2)
    sweeps = _enough_sweeps(size) if sweeps is None else _arguments.integer("sweeps", sweeps)
    return _run_chains(temperatures, size, sweeps, np.random.default_rng(_arguments.seed("seed", seed)))


def energy(configurations: np.ndarray) -> np.ndarray:
    """Gives the energy per site of each configuration, in units of J: −2 in the ground state.

    Args:
        configurations: Spins −1 and +1, (n, size, size) or (n, size, size, 1).

    Returns:
        (n,), float64.
    """
    spins = _check_configurations(configurations)
    aligned = spins * (np.roll(spins, -1, axis=1) + np.roll(spins, -1, axis=2))
    return -aligned.mean(axis=(1, 2), dtype=np.float64)


def magnetization(configurations: np.ndarray) -> np.ndarray:
    """Gives the mean spin of each configuration, from −1 to 1.

    Args:
        configurations: Spins −1 and +1, (n, size, size) or (n, size, size, 1).

    Returns:
        (n,), float64.
    """
    return _check_configurations(configurations).mean(axis=(1, 2), dtype=np.float64)


def exact_energy(temperature: float | Sequence[float]) -> np.ndarray:
    """Gives Onsager's exact energy per site of the infinite lattice, in units of J.

    u = −coth(2β) [1 + (2/π) q K(√(1−q²))] with q = 2 tanh²(2β) − 1, β = 1/T and K the complete elliptic integral of
    the first kind.

    Args:
        temperature: Temperature or temperatures in units of J/k_B, positive.

    Returns:
        float64, of the shape of `temperature`.

    Reference:
        L. Onsager, 1944, "Crystal statistics. I. A two-dimensional model with an order-disorder transition".
    """
    tanh = np.tanh(2 * _inverse(temperature))
    q = 2 * tanh**2 - 1
    # K grows only logarithmically where q vanishes, at the critical temperature: the product is 0 there.
    product = q * ellipkm1(np.maximum(q**2, np.finfo(np.float64).tiny))
    return -(1 + 2 / np.pi * product) / tanh


def exact_magnetization(temperature: float | Sequence[float]) -> np.ndarray:
    """Gives Yang's exact spontaneous magnetization of the infinite lattice, [1 − sinh(2/T)⁻⁴]^⅛ below T_c.

    Args:
        temperature: Temperature or temperatures in units of J/k_B, positive.

    Returns:
        float64, of the shape of `temperature`; 0 from the critical temperature on.

    Reference:
        C. N. Yang, 1952, "The spontaneous magnetization of a two-dimensional Ising model".
    """
    ordered = np.asarray(temperature) < CRITICAL_TEMPERATURE
    return np.where(ordered, np.maximum(1 - np.sinh(2 * _inverse(temperature)) ** -4.0, 0) ** 0.125, 0.0)


def _labelled(
    temperatures: np.ndarray, size: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spread = temperatures[np.arange(count) * len(temperatures) // count]
    spread = rng.permutation(spread)
    x = _run_chains(spread, size, _enough_sweeps(size), rng)[..., np.newaxis].astype(np.float32)
    return x, (spread < CRITICAL_TEMPERATURE).astype(np.int64), spread


def _enough_sweeps(size: int) -> int:
    return math.ceil(12 * size**0.25)


def _run_chains(temperatures: np.ndarray, size: int, sweeps: int, rng: np.random.Generator) -> np.ndarray:
    spins = np.ones((len(temperatures), size, size), np.int8)
    bond_probability = -np.expm1(-2 * _inverse(temperatures)).astype(np.float32)
    chains = max(1, _SITES_AT_ONCE // size**2)
    # Until one large block was freed, glibc returns memory to the system in every sweep: half as slow again.
    np.empty(2**24, np.int8)
    for first in range(0, len(temperatures), chains):
        part = slice(first, first + chains)
        for _ in range(sweeps):
            spins[part] = _sweep(spins[part], bond_probability[part, np.newaxis, np.newaxis], rng)
    return spins


def _sweep(spins: np.ndarray, bond_probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    right = rng.random(spins.shape, dtype=np.float32) < bond_probability
    right &= spins == np.roll(spins, -1, axis=2)
    down = rng.random(spins.shape, dtype=np.float32) < bond_probability
    down &= spins == np.roll(spins, -1, axis=1)
    runs = _horizontal_runs(right)
    graph = _graph_of_runs(runs, right, down)
    num_clusters, cluster_of_run = connected_components(graph, directed=False)
    signs = 2 * rng.integers(0, 2, num_clusters, dtype=np.int8) - 1
    return signs[cluster_of_run][runs]


def _horizontal_runs(right: np.ndarray) -> np.ndarray:
    """Numbers the stretches of sites joined along a row; where a row wraps around is left to the graph."""
    starts = np.ones(right.shape, dtype=bool)
    starts[..., 1:] = ~right[..., :-1]
    return np.cumsum(starts, dtype=np.int32).reshape(right.shape) - 1


def _graph_of_runs(runs: np.ndarray, right: np.ndarray, down: np.ndarray) -> csr_array:
    """Joins runs by the bonds down, and at the end of each row by the bond that wraps around."""
    # A bond down beside another one that links the same two runs adds nothing; fewer edges, half the time.
    ladder = down[..., :-1] & right[..., :-1] & np.roll(right, -1, axis=1)[..., :-1]
    down = np.concatenate([down[..., :1], down[..., 1:] & ~ladder], axis=2)
    edges = np.flatnonzero(np.concatenate([down, right[..., -1:]], axis=2))
    sources = np.concatenate([runs, runs[..., -1:]], axis=2).take(edges)
    targets = np.concatenate([np.roll(runs, -1, axis=1), runs[..., :1]], axis=2).take(edges)
    # Runs are numbered along the lattice, so the sources come sorted: the rows of a CSR matrix as they stand.
    num_runs = int(runs[-1, -1, -1]) + 1
    row_ends = np.zeros(num_runs + 1, np.int32)
    np.cumsum(np.bincount(sources, minlength=num_runs), out=row_ends[1:])
    return csr_array((np.ones(len(edges)), targets, row_ends), shape=(num_runs, num_runs))


def _inverse(temperature: float | Sequence[float]) -> np.ndarray:
    temperature = np.asarray(temperature, dtype=np.float64)
    if not (temperature > 0).all():
        raise ValueError(f"`temperature` must be positive, got {temperature.tolist()}.")
    # Below 0.01 nothing changes any more in double precision, and sinh would overflow.
    return 1 / np.maximum(temperature, 0.01)


def _check_temperatures(temperatures: float | Sequence[float]) -> np.ndarray:
    if isinstance(temperatures, str) or not np.iterable(temperatures):
        return np.array([_arguments.real("temperatures", temperatures, positive=True)])
    checked = [
        _arguments.real(f"temperatures[{index}]", value, positive=True) for index, value in enumerate(temperatures)
    ]
    if not checked:
        raise ValueError(f"`temperatures` must hold at least one positive number, got {temperatures!r}.")
    return np.array(checked)


def _check_configurations(configurations: np.ndarray) -> np.ndarray:
    spins = np.asarray(configurations)
    if spins.ndim == 4 and spins.shape[-1] == 1:
        spins = spins[..., 0]
    if spins.ndim != 3 or spins.shape[1] != spins.shape[2] or spins.shape[1] < 2:
        raise ValueError(
            f"`configurations` must have the shape (n, size, size) or (n, size, size, 1), got {spins.shape}."
        )
    return spins
