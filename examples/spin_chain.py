"""With how few pulses can a chain of coupled spins be turned? Agents find out by trying, and enumeration says how well.

Three spins point down. In every step one of five pulses acts on all of them at once while their coupling goes on; it
turns the inner spin otherwise than the outer ones, so that one long pulse never gets them all up. The return of an
episode is the fidelity with all-up at its end. There are 390,625 sequences of eight pulses: the best one is
known.

    python examples/spin_chain.py spins.png

Reference: Bukov et al., 2018, "Reinforcement learning in different phases of quantum control".
"""

import sys

import gymnasium
import keras
import matplotlib.pyplot as plt
import numpy as np

import kphys.environments  # noqa: F401 - registers kphys/SpinChain-v0.
from kphys import dqn

CHAIN = "kphys/SpinChain-v0"
STEPS = 1_000  # Of an epoch.


def learn(seed, epochs):
    """An agent, and the fidelity that its best pulses reached after every epoch."""
    rate = keras.optimizers.schedules.PolynomialDecay(1e-3, 20_000, 1e-4)
    settings = {"hidden_units": (256, 256), "gradient_steps": 32, "n_step": 1, "delta": 1.0, "learning_rate": rate}
    agent = dqn(16, 5, discount=1.0, exploration_steps=20_000, seed=seed, **settings)
    history = agent.fit(
        CHAIN, epochs=epochs, steps_per_epoch=STEPS, validation_data=CHAIN, validation_episodes=1, verbose=0
    )
    return agent, np.array(history.history["val_episode_return"])


def play(agent):
    """The pulses that the agent chooses, the fidelity at the end, and the picture of the chain."""
    chain = gymnasium.make(CHAIN, render_mode="rgb_array")
    state, _ = chain.reset(seed=0)
    pulses, over = [], False
    while not over:
        pulses.append(agent.act(state))
        state, _, over, _, info = chain.step(pulses[-1])
    return pulses, info["fidelity"], chain.render()


def main(plot=None, quick=False):
    """Trains agents, gives back the fidelities that they reach over the best possible; saves a figure to `plot`."""
    seeds, epochs = (range(2), 20) if quick else (range(5), 24)
    best, sequence = gymnasium.make(CHAIN).unwrapped.best_pulses()
    names = np.array(["none", "+x", "-x", "+y", "-y"])
    print(f"enumeration:  fidelity {best:.5f} by {', '.join(names[list(sequence)])}")

    agents, curves = zip(*(learn(seed, epochs) for seed in seeds), strict=True)
    played = [play(agent) for agent in agents]
    for seed, (pulses, fidelity, _) in zip(seeds, played, strict=True):
        print(f"agent {seed}:      fidelity {fidelity:.5f} by {', '.join(names[pulses])}")
    reached = np.array([fidelity for _, fidelity, _ in played]) / best
    error = reached.std(ddof=1) / np.sqrt(len(reached))
    solved = np.sum(reached > 0.98)
    print(f"{reached.mean():.4f} ± {error:.4f} of the best; {solved} of {len(reached)} agents within 2 % of it")

    if plot:
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(3, 2))
        times = STEPS * np.arange(1, epochs + 1)
        mean, error = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1) / np.sqrt(len(curves))
        left.fill_between(times, mean - error, mean + error, alpha=0.3, lw=0)
        left.plot(times, mean, label=f"mean of {len(curves)} agents ± standard error")
        left.axhline(best, color="k", ls=":", label="best of all sequences")
        left.set(xlabel="steps in the environment", ylabel="fidelity of the best actions", ylim=(0, 1.03))
        left.legend(loc="lower right")
        right.imshow(played[int(np.argmax(reached))][2])
        right.set_axis_off()
        right.set_title("spins over time, the pulses, the fidelity", fontsize=10)
        figure.savefig(plot)
        plt.close(figure)
    return reached


if __name__ == "__main__":
    main(*sys.argv[1:2])
