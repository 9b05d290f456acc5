"""Through XLA or not: as `fit`, `evaluate` and `predict` have as many batches as its compilation is worth, or fewer."""

import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python

import kphys
from kphys.models._calls import calls_of

WORTH = 10  # Steps, in place of thousands.
BATCHES = 4


def data(batches=BATCHES):
    generator = np.random.default_rng(0)
    return generator.normal(size=(8 * batches, 3)).astype("float32"), generator.integers(0, 2, 8 * batches)


def small(worth=WORTH, **arguments):
    model = kphys.mlp_classifier(3, 2, hidden_units=2, seed=0, **arguments)
    assert calls_of(model).steps_worth_xla == 3000
    calls_of(model).steps_worth_xla = worth
    return model


class Sees(keras.callbacks.Callback):
    """Notes at each beginning whether XLA compiles what is to come."""

    def __init__(self):
        super().__init__()
        self.xla = []

    def on_train_begin(self, logs=None):
        self.xla.append(self.model.jit_compile)

    on_test_begin = on_predict_begin = on_train_begin


def fit(model, *given, **settings):
    """Trains for an epoch and says whether XLA compiled it."""
    sees = Sees()
    model.fit(*(given or data()), **{"batch_size": 8, "verbose": 0, "callbacks": [sees], **settings})
    assert model.jit_compile is True
    assert model.steps_per_execution == 32
    return sees.xla[0]


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("settings", "xla"),
    [
        ({"epochs": 2}, False),
        ({"epochs": 3}, True),
        ({"epochs": 5, "initial_epoch": 3}, False),
        ({"epochs": 5, "initial_epoch": 2}, True),
        ({"epochs": 3, "batch_size": 16}, False),
        ({"epochs": 3, "batch_size": None}, False),
        ({"epochs": 10, "steps_per_epoch": 1}, True),
        ({"epochs": 9, "steps_per_epoch": 1}, False),
        ({"epochs": 4, "validation_split": 0.5}, False),
    ],
)
def test_xla_compiles_from_so_many_steps_on(settings, xla):
    assert fit(small(), **settings) is xla


def test_steps_of_before_count_and_xla_stays():
    model = small()
    assert [fit(model) for _ in range(4)] == [False, False, True, True]
    model.optimizer.iterations.assign(0)
    assert fit(model)


def batches_of(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


class Sequence(keras.utils.PyDataset):
    """Four batches."""

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        x, y = data()
        return x[8 * index : 8 * index + 8], y[8 * index : 8 * index + 8]


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("x", "settings", "xla"),
    [
        (lambda: batches_of(*data()), {}, False),
        (lambda: batches_of(*data()), {"epochs": 3}, True),
        # Nobody knows how many there will be.
        (lambda: batches_of(*data()).filter(lambda x, y: True), {}, True),
        (lambda: batches_of(*data()).repeat(), {"steps_per_epoch": 4}, False),
        (Sequence, {}, False),
        (Sequence, {"epochs": 3}, True),
        (lambda: (data(1) for _ in range(4)), {"steps_per_epoch": 4}, False),
    ],
)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, of every data set of unknown length.
def test_batches_of_data_sets_count(x, settings, xla):
    assert fit(small(), x(), **{"batch_size": None, "shuffle": False, **settings}) is xla


@pytest.mark.slow
def test_several_inputs_are_as_many_batches_as_the_first():
    model = kphys.seq2seq(5, 5, embedding_dim=2, units=2, seed=0)
    calls_of(model).steps_worth_xla = WORTH
    tokens = np.random.default_rng(0).integers(1, 5, size=(8 * BATCHES, 3))
    assert not fit(model, tokens, tokens)
    assert fit(model, tokens, tokens, epochs=2)


def test_a_compile_of_ones_own_is_done_as_it_says():
    model = small()
    model.compile("sgd", "binary_crossentropy", jit_compile=True, steps_per_execution=32)
    assert fit(model)
    model.compile("sgd", "binary_crossentropy", jit_compile=False)
    sees = Sees()
    model.fit(*data(), verbose=0, epochs=20, callbacks=[sees])
    assert sees.xla == [False]


