"""For how long can chaos be foreseen? A network that has watched a trajectory goes on where the record ends.

Two states of the Lorenz system that differ a little are e times as far apart after a Lyapunov time, 1.1 units: whoever
foresees it must know the law well, and gains three Lyapunov times with every factor of twenty. A recurrent network sees
ten states and learns how the next one differs from the last. Then it is fed with its own predictions, from twenty
states that it has not seen.

    python examples/lorenz_forecast.py forecast.png

Reference: Lorenz, 1963, "Deterministic nonperiodic flow".
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import rnn_regressor
from kphys.datasets import lorenz
from kphys.models.sequences import forecast

STEP, EXPONENT = 0.02, 0.906
HORIZON = int(8 / EXPONENT / STEP)  # Eight Lyapunov times.
TOLERANCE = 0.4  # A forecast further off than this, in units of the attractor's size, is of no use.


def scale(values):
    """A layer that brings `values` to mean 0 and width 1."""
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def train(x, y, epochs):
    """A network that tells from ten states the change to the next."""
    changes = y - x[:, -1]
    keras.utils.set_random_seed(0)
    model = rnn_regressor(
        x.shape[1:],
        3,
        normalization=scale(x),
        target_normalization=scale(changes),
        learning_rate=keras.optimizers.schedules.CosineDecay(3e-3, epochs * -(-len(x) // 64)),
        seed=0,
    )
    model.fit(x, changes, batch_size=64, epochs=epochs, verbose=0)
    return model


def main(plot=None, quick=False):
    """Trains, forecasts, gives back the mean time in Lyapunov times that forecasts hold; saves a figure to `plot`."""
    (x_train, y_train), (x_test, y_test) = lorenz.load_data(20_000 if quick else 40_000, timesteps=10, step=STEP)
    model = train(x_train, y_train, epochs=4 if quick else 10)

    starts = np.linspace(0, len(x_test) - HORIZON, 20).astype(int)
    truth = np.stack([y_test[start : start + HORIZON] for start in starts])
    foreseen = forecast(model, x_test[starts], HORIZON, increments=True)
    size = np.sqrt(np.sum((y_test - y_test.mean(axis=0)) ** 2, axis=-1).mean())
    error = np.linalg.norm(foreseen - truth, axis=-1) / size
    lost = error >= TOLERANCE
    times = STEP * EXPONENT * np.arange(1, HORIZON + 1)
    valid = np.where(lost.any(axis=1), times[lost.argmax(axis=1)], times[-1])
    spread = valid.std(ddof=1) / np.sqrt(len(valid))
    print(f"forecasts hold for {valid.mean():.1f} ± {spread:.1f} Lyapunov times, from {len(valid)} starts")

    if plot:
        middle = np.argsort(valid)[len(valid) // 2]
        figure, axes = plt.subplots(4, figsize=(9, 8), sharex=True, layout="constrained", height_ratios=(1, 1, 1, 2))
        for column, (panel, name) in enumerate(zip(axes[:3], "xyz", strict=True)):
            panel.plot(times, truth[middle, :, column], "k", lw=1, label="true")
            panel.plot(times, foreseen[middle, :, column], "C3--", lw=1.5, label="foreseen")
            panel.axvline(valid[middle], color="0.6", lw=0.8)
            panel.set_ylabel(name)
        axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
        axes[3].semilogy(times, error.T, color="C0", lw=0.6, alpha=0.5)
        axes[3].semilogy(times, np.exp(np.log(error).mean(axis=0)), "C0", lw=2, label="geometric mean of 20 starts")
        early = np.exp(np.log(error[:, :20]).mean())
        axes[3].semilogy(times, np.minimum(early * np.exp(times), 2), "k:", label="growth by e in a Lyapunov time")
        axes[3].axhline(TOLERANCE, color="0.6", lw=0.8)
        axes[3].set(xlabel="Lyapunov times", ylabel="error / size of the attractor", xlim=(0, times[-1]))
        axes[3].legend(loc="lower right")
        figure.savefig(plot)
        plt.close(figure)
    return valid.mean()


if __name__ == "__main__":
    main(*sys.argv[1:2])
