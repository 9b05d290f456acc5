"""The recall task: remember a symbol, and give it back when asked."""

from __future__ import annotations

import numpy as np

from kphys import _arguments
from kphys.datasets._split import Arrays, split_counts


def load_data(
    num_samples: int = 7_500,
    timesteps: int = 20,
    num_symbols: int = 4,
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives sequences in which a symbol is shown once and asked for later.

    Somewhere in the first half of the sequence one of `num_symbols` symbols is shown, somewhere in the second half
    a cue asks for it. The right output is the symbol at the step of the cue, and silence at every other step: a
    network must keep the symbol for up to `timesteps` − 1 steps. Always silent is already right at 1 − 1/timesteps
    of the outputs, 95 % of 20. The default training set is the lecture's 300 batches of 20.

    Args:
        num_samples: Number of sequences, training and test together.
        timesteps: Length of each sequence, at least 2.
        num_symbols: Number of different symbols, at least 1.
        test_fraction: Share of the sequences that goes to the test, between 0 and 1.
        seed: Seed of the sequences; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`. `x`: (n, timesteps, num_symbols + 1), float32: the first
        `num_symbols` columns are the shown symbol, one-hot at its step, the last column is 1 at the cue; all else
        is 0. `y`: (n, timesteps), int64: 0 for silence, k + 1 where symbol k (from 0) is asked for, so that a
        classifier of every step has num_symbols + 1 classes. Sequences are drawn independently, the last
        `test_fraction` of them is the test.

    Raises:
        ValueError: A number below its minimum, a `test_fraction` outside (0, 1) or one that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: generated, free of rights.

    Reference:
        S. Hochreiter and J. Schmidhuber, 1997, "Long short-term memory" (tasks of this kind).
        F. Marquardt, 2020, "Machine Learning for Physicists", lecture 6 (the task, there with a real number).

    Example:
        >>> from kphys.datasets import recall
        >>> (x_train, y_train), (x_test, y_test) = recall.load_data(100)
        >>> x_train.shape, y_train.shape
        ((80, 20, 5), (80, 20))
    """
    num_samples = _arguments.integer("num_samples", num_samples)
    timesteps = _arguments.integer("timesteps", timesteps, minimum=2)
    num_symbols = _arguments.integer("num_symbols", num_symbols)
    num_train, _ = split_counts(num_samples, test_fraction)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    symbol = rng.integers(num_symbols, size=num_samples)
    shown = rng.integers(timesteps // 2, size=num_samples)
    asked = rng.integers(timesteps // 2, timesteps, size=num_samples)
    x = np.zeros((num_samples, timesteps, num_symbols + 1), np.float32)
    y = np.zeros((num_samples, timesteps), np.int64)
    rows = np.arange(num_samples)
    x[rows, shown, symbol] = 1
    x[rows, asked, num_symbols] = 1
    y[rows, asked] = symbol + 1
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])
