"""A binary tree of sums: draws among many weights, and changes some of them, in the logarithm of their number."""

from __future__ import annotations

import numpy as np


class SumTree:
    """Holds `size` weights, all zero at first, and finds where a point of their running sum falls.

    Node 1 is the root, the children of node i are 2i and 2i + 1, and each node is the sum of its children. A whole
    array of points descends level by level; an array of changes ascends the same way.

    Args:
        size: Number of weights, positive.

    Example:
        >>> from kphys.agents._sum_tree import SumTree
        >>> tree = SumTree(3)
        >>> tree.update([0, 2], [1.0, 3.0])
        >>> tree.total
        4.0
        >>> tree.find([0.5, 1.5, 3.9])
        array([0, 2, 2])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._depth = (size - 1).bit_length()
        self._first = 1 << self._depth
        self._nodes = np.zeros(2 * self._first)
        self._pairs = self._nodes.reshape(-1, 2)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._nodes[1])

    @property
    def weights(self) -> np.ndarray:
        """The weights, `(size,)`: a view that `update` changes."""
        return self._nodes[self._first : self._first + self.size]

    @property
    def nbytes(self) -> int:
        """Bytes that the tree takes."""
        return self._nodes.nbytes

    def update(self, indices: np.ndarray, weights: np.ndarray | float) -> None:
        """Sets weights; of an index that stands there twice, the last one counts."""
        nodes = np.asarray(indices, np.int64).ravel() + self._first
        self._nodes[nodes] = np.ravel(weights)
        nodes.sort()
        for _ in range(self._depth):
            nodes >>= 1
            different = np.empty(len(nodes), bool)
            different[:1] = True
            np.not_equal(nodes[1:], nodes[:-1], out=different[1:])
            nodes = nodes[different]
            pairs = self._pairs.take(nodes, axis=0)  # (nodes, 2)
            # A sum of exactly two terms, so that the order of changes leaves no trace.
            self._nodes[nodes] = pairs[:, 0] + pairs[:, 1]

    def fill(self, weights: np.ndarray) -> None:
        """Sets the first weights, and the others to zero."""
        self._nodes[:] = 0
        self._nodes[self._first : self._first + len(weights)] = weights
        for depth in range(self._depth - 1, -1, -1):
            level = slice(1 << depth, 2 << depth)
            self._nodes[level] = self._pairs[level].sum(axis=1)

    def find(self, points: np.ndarray) -> np.ndarray:
        """Gives the smallest index whose running sum exceeds each point, `0 <= point < total`; never a zero weight."""
        points = np.array(points, np.float64)
        nodes = np.ones(points.shape, np.int64)
        for _ in range(self._depth):
            pairs = self._pairs.take(nodes, axis=0)  # (*points.shape, 2)
            left = pairs[..., 0]
            # Rounding may carry a point past the last weight: an empty branch is not entered.
            right = (points >= left) & (pairs[..., 1] > 0)
            points -= left * right
            nodes = 2 * nodes + right
        return nodes - self._first
