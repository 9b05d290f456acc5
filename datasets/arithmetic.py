"""The lecture's arithmetic, "3+5=??": sums and differences as text, to be answered as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kphys import _arguments
from kphys.datasets._split import Arrays, split_counts

CHARACTERS = "0123456789+-"
"""The characters of questions and answers; character i is token i + 1, and 0 is padding."""


def load_data(
    num_digits: int = 3,
    num_samples: int | None = None,
    operations: str = "+-",
    test_fraction: float = 0.2,
    seed: int | None = 0,
) -> tuple[Arrays, Arrays]:
    """Gives sums and differences such as "17+425" with their answers, "442".

    Both numbers run from 0 to 10^`num_digits` − 1, written without leading zeros; the operation is one of
    `operations`. Problems are drawn without repetition, every problem equally likely, so that no problem of the test
    occurs in the training; a sum and the one with its numbers exchanged are two problems.

    Args:
        num_digits: Most digits of a number, 1 to 9.
        num_samples: Number of problems, training and test together. `None`: all there are, but at most 50,000.
        operations: "+", "-" or "+-".
        test_fraction: Share of the problems that goes to the test, between 0 and 1.
        seed: Seed of the draw; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: the questions x, (n, 2 num_digits + 1), and the answers y,
        (n, num_digits + 1), int32. Character i of `CHARACTERS` is token i + 1; after the end there is 0. `decode` makes
        texts of them.

    Raises:
        ValueError: A number out of its range, more samples than there are problems, operations that are not among
            these, a `test_fraction` that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: generated, free of rights.

    Reference:
        W. Zaremba and I. Sutskever, 2014, "Learning to execute" (tasks of this kind).
        F. Marquardt, 2020, "Machine Learning for Physicists" (the task).

    Example:
        >>> from kphys.datasets import arithmetic
        >>> (x_train, y_train), (x_test, y_test) = arithmetic.load_data(num_digits=2, num_samples=1000)
        >>> x_train.shape, y_train.shape
        ((800, 5), (800, 3))
        >>> arithmetic.decode(x_train[:3]), arithmetic.decode(y_train[:3])
        (['18-60', '5+40', '33+81'], ['-42', '45', '114'])
    """
    num_digits = _arguments.integer("num_digits", num_digits)
    if num_digits > 9:
        raise ValueError(f"`num_digits` must be from 1 to 9, got {num_digits}.")
    operations = _arguments.choice("operations", operations, ("+", "-", "+-", "-+"))
    numbers = 10**num_digits
    problems = len(operations) * numbers**2
    num_samples = min(problems, 50_000) if num_samples is None else _arguments.integer("num_samples", num_samples)
    if num_samples > problems:
        raise ValueError(
            f"`num_samples` is {num_samples}, but there are {problems} different problems of {num_digits} digits: ask "
            "for fewer samples, or for more digits."
        )
    num_train, _ = split_counts(num_samples, test_fraction)
    rng = np.random.default_rng(_arguments.seed("seed", seed))

    drawn = rng.choice(problems, num_samples, replace=False)
    rest, first = np.divmod(drawn, numbers)
    operation, second = np.divmod(rest, numbers)
    symbols = np.array(list(operations))[operation]
    x = encode(np.char.add(np.char.add(first.astype(str), symbols), second.astype(str)), 2 * num_digits + 1)
    y = encode(np.where(symbols == "+", first + second, first - second).astype(str), num_digits + 1)
    return (x[:num_train], y[:num_train]), (x[num_train:], y[num_train:])


def encode(texts: Sequence[str], timesteps: int | None = None) -> np.ndarray:
    """Gives the tokens of texts, `(texts, timesteps)` in int32, padded with 0 at the end.

    Args:
        texts: Strings of `CHARACTERS`, at least one character each.
        timesteps: Number of columns. `None`: as many as the longest text has characters.

    Raises:
        ValueError: No text, an empty one, one longer than `timesteps`, or an unknown character.
        TypeError: One string in place of several, or what is no string.

    Example:
        >>> from kphys.datasets import arithmetic
        >>> arithmetic.encode(["3+5", "12-7"])
        array([[ 4, 11,  6,  0],
               [ 2,  3, 12,  8]], dtype=int32)
    """
    if isinstance(texts, str):
        raise TypeError(f"`texts` must be several strings, got one: pass [{texts!r}].")
    array = np.asarray(texts)
    if array.size and array.dtype.kind != "U":
        raise TypeError(f"`texts` must hold strings, got {array.dtype}: pass [str(text) for text in texts].")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"`texts` must be a list of at least one string, got the shape {array.shape}.")
    # NumPy's strings are 4 bytes a character, ended by zeros.
    codes = np.ascontiguousarray(array).view(np.uint32).reshape(len(array), -1)
    table = np.zeros(128, np.int32)
    table[[ord(character) for character in CHARACTERS]] = np.arange(1, len(CHARACTERS) + 1)
    tokens = np.where(codes < 128, table[np.minimum(codes, 127)], 0)
    inside = np.logical_or.accumulate(codes[:, ::-1] != 0, axis=1)[:, ::-1]  # Zeros too, before the text's end.
    unknown = inside & (tokens == 0)
    if unknown.any():
        row, column = (int(index) for index in np.unravel_index(unknown.argmax(), unknown.shape))
        raise ValueError(
            f"`texts` must hold the characters {CHARACTERS!r} only, got {chr(codes[row, column])!r} in "
            f"{str(array[row])!r}."
        )
    lengths = np.count_nonzero(tokens, axis=1)
    if not lengths.all():
        raise ValueError(f"`texts` must hold at least one character each, texts[{int(lengths.argmin())}] is empty.")
    longest = int(lengths.max())
    timesteps = longest if timesteps is None else _arguments.integer("timesteps", timesteps)
    if longest > timesteps:
        raise ValueError(f"`timesteps` is {timesteps}, but {str(array[lengths.argmax()])!r} has {longest} characters.")
    return np.pad(tokens[:, :longest], ((0, 0), (0, timesteps - longest)))


def decode(tokens: np.ndarray) -> list[str]:
    """Gives the texts of tokens, `(texts, timesteps)`, each up to its first 0.

    Raises:
        ValueError: Tokens that are no integers from 0 to the number of `CHARACTERS`, or of another shape.

    Example:
        >>> import numpy as np
        >>> from kphys.datasets import arithmetic
        >>> arithmetic.decode(np.array([[4, 11, 6, 0]]))
        ['3+5']
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise ValueError(f"`tokens` must be integers (texts, timesteps), got {tokens.dtype} of shape {tokens.shape}.")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() <= len(CHARACTERS):
        raise ValueError(f"`tokens` must be from 0 to {len(CHARACTERS)}, got {tokens.min()} to {tokens.max()}.")
    characters = np.array(["", *CHARACTERS])
    ended = np.logical_or.accumulate(tokens == 0, axis=1)
    return ["".join(row) for row in characters[np.where(ended, 0, tokens)]]
