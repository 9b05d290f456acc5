"""ModelCheckpoint: hand-written logs first, then fits that go on, then disks that refuse."""

import errno
import os

import keras
import numpy as np
import pytest

from kphys.callbacks import ModelCheckpoint

NAN = float("nan")


@pytest.fixture
def model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def drive(checkpoint, model, values, *, first=0):
    """Calls the callback as Keras does, and gives the epochs in which it saved; the bias counts epochs."""
    checkpoint.set_model(model)
    checkpoint.set_params({"epochs": first + len(values), "steps": 1, "verbose": 0})
    checkpoint.on_train_begin()
    saved, save = [], model.save

    def counted(path):
        saved.append(epoch)
        save(path)

    model.save = counted
    for epoch, value in enumerate(values, start=first):
        model.layers[-1].bias.assign([float(epoch)])
        checkpoint.on_epoch_begin(epoch)
        checkpoint.on_epoch_end(epoch, {"val_loss": value})
    model.save = save
    return saved


def epoch_of(file):
    return keras.saving.load_model(file).layers[-1].bias.numpy()[0]


def best_only(folder, **settings):
    return ModelCheckpoint(folder / "best.keras", save_best_only=True, **{"mode": "min", **settings})


def test_every_epoch(model, tmp_path):
    assert drive(ModelCheckpoint(tmp_path / "runs" / "last.keras"), model, [1.0, 3.0, 2.0]) == [0, 1, 2]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["last.keras"]
    assert epoch_of(tmp_path / "runs" / "last.keras") == 2


def test_the_best(model, tmp_path):
    assert drive(best_only(tmp_path), model, [3.0, 2.0, 4.0, 1.0, 1.0]) == [0, 1, 3]
    assert epoch_of(tmp_path / "best.keras") == 3


def test_a_file_an_epoch(model, tmp_path):
    drive(ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.1f}.keras"), model, [3.0, 2.0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01-3.0.keras", "02-2.0.keras"]


def test_nan_is_never_the_best(model, tmp_path):
    assert drive(best_only(tmp_path), model, [NAN, 3.0, NAN, 2.0]) == [1, 3]


@pytest.mark.parametrize("name", ["best.keras", "best-{epoch}.keras", "{epoch}.keras"])
def test_the_best_stays_the_best_when_training_goes_on(model, tmp_path, name):
    settings = {"monitor": "val_loss", "mode": "min", "save_best_only": True}
    drive(ModelCheckpoint(tmp_path / name, **settings), model, [3.0, 0.1, 2.0])
    # What a kill left unfinished, later.
    (tmp_path / ".unfinished.3.keras").write_bytes(b"PK")
    again = ModelCheckpoint(tmp_path / name, **settings)
    assert drive(again, model, [1.0, 0.2, 0.05], first=3) == [5]
    assert again.best == 0.05


def test_a_training_that_begins_anew_has_a_best_of_its_own(model, tmp_path):
    drive(best_only(tmp_path), model, [0.1])
    assert drive(best_only(tmp_path), model, [3.0, 2.0]) == [0, 1]


def test_the_largest_stays_the_largest(model, tmp_path):
    drive(best_only(tmp_path, mode="max"), model, [0.7, 0.9])
    assert drive(best_only(tmp_path, mode="max"), model, [0.8, 0.95], first=2) == [3]


def test_a_threshold_that_was_given_stays(model, tmp_path):
    drive(best_only(tmp_path), model, [3.0])
    assert drive(best_only(tmp_path, initial_value_threshold=1.0), model, [2.0, 0.5], first=1) == [2]


def test_a_threshold_is_no_excuse_for_a_worse_model(model, tmp_path):
    drive(best_only(tmp_path, initial_value_threshold=1.0), model, [0.2])
    assert drive(best_only(tmp_path, initial_value_threshold=1.0), model, [0.5, 0.1], first=1) == [2]


def test_what_has_no_value_is_not_the_best(model, tmp_path):
    checkpoint = best_only(tmp_path)
    drive(checkpoint, model, [0.5])
    with pytest.warns(UserWarning, match="`monitor` 'val_loss' is not among the logs loss"):
        checkpoint.on_epoch_end(1, {"loss": 0.1})
    assert drive(best_only(tmp_path), model, [0.7, 0.4], first=2) == [3]


