"""What matters most in a magnet? A variational autoencoder with one number to describe it by finds the magnetization.

Nobody tells it about temperature or order: it sees spins on a square lattice, hot and cold ones, and describes each
configuration by one code, from which it draws the spins again. The code turns out to be the magnetization, and it
fluctuates most near Onsager's critical temperature, T_c = 2.269 J/k_B.

Then one is trained at each temperature and draws spins of its own. Given the code, its spins are independent: as in
mean-field theory the energy per site is then at best -2 <m²>, m the magnetization. Deep in the ordered phase that is
nearly all of it; above it the energy sits in neighbours that agree without any order, which one code cannot hold. Even
sixteen codes, with more units, fall short of it by 26 % at T = 2.3, and by 45 % at T = 3.

    python examples/ising_vae.py figure.png

Reference: Wetzel, 2017, "Unsupervised learning of phase transitions".
"""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

from kphys import vae
from kphys.datasets import ising

SIZE = 16


def describe(spins, epochs, batch_size):
    """A trained variational autoencoder of `spins` −1 and +1, with one code."""
    keras.utils.set_random_seed(0)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-len(spins) // batch_size))
    model = vae((SIZE, SIZE), 1, hidden_units=32, learning_rate=rate, seed=0)
    model.fit((spins + 1) / 2, batch_size=batch_size, epochs=epochs, verbose=0)
    return model


def draw(model, count):
    """Spins drawn with the decoder's probabilities. Its mean images themselves are no spins: they are grey."""
    up = np.random.default_rng(0).random((count, SIZE, SIZE)) < model.sample(count, seed=0)
    return 2.0 * up - 1


def main(plot=None, quick=False):
    """Trains all and prints; gives correlation, peak and energies {T: (data, drawn)}; saves a figure to `plot`."""
    each, epochs = (150, 20) if quick else (400, 40)
    temperatures = np.round(np.arange(1.5, 3.55, 0.1), 1)
    train, test = (ising.sample(np.repeat(temperatures, each), SIZE, seed=seed) for seed in (1, 2))
    model = describe(train, epochs, batch_size=100)
    codes, turned = (model.encode((x + 1) / 2)[0][:, 0] for x in (test, -test))
    magnetization = ising.magnetization(test)
    correlation = np.corrcoef(codes, magnetization)[0, 1]
    print(f"The code and the magnetization of new configurations: correlation {abs(correlation):.3f}.")

    # Up and down are equally likely: what tells of the temperature is the size of the part that turns with the spins.
    codes = np.sign(correlation) * (codes - turned) / 2
    spread, expected = (np.abs(values).reshape(-1, each).var(axis=1) for values in (codes, magnetization))
    peak = temperatures[spread.argmax()]
    print(f"Its size varies most at T = {peak}, that of the magnetization at {temperatures[expected.argmax()]}; with")
    print(f"{SIZE} × {SIZE} sites that is a little above T_c = {ising.CRITICAL_TEMPERATURE:.3f}.")

    print("\n  T   energy per site   drawn from the code   off by   -2 <m²>")
    energies, independent = {}, {}
    for temperature in (1.8, 3.0) if quick else (1.5, 1.8, 2.0, 2.3, 3.0):
        spins = ising.sample([temperature] * 2000, SIZE, seed=1)
        # The energy is the same upside down: all turned up, the code need not spend itself on the sign.
        spins = spins * np.where(ising.magnetization(spins) < 0, -1, 1)[:, np.newaxis, np.newaxis]
        drawn = draw(describe(spins, 80, batch_size=50), 2000)
        data, ours = energies[temperature] = ising.energy(spins).mean(), ising.energy(drawn).mean()
        independent[temperature] = -2 * (ising.magnetization(spins) ** 2).mean()
        print(f"{temperature:.1f}  {data:14.3f}  {ours:20.3f}  {ours / data - 1:+8.1%} {independent[temperature]:9.3f}")

    if plot:
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
        shades = np.repeat(temperatures, each)[::4]
        points = left.scatter(magnetization[::4], codes[::4], 4, shades, cmap="coolwarm")
        figure.colorbar(points, label="temperature in J/k_B")
        left.set(xlabel="magnetization per site", ylabel="code, the part that turns with the spins")
        middle.plot(temperatures, spread / spread.max(), "o-", label="code")
        middle.plot(temperatures, expected / expected.max(), "k-", lw=1, label="magnetization")
        middle.axvline(ising.CRITICAL_TEMPERATURE, color="gray", ls=":", label="Onsager's T_c")
        middle.set(xlabel="temperature in J/k_B", ylabel="variance of its size, largest = 1")
        right.plot(temperatures, ising.exact_energy(temperatures), "k-", lw=1, label="Onsager")
        right.plot(list(energies), [ours for _, ours in energies.values()], "o", label="drawn from the code")
        right.plot(list(independent), list(independent.values()), "_", ms=14, label="-2 ⟨m²⟩: independent spins")
        right.set(xlabel="temperature in J/k_B", ylabel="energy per site in J")
        middle.legend(loc="upper left", fontsize=8, frameon=False)
        right.legend(loc="lower right", fontsize=8, frameon=False)
        figure.savefig(plot, dpi=90)
        plt.close(figure)
    return abs(correlation), peak, energies


if __name__ == "__main__":
    main(*sys.argv[1:2])
