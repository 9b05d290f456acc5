"""`EarlyStopping` driven by hand-written logs, beside the one of Keras where that one is right."""

import gc
import signal
import threading
import weakref

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from kphys.callbacks import EarlyStopping

NAN, INF = float("nan"), float("inf")


def momentum():
    """An optimizer whose variables can follow the epochs."""
    optimizer = keras.optimizers.SGD(momentum=0.5)
    optimizer.build([keras.Variable(np.zeros(3))])
    return optimizer


class Model:
    """Weights that follow the epochs, and what a callback does to them."""

    distribute_strategy = None

    def __init__(self):
        self.weights = None
        self.stop_training = False
        self.metrics = []
        self.optimizer = momentum()
        self.critic_optimizer = momentum()

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
        for variable in model.optimizer.variables + model.critic_optimizer.variables:
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


@settings(max_examples=200, deadline=None, derandomize=True)
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
    for model, epoch in ((with_it, 1.0), (without, 3.0)):
        for optimizer in (model.optimizer, model.critic_optimizer):
            means = [float(np.mean(variable)) for variable in optimizer.variables]
            assert means == [epoch] * 3  # Iterations, learning rate, momentum.


# === Further reasons ===


def test_an_improvement_may_be_asked_for_relative_to_the_best():
    # 100 → 95 is 5 %, 95 → 94 is less, and so is −94.9 against −94.
    stop = EarlyStopping(min_delta_relative=0.04, patience=1)
    assert run(stop, [100.0, 95.0, 94.0])[1] == 3
    assert stop.best == 95.0
    stop = EarlyStopping(mode="max", min_delta_relative=0.04, patience=1)
    assert run(stop, [-100.0, -95.0, -94.0])[1] == 3
    assert stop.best == -95.0
    # The larger of the two counts: 3 against 4.
    assert run(EarlyStopping(min_delta=3.0, min_delta_relative=0.04, patience=1), [100.0, 96.5])[1] == 2


@pytest.mark.parametrize(
    ("patience", "values", "epochs"),
    [
        (0, [100, 480, 490], 2),
        (None, [100, 475, 490], 2),
        (1, [100, 475, 490], 2),
        # Not improving is no reason, and an epoch below breaks the row.
        (3, [100, 90, 80, 70, 60, 480, 480, 470, 475, 475, 500, 500], 11),
        (3, [480, 480, 470], 3),
    ],
)
def test_a_threshold_must_be_reached_in_that_many_epochs_in_a_row(patience, values, epochs):
    stop = EarlyStopping("episode_return", threshold=475, patience=patience)
    assert run(stop, values, "episode_return")[1] == epochs
    assert stop.stop_reason == ("threshold" if len(values) != epochs or values[-1] >= 475 else None)


def test_a_threshold_for_what_falls_is_reached_from_above():
    stop = EarlyStopping("loss", threshold=0.5)
    assert run(stop, [2.0, 0.6, 0.5, 0.1], "loss")[1] == 3


def test_without_patience_only_the_other_reasons_count():
    stop = EarlyStopping(patience=None)
    assert run(stop, [1.0] * 50)[1] == 50
    assert stop.stop_reason is None
    assert run(stop, [1.0, NAN, 1.0])[1] == 2


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("significance", [0.0, 1.0, 2.0, 4.0])
def test_significance_is_slope_over_error_of_a_straight_line(mode, significance):
    generator = np.random.default_rng(3)
    sign = -1 if mode == "min" else 1
    values = sign * (1 - np.exp(-np.arange(60) / 10)) + generator.normal(0, 0.03, 60)
    stop = EarlyStopping(mode=mode, significance=significance, window=8, patience=0)
    run(stop, values)
    fits = [linregress(np.arange(8), values[end - 8 : end]) for end in range(8, 61)]
    first = next(end for end, fit in enumerate(fits, 8) if sign * fit.slope <= significance * fit.stderr)
    assert (stop.stopped_epoch, stop.stop_reason) == (first - 1, "significance")
    assert first > 8


def test_an_exact_fall_goes_on_and_a_constant_stops():
    assert run(EarlyStopping(significance=2.0, window=3), [5.0, 4.0, 3.0, 2.0, 1.0, 0.0])[1] == 6
    assert run(EarlyStopping(significance=2.0, window=3), [5.0, 5.0, 5.0, 5.0])[1] == 3
    # The window begins after the warm-up.
    assert run(EarlyStopping(significance=2.0, window=3, start_from_epoch=2), [5.0] * 9)[1] == 5


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr("time.monotonic", lambda: Clock.now)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000 + Clock.now)
    return Clock


def run_timed(stop, clock, seconds):
    """Feeds falling values, each epoch as long as `seconds` says."""
    model = Model()
    stop.set_model(model)
    stop.on_train_begin()
    for epoch, duration in enumerate(seconds):
        model.weights = epoch
        stop.on_epoch_begin(epoch)
        clock.now += duration
        stop.on_epoch_end(epoch, {"val_loss": -epoch})
        if model.stop_training:
            break
    stop.on_train_end()
    return epoch + 1


