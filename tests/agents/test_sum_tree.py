"""The sum tree against running sums."""

import numpy as np
import pytest

from kphys.agents._sum_tree import SumTree

SIZES = (1, 2, 3, 7, 64, 100)


def tree_of(weights):
    tree = SumTree(len(weights))
    tree.update(np.arange(len(weights)), weights)
    return tree


@pytest.mark.parametrize("size", SIZES)
def test_points_fall_where_the_running_sum_says(size):
    generator = np.random.default_rng(size)
    # Integers, so that sums are exact; some weights are zero.
    weights = generator.integers(0, 4, size).astype(float)
    weights[generator.integers(size)] = 2
    tree = tree_of(weights)
    assert tree.total == weights.sum()
    points = np.arange(0, tree.total, 0.5)
    np.testing.assert_array_equal(tree.find(points), np.searchsorted(np.cumsum(weights), points, side="right"))
    shaped = points[: len(points) // 2 * 2].reshape(2, -1)
    np.testing.assert_array_equal(tree.find(shaped).ravel(), tree.find(points)[: shaped.size])


@pytest.mark.parametrize("size", SIZES)
def test_any_order_of_changes_leaves_the_same_tree(size):
    generator = np.random.default_rng(size)
    weights, tree = np.zeros(size), SumTree(size)
    for _ in range(50):
        indices = generator.choice(size, generator.integers(1, size + 1), replace=False)
        weights[indices] = generator.random(len(indices)) ** 5
        tree.update(indices, weights[indices])
    filled = SumTree(size)
    filled.update(np.arange(size), 7.0)
    filled.fill(weights)
    np.testing.assert_array_equal(tree.weights, weights)
    np.testing.assert_array_equal(filled._nodes[1:], tree._nodes[1:])
    np.testing.assert_array_equal(tree_of(weights)._nodes[1:], tree._nodes[1:])
    assert tree.total == pytest.approx(weights.sum(), rel=1e-14)


def test_fill_takes_the_first_weights_and_clears_the_others():
    tree = tree_of([5.0] * 6)
    tree.fill(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(tree.weights, [1, 2, 0, 0, 0, 0])
    assert tree.total == 3


def test_of_an_index_given_twice_the_last_weight_counts():
    tree = SumTree(5)
    tree.update(np.array([[3, 1], [3, 3]]), np.array([[9.0, 2.0], [8.0, 1.0]]))
    np.testing.assert_array_equal(tree.weights, [0, 2, 0, 1, 0])
    assert tree.total == 3


def test_a_weight_of_zero_is_never_found():
    generator = np.random.default_rng(0)
    for _ in range(200):
        # Weights of very different size, whose sums are rounded.
        weights = generator.random(37) ** 20 * (generator.random(37) < 0.3)
        weights[generator.integers(37)] = 1e-3
        tree = tree_of(weights)
        points = np.append(generator.random(50), [0, np.nextafter(1, 0), 1]) * tree.total
        assert (weights[tree.find(points)] > 0).all()


def test_it_takes_sixteen_bytes_a_weight():
    assert SumTree(1 << 16).nbytes == 16 << 16
