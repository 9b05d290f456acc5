"""`EarlyStopping` driven by hand-written logs, beside the one of Keras where that one is right."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kphys.callbacks import EarlyStopping

NAN, INF = float("nan"), float("inf")


class Optimizer:
    """Two variables that follow the epochs."""

    def __init__(self):
        self.variables = [keras.Variable(0.0), keras.Variable(np.zeros(3))]


class Model:
    """Weights that follow the epochs, and what a callback does to them."""

    def __init__(self):
        self.weights = None
        self.stop_training = False
        self.metrics = []
        self.optimizer = Optimizer()

    def get_weights(self):
        return [np.array(self.weights)]

    def set_weights(self, weights):
        (self.weights,) = weights


def run(callback, values, name="val_loss"):
    """Feeds the callback one value an epoch, until it stops; the weights are the epoch's number."""
    model = Model()
    callback.set_model(model)
    callback.on_train_begin()
    epochs = 0
    for epoch, value in enumerate(values):
        model.weights = epoch
        for variable in model.optimizer.variables:
            variable.assign(np.full(variable.shape, epoch))
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {name: value})
        epochs = epoch + 1
        if model.stop_training:
            break
    callback.on_train_end()
    return model, epochs


def restoring(**arguments):
    return EarlyStopping(restore_best_weights=True, **arguments)


# === Beside Keras ===

# Eighths are exact in single precision, in which Keras compares.
eighths = st.integers(-16, 16).map(lambda number: number / 8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    values=st.lists(eighths, min_size=1, max_size=10),
    mode=st.sampled_from(["min", "max"]),
    patience=st.integers(0, 4),
    min_delta=st.sampled_from([0.0, 0.125, -0.25, 1.0]),
    baseline=st.none() | eighths,
    start_from_epoch=st.integers(0, 4),
)
def test_finite_values_are_treated_as_keras_treats_them(values, **arguments):
    ours, theirs = (
        kind(restore_best_weights=True, **arguments) for kind in (EarlyStopping, keras.callbacks.EarlyStopping)
    )
    (our_model, our_epochs), (their_model, their_epochs) = (run(callback, values) for callback in (ours, theirs))
    assert our_epochs == their_epochs
    assert our_model.stop_training == their_model.stop_training
    if len(values) > arguments["start_from_epoch"]:
        assert our_model.weights == their_model.weights
        assert ours.best == theirs.best
        assert ours.best_epoch == theirs.best_epoch
    if our_model.stop_training:
        assert ours.stopped_epoch == theirs.stopped_epoch
        assert ours.stop_reason == "patience"
    else:
        assert ours.stopped_epoch is None
        assert ours.stop_reason is None


# === By hand ===


@pytest.mark.parametrize(
    ("arguments", "values", "epochs", "best_epoch"),
    [
        ({"patience": 0}, [3, 2, 2, 1], 3, 1),
        ({"patience": 1}, [3, 2, 2, 1], 3, 1),
        ({"patience": 2}, [3, 2, 2, 1, 5, 5, 0], 6, 3),
        ({"patience": 2}, [3, 2, 1], 3, 2),
        ({"mode": "max"}, [1, 2, 3, 3, 9], 4, 2),
        ({"min_delta": 0.5, "patience": 1}, [3, 2.6, 2.4, 2.0, 1.0], 2, 0),
        ({"min_delta": -0.5, "patience": 1}, [3, 2.6, 2.4, 2.0], 2, 0),
        # Better from epoch to epoch, but never as good as asked for.
        ({"baseline": 1.0, "patience": 2}, [5, 4, 3, 2], 4, 3),
        ({"baseline": 1.0, "patience": 2}, [5, 0.9, 0.8, 0.7], 4, 3),
        ({"start_from_epoch": 3, "patience": 1}, [1, 2, 3, 4, 5, 6], 5, 3),
    ],
)
def test_when_it_stops_and_what_is_best(arguments, values, epochs, best_epoch):
    stop = restoring(**{"mode": "min", **arguments})
    model, seen = run(stop, values)
    assert (seen, stop.best_epoch, model.weights) == (epochs, best_epoch, best_epoch)
    assert stop.best == values[best_epoch]


