"""What a builder puts on a stock Keras model: callbacks, many batches a call, and files that need no kphys."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.python.eager.polymorphic_function import polymorphic_function

from kphys import cnn_classifier, cnn_regressor, mlp_classifier, mlp_regressor, rnn_classifier, rnn_regressor
from kphys.models import _execution
from kphys.models._calls import _acts_on_batches, calls_of

BATCHES = 40  # More than one call takes, and a last one that is not full.
SAMPLES = 4 * (BATCHES - 1) + 1
FIT = {"batch_size": 4, "epochs": 1, "shuffle": False, "verbose": 0}


def data(shape=(3,), number=SAMPLES, classes=3):
    generator = np.random.default_rng(0)
    return generator.normal(size=(number, *shape)).astype("float32"), generator.integers(0, classes, number)


def small(**arguments):
    return mlp_classifier(3, 3, hidden_units=2, seed=0, **arguments)


class CountsCalls(keras.callbacks.Callback):
    """Counts what Keras tells every callback, without a batch hook of its own."""

    def __init__(self):
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


class CountsBatches(keras.callbacks.Callback):
    """Counts batches, and the updates that the optimizer had made at each."""

    def __init__(self):
        super().__init__()
        self.updates = []

    def on_train_batch_end(self, batch, logs=None):
        self.updates.append((batch, int(self.model.optimizer.iterations)))


# === A stock model ===


@pytest.mark.parametrize(
    "build",
    [
        small,
        lambda: mlp_regressor(3, hidden_units=2, loss="gaussian_nll"),
        lambda: cnn_classifier((8, 8, 1), 3, filters=2, hidden_units=2),
        lambda: cnn_regressor((8, 8, 1), filters=2, hidden_units=2, periodic=True),
        lambda: rnn_classifier((None, 2), 3, cell="simple", units=2),
        lambda: rnn_regressor((None, 2), cell="simple", units=2, bidirectional=True),
    ],
)
def test_the_class_of_a_model_is_keras_own(build):
    model = build()
    assert type(model).__module__.startswith("keras.")
    assert isinstance(model, keras.Model)
    assert model.compiled
    assert model.fit.__doc__ == keras.Model.fit.__doc__


# === Many batches a call, and callbacks that count them ===


@pytest.fixture(scope="module")
def trained():
    """A model trained many batches a call, its history, and how often it was called."""
    model, calls = small(), []
    make = model.make_train_function

    def counted_make(force=False):
        make(force)
        function = model.train_function
        model.train_function = lambda iterator: calls.append(1) or function(iterator)

    model.make_train_function = counted_make
    history = model.fit(*data(), **FIT, validation_data=data(number=9), callbacks=[CountsCalls()])
    return model, history, len(calls)


@pytest.fixture(scope="module")
def trained_batch_by_batch():
    """The same under a callback that acts on batches."""
    model, counter = small(), CountsBatches()
    history = model.fit(*data(), **FIT, validation_data=data(number=9), callbacks=[counter])
    return model, history, counter.updates


def test_many_batches_are_one_call_and_each_is_trained_on(trained):
    model, _, calls = trained
    assert model.steps_per_execution == 32
    assert calls == -(-BATCHES // 32)
    # The last batch, of one sample, too.
    assert model.optimizer.iterations == BATCHES


def test_xla_is_left_out_before_the_process_has_no_room_for_more_of_its_code(monkeypatch):
    monkeypatch.setattr(_execution, "_share_of_mappings", lambda: 0.74)
    assert small().jit_compile is True
    monkeypatch.setattr(_execution, "_share_of_mappings", lambda: 0.76)
    with pytest.warns(UserWarning, match="without XLA"):
        model = small()
    assert model.jit_compile is False
    assert model.steps_per_execution == 32


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_every_mapping_of_the_process_is_counted():
    before = _execution._share_of_mappings()
    # Alternately writable or not, or the kernel makes one of neighbours.
    kept = [mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | (index % 2) * mmap.PROT_WRITE) for index in range(600)]
    more = _execution._share_of_mappings() - before
    assert more * int(Path("/proc/sys/vm/max_map_count").read_text()) == pytest.approx(600, abs=60)
    del kept


def test_a_callback_that_acts_on_batches_is_called_after_each(trained_batch_by_batch):
    model, _, updates = trained_batch_by_batch
    assert updates == [(batch, batch + 1) for batch in range(BATCHES)]
    assert model.steps_per_execution == 32


def test_both_ways_train_the_same_weights(trained, trained_batch_by_batch):
    for many, one in zip(trained[0].get_weights(), trained_batch_by_batch[0].get_weights(), strict=True):
        np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-7)
    for name, values in trained[1].history.items():
        np.testing.assert_allclose(values, trained_batch_by_batch[1].history[name], rtol=1e-4, err_msg=name)


def test_both_ways_train_what_keras_does(trained):
    built = small()
    plain = keras.models.clone_model(built)
    plain.set_weights(built.get_weights())
    plain.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    plain.fit(*data(), **FIT)
    for ours, keras_own in zip(trained[0].get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-6)


def test_the_history_has_loss_and_metrics(trained):
    names = {"loss", "accuracy", "auc"}
    assert set(trained[1].history) == names | {f"val_{name}" for name in names}
    assert all(np.isfinite(values).all() and len(values) == 1 for values in trained[1].history.values())


def test_evaluate_after_training_is_the_validation_of_its_last_epoch(trained):
    model, history, _ = trained
    logs = model.evaluate(*data(number=9), batch_size=4, verbose=0, return_dict=True)
    assert logs == pytest.approx({name: history.history[f"val_{name}"][-1] for name in logs}, rel=1e-5)


class OverwritesNothing(keras.callbacks.EarlyStopping):
    """A subclass of a stock callback without batch hooks."""


@pytest.mark.parametrize(
    ("make", "acts"),
    [
        (lambda path: keras.callbacks.EarlyStopping("loss"), False),
        (lambda path: OverwritesNothing("loss"), False),
        (lambda path: keras.callbacks.TensorBoard(path), False),
        (lambda path: keras.callbacks.TensorBoard(path, update_freq="batch"), True),
        (lambda path: keras.callbacks.TensorBoard(path, update_freq=10), True),
        (lambda path: keras.callbacks.ModelCheckpoint(f"{path}/model.keras"), False),
        (lambda path: keras.callbacks.ModelCheckpoint(f"{path}/model.keras", save_freq=10), True),
        (lambda path: keras.callbacks.BackupAndRestore(path), False),
        (lambda path: keras.callbacks.BackupAndRestore(path, save_freq=10), True),
        (lambda path: keras.callbacks.ReduceLROnPlateau("loss"), False),
        (lambda path: keras.callbacks.CSVLogger(f"{path}/log.csv"), False),
        (lambda path: keras.callbacks.ProgbarLogger(), False),
        (lambda path: keras.callbacks.TerminateOnNaN(), True),
        (lambda path: keras.callbacks.LambdaCallback(on_train_batch_end=print), True),
        (lambda path: CountsCalls(), False),
        (lambda path: CountsBatches(), True),
        (lambda path: len, False),
    ],
)
def test_only_what_acts_on_batches_has_batches_one_by_one(make, acts, tmp_path):
    assert _acts_on_batches(make(str(tmp_path))) is acts


def test_a_hook_put_on_the_instance_acts_on_batches():
    callback = keras.callbacks.Callback()
    assert not _acts_on_batches(callback)
    callback.on_train_batch_end = lambda batch, logs=None: None
    assert _acts_on_batches(callback)


def test_stock_callbacks_train_many_batches_a_call(tmp_path):
    model, seen = small(), []

    class Sees(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(self.model.steps_per_execution)

    stock = [
        keras.callbacks.EarlyStopping("loss"),
        keras.callbacks.TensorBoard(str(tmp_path / "logs")),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras")),
        keras.callbacks.BackupAndRestore(str(tmp_path / "backup")),
    ]
    model.fit(*data(), **FIT, callbacks=[*stock, Sees()])
    assert seen == [32]
    assert model.optimizer.iterations == BATCHES
    assert (tmp_path / "best.keras").exists()
    assert any((tmp_path / "logs").rglob("events*"))


def test_callbacks_that_count_test_batches_see_each():
    model, seen = small(), []
    counter = keras.callbacks.LambdaCallback()
    counter.on_test_batch_end = lambda batch, logs=None: seen.append(batch)
    model.evaluate(*data(), batch_size=4, verbose=0, callbacks=[counter])
    assert seen == list(range(BATCHES))


# === predict ===


def test_predict_is_the_model_itself_for_every_number_of_samples(caplog, monkeypatch):
    # TensorFlow counts how often all models together are traced, and those of other tests are not meant.
    manager = polymorphic_function._frequent_tracing_detector_manager
    monkeypatch.setattr(polymorphic_function, "_frequent_tracing_detector_manager", type(manager)())
    model = small()
    x, _ = data(number=70)
    for number in (1, 2, 31, 32, 33, 64, 70):
        predicted = model.predict(x[:number], verbose=0)
        np.testing.assert_allclose(predicted, model(x[:number]), rtol=1e-5, atol=1e-6)
    (_, _, predict_function) = calls_of(model).traced[1, False, False]
    assert predict_function.experimental_get_tracing_count() <= 2
    assert "retracing" not in caplog.text
    assert model.steps_per_execution == 32


@pytest.mark.parametrize(
    ("build", "batch_size"),
    [
        (lambda: mlp_classifier(3, 2, hidden_units=2), 4096),
        (lambda: mlp_classifier(3, 2, hidden_units=2**18), 64),  # 1 MB a sample
        (lambda: mlp_classifier(3, 2, hidden_units=2**20), 32),
        (lambda: cnn_classifier((28, 28, 1), 2, filters=(16,), hidden_units=2), 2**26 // (4 * 28 * 28 * 16)),
        (lambda: rnn_classifier((None, 3), 2, units=2), 32),
    ],
)
def test_predict_takes_batches_that_fit_into_memory_where_nobody_asks(build, batch_size):
    model = build()
    shape = [steps or 5 for steps in model.input_shape[1:]]
    sizes = []

    def make_predict_function():
        model.predict_function = lambda batches: sizes.append(len(batches[0])) or np.zeros((sizes[-1], 1))

    model.make_predict_function = make_predict_function
    many, few = np.zeros((batch_size + 1, *shape), "float32"), np.zeros((70, *shape), "float32")
    model.predict(many, verbose=0)
    assert sizes == [batch_size, 1]
    for asked in ({"batch_size": 33}, {"callbacks": [keras.callbacks.Callback()]}, {"steps": 3}):
        sizes.clear()
        model.predict(few, **asked, verbose=0)
        assert sizes[0] == asked.get("batch_size", 24 if "steps" in asked else 32)


# === The user's own compile ===


def test_a_users_own_compile_is_respected():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=7, jit_compile=False)
    model.fit(*data(), **FIT)
    assert model.steps_per_execution == 7
    assert model.jit_compile is False
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer.iterations == BATCHES


def test_compile_without_more_is_keras_default():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert model.steps_per_execution == 1
    assert model.get_compile_config()["metrics"] == ["accuracy"]


# === Files ===

TARGETS = keras.layers.Normalization(mean=[3.0], variance=[4.0])
STEPS = {"return_sequences": True, "mask_value": 0.0}
CELLS = {"cell": "simple", "units": 2}
IMAGES = {"filters": 2, "hidden_units": 2}
# name: (model, shape of an input, shape of a target or how many classes)
STOCK = {
    "mlp_binary": (lambda: mlp_classifier(3, 2, hidden_units=2), (3,), 2),
    "mlp_multiclass": (lambda: mlp_classifier(3, 3, hidden_units=2, l2=0.1, activation="selu"), (3,), 3),
    "mlp_multilabel": (lambda: mlp_classifier(3, 3, hidden_units=2, multilabel=True), (3,), (3,)),
    "mlp_mse": (lambda: mlp_regressor(3, hidden_units=2, target_normalization=TARGETS), (3,), (1,)),
    "mlp_huber": (lambda: mlp_regressor(3, hidden_units=2, loss="huber", delta=0.01), (3,), (1,)),
    "cnn_binary": (lambda: cnn_classifier((6, 6, 1), 2, batch_normalization=True, **IMAGES), (6, 6, 1), 2),
    "cnn_multiclass": (lambda: cnn_classifier((6, 6, 1), 3, **IMAGES), (6, 6, 1), 3),
    "cnn_mae": (lambda: cnn_regressor((6, 6, 1), loss="mae", target_normalization=TARGETS, **IMAGES), (6, 6, 1), (1,)),
    "rnn_binary": (lambda: rnn_classifier((4, 2), 2, **CELLS), (4, 2), 2),
    "rnn_steps": (lambda: rnn_classifier((None, 2), 3, **STEPS, **CELLS), (4, 2), (4,)),
    "rnn_bidirectional": (lambda: rnn_regressor((4, 2), bidirectional=True, **CELLS), (4, 2), (1,)),
    "rnn_real_steps": (lambda: rnn_regressor((4, 2), target_normalization=TARGETS, **STEPS, **CELLS), (4, 2), (4, 1)),
}
WITHOUT_KPHYS = """
import importlib.abc
import json
import sys

