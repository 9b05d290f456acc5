"""Numbers of steps mean what Keras says they mean, whatever runs in one call."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kphys import mlp_classifier, rnn_classifier
from kphys.callbacks import GradientClipping


@pytest.fixture
def model():
    return mlp_classifier(4, 2, hidden_units=3, seed=0)


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(80, 4)).astype("float32"), generator.integers(0, 2, 80)


def batches(data):
    return tf.data.Dataset.from_tensor_slices(data).batch(4)


@pytest.mark.parametrize(("steps", "epochs"), [(10, 2), (40, 1), (7, 3)])
def test_an_epoch_takes_as_many_steps_as_asked_for(model, data, steps, epochs):
    model.fit(batches(data).repeat(), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == steps * epochs


def test_a_finite_data_set_is_divided_into_epochs(model, data):
    model.fit(batches(data), steps_per_epoch=10, epochs=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 20


def test_validation_and_evaluation_take_as_many_steps_as_asked_for(model, data):
    x, y = data
    first = model.evaluate(x[:12], y[:12], verbose=0, return_dict=True)
    assert model.evaluate(batches(data), steps=3, verbose=0, return_dict=True) == pytest.approx(first)
    history = model.fit(x, y, validation_data=batches(data), validation_steps=3, verbose=0).history
    after = model.evaluate(x[:12], y[:12], verbose=0, return_dict=True)
    assert history["val_loss"] == pytest.approx([after["loss"]])


def test_an_evaluation_inside_a_fit_leaves_the_fit_alone(model, data):
    class OnTestBatch(keras.callbacks.Callback):
        calls = 0

        def on_test_batch_end(self, batch, logs=None):
            OnTestBatch.calls += 1

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(*data, batch_size=8, callbacks=[OnTestBatch()], verbose=0)

    model.fit(*data, epochs=2, callbacks=[Evaluate()], verbose=0)
    assert OnTestBatch.calls == 2 * 10


def test_clipping_ends_with_a_training_that_was_interrupted(data):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    model = mlp_classifier(4, 2, hidden_units=3, seed=0, optimizer="sgd", learning_rate=1.0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, callbacks=[GradientClipping(global_norm=1e-12), Interrupt()], verbose=0)
    before = model.get_weights()
    model.fit(*data, verbose=0)
    assert max(np.abs(a - b).max() for a, b in zip(before, model.get_weights(), strict=True)) > 1e-3
    assert "_clip_gradients" not in vars(model.optimizer)


def test_two_clippings_are_refused(model, data):
    with pytest.raises(ValueError, match="Another GradientClipping is at work"):
        model.fit(*data, callbacks=[GradientClipping(value=1.0), GradientClipping(norm=1.0)], verbose=0)


def test_evaluate_looks_through_its_arrays_too(model, data):
    with pytest.raises(ValueError, match="`num_classes` is 2, but the labels `y` hold class 3"):
        model.evaluate(data[0], data[1] + 2, verbose=0)


def test_class_weights_of_sequences_are_refused():
    model = rnn_classifier((5, 2), 3, units=2, return_sequences=True)
    with pytest.raises(ValueError, match="`class_weight` takes one label a sample"):
        model.fit(np.zeros((4, 5, 2)), np.zeros((4, 5), int), class_weight={0: 1.0, 1: 1.0, 2: 2.0}, verbose=0)
