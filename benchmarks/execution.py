"""What else than the settings of `kphys/models/_execution.py` might make a training faster, and whether it does.

    python benchmarks/execution.py [--repeats 3] [--epochs 3] [--samples 6400] [--only VAE]

On images of MNIST's shape, as in a long training from the first step on: with XLA; without it; without it and with
Keras' dozen operations for Adam in place of one kernel; bfloat16 (Keras' policy "mixed_bfloat16"); one thread in place
of one a core for the inside of an operation; one operation at a time; and for a recurrent network its loop over time
written out. "answers": images a second by `predict` of a network with batch normalization, and with the normalization
folded into the kernels before it, which `fast_call` and `predict` could do. The ratio is how many times faster what a
long training has is.
"""

from __future__ import annotations

import argparse
import functools
import time
from typing import Any

import numpy as np
from _compare import QUALITY, SPEED, Figures, Groups, arguments, as_if_long, compare, digits, fit_keras

FAMILIES: dict[str, tuple[str, tuple[int, ...], int, dict[str, Any]]] = {
    "MLP, batches of 32": ("mlp_classifier", (784,), 32, {"hidden_units": (300, 100)}),
    "MLP, batches of 512": ("mlp_classifier", (784,), 512, {"hidden_units": (300, 100)}),
    "CNN": ("cnn_classifier", (28, 28, 1), 32, {"filters": (32, 64), "hidden_units": 128}),
    "LSTM": ("rnn_classifier", (28, 28), 32, {"units": 64}),
    "autoencoder": ("autoencoder", (784,), 32, {"hidden_units": 100}),
    "convolutional autoencoder": ("conv_autoencoder", (28, 28, 1), 32, {}),
    "VAE": ("vae", (784,), 32, {"hidden_units": 400}),
    "convolutional VAE": ("conv_vae", (28, 28, 1), 32, {}),
}


def trained(given: argparse.Namespace, family: str, **settings: Any) -> Figures:
    """Trains one network and gives the figures of its epochs."""
    import keras
    import tensorflow as tf

    import kphys

    tf.config.threading.set_intra_op_parallelism_threads(settings.get("inside", 0))
    tf.config.threading.set_inter_op_parallelism_threads(settings.get("beside", 0))
    keras.config.set_dtype_policy(settings.get("policy", "float32"))
    builder, shape, given.batch_size, options = FAMILIES[family]
    if settings.get("operations"):
        options = {**options, "optimizer": adam_of_operations()}
    model = as_if_long(getattr(kphys, builder)(shape, 10, **options), settings.get("xla"))
    for layer in model.layers:
        if settings.get("unroll") and hasattr(layer, "unroll"):
            layer.unroll = True
    x, y = digits(given.samples, shape)
    return fit_keras(model, x, y if builder.endswith("classifier") else None, given)


def adam_of_operations() -> Any:
    """Gives Keras' Adam as a class of the user's own, whose steps kphys leaves alone."""
    import keras

    class Adam(keras.optimizers.Adam):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate)

    return Adam()


def answers(given: argparse.Namespace, folded: bool) -> Figures:
    """Gives the images a second that a network with batch normalization, or with it folded away, answers."""
    from kphys import cnn_classifier

    x, y = digits(given.samples, (28, 28, 1))
    model = cnn_classifier((28, 28, 1), 10, filters=(32, 64), hidden_units=128, batch_normalization=True, seed=0)
    model.fit(x, y, epochs=1, verbose=0)
    model = without_normalization(model) if folded else model
    seconds = []
    for _ in range(given.epochs + 1):
        start = time.perf_counter()
        model.predict(x, verbose=0)
        seconds.append(time.perf_counter() - start)
    return {SPEED: len(x) / min(seconds[1:])}


def without_normalization(model: Any) -> Any:
    """Gives a network that answers alike, with every normalization in the kernel and the bias before it."""
    from kphys import cnn_classifier

    plain = cnn_classifier((28, 28, 1), 10, filters=(32, 64), hidden_units=128, batch_normalization=False)
    target = iter([layer for layer in plain.layers if layer.weights])
    pending = None
    for layer in [layer for layer in model.layers if layer.weights]:
        if "BatchNormalization" not in type(layer).__name__:
            pending = next(target)
            kernel, *bias = layer.get_weights()
            pending.set_weights([kernel, *(bias or [np.zeros(kernel.shape[-1])])])
            continue
        scale, shift, mean, variance = layer.get_weights()
        factor, (kernel, bias) = scale / np.sqrt(variance + layer.epsilon), pending.get_weights()
        pending.set_weights([kernel * factor, (bias - mean) * factor + shift])
    probe = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
    np.testing.assert_allclose(plain.predict(probe, verbose=0), model.predict(probe, verbose=0), atol=1e-4)
    return plain


def groups() -> Groups:
    """Gives all contestants."""
    ways: dict[str, dict[str, Any]] = {
        "as built": {},
        "XLA": {"xla": True},
        "no XLA": {"xla": False},
        "no XLA, Adam of operations": {"xla": False, "operations": True},
        "bfloat16": {"policy": "mixed_bfloat16"},
        "one thread": {"inside": 1},
        "one operation at a time": {"beside": 1},
    }
    found: Groups = {
        family: {way: functools.partial(trained, family=family, **settings) for way, settings in ways.items()}
        for family in FAMILIES
    }
    found["LSTM"]["written out"] = functools.partial(trained, family="LSTM", unroll=True)
    found["answers"] = {
        "as built": functools.partial(answers, folded=False),
        "folded": functools.partial(answers, folded=True),
    }
    return found


if __name__ == "__main__":
    given = arguments(__doc__, only=groups(), epochs=3, samples=6_400)
    chosen = {name: ways for name, ways in groups().items() if name in given.only}
    compare(chosen, given, ("first epoch [s]", SPEED, "CPU [s]", QUALITY))