def test_a_baseline_that_is_never_reached_stops_after_patience():
    stop = restoring(baseline=1.0, patience=2)
    model, epochs = run(stop, [5, 4, 4, 4])
    assert (epochs, stop.stopped_epoch, model.weights) == (3, 2, 1)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_is_not_finite_ends_training_and_is_never_the_best(bad):
    stop = restoring(patience=5)
    model, epochs = run(stop, [3.0, 2.0, bad, 1.0])
    assert (epochs, stop.stopped_epoch, stop.stop_reason) == (3, 2, "diverged")
    assert (stop.best, stop.best_epoch, model.weights) == (2.0, 1, 1)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_first_epoch_that_diverged_leaves_nothing_to_restore(bad):
    stop = restoring(patience=5)
    model, epochs = run(stop, [bad, 1.0])
    assert (epochs, stop.stopped_epoch, stop.stop_reason) == (1, 0, "diverged")
    assert (stop.best, stop.best_epoch, stop.best_weights, model.weights) == (None, None, None, 0)


def test_values_of_numpy_and_tensorflow_are_numbers():
    stop = restoring()
    run(stop, [np.float32(3), keras.ops.convert_to_tensor(2.0), np.float64(2.5)])
    assert (stop.best, stop.stopped_epoch) == (2.0, 2)
    assert type(stop.best) is float


def test_a_run_that_ends_before_the_start_restores_its_best():
    stop = restoring(start_from_epoch=10)
    model, epochs = run(stop, [3.0, 1.0, 2.0])
    assert (epochs, stop.stopped_epoch, stop.best, model.weights) == (3, None, 1.0, 1)


def test_the_epochs_before_the_start_do_not_count_afterwards():
    stop = restoring(start_from_epoch=2, patience=2)
    model, epochs = run(stop, [0.0, 0.0, 5.0, 4.0, 6.0, 6.0, 1.0])
    assert (epochs, stop.best, stop.best_epoch, model.weights) == (6, 4.0, 3, 3)


def test_never_stopped_is_none_and_stopped_in_the_first_epoch_is_zero():
    never, first = EarlyStopping(patience=3), EarlyStopping()
    run(never, [3.0, 2.0])
    run(first, [NAN])
    assert (never.stopped_epoch, first.stopped_epoch) == (None, 0)


def test_weights_stay_as_they_are_unless_asked_for():
    model, _ = run(EarlyStopping(patience=1), [1.0, 2.0, 3.0])
    assert model.weights == 1


def test_weights_are_restored_also_when_the_epochs_run_out():
    model, epochs = run(restoring(patience=9), [3.0, 1.0, 2.0])
    assert (epochs, model.weights) == (3, 1)


def test_an_instance_serves_twice():
    stop = restoring(patience=1)
    run(stop, [1.0, 2.0, 3.0])
    assert (stop.best, stop.stopped_epoch) == (1.0, 1)
    model, epochs = run(stop, [9.0, 8.0, 7.0])
    assert (epochs, stop.best, stop.stopped_epoch, stop.stop_reason, model.weights) == (3, 7.0, None, None, 2)


def test_the_optimizer_goes_back_with_the_weights():
    arguments = {"patience": 2, "restore_best_weights": True}
    with_it, _ = run(EarlyStopping(restore_best_optimizer=True, **arguments), [3.0, 1.0, 2.0, 2.0])
    without, _ = run(EarlyStopping(**arguments), [3.0, 1.0, 2.0, 2.0])
    assert [float(np.mean(variable)) for variable in with_it.optimizer.variables] == [1.0, 1.0]
    assert [float(np.mean(variable)) for variable in without.optimizer.variables] == [3.0, 3.0]


# === Which way is better ===