def test_the_last_epoch_ends_in_time_by_the_slowest_so_far(clock):
    # After 20 + 10 + 10 s another 20 s fit into 60, after 50 s they don't.
    stop = EarlyStopping(max_seconds=60)
    assert run_timed(stop, clock, [20, 10, 10, 10, 10]) == 4
    assert (stop.stop_reason, stop.stopped_epoch) == ("time", 3)
    assert run_timed(stop, clock, [10, 10, 10]) == 3  # The clock starts anew.
    assert stop.stop_reason is None


def test_the_end_of_the_batch_job_is_known_beforehand(clock, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(1_800_000_000 + 1000 + 65))
    stop = EarlyStopping(batch_system=True)
    assert run_timed(stop, clock, [20, 20, 20, 20]) == 3
    assert stop.stop_reason == "batch_system"
    clock.now = 1000.0
    assert run_timed(EarlyStopping(), clock, [20, 20, 20, 20]) == 4  # Nobody asked.


# === Which way is better ===

FALLING = [
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
]


@pytest.mark.parametrize("name", FALLING)
def test_losses_and_errors_should_fall(name):
    stop = EarlyStopping(name)
    run(stop, [3.0, 2.0, 2.5], name)
    assert (stop.best, stop.stopped_epoch) == (2.0, 2)


RISING = [
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
]


@pytest.mark.parametrize("name", RISING)
def test_accuracies_and_returns_should_rise(name):
    stop = EarlyStopping(name)
    run(stop, [1.0, 2.0, 1.5], name)
    assert (stop.best, stop.stopped_epoch) == (2.0, 2)


@pytest.mark.parametrize("name", ["epsilon", "q_mean", "val_something"])
def test_a_name_that_says_nothing_asks_for_the_mode(name):
    with pytest.raises(ValueError, match=f"`mode` 'auto' .* `monitor` '{name}' .* pass 'min' or 'max'"):
        run(EarlyStopping(name), [1.0], name)
    stop = EarlyStopping(name, mode="max")
    run(stop, [1.0, 0.0], name)
    assert stop.stopped_epoch == 1


def test_the_last_word_that_says_something_decides():
    for name, sign in {
        "energy_loss_auc": -1,
        "error_type_accuracy": -1,
        "accuracy_loss": 1,
        "val_mean_io_u": -1,
    }.items():
        assert EarlyStopping(name)._sign == sign


def test_keras_knows_its_own_metrics_by_any_name():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[keras.metrics.BinaryAccuracy(name="top")])
    stop = EarlyStopping("val_top")
    x = np.ones((2, 1))
    model.fit(x, x, validation_data=(x, x), callbacks=[stop], verbose=0)
    assert stop._sign == -1


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


# === Signals ===


class Signals(keras.callbacks.Callback):
    """Sends this process a signal in the batch `batch` of epoch `epoch`."""

    def __init__(self, number, epoch, batch=1):
        super().__init__()
        self.number, self.epoch, self.batch, self.seen = number, epoch, batch, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if (self.seen[-1], batch) == (self.epoch, self.batch):
            signal.raise_signal(self.number)


def growing():
    """A model whose loss grows from epoch to epoch, and its fit's arguments."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.1), "mse", jit_compile=False)
    return model, {"x": np.ones((3, 1)), "y": np.ones((3, 1)), "batch_size": 1, "epochs": 9, "verbose": 0}


class Weights(keras.callbacks.Callback):
    """Keeps the weights after every epoch."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


def test_ctrl_c_restores_the_best_weights_and_goes_on_to_the_caller():
    model, arguments = growing()
    stop, weights = EarlyStopping("loss", patience=5, restore_best_weights=True), Weights()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(**arguments, callbacks=[stop, weights, Signals(signal.SIGINT, epoch=2)])
    assert (stop.stop_reason, stop.stopped_epoch, stop.best_epoch) == ("interrupted", 2, 0)
    for restored, best, last in zip(model.get_weights(), weights.weights[0], weights.weights[-1], strict=True):
        np.testing.assert_array_equal(restored, best)
        assert (best != last).any()
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_that_is_ignored_stays_so():
    model, arguments = growing()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = EarlyStopping("loss", patience=50, restore_best_weights=True)
    history = model.fit(**arguments, callbacks=[stop, Signals(signal.SIGINT, epoch=2)])
    assert len(history.epoch) == arguments["epochs"]
    assert stop.stop_reason is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_ctrl_c_reaches_every_callback_that_waits_for_it():
    model, arguments = growing()
    stops = [EarlyStopping("loss", patience=5, restore_best_weights=True) for _ in range(2)]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(**arguments, callbacks=[*stops, Signals(signal.SIGINT, epoch=2)])
    assert [stop.stop_reason for stop in stops] == ["interrupted"] * 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_fit_that_broke_off_leaves_the_model_alone_afterwards():
    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("broken")

    model, arguments = growing()
    stop = EarlyStopping("loss", patience=5, restore_best_weights=True)
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(**arguments, callbacks=[stop, Breaks()])
    after = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    np.testing.assert_array_equal(model.get_weights()[0], after[0])
    assert stop.stop_reason is None
    stop.restore()
    np.testing.assert_array_equal(model.get_weights()[0], stop.best_weights[0])
    assert (after[0] != stop.best_weights[0]).any()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_batch_system_ends_training_in_order(name, tmp_path):
    number = getattr(signal, name)
    model, arguments = growing()
    file = tmp_path / "folder" / "job.keras"
    stop = EarlyStopping("loss", patience=5, restore_best_weights=True, batch_system=True, checkpoint=file)
    sender, weights, before = Signals(number, epoch=2), Weights(), signal.getsignal(number)
    history = model.fit(**arguments, callbacks=[stop, weights, sender]).history
    assert (stop.stop_reason, stop.stopped_epoch, len(history["loss"])) == ("batch_system", 2, 3)
    assert signal.getsignal(number) == before
    # What was reached is in the file, the best in the model.
    assert list(file.parent.iterdir()) == [file]
    saved = keras.models.load_model(file)
    np.testing.assert_array_equal(saved.get_weights()[0], weights.weights[2][0])
    np.testing.assert_array_equal(model.get_weights()[0], weights.weights[0][0])
    assert saved.optimizer.iterations == 3 + 3 + 2