class Blocks(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "kphys" or name.startswith("kphys."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocks())
import keras
import numpy as np

seen = {}
for name in sys.argv[1:]:
    arrays = np.load(name + ".npz")
    model = keras.models.load_model(name + ".keras")
    model.run_eagerly = True
    updates = int(model.optimizer.iterations)
    predictions = model(arrays["x"])
    logs = model.train_on_batch(arrays["x"], arrays["y"], return_dict=True)
    np.savez(name + "_after.npz", predictions, *model.get_weights())
    seen[name] = {"updates": updates, "metrics": sorted(logs), "loss": float(logs["loss"])}
assert not any(name.startswith("kphys") for name in sys.modules)
json.dump(seen, open("seen.json", "w"))
"""


def step(model, x, y):
    """Trains on one batch; compiling for it would cost more than the step."""
    model.run_eagerly = True
    logs = model.train_on_batch(x, y, return_dict=True)
    model.run_eagerly = False
    return logs


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Stock models after one step here, and what became of their files where kphys cannot be imported."""
    folder, models = tmp_path_factory.mktemp("files"), {}
    for name, (build, shape, targets) in STOCK.items():
        model = build()
        x, y = data(shape, number=6, classes=targets if isinstance(targets, int) else 2)
        y = y if isinstance(targets, int) else np.random.default_rng(1).integers(0, 2, (6, *targets))
        # Adam divides gradients by their size: of one that is nearly 0 its own epsilon, 1e-7, makes a step of rounding.
        model.optimizer.epsilon = 1e-3
        step(model, x, y)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", x=x, y=y)
        models[name] = (model, x, y)
    outcome = subprocess.run(
        [sys.executable, "-c", WITHOUT_KPHYS, *models],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return folder, models, json.loads((folder / "seen.json").read_text())


@pytest.mark.parametrize("name", STOCK)
def test_a_file_of_stock_layers_needs_no_kphys(name, elsewhere):
    folder, models, seen = elsewhere
    model, x, y = models[name]
    predictions, *weights = np.load(folder / f"{name}_after.npz").values()
    assert seen[name]["updates"] == 1
    np.testing.assert_allclose(predictions, model(x), rtol=1e-5, atol=1e-6)
    # Training goes on there as it does here.
    assert seen[name]["loss"] == pytest.approx(float(step(model, x, y)["loss"]), rel=1e-5)
    for here, there in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


def test_the_stock_metrics_are_in_the_file(elsewhere):
    seen = elsewhere[2]
    assert seen["mlp_binary"]["metrics"] == ["accuracy", "auc", "loss"]
    assert seen["mlp_mse"]["metrics"] == ["loss", "mae", "rmse"]
    # Those that only kphys has stay behind.
    assert seen["mlp_multiclass"]["metrics"] == ["accuracy", "loss"]
    assert seen["rnn_real_steps"]["metrics"] == ["loss", "mae"]


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp_regressor(3, 2, hidden_units=2, loss="gaussian_nll"),
        lambda: cnn_regressor((6, 6, 1), 2, periodic=True, loss="gaussian_nll", **IMAGES),
    ],
)
def test_layers_of_kphys_are_loaded_by_their_registered_names(build, tmp_path):
    model = build()
    x, y = data(model.input_shape[1:], number=6)[0], np.random.default_rng(0).normal(size=(6, 2))
    step(model, x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    expected, got = (step(m, x, y) for m in (model, loaded))
    assert {name: float(value) for name, value in got.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-5
    )
    assert set(got) == {"loss", "mae", "rmse"}
    ours = [layer for layer in loaded.layers if type(layer).__module__.startswith("kphys")]
    assert ours
    assert all(keras.saving.get_registered_name(type(layer)).startswith("kphys>") for layer in ours)


def test_what_comes_from_a_file_is_plain_keras(tmp_path):
    model = small()
    step(model, *data(number=6))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert "fit" not in vars(loaded)
    assert loaded.steps_per_execution == 1