def test_validation_runs_as_training_does_and_so_does_what_is_evaluated_later():
    for epochs, xla in ((1, False), (3, True)):
        model, sees = small(), Sees()
        history = model.fit(
            *data(), epochs=epochs, validation_data=data(), batch_size=8, verbose=0, callbacks=[sees]
        ).history
        evaluated = model.evaluate(*data(), batch_size=8, verbose=0, callbacks=[sees], return_dict=True)
        assert sees.xla == [xla] * (epochs + 2)
        assert evaluated["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-6)


def test_predict_compiles_for_many_rows_alone():
    model, sees = small(), Sees()
    few, many = np.zeros((32 * WORTH - 32, 3)), np.zeros((32 * WORTH, 3))
    for x in (few, many):
        model.predict(x, batch_size=32, verbose=0, callbacks=[sees])
    assert sees.xla == [False, True]
    np.testing.assert_allclose(model.predict(few, verbose=0), model.predict(many, verbose=0)[: len(few)], rtol=1e-6)


def test_what_was_traced_is_used_again():
    model, traced = small(worth=10**6), []
    for name in ("train_step", "test_step", "predict_step"):
        step = getattr(model, name)
        setattr(model, name, lambda *data, name=name, step=step: traced.append(name) or step(*data))
    for again in range(3):
        fit(model, *data(1))
        model.evaluate(*data(1), batch_size=8, verbose=0)
        model.predict(data(1)[0], verbose=0)
        if not again:
            assert set(traced) == {"train_step", "test_step", "predict_step"}
            traced.clear()
    assert not traced


@pytest.mark.parametrize("moment", ["in a fit", "between two"])
def test_a_compile_of_ones_own_drops_what_was_traced(moment):
    model = small()
    by_batches = keras.callbacks.TerminateOnNaN()

    def compile_anew(logs=None):
        model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy", jit_compile=False, steps_per_execution=32)

    model.fit(*data(), batch_size=8, verbose=0, callbacks=[by_batches])
    if moment == "in a fit":
        model.fit(*data(), verbose=0, callbacks=[by_batches, keras.callbacks.LambdaCallback(on_train_end=compile_anew)])
    else:
        compile_anew()
    before = model.get_weights()
    model.fit(*data(), batch_size=8, epochs=2, verbose=0, callbacks=[by_batches])
    # The optimizer of before would move on, and this one would not count.
    assert model.optimizer.iterations.numpy() == 2 * BATCHES
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_clipping_that_was_broken_off_does_not_stay():
    model = kphys.mlp_classifier(3, 2, hidden_units=2, optimizer=keras.optimizers.SGD(1.0), seed=0)

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), verbose=0, callbacks=[kphys.callbacks.GradientClipping(global_norm=1e-9), Stops()])
    before = model.get_weights()
    model.fit(*data(), verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert max(np.abs(old - new).max() for old, new in zip(before, model.get_weights(), strict=True)) > 1e-3


def test_without_compile_keras_says_what_is_missing(tmp_path):
    kphys.vae(3, 1, hidden_units=2).save(tmp_path / "model.keras")
    loaded = kphys.load_model(tmp_path / "model.keras", compile=False)
    for method in (loaded.fit, loaded.evaluate):
        with pytest.raises(ValueError, match="compile"):
            method(np.zeros((4, 3)), verbose=0)


def test_an_evaluation_leaves_open_how_training_goes_on():
    model, sees = small(), Sees()
    model.optimizer.iterations.assign(WORTH)
    model.evaluate(*data(), batch_size=8, verbose=0, callbacks=[sees])
    model.evaluate(*data(WORTH), batch_size=8, verbose=0, callbacks=[sees])
    model.optimizer.iterations.assign(0)
    assert sees.xla == [False, True]
    assert not fit(model)


def test_an_error_leaves_the_model_as_it_was():
    model = small()

    def fail(epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=fail)])
    assert (model.jit_compile, model.steps_per_execution) == (True, 32)
    assert calls_of(model).usual is None


@pytest.mark.parametrize("settings", [{"epochs": "three"}, {"epochs": 2, "initial_epoch": None}])
def test_keras_says_what_is_wrong_with_numbers_of_epochs(settings):
    with pytest.raises(TypeError, match="int"):
        small().fit(*data(), verbose=0, **settings)


