"""Training speed and memory of autoencoders and a variational one on images of MNIST's shape.

    python benchmarks/autoencoders.py [--repeats 3] [--epochs 4] [--samples 25600] [--batch-size 32]
    python benchmarks/autoencoders.py --memory 50

Four networks, each as kphys' builder gives it; the same where TensorFlow gives the inside of an operation one thread in
place of one a core; as Keras written by hand with its defaults; in PyTorch with everything in memory, shuffled indices
and the fused Adam. The ratio is how many times faster kphys trains than the row.

| group | network | goal over Keras, PyTorch |
| --- | --- | --- |
| dense | `autoencoder`, 784-100-30-100-784 | 1.5, 1.0 |
| convolutional | `conv_autoencoder` with the lecture's table; an eighth of the samples | none |
| variational | `vae`, 784-400-40-400-784, Bernoulli pixels | 1.5, 1.0 |
| convolutional variational | `conv_vae` of 32 and 64 filters, 10 codes, Bernoulli pixels; an eighth, too | none |

The quality is the squared error a pixel of other digits' reconstructions, of a variational autoencoder from the mean of
their codes: smaller is better. kphys' peak of memory is to be at most 1.1 times that of Keras by hand. `--memory 50`
trains instead an autoencoder, a variational one and a DCGAN for 50 epochs on little data, and prints the memory held
after the second epoch and after the last: it is not to grow.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any

from _compare import (
    EPOCH_COLUMNS,
    QUALITY,
    TESTED,
    Clock,
    Figures,
    arguments,
    compare,
    digits,
    fit_keras,
    in_every_group,
    print_table,
    with_torch,
)

GROUPS = ("dense", "convolutional", "variational", "convolutional variational")
CODES = {"dense": 30, "variational": 40, "convolutional variational": 10}
HIDDEN = {"dense": 100, "variational": 400}


def images(group: str, given: argparse.Namespace, channels_first: bool = False) -> Any:
    """Gives the images that a group trains on."""
    if not group.startswith("convolutional"):
        return digits(given.samples, (784,))[0]
    return digits(given.samples // 8, (1, 28, 28) if channels_first else (28, 28, 1))[0]


def kphys(group: str, given: argparse.Namespace, threads: int = 0) -> Figures:
    """Trains what the builder gives; 0 `threads` for the inside of an operation are TensorFlow's own choice."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = built(group)
    figures = fit_keras(model, images(group, given), None, given)
    return {**figures, QUALITY: error(group, lambda x: model.predict(x, verbose=0))}


def error(group: str, reconstruct: Callable[[Any], Any], channels_first: bool = False) -> float:
    """Gives the squared error a pixel of digits that were not trained on."""
    shape = (784,) if not group.startswith("convolutional") else (1, 28, 28) if channels_first else (28, 28, 1)
    x = digits(50_000, shape, TESTED)[0]
    return float(((reconstruct(x) - x) ** 2).mean())


def built(group: str) -> Any:
    """Gives the model of a group."""
    from kphys.models.autoencoders import autoencoder, conv_autoencoder
    from kphys.models.variational import conv_vae, vae

    if group == "convolutional":
        return conv_autoencoder((28, 28, 1))
    if group == "convolutional variational":
        return conv_vae((28, 28, 1), CODES[group])
    builder = {"dense": autoencoder, "variational": vae}[group]
    return builder(784, CODES[group], hidden_units=(HIDDEN[group],))


