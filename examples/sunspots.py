"""How active will the Sun be next month? A recurrent network reads two years of sunspots and forecasts the next month.

The number of sunspots rises and falls in about eleven years, and no two cycles are of the same height: the last of
this record, from 1937 on, hold the highest of all. So we forecast months that the network has not seen, from cycles
higher than it has seen.

    python examples/sunspots.py forecast.png

The record (45 kB) is downloaded once, or read from the folder that KPHYS_DATA names.
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import evaluate_regressor, rnn_regressor
from kphys.datasets import sunspots


def scale(values):
    """A layer that brings `values` to mean 0 and width 1, so that the model itself takes and gives sunspot numbers."""
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def rmse(forecast, truth):
    """Root of the mean squared error, in sunspots."""
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def main(plot=None, quick=False):
    """Trains, prints the errors of three forecasts, and gives back the network's; saves a figure to the file `plot`."""
    (x_train, y_train), (x_test, y_test) = sunspots.load_data(timesteps=24)

    # Two simple forecasts to beat: next month is like this one, and a linear function of the last 24 months.
    persistence = rmse(x_test[:, -1], y_test)
    linear, *_ = np.linalg.lstsq(_with_constant(x_train), y_train, rcond=None)
    print(f"next month like this one:       RMSE {persistence:.1f}")
    print(f"autoregression over 24 months:  RMSE {rmse(_with_constant(x_test) @ linear, y_test):.1f}")

    # A cycle of another height has the same shape: we also show every window weaker and stronger than it was. Without
    # this the network has no idea how to go on above the highest cycle it has seen.
    x = np.concatenate([factor * x_train for factor in (0.7, 1.0, 1.4)])
    y = np.concatenate([factor * y_train for factor in (0.7, 1.0, 1.4)])

    epochs, batch_size = (3 if quick else 12), 64
    steps = epochs * -(-len(x) // batch_size)
    keras.utils.set_random_seed(0)
    model = rnn_regressor(
        (24, 1),
        cell="gru",
        units=32,
        normalization=scale(x),
        target_normalization=scale(y),
        optimizer="adamw",
        learning_rate=keras.optimizers.schedules.CosineDecay(5e-3, steps),
        seed=0,
    )
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    result = evaluate_regressor(model, x_test, y_test)
    print(f"recurrent network:              RMSE {result['rmse']}")

    if plot:
        figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
        years = 1984 - np.arange(len(y_test), 0, -1) / 12
        axes.plot(years, y_test, "k.", ms=3, label="observed")
        axes.plot(years, model.predict(x_test, verbose=0), lw=1, label="forecast a month ahead")
        axes.set(xlabel="year", ylabel="sunspot number")
        axes.legend()
        figure.savefig(plot)
        plt.close(figure)
    return result["rmse"].value


def _with_constant(windows):
    return np.column_stack([windows[..., 0], np.ones(len(windows))])


if __name__ == "__main__":
    main(*sys.argv[1:2])
