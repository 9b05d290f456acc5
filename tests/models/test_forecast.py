"""Forecasts: the powers of a matrix, a loop written out, one trace, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from kphys import mlp_regressor, rnn_classifier, rnn_regressor
from kphys.models._forecast import forecast


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def linear(matrices, bias=0.0):
    """Gives a model that predicts Σ A_i x_i + b from a window x_1, …, x_T, the newest last."""
    length, features = len(matrices), len(matrices[0])
    inputs = keras.Input((length, features))
    outputs = layers.Dense(features)(layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    kernel = np.concatenate([np.transpose(matrix) for matrix in matrices])
    model.set_weights([kernel, np.broadcast_to(bias, features)])
    return model


def by_hand(matrices, bias, history, steps, increments=False):
    """Gives the same forecast in NumPy, for one history."""
    states = [np.asarray(state, float) for state in history]
    for _ in range(steps):
        window = states[-len(matrices) :]
        state = sum(matrix @ x for matrix, x in zip(matrices, window, strict=True)) + bias
        states.append(state + states[-1] if increments else state)
    return np.array(states[len(history) :])


ROTATION = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])


# === Exact answers ===


def test_a_linear_map_gives_the_powers_of_its_matrix():
    future = forecast(linear([ROTATION]), np.array([[1.0, 0.0]]), 25)
    expected = [np.linalg.matrix_power(ROTATION, power) @ [1, 0] for power in range(1, 26)]
    assert future.dtype == np.float32
    np.testing.assert_allclose(future, expected, atol=1e-5)


@pytest.mark.parametrize("increments", [False, True])
def test_an_autoregression_is_that_of_numpy(increments):
    matrices = [0.3 * random((3, 3), seed) for seed in (1, 2, 3)]
    bias = random(3, 4)
    history = random((4, 7, 3), 5)
    future = forecast(linear(matrices, bias), history, 6, increments=increments)
    expected = [by_hand(matrices, bias, sample, 6, increments) for sample in history]
    assert future.shape == (4, 6, 3)
    np.testing.assert_allclose(future, expected, rtol=1e-4, atol=1e-4)


def test_increments_are_added_to_the_last_state():
    """Changes of 0.5 x: a growth by half in every step."""
    future = forecast(linear([np.zeros((1, 1)), np.array([[0.5]])]), np.array([[9.0], [2.0]]), 3, increments=True)
    np.testing.assert_allclose(future, [[3.0], [4.5], [6.75]], rtol=1e-6)


def adapted(shift):
    return layers.Normalization(mean=[shift, -shift], variance=[4.0, 0.25])


# name: what makes the model
MODELS = {
    "lstm": {},
    "any length": {"input_shape": (None, 2), "cell": "gru"},
    "every step": {"return_sequences": True, "cell": "simple"},
    "every step of any length": {"input_shape": (None, 2), "return_sequences": True},
    "gaussian": {"loss": "gaussian_nll"},
    "gaussian at every step": {"loss": "gaussian_nll", "return_sequences": True},
    "in the data's units": {"normalization": adapted(3.0), "target_normalization": adapted(1.0)},
    "masked, both directions": {"input_shape": (None, 2), "mask_value": -9.0, "bidirectional": True, "units": (4, 3)},
}


@pytest.mark.cases(2)
@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_forecast_is_a_loop_over_predictions(name, increments):
    arguments = {"input_shape": (6, 2), "units": 4, "seed": 0, **MODELS[name]}
    model = rnn_regressor(num_outputs=2, **arguments)
    window = history = random((3, 6, 2))
    expected = []
    for _ in range(8):
        state = model.predict(window, verbose=0)
        state = state[..., 0] if "gaussian" in name else state
        state = state[:, -1] if "every" in name else state
        assert state.shape == (3, 2)
        state = state + window[:, -1] if increments else state
        expected.append(state)
        window = np.concatenate([window[:, 1:], state[:, None]], axis=1)
    future = forecast(model, history, 8, increments=increments)
    np.testing.assert_allclose(future, np.stack(expected, axis=1), rtol=1e-5, atol=1e-5)


def test_of_a_long_history_a_fixed_model_sees_the_end_and_a_free_one_all():
    history = random((9, 2))
    fixed = rnn_regressor((6, 2), 2, units=4, seed=0)
    free = rnn_regressor((None, 2), 2, units=4, seed=0)
    free.set_weights(fixed.get_weights())
    np.testing.assert_allclose(forecast(fixed, history, 5), forecast(free, history[3:], 5), atol=1e-6)
    assert not np.allclose(forecast(free, history, 5), forecast(free, history[3:], 5), atol=1e-4)


def test_one_history_is_a_sample_of_many():
    model = rnn_regressor((6, 2), 2, units=4, seed=0)
    history = random((3, 8, 2))
    together = forecast(model, history, 5)
    for index, sample in enumerate(history):
        np.testing.assert_allclose(forecast(model, sample, 5), together[index], atol=1e-6)


def test_a_perceptron_and_keras_own_models_forecast_as_well():
    sequential = keras.Sequential([layers.Input((4, 2)), layers.GRU(3), layers.Dense(2)])
    for model in (mlp_regressor((4, 2), 2, hidden_units=3), sequential):
        assert forecast(model, random((4, 2)), 3).shape == (3, 2)


def test_half_precision_takes_and_gives_full():
    model = rnn_regressor((6, 2), 2, units=4, seed=0)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = rnn_regressor((6, 2), 2, units=4, seed=0)
    finally:
        keras.config.set_dtype_policy(policy)
    future = forecast(half, random((6, 2)), 4)
    assert future.dtype == np.float32
    np.testing.assert_allclose(future, forecast(model, random((6, 2)), 4), atol=0.03)


# === Compiled once ===


class Counting(layers.Layer):
    """Counts how often Python runs it: once a trace."""

    runs = 0

    def call(self, inputs):
        self.runs += 1
        return inputs


def test_other_steps_samples_and_histories_need_no_new_trace():
    counting = Counting()
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(counting(inputs))))
    forecast(model, random((4, 2)), 3)
    runs = counting.runs
    forecast(model, random((4, 2)), 7)
    forecast(model, random((5, 9, 2)), 100, increments=True)
    assert counting.runs == runs


def test_it_sees_what_the_model_has_learnt_since():
    model = rnn_regressor((6, 2), 2, units=4, learning_rate=0.1, seed=0)
    history = random((6, 2))
    before = forecast(model, history, 1)
    model.fit(random((32, 6, 2)), random((32, 2)) + 5, epochs=3, verbose=0)
    after = forecast(model, history, 1)
    np.testing.assert_allclose(after, model.predict(history[None], verbose=0), atol=1e-6)
    assert not np.allclose(before, after, atol=0.1)


def test_the_file_of_a_model_that_has_forecast_is_as_before(tmp_path):
    model = rnn_regressor((6, 2), 2, units=4, loss="gaussian_nll", seed=0)
    history = random((6, 2))
    future = forecast(model, history, 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(forecast(loaded, history, 5), future, atol=1e-6)
    model.export(tmp_path / "exported", verbose=False)


# === What is refused ===


@pytest.fixture(scope="module")
def model():
    return rnn_regressor((6, 2), 2, units=4, seed=0)


GOOD = random((6, 2))
HISTORIES = {
    "NaN": (np.where(np.eye(6, 2), np.nan, GOOD), ValueError, r"`history` must be finite .* history\[0, 0\] = nan"),
    "infinity": (np.full((1, 6, 2), np.inf), ValueError, r"`history` must be finite .* history\[0, 0, 0\] = inf"),
    "short": (GOOD[:5], ValueError, "at least the 6 time steps that the model takes, got 5: .*any length"),
    "empty": (GOOD[:0], ValueError, "`history` must hold at least one"),
    "no samples": (GOOD[None][:0], ValueError, "`history` must hold at least one"),
    "features": (random((6, 3)), ValueError, r"shape \(timesteps, 2\) or \(samples, timesteps, 2\), got \(6, 3\)\."),
    "rank 1": (random(6), ValueError, r"`history` must have the shape .*, got \(6,\)\."),
    "rank 4": (GOOD[None, None], ValueError, r"`history` must have the shape .*, got \(1, 1, 6, 2\)\."),
    "a list": (GOOD.tolist(), TypeError, r"`history` must be an array, got list: pass np\.asarray\(history\)"),
    "text": (GOOD.astype(str), TypeError, "`history` must hold real numbers"),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_a_history_is_refused(model, case):
    history, error, message = HISTORIES[case]
    with pytest.raises(error, match=message):
        forecast(model, history, 3)


def test_a_series_of_one_feature_is_told_how_to_get_its_axis():
    with pytest.raises(ValueError, match=r"got \(6,\): add the last axis with history\[\.\.\., None\]"):
        forecast(rnn_regressor((6, 1), units=2), random(6), 3)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (0, ValueError, "`steps` must be a positive integer, got 0"),
        (-1, ValueError, "`steps` must be a positive integer, got -1"),
        (2.5, ValueError, "`steps` must be a positive integer, got 2.5"),
        ("3", TypeError, "`steps` must be a positive integer, got '3'"),
    ],
)
def test_numbers_of_steps_are_refused(model, steps, error, message):
    with pytest.raises(error, match=message):
        forecast(model, GOOD, steps)


def test_increments_are_a_yes_or_no(model):
    with pytest.raises(TypeError, match="`increments` must be True or False, got 'yes'"):
        forecast(model, GOOD, 3, increments="yes")


class Unbuilt(keras.Model):
    def call(self, inputs):
        return inputs


def stateful():
    inputs = keras.Input((6, 2), batch_size=1)
    return keras.Model(inputs, layers.Dense(2)(layers.LSTM(2, stateful=True)(inputs)))


def two_inputs():
    inputs = [keras.Input((6, 2)), keras.Input((6, 2))]
    return keras.Model(inputs, layers.Dense(2)(layers.LSTM(2)(layers.Add()(inputs))))


# name: (how the model is made, error, message)
WRONG = {
    "a function": (lambda: forecast, TypeError, "`model` must be a Keras model, got <function .* \\(function\\)"),
    "unbuilt": (Unbuilt, ValueError, r"known shapes: build it with keras\.Input"),
    "unbuilt layers": (lambda: keras.Sequential([layers.Dense(2)]), ValueError, r"build it with keras\.Input"),
    "two inputs": (two_inputs, ValueError, "one input and one output"),
    "no sequences": (lambda: mlp_regressor(2, 2), ValueError, r"\(batch, timesteps, features\), got .* \(None, 2\)"),
    "fewer values": (lambda: rnn_regressor((6, 2), 1), ValueError, r"features, 2, .* the shape \(None, 1\): train"),
    "more values": (lambda: rnn_regressor((6, 2), 3), ValueError, r"features, 2, .* the shape \(None, 3\): train"),
    "of variances": (
        lambda: rnn_regressor((6, 2), 1, loss="gaussian_nll"),
        ValueError,
        r"features, 2, .* the shape \(None, 1, 2\)",
    ),
    "a classifier": (lambda: rnn_classifier((6, 3), 3), ValueError, "got a classifier, 'rnn_classifier': build a"),
    "a state": (stateful, ValueError, "got a stateful one: build it with stateful=False"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_model_is_refused(case):
    make, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        forecast(make(), random((6, 3)) if case == "a classifier" else GOOD, 3)


def test_a_forecast_that_leaves_float32_says_so():
    future = forecast(linear([np.array([[1e30]])]), np.array([[1.0]]), 4)
    assert future[0] == pytest.approx(1e30)
    assert not np.isfinite(future[1:]).any()
