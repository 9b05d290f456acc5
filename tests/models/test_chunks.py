"""Many batches in XLA's own loop: as Keras does batch by batch, with its order, numbers and logs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kphys
from kphys.callbacks import GradientClipping
from kphys.models import _chunks
from kphys.models._calls import calls_of

SAMPLES, BATCH, STEPS = 46, 4, 3  # Eleven whole batches and one of two, in calls of three: the last ends with that.
generator = np.random.default_rng(0)
X = generator.normal(size=(SAMPLES, 3)).astype("float32")
Y = generator.integers(0, 2, SAMPLES)
WEIGHTS = generator.uniform(0.5, 2.0, SAMPLES).astype("float32")


def network(**settings):
    keras.utils.set_random_seed(3)
    model = kphys.mlp_classifier(3, 2, hidden_units=4, seed=0, **settings)
    calls_of(model).steps_worth_xla = 1
    model.steps_per_execution = STEPS
    return model


class ByBatch(keras.callbacks.Callback):
    """Acts on batches, so that Keras goes from one to the next."""

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_test_batch_end(self, batch, logs=None):
        pass


@pytest.fixture
def chunks(monkeypatch):
    """The numbers of rows, and of those in a batch, of each data set that gives chunks."""
    made, as_chunk = [], _chunks._as_chunk

    def noted(rows, batch_size, *data):
        made.append((rows, batch_size))
        return as_chunk(rows, batch_size, *data)

    monkeypatch.setattr(_chunks, "_as_chunk", noted)
    return made


def fit(model, *data, **settings):
    settings = {"batch_size": BATCH, "epochs": 2, "verbose": 0, **settings}
    return model.fit(*(data or (X, Y)), **settings).history


def assert_same(model, expected, history, expected_history):
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    assert history.keys() == expected_history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, expected_history[name], rtol=2e-5, atol=2e-6)


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    "settings",
    [
        {"validation_split": 0.3},
        {"shuffle": False, "sample_weight": WEIGHTS},
        {"class_weight": {0: 1.0, 1: 3.0}, "validation_data": (X, Y, WEIGHTS), "validation_batch_size": 7},
        {"batch_size": 5, "epochs": 3, "initial_epoch": 1},
    ],
    ids=["validation", "weights", "classes", "epochs"],
)
def test_it_trains_and_evaluates_as_batch_by_batch(settings, chunks):
    expected = network(dropout=0.3)
    expected_history = fit(expected, **settings, callbacks=[ByBatch()])
    assert not chunks
    model = network(dropout=0.3)
    history = fit(model, **settings)
    size = settings.get("batch_size", BATCH)
    assert chunks[0] == (STEPS * size, size)
    assert len(chunks) == 1 + any(name.startswith("validation") for name in settings)
    assert_same(model, expected, history, expected_history)


def test_few_batches_are_one_chunk(chunks):
    expected, model = network(), network()
    keras.utils.set_random_seed(3)
    expected_history = fit(expected, X[:10], Y[:10], callbacks=[ByBatch()])
    keras.utils.set_random_seed(3)
    assert_same(model, expected, fit(model, X[:10], Y[:10]), expected_history)
    assert chunks == [(8, 4)]


def test_evaluation(chunks):
    model = network()
    found = model.evaluate(X, Y, sample_weight=WEIGHTS, batch_size=BATCH, verbose=0, return_dict=True)
    assert chunks == [(12, 4)]
    expected = model.evaluate(
        X, Y, sample_weight=WEIGHTS, batch_size=BATCH, verbose=0, return_dict=True, callbacks=[ByBatch()]
    )
    assert found == pytest.approx(expected, rel=1e-6)


class Notes(keras.callbacks.Callback):
    """Notes which batches begin and end, and says that those of a call may be one."""

    batches_may_share_a_call = True

    def __init__(self):
        super().__init__()
        self.batches = []

    def on_train_batch_begin(self, batch, logs=None):
        self.batches.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        assert {"loss", "accuracy", "auc"} <= logs.keys()
        self.batches.append(batch)


def test_callbacks_see_the_calls_that_keras_makes(chunks):
    notes = Notes()
    fit(network(), epochs=1, callbacks=[notes])
    assert notes.batches == [0, 2, 3, 5, 6, 8, 9, 11]
    assert chunks


def of_batches():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ((X, Y), {"shuffle": "batch"}),
        ((X, Y), {"steps_per_epoch": 6}),
        ((X[:7], Y[:7]), {}),
        (lambda: (of_batches(),), {"batch_size": None, "shuffle": False}),
    ],
    ids=["batches shuffled", "steps an epoch", "one batch", "data set"],
)
def test_others_are_left_to_keras(data, settings, chunks):
    data = data() if callable(data) else data
    expected, model = network(), network()
    expected_history = fit(expected, *data, **settings, callbacks=[ByBatch()])
    keras.utils.set_random_seed(3)
    assert_same(model, expected, fit(model, *data, **settings), expected_history)
    assert not chunks


def test_what_takes_too_much_memory_is_left_to_keras(monkeypatch, chunks):
    a_row = 3 * 4 + 8  # Three numbers and a label.
    for most, made in ((STEPS * BATCH * a_row - 1, 0), (STEPS * BATCH * a_row, 1)):
        monkeypatch.setattr(_chunks, "_MOST_BYTES", most)
        fit(network())
        assert len(chunks) == made


def test_a_data_set_after_arrays_and_arrays_again(chunks):
    model, expected = network(), network()
    for callbacks in ([], [ByBatch()]):
        trained = expected if callbacks else model
        for data in ((X, Y), (of_batches(),), (X, Y)):
            fit(trained, *data, batch_size=BATCH if len(data) == 2 else None, shuffle=False, callbacks=callbacks)
            trained.evaluate(of_batches(), verbose=0)
    assert len(chunks) == 2
    assert_same(model, expected, {}, {})


class Also(keras.callbacks.Callback):
    """Evaluates the model, and trains another, after every epoch."""

    def __init__(self, other):
        super().__init__()
        self.other, self.losses = other, []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(self.model.evaluate(X, Y, batch_size=BATCH, verbose=0, return_dict=True)["loss"])
        self.other.fit(X, Y, verbose=0)


def test_callbacks_may_evaluate_and_train():
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    plain.compile("sgd", "binary_crossentropy", steps_per_execution=STEPS, jit_compile=True)
    also, model = Also(plain), network()
    history = fit(model, validation_data=(X, Y), callbacks=[also])
    np.testing.assert_allclose(also.losses, history["val_loss"], rtol=1e-6)


def test_nothing_stays_on_the_model():
    model = network()
    before = vars(model).keys() | {"_eval_epoch_iterator", "_epoch_iterator"}
    fit(model, validation_data=(X, Y))
    model.evaluate(X, Y, verbose=0)

    class Stops(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, callbacks=[Stops()])
    left = vars(model).keys() - before
    assert not {name for name in left if "make" in name or "build" in name}


@pytest.mark.parametrize("name", ["train_step", "compute_metrics"])
def test_logs_of_ones_own(name, chunks):
    model = network()
    method = getattr(model, name)
    setattr(model, name, lambda *given, **settings: {**method(*given, **settings), "mine": tf.constant(3.0)})
    assert fit(model)["mine"] == [3.0, 3.0]
    assert not chunks


def test_a_class_of_ones_own(chunks):
    class Mine(kphys.models.sequences.Seq2Seq):
        def train_step(self, data):
            return {**super().train_step(data), "mine": tf.constant(3.0)}

    model = kphys.seq2seq(5, 5, embedding_dim=2, units=2, seed=0)
    calls_of(model).steps_worth_xla = 1
    model.__class__ = Mine
    x = generator.integers(1, 5, (9, 3))
    assert fit(model, x, x)["mine"] == [3.0, 3.0]
    assert not chunks


def test_gradients_are_clipped_as_ever(chunks):
    expected, model = network(), network()
    for callbacks in ([GradientClipping(global_norm=0.1)], []):
        expected_history = fit(expected, callbacks=[ByBatch(), *callbacks])
        keras.utils.set_random_seed(3)
        assert_same(model, expected, fit(model, callbacks=callbacks), expected_history)
        keras.utils.set_random_seed(3)
    assert len(chunks) == 2


def test_arrays_are_in_memory_once():
    adapter = _chunks.ArrayDataAdapter(X, Y, batch_size=BATCH, shuffle=True)
    dataset = adapter.get_tf_dataset()
    x, y = _chunks._arrays(dataset)
    np.testing.assert_array_equal(x, X)
    again = _chunks.copy.copy(adapter)
    again._inputs = (x, y)
    assert all(a is b for a, b in zip(_chunks._arrays(again.get_tf_dataset()), (x, y), strict=True))
    assert _chunks._arrays(tf.data.Dataset.range(3)) is None


def test_texts_are_left_to_keras():
    assert _chunks._arrays(tf.data.Dataset.from_tensors((tf.constant(["a"]),))) is None
