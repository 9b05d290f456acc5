"""How likely a variational autoencoder finds binary MNIST: 45,000 of 50,000 digits to train, 5,000 to test.

    KPHYS_DATA=<folder with mnist_50k.npz> python benchmarks/mnist_vae.py [--epochs 60] [--last] [--seed 0]

`kphys.vae`, 784-400-40-400-784, on static pixels, 0 or 1, drawn once with the grey values as probabilities. The aim is
a test likelihood, by 200 importance samples, of at least −92 nats in 15 minutes of two cores, and −90 in a longer run.
Adam's rate falls to zero along a cosine. All but the last `--plain` epochs see the digits turned, sheared and stretched
a little, anew every epoch: of the 45,000 as they are it learns in the end more than helps with others.
The 5,000 are drawn at random, `--last` takes the last of the file: those are harder than the first by some 2 nats.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np
from _compare import TESTED, digits

from kphys import vae

SAMPLES = 200
TOGETHER = 50  # Digits that are warped alike, in one epoch.


def main() -> None:
    """Trains and prints a line now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--plain", type=int, default=6, help="last epochs, with the digits as they are; default 6")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=6e-3, help="at the start; default 0.006")
    parser.add_argument("--activation", default="silu")
    parser.add_argument("--warm-up", type=int, default=0, help="epochs in which β rises from 0 to 1; default 0")
    parser.add_argument("--strength", type=float, default=0.7, help="of the warps; default 0.7")
    parser.add_argument("--every", type=int, default=20, help="epochs between two lines; default 20")
    parser.add_argument("--last", action="store_true", help="test with the last 5,000 digits")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    keras.utils.set_random_seed(given.seed)
    grey, _ = digits(50_000, (28, 28))
    generator = np.random.default_rng(given.seed)
    x = (generator.random(grey.shape) < grey).astype("float32")
    order = np.arange(len(x)) if given.last else np.random.default_rng(0).permutation(len(x))
    train, test = x[order[:TESTED]], x[order[TESTED:]].reshape(-1, 784)

    steps = -(-TESTED // given.batch_size)
    schedules = keras.optimizers.schedules
    model = vae(
        784,
        40,
        hidden_units=400,
        activation=given.activation,
        beta=schedules.PolynomialDecay(0.0, given.warm_up * steps, 1.0) if given.warm_up else 1.0,
        learning_rate=schedules.CosineDecay(given.learning_rate, given.epochs * steps),
        seed=given.seed,
    )
    seconds = 0.0
    for epoch in range(given.epochs):
        start = time.perf_counter()
        warps = epoch < given.epochs - given.plain
        x = warped(train, given.strength, generator) if warps else train.reshape(-1, 784)
        model.fit(x, batch_size=given.batch_size, initial_epoch=epoch, epochs=epoch + 1, verbose=0)
        seconds += time.perf_counter() - start
        if (epoch + 1) % given.every == 0 or epoch + 1 == given.epochs:
            bounds = (model.evaluate(x, batch_size=500, verbose=0)[0] for x in (train[:5000].reshape(-1, 784), test))
            some = test if epoch + 1 == given.epochs else test[:1000]
            likelihood = model.log_likelihood(some, SAMPLES, seed=0).mean()
            print(
                f"epoch {epoch + 1}, {seconds:.0f} s: bound {', '.join(f'{-bound:.2f}' for bound in bounds)} (train, "
                f"test), log-likelihood of {len(some)} test digits {likelihood:.2f} nats",
                flush=True,
            )


def warped(images: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Gives binary images, in a new order, turned by some 4°, sheared by 0.08, stretched by 4 %, times `strength`."""
    n = len(images) // TOGETHER
    images = images[generator.permutation(len(images))].reshape(n, TOGETHER, 784)
    turn, shear, *stretch = (strength * generator.normal(0, size, n) for size in (0.07, 0.08, 0.04, 0.04))
    cos, sin, (wide, high) = np.cos(turn), np.sin(turn), np.exp(stretch)
    # From every pixel of a warped image to the one that it shows, from the middle.
    maps = np.array([[cos * high, (sin + shear) * high], [-sin * wide, cos * wide]]).transpose(2, 0, 1)
    pixels = np.stack(np.meshgrid(*[np.arange(28) - 13.5] * 2, indexing="ij")).reshape(2, 784)
    rows, columns = np.rint(maps @ pixels + 13.5).astype(int).transpose(1, 0, 2)
    inside = (rows >= 0) & (rows < 28) & (columns >= 0) & (columns < 28)
    shown = np.where(inside, 28 * rows + columns, 0)
    return np.concatenate([group[:, seen] * there for group, seen, there in zip(images, shown, inside, strict=True)])


if __name__ == "__main__":
    main()
