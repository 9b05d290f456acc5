"""Is the better network better, or was it lucky? Three networks read handwritten digits, each five times.

A single split of 1,797 digits tests on a few hundred, and which ones they are decides the third digit of the accuracy.
Cross-validation trains on four fifths and tests on the last, five times with another fifth, so that every digit is
tested once. The spread over the folds says how much of a difference is luck.

    python examples/cross_validation.py comparison.png
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

from kphys import cnn_classifier, cross_validate, mlp_classifier
from kphys.datasets import digits

# From few to many assumptions: `build(seed)` gives a new model for each fold.
NETWORKS = {
    "MLP, 16 units": lambda seed: mlp_classifier((8, 8, 1), 10, hidden_units=16, seed=seed),
    "MLP, 2 × 100 units": lambda seed: mlp_classifier((8, 8, 1), 10, hidden_units=(100, 100), seed=seed),
    "CNN, 16 and 32 filters": lambda seed: cnn_classifier((8, 8, 1), 10, filters=(16, 32), seed=seed),
}


def main(plot=None, quick=False):
    """Prints the accuracies with their errors and gives them back by name; saves a figure to the file `plot`."""
    (x, y), (x_rest, y_rest) = digits.load_data()
    x, y = np.concatenate([x, x_rest]), np.concatenate([y, y_rest])
    folds, epochs = (2, 10) if quick else (5, 20)

    # The same seed cuts the same folds for every network: differences fold by fold cancel what is easy or hard in them.
    results = {name: cross_validate(build, x, y, folds=folds, epochs=epochs) for name, build in NETWORKS.items()}
    for name, result in results.items():
        print(f"{name:24}accuracy {result['accuracy']}")

    first, *_, last = results
    gain = results[last].per_fold["accuracy"] - results[first].per_fold["accuracy"]
    error = gain.std(ddof=1) / np.sqrt(folds)
    print(f"\n{last} against {first}: {gain.mean():+.3f} ± {error:.3f} in the same folds.")

    if plot:
        figure, axes = plt.subplots(layout="constrained")
        for name, result in results.items():
            value, error = result["accuracy"]
            axes.errorbar(value, name, xerr=error, fmt="o", capsize=4)
            axes.plot(result.per_fold["accuracy"], [name] * folds, "k|")
        axes.set(xlabel="accuracy; bars: each fold", title=f"{folds} folds of {len(x):,} digits")
        figure.savefig(plot)
        plt.close(figure)
    return {name: result["accuracy"].value for name, result in results.items()}


if __name__ == "__main__":
    main(*sys.argv[1:2])
