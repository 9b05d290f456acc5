"""Monthly sunspot numbers one step ahead, on cycles higher than any in the training."""

import keras
import numpy as np
import pytest

from kphys import evaluate_regressor, rnn_regressor
from kphys.datasets import sunspots

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_better_than_a_linear_forecast(seed, real_data, scale, falling):
    """The last 20 % of the months: RMSE at most 18.2; three seeds, none may fail.

    The last month gives 20.1, a linear autoregression over 24 months 18.2. Cycles differ in height, not in shape, so
    every window is shown at three heights. That this helps was found by cross-validation in four blocks of the
    training months, where it gives 14.40 and the plain network 14.49; the test months took no part in the choice.
    """
    (x_train, y_train), (x_test, y_test) = sunspots.load_data(timesteps=24)
    x = np.concatenate([factor * x_train for factor in (0.7, 1.0, 1.4)])
    y = np.concatenate([factor * y_train for factor in (0.7, 1.0, 1.4)])
    keras.utils.set_random_seed(seed)
    model = rnn_regressor(
        (24, 1),
        cell="gru",
        units=32,
        normalization=scale(x),
        target_normalization=scale(y),
        optimizer="adamw",
        learning_rate=falling(5e-3, x, 64, 12),
        seed=seed,
    )
    model.fit(x, y, batch_size=64, epochs=12, verbose=0)
    assert evaluate_regressor(model, x_test, y_test, num_bootstrap=0)["rmse"].value <= 18.2
