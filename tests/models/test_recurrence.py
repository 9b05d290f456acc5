"""Recurrent layers as XLA has them, whole or in halves: outputs, states and gradients are those of Keras' layers."""

from __future__ import annotations

from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import kphys
from kphys.models import _recurrence
from kphys.models._calls import calls_of
from kphys.models._recurrence import own_backward_passes

LSTM, GRU, SimpleRNN = keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN
BATCH, STEPS, FEATURES, UNITS = 4, 6, 3, 5
# The first sample is whole; steps are missing at the end, at the start, and in between.
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=bool)


def _answers(layer, masked, dtype="float32", batch=BATCH):
    """Gives outputs and last states of `layer`, and gradients of inputs, first states and weights."""
    generator = np.random.default_rng(0)
    x = tf.constant(generator.normal(size=(batch, STEPS, FEATURES)), dtype)
    states = [tf.constant(generator.normal(size=(batch, UNITS)), dtype) for _ in layer.state_size]
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        mask = tf.constant(MASK[:batch]) if masked else None
        results = keras.tree.flatten(layer(x, initial_state=states, mask=mask, training=True))
        # No sum, whose gradient would be the same at every output.
        loss = tf.add_n([tf.reduce_sum((k + 1) * tf.square(part) * tf.cos(3 * part)) for k, part in enumerate(results)])
    of_all = tape.gradient(loss, [x, *states, *(weight.value for weight in layer.trainable_weights)])
    assert len(of_all) == 1 + len(states) + 3
    return [*results, *of_all]


def _layer(cell, **settings):
    layer = cell(UNITS, return_state=True, **settings)
    layer.build((BATCH, STEPS, FEATURES))
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def _assert_same(answers, expected):
    for a, b in zip(answers, expected, strict=True):
        # Rounding goes with the largest of the numbers that are summed up.
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=5e-6 * max(4.0, np.abs(b).max()))


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_it_is_keras_layer_with_keras_gradients(cell, sequences, backwards, masked):
    layer = _layer(cell, return_sequences=sequences, go_backwards=backwards, name="recurrent")
    expected = _answers(layer, masked)
    with own_backward_passes(_of(layer), xla=True):
        assert "inner_loop" in vars(layer)
        answers = _answers(layer, masked)
    assert "inner_loop" not in vars(layer)
    _assert_same(answers, expected)


def _of(layer):
    """Gives a model that has `layer` among its own."""
    model = keras.Model()
    model.recurrent = layer
    return model


@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_missing_steps_are_zero_where_keras_has_zeros(cell):
    layer = _layer(cell, return_sequences=True, zero_output_for_mask=True)
    expected = _answers(layer, masked=True)
    with own_backward_passes(_of(layer), xla=True):
        answers = _answers(layer, masked=True)
    np.testing.assert_array_equal(answers[0].numpy()[~MASK], 0.0)
    _assert_same(answers, expected)


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_xla_compiles_it(cell):
    layer = _layer(cell, return_sequences=True)
    expected = _answers(layer, masked=True)
    with own_backward_passes(_of(layer), xla=True):
        answers = tf.function(_answers, jit_compile=True)(layer, masked=True)
    _assert_same(answers, expected)


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_xla_compiles_halves_of_the_batch_alone(cell, masked, sequences):
    layer = _layer(cell, return_sequences=sequences)
    expected = _answers(layer, masked)
    with own_backward_passes(_of(layer), xla=False, alone=True):
        answers = tf.function(_answers)(layer, masked)
    _assert_same(answers, expected)


@pytest.mark.parametrize(("side_by_side", "parts"), [(1, 1), (2, 2), (64, 2)])
def test_a_batch_is_cut_where_operations_run_side_by_side(side_by_side, parts, monkeypatch):
    for name, threads in {"inter": side_by_side, "intra": 1}.items():
        monkeypatch.setattr(tf.config.threading, f"get_{name}_op_parallelism_threads", lambda threads=threads: threads)
    assert _recurrence._parts() == parts


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_halves_of_small_and_odd_batches(batch):
    layer = _layer(LSTM, return_sequences=True)
    expected = _answers(layer, masked=True, batch=batch)
    with own_backward_passes(_of(layer), xla=False, alone=True):
        answers = tf.function(_answers)(layer, masked=True, batch=batch)
    _assert_same(answers, expected)


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_halves_that_do_not_train(cell, sequences):
    layer = _layer(cell, return_sequences=sequences)
    x = tf.constant(np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES)), "float32")
    expected = layer(x, mask=tf.constant(MASK))
    with own_backward_passes(_of(layer), xla=False, alone=True):
        answers = tf.function(layer)(x, mask=tf.constant(MASK))
    _assert_same(answers, expected)