def by_hand(group: str, given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    x = images(group, given)
    if group.endswith("variational"):
        model = keras_vae(group)
        figures = fit_keras(model, x, None, given)
        return {**figures, QUALITY: error(group, lambda x: model.decoder(model.encoder(x)[0]).numpy())}
    model = {"dense": keras_dense, "convolutional": keras_convolutional}[group]()
    model.compile("adam", "mse", metrics=["mse"])
    return {**fit_keras(model, x, x, given), QUALITY: error(group, lambda x: model.predict(x, verbose=0))}


def keras_dense() -> Any:
    """Gives 784-100-30-100-784."""
    import keras
    from keras.layers import Dense

    hidden, codes = HIDDEN["dense"], CODES["dense"]
    layers = [Dense(hidden, activation="relu"), Dense(codes), Dense(hidden, activation="relu"), Dense(784)]
    return keras.Sequential([keras.Input((784,)), *layers])


def keras_convolutional() -> Any:
    """Gives the lecture's convolutional autoencoder."""
    import keras
    from keras.layers import Conv2D, MaxPooling2D, UpSampling2D

    layers: list[Any] = [keras.Input((28, 28, 1))]
    for filters in (16, 8, 8):
        layers += [Conv2D(filters, 3, padding="same", activation="relu"), MaxPooling2D(padding="same")]
    for filters, padding in ((8, "same"), (8, "same"), (16, "valid")):
        layers += [Conv2D(filters, 3, padding=padding, activation="relu"), UpSampling2D()]
    return keras.Sequential([*layers, Conv2D(1, 3, padding="same")])


def keras_coders(group: str) -> tuple[Any, Any]:
    """Gives encoder and decoder of a variational autoencoder."""
    import keras
    from keras import layers

    codes = CODES[group]
    if group == "variational":
        inputs = keras.Input((784,))
        features = layers.Dense(HIDDEN[group], activation="relu")(inputs)
        back = [layers.Dense(HIDDEN[group], activation="relu"), layers.Dense(784, activation="sigmoid")]
    else:
        half = {"kernel_size": 3, "strides": 2, "padding": "same"}
        inputs = keras.Input((28, 28, 1))
        features = layers.Conv2D(32, activation="relu", **half)(inputs)
        features = layers.Flatten()(layers.Conv2D(64, activation="relu", **half)(features))
        back = [
            layers.Dense(7 * 7 * 64, activation="relu"),
            layers.Reshape((7, 7, 64)),
            layers.Conv2DTranspose(32, activation="relu", **half),
            layers.Conv2DTranspose(1, activation="sigmoid", **half),
        ]
    encoder = keras.Model(inputs, [layers.Dense(codes)(features), layers.Dense(codes)(features)])
    return encoder, keras.Sequential([keras.Input((codes,)), *back])


def keras_vae(group: str) -> Any:
    """Gives the variational autoencoder of Keras' examples, compiled."""
    import keras
    import tensorflow as tf
    from keras import ops

    encoder, decoder = keras_coders(group)

    class HandWritten(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.built = True
            self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction_loss", "kl_loss")]

        @property
        def metrics(self) -> list[Any]:
            return self.trackers

        def train_step(self, x: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                mean, log_variance = encoder(x)
                noise = keras.random.normal(ops.shape(mean))
                outputs = decoder(mean + ops.exp(0.5 * log_variance) * noise)
                errors = ops.reshape(ops.binary_crossentropy(x, outputs), (-1, 784))
                pixels = ops.mean(ops.sum(errors, axis=-1))
                kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
                kl = ops.mean(ops.sum(kl, axis=-1))
                loss = pixels + kl
            variables = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            for tracker, value in zip(self.trackers, (loss, pixels, kl), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    model = HandWritten()
    model.compile("adam")
    return model


def torch_loop(group: str, given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    x = torch.from_numpy(images(group, given, channels_first=True))
    if group.startswith("convolutional"):
        x = x.to(memory_format=torch.channels_last)
    network, loss_of, reconstruct = torch_parts(group)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    clock = Clock()
    for _ in range(given.epochs):
        totals = 0
        for batch in torch.randperm(len(x)).split(given.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss, *others = loss_of(x[batch])
            loss.backward()
            optimizer.step()
            totals = totals + torch.stack([loss.detach(), *others]) * len(batch)
        totals.tolist()
        clock.mark()
    with torch.no_grad():
        quality = error(group, lambda x: reconstruct(torch.from_numpy(x)).numpy(), channels_first=True)
    return {**clock.figures(len(x)), QUALITY: quality}


def torch_parts(group: str) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Callable[[Any], Any]]:
    """Gives a group's network, its losses of a batch, the one to learn from first, and its reconstructions."""
    from torch.nn import functional

    if group.endswith("variational"):
        return torch_vae(group)
    network = torch_autoencoder(group)

    def loss_of(x: Any) -> tuple[Any, ...]:
        loss = functional.mse_loss(network(x), x)
        return loss, loss.detach()

    return network, loss_of, network


def torch_autoencoder(group: str) -> Any:
    """Gives the dense or the convolutional autoencoder."""
    import torch
    from torch import nn

    if group == "dense":
        hidden, codes = HIDDEN[group], CODES[group]
        sizes = ((784, hidden), (hidden, codes), (codes, hidden), (hidden, 784))
        first, code, back, outputs = (nn.Linear(*size) for size in sizes)
        return nn.Sequential(first, nn.ReLU(), code, back, nn.ReLU(), outputs)
    layers: list[Any] = []
    for before, after in ((1, 16), (16, 8), (8, 8)):
        layers += [nn.Conv2d(before, after, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
    for before, after, padding in ((8, 8, "same"), (8, 8, "same"), (8, 16, "valid")):
        layers += [nn.Conv2d(before, after, 3, padding=padding), nn.ReLU(), nn.Upsample(scale_factor=2)]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding="same")).to(memory_format=torch.channels_last)


def torch_vae(group: str) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Callable[[Any], Any]]:
    """Gives what `torch_parts` does of a variational autoencoder."""
    import torch
    from torch import nn

    codes = CODES[group]
    # One matrix for mean and log-variance: one product in place of two.
    if group == "variational":
        hidden = HIDDEN[group]
        encoder = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 2 * codes))
        decoder = nn.Sequential(nn.Linear(codes, hidden), nn.ReLU(), nn.Linear(hidden, 784))
    else:
        half = {"kernel_size": 3, "stride": 2, "padding": 1}
        down = [nn.Conv2d(1, 32, **half), nn.ReLU(), nn.Conv2d(32, 64, **half), nn.ReLU(), nn.Flatten()]
        encoder = nn.Sequential(*down, nn.Linear(7 * 7 * 64, 2 * codes)).to(memory_format=torch.channels_last)
        twice = {**half, "output_padding": 1}
        up = [nn.ConvTranspose2d(64, 32, **twice), nn.ReLU(), nn.ConvTranspose2d(32, 1, **twice)]
        first = [nn.Linear(codes, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))]
        decoder = nn.Sequential(*first, *up).to(memory_format=torch.channels_last)

    def loss_of(x: Any) -> tuple[Any, ...]:
        mean, log_variance = encoder(x).chunk(2, dim=1)
        logits = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        pixels = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(x)
        return pixels + kl, pixels.detach(), kl.detach()

    def reconstruct(x: Any) -> Any:
        return decoder(encoder(x).chunk(2, dim=1)[0]).sigmoid()

    return nn.ModuleList([encoder, decoder]), loss_of, reconstruct


def print_memory(epochs: int, samples: int = 1280) -> None:
    """Trains three models for `epochs` and prints the memory held on the way, in MB."""
    import keras

    from kphys.models.adversarial import dcgan

    models = {group: (built(group), digits(samples, (784,))[0]) for group in ("dense", "variational")}
    models["DCGAN"] = dcgan((28, 28, 1), 100, filters=(8, 16)), digits(samples, (28, 28, 1))[0]
    rows = [["MB held", "after epoch 2", f"after epoch {epochs}", "more"]]
    for name, (model, x) in models.items():
        held: list[float] = []
        callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, held=held: held.append(megabytes()))
        model.fit(x, batch_size=128, epochs=epochs, verbose=0, callbacks=[callback])
        rows.append([name, *(f"{value:.1f}" for value in (held[1], held[-1], held[-1] - held[1]))])
    print_table(rows)


def megabytes() -> float:
    """Gives the memory that this process holds now, on Linux."""
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    given = arguments(__doc__, epochs=4, samples=25_600, batch_size=32, memory=0)
    if given.memory:
        print_memory(given.memory)
    else:
        one_thread = {"kphys, one thread an operation": functools.partial(kphys, threads=1)}
        everyone = with_torch({"kphys": kphys, **one_thread, "Keras by hand": by_hand}, PyTorch=torch_loop)
        compare(in_every_group(GROUPS, everyone), given, (*EPOCH_COLUMNS, QUALITY))
