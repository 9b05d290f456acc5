"""TrainingRecord: hand-written logs first, then real fits, then processes that are killed."""

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from datetime import datetime, timedelta
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import training_record_process as process

import kphys
from kphys import mlp_classifier, records
from kphys.callbacks import EarlyStopping, _run_information
from kphys.callbacks._fit import fit_frame
from kphys.callbacks.training_record import TrainingRecord

NAN, INF = float("nan"), float("inf")


def dense(units=3, **arguments):
    """A compiled model whose layers have numbered names."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(arguments.pop("learning_rate", 0.1)), "mse", **arguments)
    return model


def data(number=8):
    x = np.linspace(-1, 1, 2 * number, dtype="float32").reshape(number, 2)
    return x, x.sum(axis=1, keepdims=True)


def drive(record, logs, *, first=0, end=True, model=None):
    """Calls the callback as Keras does, one entry of `logs` an epoch."""
    record.set_model(model or dense())
    record.set_params({"epochs": first + len(logs), "steps": 1, "verbose": 0})
    record.on_train_begin()
    for epoch, entry in enumerate(logs, start=first):
        record.on_epoch_begin(epoch)
        record.on_epoch_end(epoch, entry)
    if end:
        record.on_train_end()


def configuration(folder, **arguments):
    """The config of one epoch of `dense`."""
    model = arguments.pop("model", None) or dense()
    record = TrainingRecord(folder)
    callbacks = [record, *arguments.pop("callbacks", [])]
    x, y = arguments.pop("data", data())
    model.fit(x, y, callbacks=callbacks, **{"verbose": 0, **arguments})
    return records.read(folder).config


def text(folder, name="history.csv"):
    return (folder / name).read_text(encoding="utf-8")


def without_seconds(folder):
    return [[cell for place, cell in enumerate(line.split(",")) if place != 1] for line in text(folder).splitlines()]


# === By hand ===


def test_the_history_is_written_after_every_epoch(tmp_path):
    record = TrainingRecord(tmp_path)
    drive(record, [{"loss": 0.5, "acc": 1}], end=False)
    assert without_seconds(tmp_path) == [["epoch", "loss", "acc"], ["0", "0.5", "1.0"]]
    record.on_epoch_begin(1)
    record.on_epoch_end(1, {"loss": 0.25, "acc": np.float32(0.1)})
    assert without_seconds(tmp_path)[2] == ["1", "0.25", "0.10000000149011612"]
    assert records.read(tmp_path).status == "unfinished"


def test_seconds_are_those_of_the_epoch_and_of_the_whole(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 11.5, 20.0, 24.0, 30.0])
    monkeypatch.setattr("kphys.callbacks.training_record.time.perf_counter", lambda: next(clock))
    drive(TrainingRecord(tmp_path), [{"loss": 1.0}, {"loss": 1.0}])
    run = records.read(tmp_path)
    assert run.history["seconds"].tolist() == [1.5, 4.0]
    assert run.result["seconds"] == 30.0


def test_logs_that_come_and_go_leave_empty_cells(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 3.0}, {"loss": 2.0, "val_loss": 4.0}, {"loss": 1.0}])
    assert without_seconds(tmp_path) == [
        ["epoch", "loss", "val_loss"],
        ["0", "3.0", ""],
        ["1", "2.0", "4.0"],
        ["2", "1.0", ""],
    ]
    run = records.read(tmp_path)
    np.testing.assert_array_equal(run.history["val_loss"], [NAN, 4.0, NAN])
    assert run.result["final"] == {"loss": 1.0}


def test_what_is_not_finite_reads_back(tmp_path):
    logs = {"nan": NAN, "up": INF, "down": -INF, "a,b": 1e-300}
    drive(TrainingRecord(tmp_path), [logs])

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(text(tmp_path, "result.json"), parse_constant=refuse)
    assert content["final"] == {"nan": "NaN", "up": "Infinity", "down": "-Infinity", "a,b": 1e-300}
    run = records.read(tmp_path)
    assert {name: run.history[name][0] for name in logs} == pytest.approx(logs, rel=0, nan_ok=True)
    assert run.result["final"] == pytest.approx(logs, rel=0, nan_ok=True)


def test_logs_with_several_values_have_a_column_each_and_own_names_stay_apart(tmp_path):
    drive(TrainingRecord(tmp_path), [{"f1": np.array([0.5, 0.25]), "epoch": 7, "seconds": tf.constant(8.0)}])
    assert without_seconds(tmp_path) == [
        ["epoch", "f1[0]", "f1[1]", "logged_epoch", "logged_seconds"],
        ["0", "0.5", "0.25", "7.0", "8.0"],
    ]


def test_a_log_that_is_no_number_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"TrainingRecord writes numbers, but the log 'phase' is 'warm': leave it out"):
        drive(TrainingRecord(tmp_path), [{"phase": "warm"}])


@pytest.mark.parametrize(("stop", "status"), [(False, "finished"), (True, "stopped")])
def test_the_result_says_how_it_ended(tmp_path, stop, status):
    model = dense()
    model.stop_training = stop
    drive(TrainingRecord(tmp_path), [{"loss": 2.0}, {"loss": 1.0}], model=model)
    result = records.read(tmp_path).result
    assert (result["status"], result["final"], result["epochs"]) == (status, {"loss": 1.0}, 2)
    # TensorFlow alone takes more than 100 MB, and no test machine has 1 TB: the unit is bytes.
    assert 1e8 < result["peak_memory"]["process"] < 1e12
    assert datetime.fromisoformat(result["ended"]).utcoffset() == timedelta(0)


def test_a_training_of_no_epochs_is_a_record(tmp_path):
    drive(TrainingRecord(tmp_path), [])
    run = records.read(tmp_path)
    assert (run.status, run.history, run.result["final"], run.result["epochs"]) == ("finished", {}, {}, 0)


def test_the_memory_of_each_gpu_is_told(tmp_path, monkeypatch):
    gpus = [tf.config.LogicalDevice(f"/device:GPU:{number}", "GPU") for number in (0, 1)]
    peaks = {"GPU:0": {"peak": 7, "current": 3}, "GPU:1": {"peak": 9, "current": 0}}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", peaks.__getitem__)
    memory = _run_information.peak_memory()
    assert (memory["GPU:0"], memory["GPU:1"]) == (7, 9)


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_units_of_memory(monkeypatch, platform, unit):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": 5}))
    assert _run_information.peak_memory()["process"] == 5 * unit


def test_without_resource_the_memory_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert _run_information.peak_memory()["process"] is None


# === Resuming and refusing ===


def test_a_taken_folder_is_refused_before_anything_is_written(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 1.0}])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = dense()
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"`folder` '.*' holds a record already: choose another .* pass resume=True"):
        model.fit(*data(), callbacks=[TrainingRecord(tmp_path)], verbose=0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["config.json", "history.csv", "result.json"])
def test_any_file_of_a_record_takes_the_folder(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="holds a record already"):
        drive(TrainingRecord(tmp_path), [])
    assert text(tmp_path, name) == "mine"


def test_other_files_do_not(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    drive(TrainingRecord(tmp_path), [{"loss": 1.0}])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "history.csv",
        "notes.txt",
        "result.json",
    ]


def test_resuming_keeps_the_epochs_before_and_writes_the_others_anew(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 9.0}, {"loss": 8.0, "val_loss": NAN}, {"loss": 7.0}], end=False)
    record = TrainingRecord(tmp_path, resume=True)
    drive(record, [{"loss": 0.5, "acc": 1.0}], first=2)
    assert without_seconds(tmp_path) == [
        ["epoch", "loss", "val_loss", "acc"],
        ["0", "9.0", "", ""],
        ["1", "8.0", "nan", ""],
        ["2", "0.5", "", "1.0"],
    ]
    assert records.read(tmp_path).result["epochs"] == 3


def test_seconds_before_an_interruption_count(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 2.0, 2.0, 5.0, 100.0, 101.0, 105.0, 106.0])
    monkeypatch.setattr("kphys.callbacks.training_record.time.perf_counter", lambda: next(clock))
    drive(TrainingRecord(tmp_path), [{"loss": 9.0}, {"loss": 8.0}], end=False)
    drive(TrainingRecord(tmp_path, resume=True), [{"loss": 7.0}], first=1)
    run = records.read(tmp_path)
    assert run.history["seconds"].tolist() == [2.0, 4.0]
    assert run.result["seconds"] == 2.0 + 6.0


def test_a_resumed_run_is_unfinished_until_it_ends(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 5.0, 6.0, 100.0, 102.0])
    monkeypatch.setattr("kphys.callbacks.training_record.time.perf_counter", lambda: next(clock))
    drive(TrainingRecord(tmp_path), [{"loss": 9.0}])
    record = TrainingRecord(tmp_path, resume=True)
    drive(record, [], end=False)
    assert records.read(tmp_path).status == "unfinished"
    assert records.read(tmp_path).history["loss"].tolist() == [9.0]
    record.on_train_end()  # There was nothing left to do.
    run = records.read(tmp_path)
    assert (run.status, run.result["final"], run.result["epochs"]) == ("finished", {"loss": 9.0}, 1)
    assert run.result["seconds"] == 5.0 + 2.0


def test_resuming_begins_where_there_is_nothing(tmp_path):
    drive(TrainingRecord(tmp_path / "new", resume=True), [{"loss": 1.0}])
    run = records.read(tmp_path / "new")
    assert run.status == "finished"
    assert "earlier" not in run.config


def test_an_instance_serves_twice(tmp_path):
    record = TrainingRecord(tmp_path, resume=True)
    drive(record, [{"loss": 9.0}, {"loss": 8.0}])
    drive(record, [{"acc": 1.0}])
    assert without_seconds(tmp_path) == [["epoch", "acc"], ["0", "1.0"]]


def test_a_resumed_record_tells_of_the_calls_before(tmp_path):
    x, y = data()
    model = dense()
    model.fit(x, y, epochs=1, callbacks=[TrainingRecord(tmp_path, seed=3)], verbose=0)
    for first, seed in ((1, 3), (2, 4)):
        record = TrainingRecord(tmp_path, seed=seed, resume=True)
        model.fit(x, y, initial_epoch=first, epochs=first + 1, callbacks=[record], verbose=0)
    config = records.read(tmp_path).config
    assert config["fit"]["epochs"] == 3
    assert [call["fit"]["epochs"] for call in config["earlier"]] == [1, 2]
    assert "model" not in config["earlier"][0]
    assert "seeds" not in config["earlier"][0]
    assert config["earlier"][1]["seeds"]["seed"] == 3


def test_resuming_another_setting_warns(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 9.0}])
    record = TrainingRecord(tmp_path, resume=True)
    with pytest.warns(UserWarning, match=r"resume=True .* in '.*': model\.layers\.1\.units was 3, is 4\."):
        drive(record, [], model=dense(4))
    assert records.read(tmp_path).config["earlier"][0]["setting"]["model.layers.1.units"] == 3


def test_resuming_the_same_setting_warns_of_nothing(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, (3, 3)), keras.layers.Flatten()])
    model.compile("adam", "mse", loss_weights=(1.0,))
    x = np.zeros((4, 4, 4, 1))
    arguments = {"class_weight": None, "epochs": 2, "verbose": 0}
    model.fit(x, np.zeros((4, 4)), callbacks=[TrainingRecord(tmp_path)], **arguments)
    model.fit(x, np.zeros((4, 4)), callbacks=[TrainingRecord(tmp_path, resume=True)], initial_epoch=1, **arguments)
    assert records.read(tmp_path).history["epoch"].tolist() == [0, 1]


def test_a_damaged_record_is_named_and_left_alone(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 9.0}])
    (tmp_path / "history.csv").write_text("epoch,seconds,loss\n0,1.0\n")
    with pytest.raises(ValueError, match=r"history\.csv' is damaged: line 2 is not a row"):
        drive(TrainingRecord(tmp_path, resume=True), [{"loss": 8.0}])
    assert text(tmp_path) == "epoch,seconds,loss\n0,1.0\n"
    assert (tmp_path / "result.json").exists()


# === Disks that refuse ===


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "run"
    with pytest.raises(OSError, match=r"TrainingRecord could not write config\.json in '.*file/run'") as raised:
        dense().fit(*data(), callbacks=[TrainingRecord(folder)], verbose=0)
    assert raised.value.errno == errno.ENOTDIR


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_fills_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    record = TrainingRecord(tmp_path)
    drive(record, [{"loss": 2.0}], end=False)
    before = text(tmp_path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    record.on_epoch_begin(1)
    with pytest.raises(OSError, match=r"could not write history\.csv in '.*': No space left on device") as raised:
        record.on_epoch_end(1, {"loss": 1.0})
    assert raised.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(raised.value)
    assert text(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "history.csv"]


def test_the_new_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append(paths[1].name), replace(*paths)))
    drive(TrainingRecord(tmp_path), [{"loss": 2.0}])
    assert calls == ["fsync", "config.json", "fsync", "history.csv", "fsync", "result.json"]


# === What is written about a fit ===


def test_the_config_of_a_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--fast"])
    x, y = data(10)
    model = mlp_classifier((2,), 2, hidden_units=3, seed=1)
    labels = (y[:, 0] > 0).astype("int32")
    record = TrainingRecord(tmp_path, seed=1)
    stop = EarlyStopping(patience=7)
    model.fit(
        x,
        labels,
        batch_size=5,
        epochs=2,
        callbacks=[record, stop],
        validation_data=(x[:4], labels[:4]),
        sample_weight=np.ones(10),
        verbose=0,
    )
    run = records.read(tmp_path)
    config, fit = run.config, run.config["fit"]
    assert datetime.fromisoformat(config["started"]).utcoffset() == timedelta(0)
    assert config["model"]["num_weights"] == 2 * 3 + 3 + 3 + 1
    assert (config["model"]["class_name"], config["model"]["name"]) == ("Functional", "mlp_classifier")
    assert [layer["config"].get("units") for layer in config["model"]["config"]["layers"]][1] == 3
    assert config["optimizers"]["optimizer"]["class_name"] == "Adam"
    assert config["compile"]["loss"]["class_name"] == "BinaryCrossentropy"
    assert fit["x"] == {"class_name": "ndarray", "shape": [10, 2], "dtype": "float32"}
    assert fit["y"] == {"class_name": "ndarray", "shape": [10], "dtype": "int32"}
    assert fit["sample_weight"]["dtype"] == "float64"
    assert [entry["shape"] for entry in fit["validation_data"]] == [[4, 2], [4]]
    assert (fit["batch_size"], fit["epochs"], fit["initial_epoch"], fit["shuffle"]) == (5, 2, 0, True)
    assert [entry["class_name"] for entry in fit["callbacks"]] == ["EarlyStopping"]
    assert fit["callbacks"][0]["config"]["patience"] == 7
    assert config["seeds"]["seed"] == run.seed == 1
    assert sorted(config["seeds"]["layers"]) == ["hidden_1.kernel_initializer", "outputs.kernel_initializer"]
    hidden = model.get_layer("hidden_1").kernel_initializer.seed
    assert config["seeds"]["layers"]["hidden_1.kernel_initializer"] == hidden
    assert config["versions"]["kphys"] == kphys.__version__
    assert config["versions"]["tensorflow"] == tf.__version__
    assert config["command"] == ["train.py", "--fast"]
    assert config["device"]["devices"][0] == "CPU:0"
    assert run.history["epoch"].tolist() == [0, 1]
    assert list(run.history)[:2] == ["epoch", "seconds"]


def test_the_history_is_that_of_keras(tmp_path):
    history = dense().fit(
        *data(), epochs=3, validation_split=0.25, validation_freq=2, callbacks=[TrainingRecord(tmp_path)], verbose=0
    )
    run = records.read(tmp_path)
    assert run.history["loss"].tolist() == history.history["loss"]
    assert run.history["val_loss"][1] == history.history["val_loss"][0]
    assert np.isnan(run.history["val_loss"][[0, 2]]).all()
    assert run.config["fit"]["validation_split"] == 0.25
    assert run.config["fit"]["x"]["shape"] == [6, 2]


def test_data_of_other_kinds_are_described(tmp_path):
    x, y = data()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    described = configuration(tmp_path / "dataset", data=(dataset, None), steps_per_epoch=2, shuffle=False)["fit"]
    assert described["x"]["cardinality"] == 2
    assert "shape=(None, 2)" in described["x"]["element_spec"]
    assert described["steps_per_epoch"] == 2
    assert described["shuffle"] is False

    class Batches(keras.utils.PyDataset):
        spec = "no environment"

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[4 * index : 4 * index + 4], y[4 * index : 4 * index + 4]

    described = configuration(tmp_path / "batches", data=(Batches(), None))["fit"]
    assert described["x"] == {"class_name": "Batches", "num_batches": 2}
    assert _run_information._described([1.0] * 21) == {"class_name": "list", "length": 21}
    assert _run_information._described({"a": np.zeros((3, 1)), 2: np.float32(0.5)}) == {
        "a": {"class_name": "ndarray", "shape": [3, 1], "dtype": "float64"},
        "2": 0.5,
    }


def test_outside_of_fit_the_params_stand_in(tmp_path):
    drive(TrainingRecord(tmp_path), [{"loss": 1.0}])
    assert records.read(tmp_path).config["fit"] == {"epochs": 1, "steps": 1, "verbose": 0}


class TwoOptimizers(keras.Model):
    """A model whose config cannot be told, with an optimizer of its own."""

    def __init__(self, thing):
        super().__init__()
        self.thing = thing
        self.head = keras.layers.Dense(1)
        self.critic_optimizer = keras.optimizers.RMSprop(0.5)

    def call(self, x):
        return self.head(x)


def test_a_model_that_cannot_be_serialized_and_its_optimizers(tmp_path):
    model = TwoOptimizers(object())
    model.compile(keras.optimizers.SGD(0.25), "mse")
    assert configuration(tmp_path / "unbuilt", model=model)["model"]["num_weights"] is None
    config = configuration(tmp_path / "built", model=model)
    assert config["model"]["num_weights"] == 3
    assert config["model"]["config"] is None
    assert config["model"]["config_error"].startswith("NotImplementedError: Object TwoOptimizers was created")
    assert config["model"]["weight_shapes"] == [[2, 1], [1]]
    rates = {name: entry["config"]["learning_rate"] for name, entry in config["optimizers"].items()}
    assert rates == {"optimizer": 0.25, "critic_optimizer": 0.5}
    assert config["setting"]["critic_optimizer.learning_rate"] == 0.5
    assert config["setting"]["model.weight_shapes"] == [[2, 1], [1]]


def test_a_lambda_is_written_without_a_word(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=lambda x: 2 * x)])
    model.compile("sgd", "mse")
    assert configuration(tmp_path, model=model)["model"]["config"] is not None


# === git ===


def run_git(*arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_the_commit_and_whether_the_tree_had_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert _run_information._git() is None
    run_git("init")
    assert _run_information._git() is None
    (tmp_path / "a").write_text("1")
    run_git("add", "a")
    run_git("commit", "-m", "first")
    clean = _run_information._git()
    (tmp_path / "new").write_text("")
    assert _run_information._git() == clean
    (tmp_path / "a").write_text("2")
    changed = _run_information._git()
    assert len(clean["commit"]) == 40
    assert clean == {"commit": changed["commit"], "changed": False}
    assert changed["changed"] is True


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 5)])
def test_without_git_or_with_a_slow_one_there_is_no_commit(monkeypatch, error):
    def fail(*arguments, timeout, env, **others):
        assert timeout <= 5
        assert env["GIT_OPTIONAL_LOCKS"] == "0"
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert _run_information._git() is None


# === The fingerprint ===


@pytest.mark.slow
def test_seeds_names_watchers_and_progress_leave_the_fingerprint(tmp_path):
    def build(seed, verbose_name):
        inputs = keras.Input((2,))
        hidden = keras.layers.Softmax()(keras.layers.Dense(3, activation="softmax", name=verbose_name)(inputs))
        hidden = keras.layers.Dropout(0.5, seed=seed)(hidden)
        other = keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed))(inputs)
        model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Add()([hidden, other])))
        model.compile("adam", "mse", metrics=[keras.metrics.AUC()], jit_compile=seed == 1)
        return model

    class Probe(keras.callbacks.Callback):
        def __init__(self, log_dir, every):
            super().__init__()
            self.log_dir, self.every = log_dir, every

    watcher = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    one = configuration(tmp_path / "1", model=build(1, "first"), callbacks=[Probe("a", 3)], epochs=2)
    others = {"callbacks": [watcher, Probe("b", 3)], "initial_epoch": 1, "verbose": 2}
    two = configuration(tmp_path / "2", model=build(2, None), epochs=2, **others)
    assert one["setting"]["fit.callbacks.0.every"] == 3
    assert two["fit"]["callbacks"][1]["config"] == {"log_dir": "b", "every": 3}
    assert one["setting"] == two["setting"]
    assert one["fingerprint"] == two["fingerprint"]
    assert one["seeds"]["layers"] != two["seeds"]["layers"]


@keras.saving.register_keras_serializable("test_training_record")
class Moded(keras.layers.Layer):
    """Called with a word."""

    def call(self, x, mode):
        return x


def test_an_argument_that_looks_like_a_layers_name_is_none(tmp_path):
    def build(name):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, Moded()(keras.layers.Dense(1, name=name)(inputs), mode="linear"))
        model.compile("sgd", "mse")
        return model

    one, two = (configuration(tmp_path / name, model=build(name)) for name in ("linear", "other"))
    assert one["setting"] == two["setting"]


CHANGES = {
    "units": ({"model": lambda: dense(units=4)}, "model.layers.1.units"),
    "rate": ({"model": lambda: dense(learning_rate=0.2)}, "optimizer.learning_rate"),
    "weights": ({"model": lambda: dense(loss_weights=2.0)}, "compile.loss_weights"),
    "metrics": ({"model": lambda: dense(metrics=["mae"])}, "compile.metrics"),
    "epochs": ({"epochs": lambda: 2}, "fit.epochs"),
    "batch": ({"batch_size": lambda: 4}, "fit.batch_size"),
    "data": ({"data": lambda: data(12)}, "fit.x.shape"),
    "callbacks": ({"callbacks": lambda: [keras.callbacks.TerminateOnNaN()]}, "fit.callbacks.0"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The setting that `CHANGES` change."""
    return configuration(tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize(("change", "name"), CHANGES.values(), ids=CHANGES)
def test_what_defines_a_run_is_in_the_fingerprint(tmp_path, plain, change, name):
    config = configuration(tmp_path, **{argument: make() for argument, make in change.items()})
    assert config["fingerprint"] != plain["fingerprint"]
    assert config["setting"].get(name) != plain["setting"].get(name)


def test_the_arguments_of_callbacks_and_the_wiring_are_in_the_fingerprint(tmp_path):
    def patient(patience):
        return {"callbacks": [keras.callbacks.EarlyStopping("loss", patience=patience)]}

    def weighted(weight):
        return {"class_weight": {0: 1.0, 1: weight}, "data": (np.zeros((4, 2)), np.array([0, 1, 0, 1]))}

    def wired(straight):
        inputs = keras.Input((2,))
        first = keras.layers.Dense(2)(inputs)
        second = keras.layers.Dense(2)(first)
        outputs = keras.layers.Dense(1)(second if straight else first)
        model = keras.Model(inputs, [outputs, second])
        model.compile("adam", ["mse", "mse"])
        return {"model": model, "data": (np.zeros((4, 2)), (np.zeros((4, 1)), np.zeros((4, 2))))}

    for name, make in (("patient", patient), ("weighted", weighted), ("wired", wired)):
        one, two = (configuration(tmp_path / f"{name}_{value}", **make(value)) for value in (0, 1))
        assert one["fingerprint"] != two["fingerprint"], name


def test_mixed_precision_is_in_the_fingerprint(tmp_path):
    def build(policy):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype=policy)])
        model.compile("sgd", "mse")
        return model

    one, two = (configuration(tmp_path / policy, model=build(policy)) for policy in ("float32", "mixed_bfloat16"))
    different = [name for name in one["setting"] if one["setting"][name] != two["setting"][name]]
    assert different == ["model.layers.1.dtype"]


