"""The phases of the 2-D Ising model, 40 × 40 spins, told by a network without an edge."""

import keras
import numpy as np
import pytest

from kphys import cnn_classifier
from kphys.datasets import ising

pytestmark = pytest.mark.slow

TC = ising.CRITICAL_TEMPERATURE


def _network(x, y, falling, seed, periodic=True):
    keras.utils.set_random_seed(seed)
    learning_rate = falling(2e-3, x, 64, 5)
    model = cnn_classifier((40, 40, 1), 2, filters=(8, 16), periodic=periodic, learning_rate=learning_rate, seed=seed)
    model.fit(x, y, batch_size=64, epochs=5, verbose=0)
    return model


@pytest.fixture(scope="module")
def across():
    """Temperatures across the transition and 200 configurations for each, from other chains than the training."""
    temperatures = np.round(np.arange(2.0, 2.56, 0.05), 2)
    return temperatures, ising.sample(np.repeat(temperatures, 200), size=40, seed=1)[..., np.newaxis]


def _crossing(model, across):
    """Where the mean output, the share taken for ordered, falls through one half; linear between neighbours."""
    temperatures, spins = across
    outputs = model.predict(spins, batch_size=256, verbose=0).reshape(len(temperatures), -1).mean(axis=1)
    after = int(np.argmax(outputs < 0.5))
    return np.interp(0.5, outputs[[after, after - 1]], temperatures[[after, after - 1]])


# A lattice is periodic; a network with edges learns the same, as 40 × 40 spins have few at the edge.
@pytest.mark.parametrize(("seed", "periodic"), [(0, True), (1, True), (0, False)])
def test_phases_and_critical_temperature(seed, periodic, across, falling):
    """5,200 configurations at T = 1.0, 1.1, …, 3.5 to train, 1,300 to test; two seeds, none may fail.

    Every configuration with |T − T_c| > 0.5 right, where the magnetization alone decides; at least 92 % of those
    nearer, where clusters are as large as the lattice and ordered and disordered ones overlap. The crossing within 1 %
    of Onsager's T_c: below it for finite lattices and labels in steps of 0.1 by at most half a step, 2 %.
    """
    (x_train, y_train, _), (x_test, y_test, temperatures) = ising.load_data(num_samples=6_500, return_temperatures=True)
    model = _network(x_train, y_train, falling, seed, periodic)
    right = (model.predict(x_test, batch_size=256, verbose=0)[:, 0] > 0.5) == y_test
    near = np.abs(temperatures - TC) <= 0.5
    assert right[~near].all()
    assert right[near].mean() >= 0.92
    assert abs(_crossing(model, across) / TC - 1) <= 0.01


def test_the_transition_is_found_without_having_seen_it(across, falling):
    """Trained at T ≤ 2.0 and T ≥ 2.5 only, so that the labels do not know T_c better than to ± 0.25.

    One seed: the crossing within 2 % of Onsager's T_c, on a lattice of finite size.
    """
    outside = [*np.arange(1.0, 2.06, 0.1), *np.arange(2.5, 3.56, 0.1)]
    (x_train, y_train), _ = ising.load_data(outside, num_samples=5_000)
    assert abs(_crossing(_network(x_train, y_train, falling, seed=0), across) / TC - 1) <= 0.02
