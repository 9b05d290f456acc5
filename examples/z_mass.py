"""What is the mass of what two muons came from? A network learns relativity from eight numbers.

CMS measured energy and momentum of two muons in each collision. If a particle decayed into them, its mass is
M = √((E₁ + E₂)² − (p₁ + p₂)²) in units with c = 1. The network is not told: it sees the eight numbers and the mass,
and has to find the formula, differences of large squares and all. Its error should stay below the width of the Z,
Γ = 2.5 GeV, or it would smear the resonance.

    python examples/z_mass.py spectrum.png

The events (1.6 MB) are downloaded once, or read from the folder that KPHYS_DATA names.
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import evaluate_regressor, mlp_regressor
from kphys.datasets import cms_zmumu


def scale(values):
    """A layer that brings `values` to mean 0 and width 1, so that the model itself takes and gives GeV."""
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def main(plot=None, quick=False):
    """Trains, prints the scores, and gives the RMSE in GeV; saves the two spectra to the file `plot`."""
    (x_train, y_train), (x_test, y_test) = cms_zmumu.load_data()

    # The formula is smooth, so the activation is; the learning rate falls to zero, so that the fit comes to rest.
    epochs, batch_size = (10 if quick else 100), 64
    steps = epochs * -(-len(x_train) // batch_size)
    keras.utils.set_random_seed(0)
    model = mlp_regressor(
        8,
        hidden_units=(128, 128, 128),
        activation="silu",
        normalization=scale(x_train),
        target_normalization=scale(y_train),
        optimizer="adamw",
        learning_rate=keras.optimizers.schedules.CosineDecay(2e-3, steps),
        seed=0,
    )
    model.fit(x_train, y_train, batch_size=batch_size, epochs=epochs, verbose=0)

    result = evaluate_regressor(model, x_test, y_test)
    print(result)
    guess = float(np.std(y_test - y_train.mean()))
    print(f"\nAlways guessing the mean mass is off by {guess:.1f} GeV, the network by {result['rmse']} GeV.")

    if plot:
        figure, axes = plt.subplots(layout="constrained")
        bins = np.linspace(60, 120, 61)
        axes.hist(y_test[:, 0], bins, histtype="stepfilled", color="lightgray", label="from the formula")
        axes.hist(model.predict(x_test, verbose=0)[:, 0], bins, histtype="step", color="C0", label="from the network")
        axes.axvline(91.19, color="k", ls=":", label="mass of the Z")
        axes.set(xlabel="mass of the two muons in GeV", ylabel="events in 1 GeV")
        axes.legend()
        figure.savefig(plot)
        plt.close(figure)
    return result["rmse"].value


if __name__ == "__main__":
    main(*sys.argv[1:2])