def test_the_best_of_every_other_batch(model, tmp_path):
    file = tmp_path / "best.keras"
    for epochs in (1, 2):
        checkpoint = ModelCheckpoint(file, "loss", save_best_only=True, mode="min", save_freq=2)
        fit(model, checkpoint, epochs=epochs, initial_epoch=epochs - 1)
    assert checkpoint.best < 1


def test_what_is_better_of_a_metric_that_keras_has_not_built_yet(tmp_path):
    file = tmp_path / "best-{val_accuracy:.1f}.keras"
    classifier = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    classifier.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    x, y = np.linspace(-1, 1, 16, dtype="float32").reshape(-1, 2), np.ones(8)
    checkpoint = ModelCheckpoint(file, "val_accuracy", save_best_only=True)
    with pytest.warns(UserWarning, match="`monitor` 'val_accuracy' is not among the logs"):
        classifier.fit(x, y, epochs=3, validation_data=(x, y), validation_freq=2, verbose=0, callbacks=[checkpoint])
    assert 0 <= checkpoint.best <= 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_of_keras_says_nothing_of_its_value(model, tmp_path):
    model.save(tmp_path / "best.keras")
    assert drive(best_only(tmp_path), model, [3.0], first=1) == [1]


def fit(model, *callbacks, **arguments):
    x = np.linspace(-1, 1, 16, dtype="float32").reshape(-1, 2)
    return model.fit(x, x[:, :1], verbose=0, callbacks=list(callbacks), batch_size=2, shuffle=False, **arguments)


def test_weights_alone(model, tmp_path):
    def checkpoint():
        return ModelCheckpoint(
            tmp_path / "best.weights.h5",
            "loss",
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=9.0,
        )

    first = checkpoint()
    fit(model, first, epochs=3)
    weights = model.get_weights()
    model.set_weights([0 * value for value in weights])
    model.load_weights(tmp_path / "best.weights.h5")
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    again = ModelCheckpoint(tmp_path / "best.weights.h5", "loss", save_best_only=True, save_weights_only=True)
    model.optimizer.learning_rate = 0.0
    model.set_weights([0 * value for value in weights])
    fit(model, again, epochs=4, initial_epoch=3)
    assert again.best == first.best


def test_every_third_batch(model, tmp_path):
    fit(model, ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=3), epochs=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    # Of four batches an epoch the sixth is the second of the second.
    assert names == ["1-3.keras", "2-2.keras"]


@pytest.mark.parametrize(("save_freq", "shared"), [("epoch", True), (7, False)])
def test_batches_share_a_call_unless_they_are_counted(save_freq, shared):
    assert ModelCheckpoint("last.keras", save_freq=save_freq).batches_may_share_a_call is shared


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_fills_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch, function):
    checkpoint = ModelCheckpoint(tmp_path / "last.keras")
    drive(checkpoint, model, [1.0])

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    said = r"ModelCheckpoint could not write last\.keras in '.*': No space left on device; free space there"
    with pytest.raises(OSError, match=said) as raised:
        drive(checkpoint, model, [1.0], first=1)
    assert raised.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["last.keras"]
    assert epoch_of(tmp_path / "last.keras") == 0


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"ModelCheckpoint could not write last\.keras in '.*file/run': Not a directory\."
    ):
        drive(ModelCheckpoint(tmp_path / "file" / "run" / "last.keras"), model, [1.0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filepath": 3}, TypeError, "`filepath` must be a path such as 'runs/best.keras', got 3"),
        ({"filepath": "gs://bucket/best.keras"}, ValueError, "`filepath` must be a path in a file system"),
        ({"filepath": "best.h5"}, ValueError, r"`filepath` must end in '\.keras', got 'best\.h5'"),
        ({"save_weights_only": True}, ValueError, r"`filepath` must end in '\.weights\.h5', got 'best\.keras'"),
        ({"mode": "minimum"}, ValueError, "`mode` must be one of 'auto', 'min', 'max', got 'minimum'.* mean 'min'"),
        ({"save_freq": 0}, ValueError, "`save_freq` must be"),
        ({"save_best_only": "yes"}, TypeError, "`save_best_only` must be True or False"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ModelCheckpoint(**{"filepath": "best.keras", **arguments})
