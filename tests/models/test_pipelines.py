"""Keras' pipelines run without the tuning that TensorFlow waits for after a pass; a user's own are left alone."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer

import kphys
from kphys.models._pipelines import untuned, untuned_pipelines
from kphys.models.sequences import char_rnn, character_dataset

KERAS_METHOD = keras_trainer.TFEpochIterator._get_iterator
X, Y = np.random.default_rng(0).normal(size=(12, 3)).astype("float32"), np.arange(12) % 2


class Batches(keras.utils.PyDataset):
    """Three batches."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]


def generator():
    while True:
        yield X[:4], Y[:4]


@pytest.fixture
def tuned(monkeypatch):
    """Whether each pass that begins has its pipeline tuned; `None`: as TensorFlow likes, that is."""
    found, begin = [], tf.data.Dataset.__iter__

    def noted(dataset):
        found.append(dataset.options().autotune.enabled)
        return begin(dataset)

    monkeypatch.setattr(tf.data.Dataset, "__iter__", noted)
    yield found
    assert keras_trainer.TFEpochIterator._get_iterator is KERAS_METHOD


def model():
    return kphys.mlp_classifier(3, 2, hidden_units=2, seed=0)


DATA = {
    "arrays": lambda: {"x": X, "y": Y},
    "tensors": lambda: {"x": tf.constant(X), "y": tf.constant(Y)},
    "batches of Keras": lambda: {"x": Batches()},
    "a generator": lambda: {"x": generator(), "steps_per_epoch": 3, "shuffle": False},
}


@pytest.mark.parametrize("name", DATA)
def test_what_keras_makes_a_pipeline_of(name, tuned):
    model().fit(**DATA[name](), validation_data=(X, Y), epochs=2, verbose=0)
    assert set(tuned) == {False}
    assert len(tuned) >= 4  # Two epochs and two evaluations.


def test_evaluation_and_answers(tuned):
    one = model()
    one.evaluate(X, Y, verbose=0)
    one.predict(X, verbose=0)
    assert set(tuned) == {False}
    assert len(tuned) >= 2


@pytest.mark.parametrize("choice", [None, True, False])
def test_a_pipeline_of_a_users_own(choice, tuned):
    options = tf.data.Options()
    if choice is not None:
        options.autotune.enabled = choice
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).with_options(options)
    model().fit(data, shuffle=False, verbose=0)
    assert set(tuned) == {choice}


def test_pieces_of_a_text(tuned):
    data = character_dataset("to be or not to be", 3, 2, seed=0)
    char_rnn(len(data.vocabulary), units=2, seed=0).fit(data, shuffle=False, verbose=0)
    assert set(tuned) == {False}


def test_other_models_are_left_alone(tuned):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    other.compile("sgd", "mse")
    model().fit(X, Y, verbose=0)
    assert set(tuned) == {False}
    tuned.clear()
    other.fit(X, Y, verbose=0)
    assert set(tuned) == {None}


def test_an_error_leaves_keras_as_it_was(tuned):
    with pytest.raises(ZeroDivisionError):
        model().fit(X, Y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: 1 // 0)])
    assert set(tuned) == {False}


def test_scopes_in_several_threads_may_overlap():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with untuned_pipelines():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with untuned_pipelines():
        thread.start()
        assert entered.wait(10)
    mended = keras_trainer.TFEpochIterator._get_iterator
    assert mended.__wrapped__ is KERAS_METHOD
    leave.set()
    thread.join()
    assert keras_trainer.TFEpochIterator._get_iterator is KERAS_METHOD


def test_order_and_batches_stay():
    data = tf.data.Dataset.range(100).map(lambda i: i, num_parallel_calls=tf.data.AUTOTUNE).batch(7).prefetch(2)
    for ours, theirs in zip(untuned(data), data, strict=True):
        np.testing.assert_array_equal(ours, theirs)
