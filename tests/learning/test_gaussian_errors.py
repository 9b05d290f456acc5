"""A network that predicts its own error, on data whose noise is known."""

import keras
import numpy as np
import pytest

from kphys import evaluate_regressor, mlp_regressor


def _noise(x):
    return 0.2 + 0.8 * x**2


def _simulate(count, seed):
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (count, 1))
    y = 50 + 10 * (np.sin(3 * x) + _noise(x) * generator.normal(size=(count, 1)))
    return x.astype("float32"), y.astype("float32")


@pytest.mark.slow
def test_pulls_have_mean_0_and_width_1(scale, falling):
    """The signal 50 + 10 sin 3x with noise that grows fivefold from the middle to the ends; 10,000 events each.

    Two seeds, none may fail: pulls of mean 0 ± 0.1 and width 1 ± 0.1, in every third of x too, where a network with
    one error for all x would have widths from 0.5 to 2; the predicted σ within 20 % of the true one everywhere.
    """
    x, y = _simulate(10_000, seed=0)
    x_test, y_test = _simulate(10_000, seed=1)
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        model = mlp_regressor(
            1,
            hidden_units=(32, 32),
            activation="silu",
            loss="gaussian_nll",
            normalization=scale(x),
            target_normalization=scale(y),
            learning_rate=falling(5e-3, x, 64, 15),
            seed=seed,
        )
        model.fit(x, y, batch_size=64, epochs=15, verbose=0)
        result = evaluate_regressor(model, x_test, y_test, num_bootstrap=0)
        assert abs(result["pull_mean"].value) <= 0.1
        assert abs(result["pull_width"].value - 1) <= 0.1

        mean, variance = np.moveaxis(model.predict(x_test, verbose=0)[:, 0], -1, 0)
        pull = (mean - y_test[:, 0]) / np.sqrt(variance)
        for third in (x_test < -1 / 3, np.abs(x_test) <= 1 / 3, x_test > 1 / 3):
            assert abs(pull[third[:, 0]].mean()) <= 0.15
            assert abs(pull[third[:, 0]].std() - 1) <= 0.1
        ratio = np.sqrt(variance) / (10 * _noise(x_test[:, 0]))
        assert 0.8 <= ratio.min() <= ratio.max() <= 1.2
