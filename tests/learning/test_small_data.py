"""Every family learns small data inside the package, in seconds.

One seed each, as nothing here is near its threshold; none may fail. What the numbers of the slow tests need is there.
"""

import keras
import numpy as np
import pytest

from kphys import cnn_classifier, mlp_classifier, mlp_regressor, rnn_classifier, rnn_regressor
from kphys.datasets import countdown, digits, mackey_glass, toy

DIGITS = {
    "mlp": lambda: mlp_classifier((8, 8, 1), 10, learning_rate=3e-3, seed=0),
    "cnn": lambda: cnn_classifier((8, 8, 1), 10, filters=(16, 32), learning_rate=3e-3, seed=0),
    # The rows of the image one after the other.
    "lstm": lambda: rnn_classifier((8, 8), 10, learning_rate=1e-2, seed=0),
}


@pytest.mark.parametrize("family", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn", "lstm"))])
def test_digits(family):
    """1,438 digits to train, 359 to test: at least 95 % (logistic regression: 96 %)."""
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    keras.utils.set_random_seed(0)
    model = DIGITS[family]()
    shape = (-1, *model.input_shape[1:])
    model.fit(x_train.reshape(shape), y_train, epochs=25, verbose=0)
    assert model.evaluate(x_test.reshape(shape), y_test, verbose=0, return_dict=True)["accuracy"] >= 0.95


@pytest.mark.slow
def test_moons():
    """Two moons with little noise: at least 99 % (a straight line: 88 %)."""
    (x_train, y_train), (x_test, y_test) = toy.load_data("moons", num_samples=2_000, noise=0.1)
    keras.utils.set_random_seed(0)
    model = mlp_classifier(2, 2, hidden_units=(32, 32), learning_rate=1e-2, seed=0)
    model.fit(x_train, y_train, epochs=20, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"] >= 0.99


@pytest.mark.slow
def test_countdown():
    """Sequences of 10 steps, 300 batches of 20: at least 99 % of the steps at which the output fires, and of all."""
    (x_train, y_train), (x_test, y_test) = countdown.load_data(timesteps=10)
    keras.utils.set_random_seed(0)
    model = rnn_classifier((None, 2), 2, return_sequences=True, learning_rate=1e-2, seed=0)
    model.fit(x_train, y_train, batch_size=20, epochs=1, verbose=0)
    right = (model.predict(x_test, batch_size=256, verbose=0) > 0.5) == y_test
    assert right.mean() >= 0.99
    assert right[y_test == 1].mean() >= 0.99


@pytest.mark.slow
def test_a_parabola_in_physical_units(scale):
    """The fall of a stone, s = ½ g t² in m up to 10 s: RMSE at most 1 % of the width of s."""
    time = np.random.default_rng(0).uniform(0, 10, (2_000, 1)).astype("float32")
    depth = 9.81 / 2 * time**2
    keras.utils.set_random_seed(0)
    model = mlp_regressor(
        1,
        hidden_units=(32, 32),
        normalization=scale(time),
        target_normalization=scale(depth),
        learning_rate=5e-3,
        seed=0,
    )
    model.fit(time, depth, epochs=20, verbose=0)
    assert model.evaluate(time, depth, verbose=0, return_dict=True)["rmse"] <= 0.01 * depth.std()


@pytest.mark.slow
def test_a_chaotic_series(scale):
    """Mackey–Glass, 6 steps ahead: RMSE at most a fifth of that of the last value."""
    (x_train, y_train), (x_test, y_test) = mackey_glass.load_data(num_steps=2_000, timesteps=30, horizon=6)
    keras.utils.set_random_seed(0)
    model = rnn_regressor(
        (30, 1),
        cell="gru",
        units=32,
        normalization=scale(x_train),
        target_normalization=scale(y_train),
        learning_rate=1e-2,
        seed=0,
    )
    model.fit(x_train, y_train, epochs=15, verbose=0)
    persistence = np.sqrt(np.mean((x_test[:, -1] - y_test) ** 2))
    assert model.evaluate(x_test, y_test, verbose=0, return_dict=True)["rmse"] <= persistence / 5
