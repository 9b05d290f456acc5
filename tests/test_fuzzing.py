"""Whatever builders and `fit` are given, they train with a finite loss or say in kphys' own words what is wrong.

`KPHYS_FUZZ_CASES=2000 pytest tests/test_fuzzing.py -s` tries that many, and says what came of them.
"""

import os
from collections import Counter

import hypothesis
import keras
import numpy as np
import pytest
from contract_table import ROWS
from fuzzing import (
    CHANGES,
    ODD,
    Arrays,
    Fuzzed,
    array_cases,
    builder_cases,
    changed_arrays,
    is_own,
    outcome,
    train_built,
    train_on,
)

import kphys
from kphys import _arguments

CASES = int(os.environ.get("KPHYS_FUZZ_CASES", "60"))
_AT_ONCE = 50  # Models between two times that Keras forgets all.

pytestmark = pytest.mark.filterwarnings("ignore:The code has:UserWarning")  # Of autoencoders: right, and trained.


def fuzz(strategy, train, cases, seed):
    """Tries so many cases; both outcomes must be among them."""
    counts, models = Counter(), {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(strategy)
    def try_one(case):
        if counts.total() % _AT_ONCE == 0:
            keras.backend.clear_session()
            models.clear()
        counts[outcome(train, case, *([models] if train is train_on else []))] += 1

    try_one()
    print(f"\n{cases} cases of {train.__name__}: {dict(counts)}")
    assert counts["trained"] >= cases / 20
    assert counts["refused"] >= cases / 20


def test_every_argument_of_a_builder_is_taken_or_refused():
    fuzz(builder_cases(), train_built, CASES // 2, seed=0)


def test_every_array_is_trained_on_or_refused():
    fuzz(array_cases(), train_on, CASES - CASES // 2, seed=0)


@pytest.mark.slow
def test_many_arguments_are_taken_or_refused():
    fuzz(builder_cases(), train_built, 150, seed=1)


@pytest.mark.slow
def test_many_arrays_are_trained_on_or_refused():
    fuzz(array_cases(), train_on, 150, seed=1)


# === The fuzzing itself ===


def error_of(function, *arguments):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Any: it is judged next.
        function(*arguments)
    return raised.value


def test_own_words_are_told_from_those_of_others():
    assert is_own(error_of(kphys.mlp_classifier, 4, "3"))
    assert is_own(error_of(_arguments.integer, "units", 0))
    # In a file of kphys, but Python's words; Keras' words; another kind of error.
    assert not is_own(error_of(_arguments.nearest, "x", 3))
    assert not is_own(error_of(keras.layers.Dense, "x"))
    assert not is_own(KeyError("x"))


def test_a_loss_that_is_not_finite_is_seen():
    model = kphys.mlp_regressor(4, hidden_units=2, check_data=False)
    case = Fuzzed(ROWS["mlp_regressor[depth-1]"], {"check_data": False})
    case.build = lambda: model
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    with pytest.raises(AssertionError, match="nan"):
        train_built(case)


def test_cases_are_what_they_say():
    changes = ("one nan", "as it is", "as it is")
    (x, y), _ = changed_arrays(Arrays("mlp_classifier[multiclass]", changes, weighted=False, validate=False))
    assert np.isnan(x).any()
    assert not np.isnan(y).any()
    (x, _), settings = changed_arrays(Arrays("mlp_classifier[multiclass]", changes, weighted=True, validate=True))
    assert np.isfinite(x).all()
    assert np.isnan(settings["validation_data"][0]).any()
    assert len(settings["validation_data"]) == 3
    assert len(ODD) > 60
    assert len(CHANGES) > 60
