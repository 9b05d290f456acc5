"""How sure is the network? It learns the resolution of a calorimeter that nobody told it.

Electrons of known energy E, from 5 to 100 GeV, hit a calorimeter. Its signal fluctuates by σ(E) = √(a² E + b² E²):
the number of shower particles fluctuates by its root (a), the calibration by a fixed share (b). With
loss="gaussian_nll" the network predicts a mean and a variance for every energy, by maximum likelihood. Pulls,
(predicted − measured) / predicted σ, say whether its errors can be trusted: mean 0 and width 1.

    python examples/gaussian_errors.py resolution.png

Reference: Nix and Weigend, 1994, "Estimating the mean and variance of the target probability distribution".
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import evaluate_regressor, mlp_regressor

STOCHASTIC, CONSTANT, LEAKAGE = 0.5, 0.03, 0.001  # a in √GeV, b, and the share lost out of the back per GeV


def resolution(energy):
    """The true σ(E) in GeV."""
    return np.sqrt(STOCHASTIC**2 * energy + CONSTANT**2 * energy**2)


def simulate(count, seed):
    """Beam energies and measured signals in GeV, each `(count, 1)`."""
    generator = np.random.default_rng(seed)
    energy = generator.uniform(5, 100, (count, 1))
    signal = energy * (1 - LEAKAGE * energy) + resolution(energy) * generator.normal(size=(count, 1))
    return energy.astype("float32"), signal.astype("float32")


def scale(values):
    """A layer that brings `values` to mean 0 and width 1, so that the model itself takes and gives GeV."""
    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def main(plot=None, quick=False):
    """Trains, prints the pulls, and gives back their mean and width; saves a figure to the file `plot`."""
    epochs, batch_size = (15 if quick else 40), 128
    x, y = simulate(20_000, seed=0)
    x_test, y_test = simulate(10_000, seed=1)

    # A learning rate that falls to zero lets the fit come to rest.
    steps = epochs * -(-len(x) // batch_size)
    keras.utils.set_random_seed(0)
    model = mlp_regressor(
        1,
        hidden_units=(64, 64),
        activation="silu",
        loss="gaussian_nll",
        normalization=scale(x),
        target_normalization=scale(y),
        learning_rate=keras.optimizers.schedules.CosineDecay(2e-3, steps),
        seed=0,
    )
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)

    result = evaluate_regressor(model, x_test, y_test)
    print(result)

    energy = np.linspace(5, 100, 96, dtype="float32")[:, np.newaxis]
    variance = model.predict(energy, verbose=0)[:, 0, 1]
    print("\n E/GeV  σ learned  σ true")
    for index in (5, 45, 85):
        print(f"{energy[index, 0]:6.0f}  {np.sqrt(variance[index]):9.2f}  {resolution(energy[index, 0]):6.2f}")

    if plot:
        figure, axes = plt.subplots(layout="constrained")
        axes.plot(energy, np.sqrt(variance) / energy[:, 0], label="learned")
        axes.plot(energy, resolution(energy) / energy, "k--", label="true")
        axes.set(xlabel="energy in GeV", ylabel="σ/E", title="Resolution of the calorimeter")
        axes.legend()
        figure.savefig(plot)
        plt.close(figure)
    return result["pull_mean"].value, result["pull_width"].value


if __name__ == "__main__":
    main(*sys.argv[1:2])
