"""`cross_validate` against its own folds, done by hand."""

import json
import random
from collections.abc import Callable

import keras
import numpy as np
import pytest

from kphys.evaluation import cross_validate
from kphys.evaluation._folds import _splits, _train_and_evaluate


def logistic(seed):
    start = keras.initializers.GlorotUniform(seed=seed)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer=start),
        ]
    )
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def separable():
    x = np.random.default_rng(0).normal(size=(90, 3)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype(int)


@pytest.fixture(scope="module")
def validated(separable):
    keras.utils.set_random_seed(1)
    return cross_validate(logistic, *separable, folds=3, epochs=3, batch_size=8)


def test_mean_and_error_over_the_folds(validated):
    values = validated.per_fold["accuracy"]
    assert values.shape == (3,)
    assert validated["accuracy"].value == pytest.approx(values.mean())
    assert validated["accuracy"].error == pytest.approx(values.std(ddof=1) / np.sqrt(3))
    assert validated["accuracy"].value > 0.8
    assert len(set(validated.seeds)) == 3
    assert "fold 2" in str(validated)
    assert "approximate" in str(validated)
    assert json.loads(json.dumps(validated.as_dict()))["per_fold"]["loss"] == list(validated.per_fold["loss"])


def test_folds_do_not_depend_on_global_random_state(validated, separable):
    keras.utils.set_random_seed(2)
    before = random.getstate(), np.random.get_state()[1].copy()
    again = cross_validate(logistic, *separable, folds=3, epochs=3, batch_size=8)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    np.testing.assert_array_equal(again.per_fold["loss"], validated.per_fold["loss"])
    assert again.seeds == validated.seeds


def test_a_fold_gives_the_same_whichever_ran_before_it(validated, separable):
    root = np.random.SeedSequence(0)
    splits = _splits(separable[1], 3, None, int(root.generate_state(1)[0]))
    sequences = root.spawn(3)
    for fold in (2, 0):
        build_seed, order_seed = (int(state) for state in sequences[fold].generate_state(2))
        model = logistic(build_seed)
        logs = _train_and_evaluate(model, separable, splits[fold], order_seed, 3, 8, None)
        assert logs["loss"] == validated.per_fold["loss"][fold]


def test_folds_are_disjoint_and_hold_the_classes_in_equal_shares():
    y = np.repeat([0, 1], [80, 20])
    splits = _splits(y, 4, None, 0)
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(100))
    for train, test in splits:
        assert not set(train) & set(test)
        assert y[test].sum() == 5
    assert any(y[test].sum() != 5 for _, test in _splits(y, 4, False, 0))
    # A float target, or a class too rare, is not stratified unasked.
    _splits(np.linspace(0, 1, 10), 5, None, 0)
    _splits(np.array([0, 0, 0, 1]), 2, None, 0)


def weighted_logistic(seed):
    model = logistic(seed)
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", weighted_metrics=["accuracy"])
    return model


@pytest.mark.slow
def test_weights_and_callbacks_reach_every_fold(separable):
    made = []

    def callbacks():
        made.append(keras.callbacks.LambdaCallback())
        return [made[-1]]

    x, y = separable
    wrong = np.where(np.arange(90) < 40, 1 - y, y)
    weight = np.where(np.arange(90) < 40, 0.0, 1.0)
    given = {"folds": 2, "epochs": 6, "batch_size": 8, "callbacks": callbacks}
    assert cross_validate(weighted_logistic, x, wrong, sample_weight=weight, **given)["accuracy"].value > 0.9
    assert cross_validate(weighted_logistic, x, wrong, **given)["accuracy"].value < 0.75
    assert len({id(callback) for callback in made}) == 4


# === Bad input ===


def shared(model: keras.Model) -> Callable[[int], keras.Model]:
    """Gives a `build` whose models are new but share their layers."""

    def build(seed):
        copy = keras.Sequential(model.layers)
        copy.compile("sgd", "binary_crossentropy")
        return copy

    return build


def uncompiled(seed):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


ONE_MODEL = logistic(0)
BAD_FOLDS = {
    "one fold": ({"folds": 1}, ValueError, "`folds` must be an integer of at least 2, got 1"),
    "too many folds": ({"folds": 7}, ValueError, "`folds` must be at most the number of events, 6, got 7"),
    "half a fold": ({"folds": 2.5}, ValueError, "`folds`"),
    "lengths": ({"x": np.zeros((5, 3))}, ValueError, "`x` and `y` must hold the same events"),
    "empty": ({"x": np.zeros((0, 3)), "y": []}, ValueError, "`y` must hold at least one event"),
    "nan": ({"y": [0, 1, np.nan, 1, 0, 1]}, ValueError, "`y` must be finite"),
    "a model": ({"build": ONE_MODEL}, TypeError, "`build` must be a function.*got a model"),
    "no function": ({"build": "mlp"}, TypeError, "`build` must be a function"),
    "no model": ({"build": lambda seed: None}, TypeError, "`build` must give a Keras model, got NoneType"),
    "not compiled": ({"build": uncompiled}, ValueError, "`build` must give a compiled model"),
    "same model": ({"build": lambda seed: ONE_MODEL}, ValueError, "weights of an earlier fold"),
    "shared layers": ({"build": shared(ONE_MODEL)}, ValueError, "gave fold 1 a model with the weights"),
    "callbacks": ({"callbacks": []}, TypeError, "`callbacks` must be a function"),
    "rare class": ({"stratify": True, "folds": 4}, ValueError, "at least folds=4 events of every class.*has 3"),
    "stratify": ({"stratify": True, "y": np.zeros((6, 2))}, ValueError, "`stratify` takes one class an event"),
    "stratify word": ({"stratify": "yes"}, TypeError, "`stratify`"),
    "weights": ({"sample_weight": np.ones(5)}, ValueError, "`sample_weight` must hold one number an event"),
    "epochs": ({"epochs": 0}, ValueError, "`epochs` must be a positive integer, got 0"),
}


@pytest.mark.parametrize("case", BAD_FOLDS)
def test_cross_validation_refuses(case):
    changed, error, message = BAD_FOLDS[case]
    fine = {"build": logistic, "x": np.zeros((6, 3)), "y": np.array([0, 1, 0, 1, 0, 1]), "folds": 2, "epochs": 1}
    with pytest.raises(error, match=message):
        cross_validate(**{**fine, **changed})
