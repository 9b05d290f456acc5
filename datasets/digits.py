"""Handwritten digits of 8 × 8 pixels, inside the installation."""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from kphys import _arguments
from kphys.datasets._split import Arrays, split_stratified


def load_data(test_fraction: float = 0.2, seed: int | None = 0) -> tuple[Arrays, Arrays]:
    """Loads the 1,797 handwritten digits that come with scikit-learn.

    43 people wrote them; each pixel counts the dark points in a block of 4 × 4 of a 32 × 32 bitmap. This is the test
    part of the UCI set "Optical recognition of handwritten digits".

    Args:
        test_fraction: Share of the digits that goes to the test, between 0 and 1.
        seed: Seed of the split; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, shuffled. `x`: (n, 8, 8, 1), float32, the darkness of each pixel from
        0 (paper) to 1 (ink), in steps of 1/16. `y`: (n,), int64, the digit 0 to 9, in equal shares in both parts.

    Raises:
        ValueError: A `test_fraction` outside (0, 1), or one that leaves a part fewer digits than classes.
        TypeError: An argument of the wrong kind.

    Licence: CC BY 4.0.

    Reference:
        E. Alpaydin and C. Kaynak, 1998, "Cascading classifiers".

    Example:
        >>> from kphys.datasets import digits
        >>> (x_train, y_train), (x_test, y_test) = digits.load_data()
        >>> x_train.shape, x_test.shape
        ((1438, 8, 8, 1), (359, 8, 8, 1))
    """
    seed = _arguments.seed("seed", seed)
    images, labels = datasets.load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    return split_stratified(x, labels.astype(np.int64), test_fraction, seed)