def test_an_epoch_that_a_signal_cut_off_is_not_the_best():
    stop = restoring(patience=9, batch_system=True)
    model = Model()
    stop.set_model(model)
    stop.on_train_begin()
    for epoch, value in enumerate([3.0, 2.0, 1.0]):
        model.weights = epoch
        if epoch == 2:
            stop._deadline.signalled = True
        stop.on_epoch_end(epoch, {"val_loss": value})
    stop.on_train_end()
    assert (stop.stop_reason, stop.best, model.weights) == ("batch_system", 2.0, 1)


def test_a_checkpoint_that_cannot_be_written_still_leaves_the_best_weights(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    model, arguments = growing()
    stop = EarlyStopping(
        "loss",
        patience=5,
        restore_best_weights=True,
        batch_system=True,
        checkpoint=tmp_path / "file" / "job.keras",
    )
    with pytest.raises(OSError, match="file"):
        model.fit(**arguments, callbacks=[stop, Signals(signal.SIGTERM, epoch=2)])
    np.testing.assert_array_equal(model.get_weights()[0], stop.best_weights[0])


def test_an_end_of_the_job_that_is_no_number_is_said(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", "tomorrow")
    with pytest.warns(UserWarning, match="SLURM_JOB_END_TIME should be in seconds since 1970, and is 'tomorrow'"):
        run(EarlyStopping(batch_system=True), [1.0])


def test_trainings_that_break_off_leave_no_handlers_behind():
    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("broken")

    before = signal.getsignal(signal.SIGINT)
    gone = []
    for _ in range(3):
        model, arguments = growing()
        stop = EarlyStopping("loss", restore_best_weights=True)
        gone.append(weakref.ref(model))
        with pytest.raises(RuntimeError, match="broken"):
            model.fit(**arguments, callbacks=[stop, Breaks()])
    model.fit(**arguments, callbacks=[EarlyStopping("loss", restore_best_weights=True)])
    assert signal.getsignal(signal.SIGINT) == before
    del model, arguments, stop
    keras.backend.clear_session()
    gc.collect()
    assert [reference() for reference in gone[:2]] == [None, None]


def test_a_job_that_ends_by_itself_leaves_no_checkpoint(tmp_path):
    model, arguments = growing()
    stop = EarlyStopping("loss", patience=1, batch_system=True, checkpoint=tmp_path / "job.keras")
    model.fit(**arguments, callbacks=[stop])
    assert (stop.stop_reason, list(tmp_path.iterdir())) == ("patience", [])


def test_another_thread_trains_without_signals():
    model, arguments = growing()
    stop = EarlyStopping("loss", patience=2, restore_best_weights=True, batch_system=True)
    thread = threading.Thread(target=model.fit, kwargs={**arguments, "callbacks": [stop]})
    thread.start()
    thread.join()
    assert stop.stop_reason == "patience"


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
        ({"restore_best_optimizer": True}, ValueError, "pass restore_best_weights=True with it"),
        ({"min_delta_relative": -0.1}, ValueError, r"`min_delta_relative` .* not negative, got -0\.1"),
        ({"threshold": INF}, ValueError, "`threshold` must be a finite number, got inf"),
        ({"significance": -1}, ValueError, "`significance` must be a number that is not negative, got -1"),
        ({"window": 2}, ValueError, "`window` must be an integer of at least 3, got 2"),
        ({"max_seconds": 0}, ValueError, "`max_seconds` must be a positive number, got 0"),
        ({"batch_system": "slurm"}, TypeError, "`batch_system` must be True or False, got 'slurm'"),
        ({"checkpoint": "job.keras"}, ValueError, "`checkpoint` is written when .* pass batch_system=True"),
        (
            {"checkpoint": "job.h5", "batch_system": True},
            ValueError,
            r"`checkpoint` must be a file name that ends in '\.keras', got 'job\.h5'",
        ),
    ],
)
def test_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        EarlyStopping(**arguments)
