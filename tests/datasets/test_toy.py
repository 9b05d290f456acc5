"""The toy sets: without noise every point lies where the docstring says."""

import numpy as np
import pytest

from kphys.datasets import toy


def test_circles_have_their_radii():
    (x, y), _ = toy.load_data("circles", noise=0.0)
    assert np.allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.5), atol=1e-6)


def test_moons_are_half_circles():
    (x, y), _ = toy.load_data("moons", noise=0.0)
    centre = np.where(y[:, np.newaxis] == 0, [0, 0], [1, 0.5])
    assert np.allclose(np.hypot(*(x - centre).T), 1, atol=1e-6)
    assert (x[y == 0, 1] > -1e-6).all()
    assert (x[y == 1, 1] < 0.5 + 1e-6).all()


def test_blobs_have_their_centres_and_width():
    (x, y), _ = toy.load_data("blobs", num_samples=6_000, noise=0.1)
    for label in range(3):
        angle = 2 * np.pi / 3 * label
        assert np.allclose(x[y == label].mean(axis=0), [np.cos(angle), np.sin(angle)], atol=0.01)
        assert np.allclose(x[y == label].std(axis=0), 0.1, rtol=0.1)


@pytest.mark.parametrize(("kind", "num_classes"), [("moons", 2), ("circles", 2), ("blobs", 3)])
def test_classes_have_equal_shares_in_both_parts(kind, num_classes):
    for (_, y), count in zip(toy.load_data(kind, num_samples=300), (240, 60), strict=True):
        assert np.bincount(y).tolist() == [count // num_classes] * num_classes
