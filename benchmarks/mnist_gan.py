"""What a DCGAN makes of MNIST, judged by a classifier: 45,000 of 50,000 digits to train, the last 5,000 to test.

    KPHYS_DATA=<folder with mnist_50k.npz> python benchmarks/mnist_gan.py [--epochs 15] [--guard replay] [--seed 0]

`kphys.dcgan` with its defaults, batches of 32, and learning rates that fall linearly over the second half of the
epochs. The classifier is `kphys.cnn_classifier` with three stages, trained on shifted digits as in `mnist_accuracy.py`.
Of 10,000 samples the aim is that it sees all ten digits, with an entropy of at least 2.2 nats, in all samples and in
the good ones, and that 85 % are good: it gives them a probability of at least 0.9. What it says of the 5,000 real
digits stands beside: how many samples are good hangs on how sure the classifier is of anything, and so on how long it
was trained. The samples of seed 0 go into a picture after every epoch.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import keras
import numpy as np
from _compare import digits
from mnist_accuracy import TRAINED, accuracy, trained

from kphys.callbacks.image_logger import square
from kphys.models.adversarial import dcgan, mode_coverage

RATE = 2e-4  # Of both networks, as in Radford et al.


def main() -> None:
    """Trains both and prints a line an epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--classifier-epochs", type=int, default=5)
    parser.add_argument("--guard", choices=("replay", "minibatch_stddev"), help="default: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=pathlib.Path, default=pathlib.Path("mnist_gan.png"))
    given = parser.parse_args()
    keras.utils.set_random_seed(given.seed)
    x, y = digits(50_000, (28, 28, 1))
    classifier = trained(x, y, "plain", given.classifier_epochs, given.seed)
    print(f"classifier: {accuracy(classifier, x, y):.2%} of {len(x) - TRAINED} digits right", flush=True)
    print(f"real digits: {mode_coverage(x[TRAINED:], classifier)}", flush=True)

    model = dcgan((28, 28, 1), 100, mode_collapse_guard=given.guard, seed=given.seed)

    def report(epoch: int, logs: dict[str, float]) -> None:
        samples = model.sample(10_000, seed=0)
        probabilities = classifier.predict(samples, verbose=0)
        coverage, every = (mode_coverage(samples, lambda _: probabilities, threshold=least) for least in (0.9, 0.0))
        figures = ", ".join(f"{name} {value:.3f}" for name, value in logs.items())
        coverage = f"{coverage} (entropy of all {every.entropy:.2f})"
        print(f"epoch {epoch + 1}, {time.perf_counter() - start:.0f} s: {coverage}; {figures}", flush=True)
        save(samples[:64], given.picture)

    def falling(epoch: int, rate: float) -> float:
        return RATE * min(1.0, 2 * (given.epochs - epoch) / (given.epochs + 1))

    start = time.perf_counter()
    callbacks = [keras.callbacks.LearningRateScheduler(falling), keras.callbacks.LambdaCallback(on_epoch_end=report)]
    model.fit(x[:TRAINED], batch_size=given.batch_size, epochs=given.epochs, verbose=0, callbacks=callbacks)
    print(f"the samples are in {given.picture}")


def save(images: np.ndarray, path: pathlib.Path) -> None:
    """Writes images in a square."""
    import matplotlib.image

    matplotlib.image.imsave(path, square(images)[..., 0], cmap="gray", vmin=0, vmax=1)


if __name__ == "__main__":
    main()
