"""BackupAndRestore: trainings that end in the middle and go on, then files that are not what they should be."""

import signal

import keras
import numpy as np
import pytest

from kphys import mlp_regressor, records
from kphys.callbacks import BackupAndRestore, EarlyStopping, TrainingRecord

FILE = "latest.weights.h5"
BATCHES = 4  # An epoch.


def build(units=3):
    """A model of Keras' own, which draws in every step."""
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(units, "tanh"), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def fit(model, *callbacks, epochs=5):
    x = np.linspace(-1, 1, 4 * BATCHES, dtype="float32").reshape(-1, 2)
    settings = {"epochs": epochs, "batch_size": 2, "shuffle": False, "verbose": 0, "callbacks": list(callbacks)}
    return model.fit(x, x[:, :1], **settings).epoch


class Ends(keras.callbacks.Callback):
    """Ends training like Ctrl-C, at the moment whose hook is named."""

    def __init__(self, hook="on_epoch_end", number=None):
        super().__init__()
        self._number = number
        setattr(self, hook, self.end)

    def end(self, index, logs=None):
        if index == self._number:
            raise KeyboardInterrupt


def interrupted(folder, hook, number, *, first=True, model=None, **settings):
    """A training that ended at that moment; the callback that ends it stands before the backup, or after it."""
    callbacks = [Ends(hook, number), BackupAndRestore(folder, **settings)]
    with pytest.raises(KeyboardInterrupt):
        fit(model or build(), *(callbacks if first else reversed(callbacks)))


def same(model, other):
    """Whether weights, random states and optimizers are equal, bit by bit."""
    variables = [[*one.non_trainable_variables, *one.weights, *one.optimizer.variables] for one in (model, other)]
    return all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(*variables, strict=True))


@pytest.fixture(scope="module")
def undisturbed():
    model = build()
    fit(model)
    return model


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("hook", "epochs"), [("on_epoch_begin", [3, 4]), ("on_epoch_end", [3, 4])])
def test_what_goes_on_is_as_if_nothing_had_happened(undisturbed, tmp_path, hook, epochs, first):
    # At the beginning of epoch 3 the callback that stands first ends training before the backup is made.
    interrupted(tmp_path, hook, 3, first=first)
    model = build()
    epochs = [2, *epochs] if (hook, first) == ("on_epoch_begin", True) else epochs
    assert fit(model, BackupAndRestore(tmp_path)) == epochs
    assert same(model, undisturbed)


def test_the_first_epoch_begins_anew(undisturbed, tmp_path):
    interrupted(tmp_path, "on_epoch_end", 0)
    assert list(tmp_path.iterdir()) == []
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [0, 1, 2, 3, 4]
    assert same(model, undisturbed)


def test_several_ends_in_a_row(undisturbed, tmp_path):
    for epoch in (1, 1, 2, 4):
        interrupted(tmp_path, "on_epoch_end", epoch)
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [4]
    assert same(model, undisturbed)


def test_a_builder_s_model_too(tmp_path):
    def made():
        keras.utils.set_random_seed(2)
        model = mlp_regressor(2, hidden_units=3, dropout=0.5, seed=0)
        model.jit_compile = False
        return model

    interrupted(tmp_path, "on_epoch_begin", 2, model=made())
    model, other = made(), made()
    fit(model, BackupAndRestore(tmp_path))
    fit(other)
    assert same(model, other)


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_record_misses_no_epoch_in_whatever_order(tmp_path, first):
    # An epoch is backed up when all callbacks are done with it, so also the record.
    for epoch in (1, 3):
        end, record = Ends("on_epoch_end", epoch), TrainingRecord(tmp_path / "run", resume=True)
        backup = BackupAndRestore(tmp_path / "backup")
        with pytest.raises(KeyboardInterrupt):
            fit(build(), *((backup, end, record) if first else (record, end, backup)))
    # With all that the record names as callbacks of this setting.
    fit(build(), Ends(), BackupAndRestore(tmp_path / "backup"), TrainingRecord(tmp_path / "run", resume=True))
    assert records.read(tmp_path / "run").history["epoch"].tolist() == [0, 1, 2, 3, 4]


