"""Abstracts of made-up papers, theory or experiment: told apart by the order of their words alone."""

from __future__ import annotations

import numpy as np

from kphys import _arguments
from kphys.datasets._split import split_counts

THEORY = ("predicted", "calculated", "derived", "simulated")
EXPERIMENT = ("measured", "observed", "detected", "recorded")
# {ours} is what "we" did, {theirs} what others did.
TURNS = (
    "We {ours} the {quantity} of {system}, which {others} had {theirs}.",
    "After {others} had {theirs} the {quantity} of {system}, we {ours} it.",
    "The {quantity} of {system} {theirs} by {others} agrees with the one we {ours}.",
    "The {quantity} of {system} was {theirs} by {others} long before it was {ours} here.",
    "Here the {quantity} of {system} is {ours}; {others} once {theirs} it.",
)
QUANTITIES = ("mass", "lifetime", "spectrum", "magnetization", "entropy", "cross section", "conductivity", "radius")
SYSTEMS = ("the muon", "graphene", "neutron stars", "spin glasses", "the proton", "cold atoms", "the early universe")
OTHERS = ("two groups", "our colleagues", "a team abroad", "a large collaboration", "a student of ours")
ENDINGS = ("", " The errors are small.", " Implications are discussed.", " A puzzle remains.", " The code is public.")
_CHOICES = (TURNS, QUANTITIES, SYSTEMS, OTHERS, ENDINGS, THEORY, EXPERIMENT)
_SIZES = tuple(map(len, _CHOICES))

Texts = tuple[np.ndarray, np.ndarray]


def load_data(num_pairs: int = 3000, test_fraction: float = 0.33, seed: int | None = 0) -> tuple[Texts, Texts]:
    """Gives abstracts in pairs of the same words: what we calculated and others measured, and the other way round.

    "We predicted the mass which others had measured" is theory, "we measured the mass which others had predicted" is
    experiment. Whoever counts words must fail; whoever reads them in order can tell. The abstracts are put together
    from a few turns of phrase, no two pairs alike, and both of a pair are in the same part.

    Args:
        num_pairs: Number of pairs, training and test together, at most 112,000.
        test_fraction: Share of the pairs that goes to the test, between 0 and 1.
        seed: Seed of the draw; `None` for fresh randomness.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: texts x, an object array `(n,)` of strings, and integer labels y `(n,)`,
        0 for theory and 1 for experiment; pairs follow one another.

    Raises:
        ValueError: More pairs than there are, a `test_fraction` outside (0, 1) or one that leaves a part empty.
        TypeError: An argument of the wrong kind.

    Licence: generated, free of rights.

    Reference:
        M. Minsky and S. Papert, 1969, "Perceptrons" (what cannot be told by counting parts).

    Example:
        >>> from kphys.datasets import abstracts
        >>> (x_train, y_train), (x_test, y_test) = abstracts.load_data(100)
        >>> len(x_train), len(x_test)
        (134, 66)
        >>> sorted(x_train[0].split()) == sorted(x_train[1].split()), y_train[:2].tolist()
        (True, [0, 1])
    """
    num_pairs = _arguments.integer("num_pairs", num_pairs)
    if num_pairs > np.prod(_SIZES):
        raise ValueError(f"`num_pairs` is {num_pairs}, but there are {np.prod(_SIZES)} pairs: ask for fewer.")
    num_train, _ = split_counts(num_pairs, test_fraction)
    rng = np.random.default_rng(_arguments.seed("seed", seed))
    drawn = np.unravel_index(rng.choice(np.prod(_SIZES), num_pairs, replace=False), _SIZES)
    texts = [text for places in zip(*drawn, strict=True) for text in _pair(*places)]
    x, y = np.array(texts, object), np.tile([0, 1], num_pairs)
    return (x[: 2 * num_train], y[: 2 * num_train]), (x[2 * num_train :], y[2 * num_train :])


def _pair(*places: int) -> tuple[str, str]:
    turn, quantity, system, others, ending, *verbs = (
        choices[place] for choices, place in zip(_CHOICES, places, strict=True)
    )
    said = {"quantity": quantity, "system": system, "others": others}
    theory, experiment = (turn.format(ours=ours, theirs=theirs, **said) for ours, theirs in (verbs, verbs[::-1]))
    return theory + ending, experiment + ending