@pytest.mark.cases(1)
@pytest.mark.parametrize("model", ["char_rnn", "seq2seq"])
def test_long_sequences_train_in_halves_as_whole(model, passes, monkeypatch):
    x = np.random.default_rng(0).integers(1, 5, (14, STEPS))
    builder = {
        "char_rnn": lambda: kphys.char_rnn(5, units=3, seed=0),
        "seq2seq": lambda: kphys.seq2seq(5, 5, units=3, seed=0),
    }
    trained, histories = [], []
    for long in (10**6, 1):
        monkeypatch.setattr(_recurrence, "_LONG", long)
        passes.reset_mock()
        one = builder[model]()
        calls_of(one).steps_worth_xla = 1
        settings = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
        histories.append(one.fit(x, x, validation_data=(x, x), **settings).history)
        kinds = {(call.kwargs["alone"], call.kwargs["trains"]) for call in passes.call_args_list}
        assert kinds == ({(True, True), (True, False)} if long == 1 else {(False, True)})
        trained.append(one.get_weights())
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", [MASK.astype("int32"), MASK.astype("float32"), MASK[..., np.newaxis]])
def test_masks_are_what_keras_takes_for_one(mask):
    layer = _layer(LSTM, return_sequences=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES)), "float32")
    expected = layer(x, mask=tf.constant(MASK), training=True)
    with own_backward_passes(_of(layer), xla=True):
        _assert_same(layer(x, mask=tf.constant(mask), training=True), expected)


@pytest.fixture
def passes(monkeypatch):
    """What is called wherever a layer has the backward pass of its own."""
    passes = Mock(wraps=_recurrence.recurrence)
    monkeypatch.setattr(_recurrence, "recurrence", passes)
    return passes


def test_step_by_step_nothing_is_compiled_alone(passes):
    model = _reader(length=4)
    calls_of(model).steps_worth_xla = 1
    model.run_eagerly = True
    model.fit(TEXTS, CLASSES, batch_size=8, verbose=0)
    assert not passes.called


def test_step_by_step_long_sequences_have_keras_loops(monkeypatch):
    monkeypatch.setattr(_recurrence, "_LONG", 1)
    model, loops = kphys.rnn_classifier((STEPS, 1), 2, units=2), []
    calls_of(model).steps_worth_xla = 1
    model.run_eagerly = True
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: loops.append(calls_of(model).loops))
    model.fit(np.zeros((4, STEPS, 1)), np.arange(4) % 2, callbacks=[look], verbose=0)
    assert loops == [False]


def test_without_jit_compile_there_is_no_xla_at_all(passes):
    model = kphys.rnn_classifier((STEPS, 1), 2, units=2)
    calls_of(model).steps_worth_xla = 1
    model.jit_compile = False
    model.fit(np.zeros((4, STEPS, 1)), np.arange(4) % 2, verbose=0)
    assert not passes.called


@pytest.mark.parametrize("cell", [LSTM, GRU, SimpleRNN])
def test_gradients_of_a_batch_of_any_size_know_their_shapes(cell):
    layer = _layer(cell, return_sequences=True)

    @tf.function(input_signature=[tf.TensorSpec((None, STEPS, FEATURES))])
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True)[0])
        found = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
        assert [gradient.shape for gradient in found] == [weight.shape for weight in layer.trainable_weights]
        return found

    with own_backward_passes(_of(layer), xla=True):
        assert gradients.get_concrete_function()


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_it_computes_in_the_layers_precision(dtype):
    layer = _layer(LSTM, return_sequences=True, dtype=dtype)
    expected = _answers(layer, masked=False, dtype=layer.compute_dtype)
    with own_backward_passes(_of(layer), xla=True):
        answers = _answers(layer, masked=False, dtype=layer.compute_dtype)
    assert [part.dtype for part in answers] == [part.dtype for part in expected]
    tolerance = 1e-12 if dtype == "float64" else 0.1
    for a, b in zip(answers, expected, strict=True):
        scale = np.abs(b).max().astype("float64")
        np.testing.assert_allclose(a.numpy().astype("float64"), b.numpy().astype("float64"), atol=tolerance * scale)


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(2, activation="relu"),
        LSTM(2, recurrent_activation="hard_sigmoid"),
        LSTM(2, use_bias=False),
        LSTM(2, dropout=0.1),
        GRU(2, recurrent_dropout=0.1),
        GRU(2, reset_after=False),
        SimpleRNN(2, unroll=True),
        keras.layers.RNN(keras.layers.LSTMCell(2)),
        type("Mine", (LSTM,), {})(2),
    ],
    ids=lambda layer: layer.name,
)
def test_others_stay_with_keras(layer):
    with own_backward_passes(_of(layer), xla=True):
        assert "inner_loop" not in vars(layer)