def test_numbers_of_batches(tmp_path):
    weights = []

    class Sees(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights.append(self.model.get_weights())

    # Of four batches an epoch the fifth is the first of epoch 1.
    with pytest.raises(KeyboardInterrupt):
        fit(build(), BackupAndRestore(tmp_path, save_freq=5), Sees(), Ends("on_epoch_end", 1))
    model = build()
    backup = BackupAndRestore(tmp_path, save_freq=100, delete_checkpoint=False)
    with pytest.raises(KeyboardInterrupt):
        fit(model, backup, Ends("on_epoch_begin", 1))
    for a, b in zip(model.get_weights(), weights[BATCHES], strict=True):
        np.testing.assert_array_equal(a, b)
    assert fit(build(), backup) == [1, 2, 3, 4]


@pytest.mark.parametrize(("save_freq", "shared"), [("epoch", True), (7, False)])
def test_batches_share_a_call_unless_they_are_counted(tmp_path, save_freq, shared):
    assert BackupAndRestore(tmp_path, save_freq=save_freq).batches_may_share_a_call is shared


def test_a_training_that_ended_leaves_nothing(tmp_path):
    folder = tmp_path / "backup"
    interrupted(folder, "on_epoch_end", 2)
    model = build()
    fit(model, BackupAndRestore(folder))
    assert not folder.exists()
    # Nor in the model: the next `fit` is another one.
    assert fit(model, epochs=2) == [0, 1]


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    fit(build(), BackupAndRestore(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_training_that_ended_may_be_kept(tmp_path):
    first, again = build(), build()
    fit(first, BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert fit(again, BackupAndRestore(tmp_path, delete_checkpoint=False)) == []
    assert same(first, again)
    assert fit(again, BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=7) == [5, 6]


class FallsWorth(keras.callbacks.Callback):
    """Has every epoch be worse than the one before."""

    def on_epoch_end(self, epoch, logs=None):
        logs["worth"] = -epoch


class IsTerminated(keras.callbacks.Callback):
    """Gets SIGTERM in a batch of epoch 2."""

    _epoch = 0

    def __init__(self, batch=1):
        super().__init__()
        self._batch = batch

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self._epoch, batch) == (2, self._batch):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_training_that_was_ended_for_good_is_there_at_once_as_it_was(tmp_path, first, capsys):
    stop = EarlyStopping("worth", patience=2, verbose=1, mode="max", restore_best_weights=True)
    pair = [stop, BackupAndRestore(tmp_path, delete_checkpoint=False)]
    trained, again = build(), build()
    fit(trained, FallsWorth(), *(pair if first else reversed(pair)))
    assert (stop.best_epoch, stop.stopped_epoch) == (0, 2)
    assert capsys.readouterr().out.count("Restored the weights of epoch 1.") == 1
    assert fit(again, BackupAndRestore(tmp_path, delete_checkpoint=False)) == []
    assert same(again, trained)
    assert fit(again, epochs=1) == [0]  # Another training begins where it is told to.


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_one_that_ends_with_its_time_is_over(tmp_path, first):
    stop = EarlyStopping("worth", patience=9, mode="max", restore_best_weights=True)
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(stop, "stop_reason", "time"))
    pair = [stop, BackupAndRestore(tmp_path, delete_checkpoint=False)]
    trained, again = build(), build()
    fit(trained, FallsWorth(), *(pair if first else reversed(pair)), told, epochs=3)
    assert fit(again, BackupAndRestore(tmp_path), epochs=3) == []
    assert same(again, trained)


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_signal_in_the_last_batch_cuts_nothing_off(undisturbed, tmp_path, first):
    pair = [EarlyStopping("loss", patience=9, batch_system=True), BackupAndRestore(tmp_path)]
    assert fit(build(), IsTerminated(BATCHES - 1), *(pair if first else reversed(pair))) == [0, 1, 2]
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [3, 4]
    assert same(model, undisturbed)


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_training_that_had_no_more_time_keeps_its_last_epoch(undisturbed, tmp_path, first):
    stop = EarlyStopping("worth", patience=9, mode="max", restore_best_weights=True, batch_system=True)
    pair = [stop, BackupAndRestore(tmp_path)]
    told = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: tell(stop) if epoch == 2 else None)
    assert fit(build(), FallsWorth(), told, *(pair if first else reversed(pair))) == [0, 1, 2]
    assert stop.best_epoch == 0
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [3, 4]
    assert same(model, undisturbed)


def tell(stop):
    """Has the job's end come at the end of this epoch."""
    stop._deadline._job_ends = 0.0


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_training_stopped_by_somebody_else_goes_on_from_its_last_epoch(undisturbed, tmp_path, first):
    best = EarlyStopping("worth", patience=9, mode="max", restore_best_weights=True)
    ends = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(best.model, "stop_training", True))
    pair = [best, BackupAndRestore(tmp_path, delete_checkpoint=False)]
    assert fit(build(), FallsWorth(), *(pair if first else reversed(pair)), ends) == [0]
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [1, 2, 3, 4]
    assert same(model, undisturbed)


