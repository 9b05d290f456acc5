"""What clipping gradients costs a training step: kphys' callback beside the optimizer's own clipping and none.

    python benchmarks/gradient_clipping.py [--repeats 3] [--epochs 4] [--samples 45000]

`kphys.mlp_classifier`, 784-300-100-10 on images of MNIST's shape, in batches of 32 and of 512. The callback also
measures the gradients' norm and counts the clipped steps. The ratio is how many times faster training without
clipping is than the row: 1.05 means that clipping costs 5 %.
"""

from __future__ import annotations

import argparse
import functools

from _compare import EPOCH_COLUMNS, SPEED, Figures, arguments, compare, digits, fit_keras

STEP = "step [µs]"
THRESHOLD = 1.0


def train(
    given: argparse.Namespace, batch_size: int, global_clipnorm: float | None = None, callback: bool = False
) -> Figures:
    """Trains one network with one kind of clipping."""
    import keras

    from kphys import mlp_classifier
    from kphys.callbacks import GradientClipping

    given.batch_size = batch_size
    optimizer = keras.optimizers.Adam(global_clipnorm=global_clipnorm)
    model = mlp_classifier(784, 10, hidden_units=(300, 100), optimizer=optimizer)
    callbacks = [GradientClipping(global_norm=THRESHOLD)] if callback else []
    figures = fit_keras(model, *digits(given.samples, (784,)), given, callbacks)
    return {**figures, STEP: 1e6 * batch_size / figures[SPEED]}


def contestants(batch_size: int) -> dict[str, functools.partial[Figures]]:
    """Gives the three kinds of clipping at one batch size."""
    ways = {
        "none": {},
        "GradientClipping": {"callback": True},
        "global_clipnorm": {"global_clipnorm": THRESHOLD},
    }
    return {name: functools.partial(train, batch_size=batch_size, **way) for name, way in ways.items()}


if __name__ == "__main__":
    groups = {f"batch {size}": contestants(size) for size in (32, 512)}
    given = arguments(__doc__, epochs=4, samples=45_000)
    compare(groups, given, (STEP, *EPOCH_COLUMNS))
