"""Does memory help to foresee chaos, beyond the luck of the starting weights?

The Lorenz system is deterministic: its present state says all about its future, and nothing that came before can add to
it. But a camera often sees one coordinate only. From x alone the other two must be guessed, and there a history should
help. Two networks foresee x 0.3 time units ahead, from the last value and from the last twenty; each is trained from
three seeds, so that the difference has an error.

    python examples/lorenz_seeds.py figure.png

Every run leaves a folder with its settings and its history; `kphys.records.compare` groups them by setting.

Reference: Takens, 1981, "Detecting strange attractors in turbulence".
"""

import sys
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt

import kphys
from kphys.callbacks import EarlyStopping, LearningRateFinder, TrainingRecord
from kphys.datasets import lorenz

HORIZON = 15  # Steps of 0.02.


def scale(values):
    """A layer that brings `values` to mean 0 and width 1."""
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def build(x, y, seed):
    """A perceptron from a history of x to its future."""
    return kphys.mlp_regressor(
        x.shape[1:], 1, hidden_units=(64, 64), normalization=scale(x), target_normalization=scale(y), seed=seed
    )


def main(plot=None, quick=False):
    """Trains all, prints the table, gives back each setting's validation loss; saves a figure to the file `plot`."""
    epochs = 8 if quick else 60
    train, test = lorenz.load_data(20_000, timesteps=20, horizon=HORIZON, test_fraction=0.2)
    folder = Path(tempfile.mkdtemp(prefix="lorenz_"))
    finder = LearningRateFinder(lowest=1e-5)
    for steps in (1, 20):
        (x, y), validation = ((x[:, -steps:, 0], y[:, :1]) for x, y in (train, test))
        build(x, y, seed=0).fit(x, y, batch_size=64, callbacks=[finder], verbose=0)
        print(f"last {steps} values: learning rate {finder.suggestion:.1e} suggested")
        for seed in range(3):
            keras.utils.set_random_seed(seed)
            callbacks = [
                EarlyStopping(patience=15, restore_best_weights=True),
                TrainingRecord(folder / f"last-{steps}-seed-{seed}", seed=seed),
            ]
            fit = {"batch_size": 64, "epochs": epochs, "validation_data": validation, "verbose": 0}
            build(x, y, seed).fit(x, y, **fit, callbacks=callbacks)
    comparison = kphys.records.compare(folder)
    print(f"\n{comparison}\n\nThe records are in {folder}.")

    if plot:
        figure = comparison.plot()
        figure.axes[0].set(yscale="log", title="x, 0.3 time units ahead")
        figure.savefig(plot)
        plt.close(figure)
    return {group.label: group.scores["val_loss"].value for group in comparison.groups}


if __name__ == "__main__":
    main(*sys.argv[1:2])
