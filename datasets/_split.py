"""Train and test: how many samples each gets, and which."""

from __future__ import annotations

import numpy as np

from kphys import _arguments

Arrays = tuple[np.ndarray, np.ndarray]


def split_counts(num_samples: int, test_fraction: float) -> tuple[int, int]:
    """Gives the numbers of training and test samples, each at least one."""
    test_fraction = _arguments.real("test_fraction", test_fraction)
    if not 0 < test_fraction < 1:
        raise ValueError(f"`test_fraction` must be above 0 and below 1, got {test_fraction:g}.")
    num_test = round(num_samples * test_fraction)
    num_train = num_samples - num_test
    if num_test < 1 or num_train < 1:
        raise ValueError(
            f"`test_fraction` is {test_fraction:g}, but of {num_samples} samples that leaves {num_train} to train on "
            f"and {num_test} to test on: ask for more samples, or for a fraction nearer to 0.5."
        )
    return num_train, num_test


def split_at_random(x: np.ndarray, y: np.ndarray, test_fraction: float, seed: int | None) -> tuple[Arrays, Arrays]:
    """Shuffles, and gives the last `test_fraction` of the shuffled samples to the test."""
    num_train, _ = split_counts(len(x), test_fraction)
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[:num_train], order[num_train:]
    return (x[train], y[train]), (x[test], y[test])


def split_stratified(x: np.ndarray, y: np.ndarray, test_fraction: float, seed: int | None) -> tuple[Arrays, Arrays]:
    """Shuffles and splits so that every class has the same share in both parts."""
    from sklearn.model_selection import train_test_split

    num_train, num_test = split_counts(len(x), test_fraction)
    num_classes = len(np.unique(y))
    if min(num_train, num_test) < num_classes:
        raise ValueError(
            f"`test_fraction` is {test_fraction:g}, but of {len(x)} samples that leaves {num_train} to train on and "
            f"{num_test} to test on, fewer than the {num_classes} classes: ask for more samples, or for a fraction "
            "nearer to 0.5."
        )
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=num_test, train_size=num_train, stratify=y, random_state=as_integer(seed)
    )
    return (x_train, y_train), (x_test, y_test)


def as_integer(seed: int | None) -> int:
    """Gives `seed`, or a fresh one: scikit-learn would take `None` for NumPy's global generator."""
    return int(np.random.default_rng().integers(2**32)) if seed is None else seed
