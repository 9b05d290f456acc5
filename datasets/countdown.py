"""The countdown task: told a number, fire that many steps later."""

from __future__ import annotations

import numpy as np

from kphys import _arguments
from kphys.datasets._split import Arrays, split_counts


def load_data(
    num_samples: int = 7_500,
    timesteps: int = 20,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives sequences in which a number k is told once and the output fires k steps later.

    Somewhere in the first half of the sequence a number k from 1 to timesteps/2 is told. The right output is 1
    exactly k steps later and 0 at every other step. Always 0 is already right at 1 − 1/timesteps of the outputs,
    95 % of 20. The default training set is the lecture's 300 batches of 20.

    Args:
        num_samples: Number of sequences, training and test together.
        timesteps: Length of each sequence, at least 2.
        test_fraction: Share of the sequences that goes to the test, between 0 and 1.
        seed: Seed of the sequences; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`. `x`: (n, timesteps, 2), float32: column 0 is 1 at the step where the
        number is told, column 1 is the number k there; all else is 0. `y`: (n, timesteps, 1), int64, the shape of a
        binary classifier's output for every step: 1 at the step that fires, 0 elsewhere. Sequences are drawn
        independently, the last `test_fraction` of them is the test.

    Raises:
        ValueError: A number below its minimum, a `test_fraction` outside (0, 1) or one that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: generated, free of rights.

    Reference:
        F. A. Gers and J. Schmidhuber, 2000, "Recurrent nets that time and count" (tasks of this kind).
        F. Marquardt, 2020, "Machine Learning for Physicists", lecture 6 (the task).

    Example:
        >>> from kphys.datasets import countdown
        >>> (x_train, y_train), (x_test, y_test) = countdown.load_data(100)
        >>> x_train.shape, y_train.shape
        ((80, 20, 2), (80, 20, 1))
    """
    num_samples = _arguments.integer("num_samples", num_samples)
    timesteps = _arguments.integer("timesteps", timesteps, minimum=2)
    num_train, _ = split_counts(num_samples, test_fraction)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    told = rng.integers(timesteps // 2, size=num_samples)
    number = rng.integers(1, timesteps // 2 + 1, size=num_samples)
    x = np.zeros((num_samples, timesteps, 2), np.float32)
    y = np.zeros((num_samples, timesteps, 1), np.int64)
    rows = np.arange(num_samples)
    x[rows, told, 0] = 1
    x[rows, told, 1] = number
    y[rows, told + number, 0] = 1
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])
