"""The Ising sampler against exact answers: enumeration, Kaufman's finite torus, Onsager and Yang."""

import math

import numpy as np
import pytest

from kphys.datasets import ising

TC = ising.CRITICAL_TEMPERATURE


def standard_errors_off(values, exact):
    """Samples are independent, so the error of the mean is the plain one."""
    return abs(values.mean() - exact) / (values.std(ddof=1) / math.sqrt(len(values)))


def kaufman_energy(size, temperature):
    """Energy per site of the periodic size × size lattice, from Kaufman's partition function of 1949."""
    step = 1e-4

    def log_z(coupling):
        def gamma(index):
            if index == 0:
                return 2 * coupling + math.log(math.tanh(coupling))
            ratio = math.cosh(2 * coupling) / math.tanh(2 * coupling)
            return math.acosh(ratio - math.cos(math.pi * index / size))

        odd, even = ([gamma(2 * r + first) for r in range(size)] for first in (1, 0))
        half = size / 2
        logs, signs = [], []
        for gammas in (odd, even):
            logs.append(sum(np.logaddexp(half * g, -half * g) for g in gammas))
            logs.append(sum(half * abs(g) + math.log(-math.expm1(-size * abs(g))) for g in gammas))
            signs += [1, np.prod(np.sign(gammas))]
        largest = max(logs)
        total = sum(sign * math.exp(log - largest) for sign, log in zip(signs, logs, strict=True))
        return size**2 / 2 * math.log(2 * math.sinh(2 * coupling)) + largest + math.log(total / 2)

    beta = 1 / temperature
    near, far = (log_z(beta + k * step) - log_z(beta - k * step) for k in (1, 2))
    return -(8 * near - far) / (12 * step) / size**2


@pytest.fixture(scope="module")
def all_states_of_4_by_4():
    bits = np.arange(2**16)[:, np.newaxis] >> np.arange(16) & 1
    return (2 * bits - 1).astype(np.int8).reshape(-1, 4, 4)


@pytest.mark.parametrize("temperature", [1.5, TC, 4.0])
def test_energy_and_magnetization_agree_with_enumeration(all_states_of_4_by_4, temperature):
    energies = ising.energy(all_states_of_4_by_4)
    magnetizations = np.abs(ising.magnetization(all_states_of_4_by_4))
    weights = np.exp(-16 * (energies + 2) / temperature)
    weights /= weights.sum()
    configurations = ising.sample(np.full(20_000, temperature), size=4, seed=1)
    assert standard_errors_off(ising.energy(configurations), weights @ energies) < 3
    assert standard_errors_off(np.abs(ising.magnetization(configurations)), weights @ magnetizations) < 3
    assert math.isclose(kaufman_energy(4, temperature), weights @ energies, abs_tol=1e-9)


def test_energies_have_the_exact_histogram(all_states_of_4_by_4):
    levels = np.rint(16 * ising.energy(all_states_of_4_by_4)).astype(int)
    weights = np.exp(-levels / 3.0)
    probability = np.bincount(levels + 32, weights) / weights.sum()
    sampled = np.rint(16 * ising.energy(ising.sample(np.full(20_000, 3.0), size=4, seed=2))).astype(int)
    counts = np.bincount(sampled + 32, minlength=len(probability))
    possible = probability > 0
    assert counts[~possible].sum() == 0
    expected = 20_000 * probability[possible]
    chi_square = ((counts[possible] - expected) ** 2 / expected)[expected > 5]
    # Mean k − 1 and variance 2 (k − 1) of the χ² distribution; three standard deviations.
    freedom = len(chi_square) - 1
    assert abs(chi_square.sum() - freedom) < 3 * math.sqrt(2 * freedom)


def test_a_side_of_two_counts_both_bonds():
    spins = (2 * (np.arange(16)[:, np.newaxis] >> np.arange(4) & 1) - 1).reshape(-1, 2, 2)
    energies = ising.energy(spins)
    weights = np.exp(-4 * energies / 3.0)
    sampled = ising.energy(ising.sample(np.full(5_000, 3.0), size=2))
    assert standard_errors_off(sampled, weights @ energies / weights.sum()) < 3