def test_without_xla_keras_loops():
    layer = LSTM(2)
    with own_backward_passes(_of(layer), xla=False):
        assert "inner_loop" not in vars(layer)


@pytest.mark.cases(1)
@pytest.mark.parametrize("model", ["rnn_classifier", "char_rnn", "seq2seq"])
def test_training_has_it_and_answers_do_not(model, passes):
    x = np.random.default_rng(0).integers(1, 5, (4, STEPS))
    model, data = {
        "rnn_classifier": (kphys.rnn_classifier((STEPS, 1), 5, units=2, bidirectional=True), (x[..., None], x[:, 0])),
        "char_rnn": (kphys.char_rnn(5, units=2), (x, x)),
        "seq2seq": (kphys.seq2seq(5, 5, units=2, attention=True), (x, x)),
    }[model]
    calls_of(model).steps_worth_xla = None
    model.evaluate(*data, verbose=0)
    assert not passes.called
    model.fit(*data, verbose=0)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.LSTM)]
    assert passes.call_count == len(layers) > 0


TEXTS = ["a muon decays", "the muon", "a star shines", ""] * 4
CLASSES = np.array([0, 0, 1, 1] * 4)


def _reader(length=None):
    vectorization = keras.layers.TextVectorization(output_sequence_length=length)
    vectorization.adapt(TEXTS)
    return kphys.text_classifier(vectorization, 2, embedding_dim=3, units=3, seed=0)


def _texts(stream):
    return (tf.data.Dataset.from_tensor_slices((TEXTS, CLASSES)).batch(8),) if stream else (TEXTS, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_of_texts_has_its_loops_compiled_where_it_trains_for_long_and_texts_have_one_length(passes, stream):
    """In the model, or, where strings come from a data set, alone."""
    model, trained, data = _reader(length=4), _reader(length=4), _texts(stream)
    settings = {"shuffle": False, "verbose": 0} | ({} if stream else {"batch_size": 8})
    for epochs, worth, called in ((2, 100, 0), (4, 4, 1), (1, 100, 1)):  # Compiled once, it stays.
        calls_of(model).steps_worth_xla = worth
        model.fit(*data, epochs=epochs, **settings)
        model.evaluate(*data, verbose=0)
        assert [call.kwargs["alone"] for call in passes.call_args_list] == [stream] * called
    trained.fit(*data, epochs=7, **settings)
    assert passes.call_count == 1
    for a, b in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    of_any_length = _reader()
    calls_of(of_any_length).steps_worth_xla = 1
    of_any_length.fit(*data, shuffle=False, verbose=0)
    assert passes.call_count == 1


def test_an_error_leaves_the_layer_as_it_was():
    layer = LSTM(2)
    with pytest.raises(KeyboardInterrupt), own_backward_passes(_of(layer), xla=True):
        raise KeyboardInterrupt
    assert "inner_loop" not in vars(layer)


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"bidirectional": True, "mask_value": 0.0, "return_sequences": True}, id="masked"),
        pytest.param({"units": (4, 3), "cell": "gru"}, id="stacked", marks=pytest.mark.slow),
    ],
)
def test_a_model_through_xla_trains_as_one_without(options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(16, STEPS, 2)).astype("float32")
    x[:8, 4:] = 0.0
    y = generator.integers(0, 3, (16, STEPS) if options.get("return_sequences") else 16)
    trained = []
    for xla in (True, False):
        model = kphys.rnn_classifier((STEPS, 2), 3, **{"units": 4, **options}, seed=0)
        calls_of(model).steps_worth_xla = None
        model.jit_compile = xla
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    for a, b in zip(*trained, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
