"""What clipping gradients costs a training step: kphys' callback beside the optimizer's own clipping and none.

    python benchmarks/gradient_clipping.py [--repeats 3] [--epochs 4] [--samples 12800] [--batch-size 32]

kphys' perceptron 784-300-100-10, convolutional network and LSTM of 64 units on images of MNIST's shape. The callback
also looks for steps that are not finite, measures the gradients' norm and counts the clipped steps. The ratio is how
many times faster training without clipping is than the row: 1.03 means that clipping costs 3 %, which is the aim.
"""

from __future__ import annotations

import argparse
import functools

from _compare import EPOCH_COLUMNS, SPEED, Figures, arguments, compare, digits, fit_keras

STEP = "step [µs]"
BUILDERS = {
    "MLP": ("mlp_classifier", (784,), {"hidden_units": (300, 100)}),
    "CNN": ("cnn_classifier", (28, 28, 1), {}),
    "LSTM": ("rnn_classifier", (28, 28), {"units": 64}),
}
WAYS = {
    "none": (None, {}),
    "GradientClipping": ({"global_norm": 1.0}, {}),
    "GradientClipping, percentile": ({"percentile": 10}, {}),
    "GradientClipping, adaptive": ({"adaptive": 0.01}, {}),
    "global_clipnorm": (None, {"global_clipnorm": 1.0}),
}


def train(given: argparse.Namespace, family: str, way: str) -> Figures:
    """Trains one network with one kind of clipping."""
    import keras

    import kphys
    from kphys.callbacks import GradientClipping

    builder, shape, options = BUILDERS[family]
    clipping, own = WAYS[way]
    model = getattr(kphys, builder)(shape, 10, optimizer=keras.optimizers.Adam(**own), **options)
    callbacks = [GradientClipping(**clipping)] if clipping else []
    figures = fit_keras(model, *digits(given.samples, shape), given, callbacks)
    return {**figures, STEP: 1e6 * given.batch_size / figures[SPEED]}


if __name__ == "__main__":
    groups = {family: {way: functools.partial(train, family=family, way=way) for way in WAYS} for family in BUILDERS}
    given = arguments(__doc__, epochs=4, samples=12_800, batch_size=32)
    compare(groups, given, (STEP, *EPOCH_COLUMNS))