@pytest.mark.cases(2)
@pytest.mark.parametrize("temperature", [1.5, 1.8, 2.0, 2.7, 3.2])
def test_agrees_with_onsager_and_yang(temperature):
    """Far enough from T_c that 40 × 40 spins differ from the infinite lattice by less than 3e-6 in energy."""
    configurations = ising.sample(np.full(1_000, temperature), size=40, seed=3)
    assert standard_errors_off(ising.energy(configurations), ising.exact_energy(temperature)) < 3
    magnetization = ising.magnetization(configurations)
    if temperature < TC:
        magnetization = np.abs(magnetization)
    assert standard_errors_off(magnetization, ising.exact_magnetization(temperature)) < 3


@pytest.mark.cases(1)
@pytest.mark.parametrize("temperature", [2.2, TC, 2.35])
def test_agrees_with_the_exact_torus_near_the_critical_point(temperature):
    """Where relaxation is slowest: had the chains not forgotten their start, the energy would be too low."""
    energies = ising.energy(ising.sample(np.full(1_000, temperature), size=40, seed=4))
    assert standard_errors_off(energies, kaufman_energy(40, temperature)) < 3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 2.7, 5.0, 100.0])
def test_onsager_is_the_limit_of_the_torus(temperature):
    assert math.isclose(ising.exact_energy(temperature), kaufman_energy(64, temperature), abs_tol=1e-6)


def test_exact_values_at_the_ends_and_at_the_critical_point():
    assert math.isclose(TC, 2.269185, abs_tol=1e-6)
    assert math.isclose(ising.exact_energy(TC), -math.sqrt(2), abs_tol=1e-12)
    assert ising.exact_energy(1e-6) == -2
    assert ising.exact_magnetization(1e-6) == 1
    assert ising.exact_magnetization([TC, 3.0]).tolist() == [0, 0]


def test_energy_and_magnetization_of_known_configurations():
    up = np.ones((1, 4, 4, 1), np.float32)
    checkerboard = np.fromfunction(lambda i, j: (-1.0) ** (i + j), (4, 4))[np.newaxis]
    assert ising.energy(up) == -2
    assert ising.magnetization(-up) == -1
    assert ising.energy(checkerboard) == 2
    assert ising.magnetization(checkerboard) == 0


def test_load_data_gives_images_labels_and_temperatures():
    train, test = ising.load_data([3.0, 2.0, TC], size=6, num_samples=100, return_temperatures=True)
    for (x, y, temperatures), count in ((train, 80), (test, 20)):
        assert x.shape == (count, 6, 6, 1)
        assert x.dtype == np.float32
        assert set(np.unique(x)) == {-1.0, 1.0}
        assert y.dtype == np.int64
        assert np.array_equal(y, temperatures < TC)
        shares = np.unique(temperatures, return_counts=True)[1]
        assert len(shares) == 3
        assert np.ptp(shares) <= 1
        assert not np.array_equal(temperatures, np.sort(temperatures))


def test_one_temperature_may_be_a_number():
    (x, y), _ = ising.load_data(1.0, size=3, num_samples=10)
    assert x.shape == (8, 3, 3, 1)
    assert y.all()


def test_extreme_temperatures():
    configurations = ising.sample([1e-300, 1e12], size=8)
    assert abs(ising.magnetization(configurations)[0]) == 1
    assert abs(ising.magnetization(configurations)[1]) < 0.5


def test_samples_do_not_depend_on_the_batches_they_are_run_in(monkeypatch):
    monkeypatch.setattr(ising, "_SITES_AT_ONCE", 1)
    energies = ising.energy(ising.sample(np.full(300, 2.0), size=16, seed=5))
    assert standard_errors_off(energies, kaufman_energy(16, 2.0)) < 3


def test_refuses_what_is_no_configuration():
    with pytest.raises(ValueError, match="`configurations` must have the shape"):
        ising.energy(np.ones((4, 5)))
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        ising.exact_energy(0.0)