FALLING = ["loss", "val_loss", "kl_loss", "val_kl_loss", "generator_loss", "reconstruction_loss", "outputs_loss"]
FALLING += [
    "mae",
    "rmse",
    "val_rmse",
    "val_mean_absolute_error",
    "gaussian_nll",
    "binary_crossentropy",
    "kl_divergence",
]
RISING = ["accuracy", "val_accuracy", "acc", "sparse_categorical_accuracy", "auc", "val_auc", "precision", "val_recall"]
RISING += ["f1_score", "cosine_similarity", "episode_return", "val_episode_return"]


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "val_loss",
        "kl_loss",
        "val_kl_loss",
        "generator_loss",
        "reconstruction_loss",
        "rmse",
        "val_rmse",
        "mae",
        "val_mean_absolute_error",
        "gaussian_nll",
        "binary_crossentropy",
        "kl_divergence",
        "outputs_loss",
    ],
)
def test_losses_and_errors_should_fall(name):
    stop = EarlyStopping(name)
    run(stop, [3.0, 2.0, 2.5], name)
    assert (stop.best, stop.stopped_epoch) == (2.0, 2)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "val_accuracy",
        "acc",
        "auc",
        "val_auc",
        "episode_return",
        "val_episode_return",
        "precision",
        "val_recall",
        "f1_score",
        "cosine_similarity",
        "sparse_categorical_accuracy",
    ],
)
def test_accuracies_and_returns_should_rise(name):
    stop = EarlyStopping(name)
    run(stop, [1.0, 2.0, 1.5], name)
    assert (stop.best, stop.stopped_epoch) == (2.0, 2)


@pytest.mark.parametrize("name", ["epsilon", "q_mean", "val_something"])
def test_a_name_that_says_nothing_asks_for_the_mode(name):
    with pytest.raises(ValueError, match=f"`mode` 'auto' .* `monitor` '{name}' .* pass 'min' or 'max'"):
        EarlyStopping(name)
    stop = EarlyStopping(name, mode="max")
    run(stop, [1.0, 0.0], name)
    assert stop.stopped_epoch == 1


def test_a_missing_value_warns_with_what_there_is():
    stop = EarlyStopping("val_loss")
    with pytest.warns(UserWarning, match="`monitor` 'val_loss' is not among the logs accuracy, loss"):
        stop.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})
    with pytest.warns(UserWarning, match="'val_loss' is not among the logs"):
        stop.on_epoch_end(1, None)
    assert stop.stopped_epoch is None


def test_it_speaks_only_when_asked(capsys):
    run(restoring(), [1.0, 2.0])
    assert capsys.readouterr().out == ""
    run(restoring(verbose=1), [1.0, 2.0])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: stopped early, reason: patience; best val_loss: 1.0.",
        "Restored the weights of epoch 1.",
    ]


# === In a fit ===


def test_a_fit_ends_with_the_best_weights_and_their_optimizer():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    # A step of 1.1 / 2 overshoots: the loss rises by (1 − 2.2)² = 1.44 an epoch.
    model.compile(keras.optimizers.SGD(1.1, momentum=1e-3), "mse", run_eagerly=True)
    x, y = np.ones((1, 1)), np.ones((1, 1))
    stop = EarlyStopping("val_loss", patience=2, restore_best_weights=True, restore_best_optimizer=True)
    history = model.fit(x, y, validation_data=(x, y), epochs=9, callbacks=[stop], verbose=0).history["val_loss"]
    assert stop.stop_reason == "patience"
    assert len(history) == stop.best_epoch + 3
    assert model.evaluate(x, y, verbose=0) == pytest.approx(min(history), rel=1e-6)
    assert model.optimizer.iterations == stop.best_epoch + 1


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patience": -1}, ValueError, "`patience` must be an integer of at least 0, got -1"),
        ({"patience": 1.5}, ValueError, r"`patience` .* got 1\.5"),
        ({"min_delta": NAN}, ValueError, "`min_delta` must be a finite number, got nan"),
        ({"baseline": "1"}, TypeError, "`baseline` must be a finite number, got '1'"),
        (
            {"mode": "minimum"},
            ValueError,
            "`mode` must be one of 'auto', 'min', 'max', got 'minimum'. Did you mean 'min'",
        ),
        ({"start_from_epoch": -2}, ValueError, "`start_from_epoch` must be an integer of at least 0, got -2"),
        ({"restore_best_weights": "yes"}, TypeError, "`restore_best_weights` must be True or False, got 'yes'"),
        ({"restore_best_optimizer": 1}, ValueError, "`restore_best_optimizer` must be True or False, got 1"),
    ],
)
def test_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(**arguments)
