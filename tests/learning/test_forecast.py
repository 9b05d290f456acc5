"""Trajectories of a chaotic system: how long a forecast of the Lorenz system stays with the truth."""

import keras
import numpy as np
import pytest

from kphys import rnn_regressor
from kphys.datasets import lorenz
from kphys.models._forecast import forecast

pytestmark = pytest.mark.slow

STEP = 0.02
EXPONENT = 0.906  # The largest Lyapunov exponent: errors grow by e in 1 / 0.906 units of time.
HORIZON = int(10 / EXPONENT / STEP)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_lorenz_system_is_foreseen_for_three_lyapunov_times(seed, scale, falling):
    """Valid for at least 3 Lyapunov times in the mean of 20 starts; three seeds, none may fail.

    A trajectory of 32,000 states to train on, 640 units of time; the starts are spread over the 8,000 that follow it.
    A forecast is valid while |x − x_forecast| < 0.4 √<|x − <x>|²>. The network sees 10 states and predicts the change
    to the next.
    """
    (x_train, y_train), (x_test, y_test) = lorenz.load_data(40_000, timesteps=10, step=STEP)
    changes = y_train - x_train[:, -1]
    keras.utils.set_random_seed(seed)
    model = rnn_regressor(
        (10, 3),
        3,
        normalization=scale(x_train),
        target_normalization=scale(changes),
        learning_rate=falling(3e-3, x_train, 64, 10),
        seed=seed,
    )
    model.fit(x_train, changes, batch_size=64, epochs=10, verbose=0)

    starts = np.linspace(0, len(x_test) - HORIZON, 20).astype(int)
    truth = np.stack([y_test[start : start + HORIZON] for start in starts])
    spread = np.sqrt(np.sum((y_test - y_test.mean(axis=0)) ** 2, axis=-1).mean())
    error = np.linalg.norm(forecast(model, x_test[starts], HORIZON, increments=True) - truth, axis=-1) / spread
    lost = error >= 0.4
    valid = np.where(lost.any(axis=1), lost.argmax(axis=1), HORIZON) * STEP * EXPONENT
    print(f"seed {seed}: {valid.mean():.2f} ± {valid.std(ddof=1) / np.sqrt(20):.2f} Lyapunov times")
    assert valid.mean() >= 3
