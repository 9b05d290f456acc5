"""Training speed of a DCGAN on images of MNIST's shape, 28 × 28, in batches of 128.

    python benchmarks/gan.py [--repeats 3] [--epochs 3] [--samples 6400] [--batch-size 128]

The same networks and optimizers three times: `kphys.dcgan` with its defaults; Keras written by hand as its
documentation does it, with real and generated images joined into one batch of the discriminator and new codes for the
generator's phase; PyTorch as in its tutorial, with everything in memory, shuffled indices and the fused Adam. PyTorch
and kphys train both networks on the same fakes. All log both losses, kphys two accuracies too. The ratio is how many
times faster kphys trains than the row; the aim is at least 1 for both. The quality is the Fréchet distance between
5,000 samples and as many other digits, both taken as Gaussian along the digits' first 50 principal axes: smaller is
better, and 0 would be best.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from _compare import EPOCH_COLUMNS, QUALITY, TESTED, Clock, Figures, arguments, compare, digits, fit_keras, with_torch

CODES, RATE, BETA_1 = 100, 2e-4, 0.5
DRAWN = 5_000  # Samples to judge by.


def kphys(given: argparse.Namespace) -> Figures:
    """Trains what the builder gives."""
    from kphys.models.adversarial import dcgan

    model = dcgan((28, 28, 1), CODES)
    figures = fit_keras(model, digits(given.samples, (28, 28, 1))[0], None, given)
    return {**figures, QUALITY: frechet_distance(model.sample(DRAWN))}


def frechet_distance(samples: Any) -> float:
    """Gives |m − m'|² + tr(C + C' − 2 (C C')^½) of means and covariances of samples and other digits, in [0, 1]."""
    import numpy as np
    from sklearn.decomposition import PCA

    real = digits(50_000, (784,), TESTED)[0]
    axes = PCA(50, random_state=0).fit(real)
    (mean, covariance), (other_mean, other) = (
        (plane.mean(axis=0), np.cov(plane.T)) for plane in map(axes.transform, (real, samples.reshape(-1, 784)))
    )
    both = np.sqrt(np.maximum(np.linalg.eigvals(covariance @ other).real, 0)).sum()
    return float(((mean - other_mean) ** 2).sum() + np.trace(covariance + other) - 2 * both)


def by_hand(given: argparse.Namespace) -> Figures:
    """Trains what the Keras documentation shows."""
    import keras
    import tensorflow as tf
    from keras import layers

    def normalized() -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)

    generator = keras.Sequential(
        [
            keras.Input((CODES,)),
            layers.Dense(4 * 4 * 256, use_bias=False),
            layers.Reshape((4, 4, 256)),
            normalized(),
            layers.ReLU(),
            layers.Conv2DTranspose(128, 4, strides=2, padding="same", output_padding=1, use_bias=False),
            normalized(),
            layers.ReLU(),
            layers.Conv2DTranspose(64, 4, strides=2, padding="same", use_bias=False),
            normalized(),
            layers.ReLU(),
            layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(64, 4, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Conv2D(128, 4, strides=2, padding="same", use_bias=False),
            normalized(),
            layers.LeakyReLU(0.2),
            layers.Conv2D(256, 4, strides=2, padding="same", use_bias=False),
            normalized(),
            layers.LeakyReLU(0.2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )

    class GAN(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.generator, self.discriminator = generator, discriminator
            self.built = True
            self.trackers = [keras.metrics.Mean(name=name) for name in ("generator_loss", "discriminator_loss")]

        @property
        def metrics(self) -> list[Any]:
            return self.trackers

        def train_step(self, real: Any) -> dict[str, Any]:
            batch = tf.shape(real)[0]
            fakes = generator(tf.random.normal((batch, CODES)), training=True)
            labels = tf.concat([tf.ones((batch, 1)), tf.zeros((batch, 1))], axis=0)
            with tf.GradientTape() as tape:
                logits = discriminator(tf.concat([real, fakes], axis=0), training=True)
                d_loss = self.loss(labels, logits)
            variables = discriminator.trainable_weights
            self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, variables), variables, strict=True))
            with tf.GradientTape() as tape:
                fakes = generator(tf.random.normal((batch, CODES)), training=True)
                g_loss = self.loss(tf.ones((batch, 1)), discriminator(fakes, training=True))
            variables = generator.trainable_weights
            self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, variables), variables, strict=True))
            for tracker, loss in zip(self.trackers, (g_loss, d_loss), strict=True):
                tracker.update_state(loss)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    model = GAN()
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.g_optimizer, model.d_optimizer = (keras.optimizers.Adam(RATE, beta_1=BETA_1) for _ in range(2))
    figures = fit_keras(model, 2 * digits(given.samples, (28, 28, 1))[0] - 1, None, given)
    samples = generator.predict(keras.random.normal((DRAWN, CODES)), verbose=0)
    return {**figures, QUALITY: frechet_distance((samples + 1) / 2)}


def torch_loop(given: argparse.Namespace) -> Figures:
    """Trains the same in PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    twice = {"kernel_size": 4, "stride": 2, "padding": 1}
    once_less = {"kernel_size": 4, "stride": 2, "padding": 2}  # Between maps of 4 and 7 pixels.
    generator = nn.Sequential(
        nn.Linear(CODES, 4 * 4 * 256, bias=False),
        nn.Unflatten(1, (256, 4, 4)),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 128, bias=False, output_padding=1, **once_less),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, bias=False, **twice),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, **twice),
        nn.Tanh(),
    ).to(memory_format=torch.channels_last)
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, **twice),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, bias=False, **twice),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, bias=False, **once_less),
        nn.BatchNorm2d(256),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 256, 1),
    ).to(memory_format=torch.channels_last)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=RATE, betas=(BETA_1, 0.999), fused=True)
        for network in (generator, discriminator)
    ]
    images = 2 * torch.from_numpy(digits(given.samples, (1, 28, 28))[0]) - 1
    loss_of = nn.functional.binary_cross_entropy_with_logits
    clock = Clock()
    for _ in range(given.epochs):
        totals = torch.zeros(2)
        for batch in torch.randperm(len(images)).split(given.batch_size):
            ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
            fakes = generator(torch.randn(len(batch), CODES))
            optimizers[1].zero_grad(set_to_none=True)
            d_loss = loss_of(discriminator(images[batch]), ones) + loss_of(discriminator(fakes.detach()), zeros)
            d_loss.backward()
            optimizers[1].step()
            optimizers[0].zero_grad(set_to_none=True)
            # The discriminator's own gradients are not asked for in this phase.
            discriminator.requires_grad_(False)
            g_loss = loss_of(discriminator(fakes), ones)
            g_loss.backward()
            discriminator.requires_grad_(True)
            optimizers[0].step()
            totals += torch.stack([g_loss.detach(), d_loss.detach()]) * len(batch)
        totals.tolist()
        clock.mark()
    with torch.no_grad():
        samples = torch.cat([generator.eval()(torch.randn(100, CODES)) for _ in range(DRAWN // 100)])
    return {**clock.figures(len(images)), QUALITY: frechet_distance(((samples + 1) / 2).numpy())}


if __name__ == "__main__":
    contestants = with_torch({"kphys": kphys, "Keras by hand": by_hand}, PyTorch=torch_loop)
    given = arguments(__doc__, epochs=3, samples=6_400, batch_size=128)
    compare({"DCGAN": contestants}, given, (*EPOCH_COLUMNS, QUALITY))
