"""At which temperature does a magnet lose its order? A network finds out that never saw the transition.

Spins on a square lattice like to point the same way, and heat shakes them. Below the critical temperature T_c most of
them agree; above it, only neighbours do. We show the network configurations far below and far above T_c and tell it
"ordered" and "disordered". Then we ask it about the temperatures between: where it gives both phases one half, there
is the transition. Onsager's exact answer is T_c = 2 / ln(1 + √2) = 2.269 J/k_B.

    python examples/ising_phase_transition.py crossing.png

Reference: Carrasquilla and Melko, 2017, "Machine learning phases of matter".
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import cnn_classifier
from kphys.datasets import ising


def crossing(temperatures, ordered):
    """The temperature at which `ordered` falls through one half, on a straight line between two neighbours."""
    after = int(np.argmax(ordered < 0.5))
    warm, cool = ordered[after], ordered[after - 1]
    return temperatures[after - 1] + (temperatures[after] - temperatures[after - 1]) * (cool - 0.5) / (cool - warm)


def main(plot=None, quick=False):
    """Trains, prints the critical temperature found, and gives it back; saves a figure to the file `plot`."""
    size, num_samples, per_temperature = (16, 2000, 50) if quick else (40, 6000, 200)

    # Training stays at least 0.2 away from T_c: whoever labels data seldom knows where the transition is.
    cold, hot = np.arange(1.0, 2.06, 0.1), np.arange(2.5, 3.56, 0.1)
    (x_train, y_train), (x_test, y_test) = ising.load_data([*cold, *hot], size, num_samples)

    # The lattice has no edge, and neither has a network with periodic=True: shifting all spins changes nothing.
    keras.utils.set_random_seed(0)
    model = cnn_classifier((size, size, 1), 2, filters=(8, 16), periodic=True, learning_rate=2e-3, seed=0)
    model.fit(x_train, y_train, batch_size=64, epochs=5, verbose=0)
    accuracy = model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
    print(f"Away from the transition the network names the phase of {accuracy:.1%} of new configurations.")

    # New configurations across the transition: the mean output is the share that the network takes for ordered.
    temperatures = np.arange(1.9, 2.66, 0.05)
    spins = ising.sample(np.repeat(temperatures, per_temperature), size, seed=1)
    ordered = model.predict(spins[..., np.newaxis], batch_size=256, verbose=0)
    ordered = ordered.reshape(len(temperatures), per_temperature).mean(axis=1)

    found, exact = crossing(temperatures, ordered), ising.CRITICAL_TEMPERATURE
    print(f"It crosses one half at T = {found:.3f}; Onsager: {exact:.3f} ({found / exact - 1:+.1%}).")

    if plot:
        figure, axes = plt.subplots(layout="constrained")
        axes.plot(temperatures, ordered, "o-", label="ordered, says the network")
        axes.plot(temperatures, ising.exact_magnetization(temperatures), "k-", lw=1, label="magnetization (Yang)")
        axes.axvline(exact, color="gray", ls=":", label="Onsager's critical temperature")
        axes.set(xlabel="temperature in J/k_B", ylabel="mean output", title=f"{size} × {size} Ising spins")
        axes.legend()
        figure.savefig(plot)
        plt.close(figure)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
