"""The CMS candidates: the invariant mass follows from the four-vectors."""

import os

import numpy as np
import pytest

from kphys.datasets import cms_zmumu

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not os.environ.get("KPHYS_DATA"), reason="KPHYS_DATA is not set"),
]


def test_shapes_and_split():
    (x_train, y_train), (x_test, y_test) = cms_zmumu.load_data()
    assert x_train.shape == (8681, 8)
    assert y_train.shape == (8681, 1)
    assert x_test.shape == (2170, 8)
    assert y_test.shape == (2170, 1)
    assert x_train.dtype == y_train.dtype == np.float32


def test_the_mass_is_the_one_of_the_four_vectors():
    (x, y), _ = cms_zmumu.load_data()
    total = x[:, :4].astype(np.float64) + x[:, 4:]
    mass = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1))
    # The file rounds momenta to six digits; forward muons of hundreds of GeV lose the most.
    assert np.median(abs(mass - y[:, 0])) < 1e-3
    assert abs(mass - y[:, 0]).max() < 0.1


def test_muons_have_the_muon_mass():
    (x, _), _ = cms_zmumu.load_data()
    energy, momentum = x[:, 0].astype(np.float64), np.linalg.norm(x[:, 1:4].astype(np.float64), axis=1)
    assert np.allclose(energy, np.hypot(momentum, 0.10566), rtol=1e-4)


def test_the_z_stands_in_the_spectrum():
    (_, y), _ = cms_zmumu.load_data()
    counts, edges = np.histogram(y, bins=np.arange(60, 121, 1))
    assert abs(edges[counts.argmax()] + 0.5 - 91.19) < 1