# === The call of fit ===


def test_the_innermost_fit_of_the_model_is_found():
    class Inner:
        def fit(self, x):
            return [fit_frame(model).f_locals["x"] if fit_frame(model) else None for model in models]

    class Outer(Inner):
        def fit(self, x):
            return super().fit(x + 1) if self is models[1] else models[1].fit(x + 10)

    models = [Outer(), Outer(), Inner()]
    # 1 came to the first; it gave 11 to the second, which passed 12 on to its base class; the third is not at work.
    assert models[0].fit(1) == [1, 12, None]
    assert fit_frame(models[0]) is None


def test_the_data_of_a_fit_are_let_go(tmp_path):
    model, record = dense(), TrainingRecord(tmp_path)
    x, y = data()
    gone = weakref.ref(x)
    gc.freeze()  # A look at all that the tests before have left would take half a minute.
    model.fit(x, y, callbacks=[record], verbose=0)
    del x
    gc.collect()
    gc.unfreeze()
    assert gone() is None


# === Killed ===


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folders of processes that were killed at three moments of the end of epoch 3."""
    folders = {moment: tmp_path_factory.mktemp(moment) for moment in ("before", "after", "replacing")}
    running = [
        subprocess.Popen([sys.executable, process.__file__, str(folder), moment], stderr=subprocess.DEVNULL)
        for moment, folder in folders.items()
    ]
    assert [entry.wait(timeout=300) for entry in running] == [-signal.SIGKILL] * 3
    return folders


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("moment", "epochs"), [("before", 3), ("after", 4), ("replacing", 3)])
def test_a_killed_run_reads_back(killed, moment, epochs):
    run = records.read(killed[moment] / "run")
    assert (run.status, run.result) == ("unfinished", None)
    assert run.history["epoch"].tolist() == list(range(epochs))
    assert (run.history["loss"][:-1] > run.history["loss"][1:]).all()
    assert run.config["fit"]["epochs"] == process.EPOCHS
    assert run.config["seeds"] == {"seed": 5, "global": 11, "layers": {}}


@pytest.mark.cases(1)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["before", "after", "replacing"])
def test_a_killed_run_that_goes_on_has_the_history_of_one_that_was_not(killed, tmp_path, moment):
    process.train(process.build(), [TrainingRecord(tmp_path / "whole"), process.Kill()])
    copy = shutil.copytree(killed[moment], tmp_path / "killed")
    folder = copy / "run"
    record = TrainingRecord(folder, seed=5, resume=True)
    process.train(process.build(), [record, process.Kill(), process.backup(copy)])
    resumed, whole = records.read(folder), records.read(tmp_path / "whole")
    assert (resumed.status, resumed.result["epochs"]) == ("finished", process.EPOCHS)
    assert resumed.history["epoch"].tolist() == list(range(process.EPOCHS))
    np.testing.assert_allclose(resumed.history["loss"], whole.history["loss"], rtol=1e-6)
    assert resumed.config["fingerprint"] == whole.config["fingerprint"]
    assert len(resumed.config["earlier"]) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "history.csv", "result.json"]


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"folder": 3}, TypeError, "`folder` must be a path such as 'runs/first', got 3"),
        ({"folder": "a", "seed": -1}, ValueError, r"`seed` must be None or an integer .*, got -1"),
        ({"folder": "a", "seed": 1.5}, ValueError, r"`seed` must be .* got 1\.5"),
        ({"folder": "a", "resume": 1}, ValueError, "`resume` must be True or False, got 1"),
    ],
)
def test_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        TrainingRecord(**arguments)


def test_the_folder_stays_where_it_was_when_the_program_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = TrainingRecord("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    drive(record, [{"loss": 1.0}])
    assert records.read(Path(tmp_path) / "run").status == "finished"