def test_a_fit_after_one_that_broke_off_begins_where_it_is_told(tmp_path):
    interrupted(tmp_path, "on_epoch_end", 2)
    model = build()
    interrupted(tmp_path, "on_epoch_begin", 3, model=model)
    assert fit(model, epochs=1) == [0]


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_a_training_out_of_time_keeps_its_file(undisturbed, tmp_path, first):
    pair = [EarlyStopping("loss", patience=9, max_seconds=1e-9), BackupAndRestore(tmp_path)]
    assert fit(build(), *(pair if first else reversed(pair))) == [0]
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [1, 2, 3, 4]
    assert same(model, undisturbed)


@pytest.mark.cases(1)
@pytest.mark.parametrize("first", [True, False])
def test_an_epoch_that_a_signal_cut_off_is_trained_again(undisturbed, tmp_path, first):
    pair = [EarlyStopping("loss", patience=9, batch_system=True), BackupAndRestore(tmp_path)]
    assert fit(build(), IsTerminated(), *(pair if first else reversed(pair))) == [0, 1, 2]
    model = build()
    assert fit(model, BackupAndRestore(tmp_path)) == [2, 3, 4]
    assert same(model, undisturbed)


def test_one_callback_serves_twice(tmp_path):
    backup = BackupAndRestore(tmp_path / "backup")
    for _ in range(2):
        model = build()
        assert fit(model, backup, epochs=3) == [0, 1, 2]


# === Files that are not what they should be ===


def damaged(folder, model):
    fit(model, BackupAndRestore(folder, delete_checkpoint=False), epochs=1)
    file = folder / FILE
    file.write_bytes(file.read_bytes()[:1000])


def of_another_model(folder, model):
    fit(build(units=7), BackupAndRestore(folder, delete_checkpoint=False), epochs=1)


def without_draws(folder, model):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Flatten(), keras.layers.Dense(1)])
    other.compile(keras.optimizers.Adam(0.1), "mse")
    fit(other, BackupAndRestore(folder, delete_checkpoint=False), epochs=1)


def of_keras(folder, model):
    fit(model, keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False), epochs=1)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (damaged, "is damaged: choose another `backup_dir`, or delete it"),
        (of_another_model, "is the backup of another model: choose another `backup_dir`, or delete it"),
        (without_draws, "is the backup of another model"),
        (of_keras, "was not written by this callback"),
    ],
)
def test_files_that_are_not_a_backup_of_this_model_are_refused(tmp_path, prepare, message):
    prepare(tmp_path, build())
    with pytest.raises(ValueError, match=f"{FILE}' {message}"):
        fit(build(), BackupAndRestore(tmp_path))
    assert (tmp_path / FILE).exists()


def test_a_model_without_weights_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", "mse")
    backup = BackupAndRestore(tmp_path)
    backup.set_model(model)
    with pytest.raises(ValueError, match="this model has none yet: call it once"):
        backup.on_train_begin()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backup_dir": 3}, TypeError, "`backup_dir` must be a path such as 'runs/backup', got 3"),
        ({"backup_dir": ""}, ValueError, "`backup_dir` must be a path in a file system, such as .*, got ''"),
        ({"backup_dir": "gs://bucket"}, ValueError, "`backup_dir` must be a path in a file system"),
        ({"save_freq": 0}, ValueError, "`save_freq` must be"),
        ({"save_freq": "batch"}, TypeError, "`save_freq` must be"),
        ({"delete_checkpoint": 1}, (TypeError, ValueError), "`delete_checkpoint` must be True or False"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        BackupAndRestore(**{"backup_dir": "backup", **arguments})
