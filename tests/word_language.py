"""The language of `kphys.datasets.toy_language`, whole, and its analogies as a file."""

import functools

from kphys.datasets import toy_language
from kphys.datasets.toy_language import RELATIONS

__all__ = ["RELATIONS", "language", "write_questions"]


@functools.cache
def language(seed, size, pairs):
    """Gives `size` sentences about `pairs` pairs of each relation."""
    train, test = toy_language.load_data(size, pairs, seed=seed)
    return train + test


def write_questions(path, pairs):
    """Writes all analogies between two pairs of one relation, as a file of them has it, and gives its path."""
    lines = []
    for relation, questions in toy_language.questions(pairs).items():
        lines += [f": {relation}", *(" ".join(question) for question in questions)]
    path.write_text("\n".join(lines))
    return path