@pytest.mark.parametrize("worth", [7, None])
def test_files_hold_from_when_on(worth, tmp_path):
    for build in (small, lambda worth: remembered(kphys.vae(3, 1, hidden_units=2, seed=0), worth)):
        model = build(worth)
        model.save(tmp_path / "model.keras")
        assert calls_of(kphys.load_model(tmp_path / "model.keras")).steps_worth_xla == worth


def remembered(model, worth):
    calls_of(model).steps_worth_xla = worth
    return model


# === What TensorFlow would keep ===


def test_a_callback_may_evaluate_in_a_fit():
    model, losses = small(), []

    def evaluate(epoch, logs):
        losses.append(model.evaluate(*data(), batch_size=8, verbose=0)[0])

    callback = keras.callbacks.LambdaCallback(on_epoch_end=evaluate)
    history = model.fit(*data(), batch_size=8, epochs=2, validation_data=data(), verbose=0, callbacks=[callback])
    assert losses == pytest.approx(history.history["val_loss"], rel=1e-6)
    assert "_all_reduce_sum_gradients" not in vars(model.optimizer)


@pytest.mark.parametrize("stream", [False, True])
def test_of_any_length_an_array_has_xla_and_a_data_set_the_loops_alone(stream):
    model, arrays = kphys.rnn_classifier((None, 1), 2, units=2), (np.zeros((4, 3, 1)), np.arange(4) % 2)
    data_set = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
    calls_of(model).steps_worth_xla = 1
    ways = []

    def see(epoch, logs):
        ways.append((model.jit_compile, calls_of(model).loops))
        model.predict(np.zeros((4, 2, 1)), verbose=0)
        model.evaluate(data_set, verbose=0)

    model.evaluate(*arrays, verbose=0)
    traced, callbacks = model.test_function, [keras.callbacks.LambdaCallback(on_epoch_end=see)]
    if stream:
        model.fit(data_set, shuffle=False, verbose=0, callbacks=callbacks, validation_data=arrays)
    else:
        model.fit(*arrays, verbose=0, callbacks=callbacks, validation_data=arrays)
    model.fit(*arrays, verbose=0, callbacks=callbacks, validation_data=data_set)  # Which may be of other lengths.
    assert ways == [(not stream, stream), (False, True)]
    assert (model.jit_compile, model.test_function, calls_of(model).usual) == (False, traced, None)


def test_threads_that_predict_take_turns():
    model, x = small(), np.random.default_rng(0).normal(size=(400, 3)).astype("float32")
    model.predict_on_batch(x[:8])  # Leaves a function of Keras' own way.
    expected, interval = model.predict(x, batch_size=8, verbose=0), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: model.predict(x, batch_size=8, verbose=0), range(20)))
    finally:
        sys.setswitchinterval(interval)
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")  # Keras says so of the input.
def test_answers_are_the_quantized_models():
    model, x = small(), np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    before = model.predict(x, verbose=0)
    model.quantize("int8")
    after = model.predict(x, verbose=0)
    assert (after != before).any()
    np.testing.assert_allclose(after, model(x), rtol=1e-5)


GRAPHS = """
import gc
import numpy as np
import tensorflow as tf
import kphys
from kphys.models._calls import calls_of

def graphs():
    gc.collect()
    return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

def fits():
    kphys.mlp_classifier(3, 2, hidden_units=2).fit(np.zeros((8, 3)), np.arange(8) % 2, verbose=0)
    kphys.dcgan((8, 8, 1), 2, filters=2).fit(np.zeros((8, 8, 8, 1)), verbose=0)
    arrays = np.zeros((8, 2, 3)), np.arange(8) % 2
    through_xla = kphys.rnn_classifier((2, 3), 2, units=2), arrays
    loops_alone = kphys.rnn_classifier((None, 3), 2, units=2), (tf.data.Dataset.from_tensor_slices(arrays).batch(8),)
    for model, data in (through_xla, loops_alone):
        calls_of(model).steps_worth_xla = 1
        model.fit(*data, verbose=0)

fits()
before = graphs()
fits()
assert graphs() == before, (before, graphs())
"""


@pytest.mark.slow
def test_models_that_are_gone_leave_no_graph_behind():
    run_python("-c", GRAPHS)
