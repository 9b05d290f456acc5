"""The class of generative adversarial networks: two networks, two optimizers, two phases in a training step."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.models._gan_files import SavedGAN
from kphys.models._gan_parts import (
    check_gan_networks,
    check_gan_samples,
    discriminator_loss,
    generator_loss,
    refuse_targets,
)
from kphys.models._guards import GUARDS, ReplayBuffer
from kphys.models._optimizer_pair import Optimizer, OptimizerPair, checked_optimizer, with_scaling
from kphys.models._targetless import check_each
from kphys.models._training import keep_keras_promises

_LOGS = ("generator_loss", "discriminator_loss", "real_accuracy", "fake_accuracy")


@keras.saving.register_keras_serializable("kphys")
class DCGAN(SavedGAN, keras.Model):
    """A generative adversarial network made of a generator and a discriminator.

    The generator G makes samples of codes z from N(0, 1), the discriminator D gives the probability that a sample x is
    real. A training step has two phases on one batch of codes: D descends on −ln D(x) − ln(1 − D(G(z))), then G on
    −ln D(G(z)), which has the same fixed point as ln(1 − D(G(z))) and a slope where D is sure.

    `fit(x)` and `evaluate(x)` take samples alone, as an array or a data set, and log `generator_loss` and
    `discriminator_loss` in nats, `real_accuracy` and `fake_accuracy`, the shares of what D is shown that it takes for
    what it is. At the fixed point, D = ½, they are ln 2, 2 ln 2, and ½ each by chance; a falling loss is no sign of
    better samples. `evaluate` takes the same codes every time, and both networks as they are used, not as they are
    trained: batch normalization with its moving averages.

    `predict` makes samples of codes, `(batch, latent_dim)`; so does calling the model, which gives pixels in [0, 1].

    Args:
        generator: G, a functional or Sequential Keras model, `(batch, latent_dim)` to `(batch, *sample_shape)`; pixels
            are from −1 to 1.
        discriminator: D, one from `(batch, *sample_shape)` to its logit, `(batch, 1)`.
        mode_collapse_guard: What keeps G from making few kinds of samples. "replay": half of the fakes that D is shown
            are of earlier steps; "minibatch_stddev": D has a `MinibatchStddev` layer, which is asked for; `None`:
            nothing.
        replay_capacity: Number of steps that "replay" reaches back, one fake each. `None`: 1024.
        scale_pixels: `True`: samples are images, floating from 0 to 1 or uint8 from 0 to 255, which both networks see
            from −1 to 1; `sample` and `predict` give them as they were trained on last. `False`: numbers of any size,
            which the networks see as they are.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes the codes of training. `None`: new ones each time.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or networks that do not fit; the message says
            the mend.

    Reference:
        Goodfellow et al., 2014, "Generative adversarial nets"; Radford, Metz and Chintala, 2016, "Unsupervised
        representation learning with deep convolutional generative adversarial networks".

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from kphys.models.adversarial import DCGAN
        >>> layers = keras.layers
        >>> generator = keras.Sequential([keras.Input((4,)), layers.Dense(16, "relu"), layers.Dense(2)])
        >>> discriminator = keras.Sequential([keras.Input((2,)), layers.Dense(16, "relu"), layers.Dense(1)])
        >>> model = DCGAN(generator, discriminator, mode_collapse_guard="replay", scale_pixels=False, seed=0)
        >>> model.compile("adam", keras.optimizers.Adam(4e-4))
        >>> history = model.fit(np.random.default_rng(0).normal(size=(64, 2)), verbose=0)
        >>> sorted(history.history)
        ['discriminator_loss', 'fake_accuracy', 'generator_loss', 'real_accuracy']
        >>> model.sample(3, seed=0).shape
        (3, 2)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        mode_collapse_guard: str | None = None,
        replay_capacity: int | None = None,
        scale_pixels: bool = True,
        check_data: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if mode_collapse_guard is not None:
            _arguments.choice("mode_collapse_guard", mode_collapse_guard, GUARDS, also=", or None")
        self.mode_collapse_guard = mode_collapse_guard
        self.scale_pixels = _arguments.flag("scale_pixels", scale_pixels)
        self.check_data = _arguments.flag("check_data", check_data)
        check_gan_networks(generator, discriminator, mode_collapse_guard, self.scale_pixels)
        self.generator, self.discriminator = generator, discriminator
        self.replay = self._replay_buffer(replay_capacity)
        self.seed = _arguments.seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        # TensorFlow's own variable: a fact about the data, which Keras shall not count among the weights.
        self._white = tf.Variable(1.0, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        self._trackers = [keras.metrics.Mean(name=name) for name in _LOGS]
        self.built = True
        # As on every model of the house, but here: loaded from a file it has them, too.
        keep_keras_promises(self, self.check_arrays)

    def _replay_buffer(self, capacity: int | None) -> ReplayBuffer | None:
        if self.mode_collapse_guard != "replay":
            if capacity is not None:
                raise ValueError(
                    f"`replay_capacity` must be None with mode_collapse_guard={self.mode_collapse_guard!r}, got "
                    f'{capacity}: only "replay" has a buffer.'
                )
            return None
        capacity = 1024 if capacity is None else _arguments.integer("replay_capacity", capacity)
        buffer = ReplayBuffer(capacity, name="replay")
        buffer.build(self.generator.output_shape)
        return buffer

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch of codes, `(None, latent_dim)`."""
        return self.generator.input_shape

    @property
    def latent_dim(self) -> int:
        """The number of dimensions of the code."""
        return self.generator.input_shape[-1]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that make up the logs."""
        return self._trackers

    def compile(
        self,
        generator_optimizer: Optimizer = None,
        discriminator_optimizer: Optimizer = None,
        label_smoothing: float = 0.0,
        *,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Sets how both networks are trained.

        Args:
            generator_optimizer: Any Keras optimizer, by name or as an object. `None`: Adam with a learning rate of
                2e-4 and β₁ = 0.5, as in Radford et al.
            discriminator_optimizer: Another one, likewise.
            label_smoothing: α in [0, 1): D is taught the probability 1 − α for real samples, so that it is never too
                sure; fakes keep 0.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: As in `keras.Model.compile`.

        Reference:
            Salimans et al., 2016, "Improved techniques for training GANs" (smoothing of one side).
        """
        pair = [
            checked_optimizer(name, value)
            for name, value in (
                ("generator_optimizer", generator_optimizer),
                ("discriminator_optimizer", discriminator_optimizer),
            )
        ]
        if pair[0] is pair[1]:
            raise ValueError(
                "`generator_optimizer` and `discriminator_optimizer` must be two, as each keeps the state of its own "
                "network, got the same object twice: make a second one."
            )
        self.label_smoothing = _arguments.real("label_smoothing", label_smoothing, minimum=0, below=1)
        settings = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        super().compile(None, **settings)
        self._execution_settings = settings
        if auto_scale_loss and self.dtype_policy.name == "mixed_float16":
            pair = [with_scaling(optimizer) for optimizer in pair]
        self.generator_optimizer, self.discriminator_optimizer = pair
        for optimizer, network in zip(pair, (self.generator, self.discriminator), strict=True):
            optimizer.build(network.trainable_variables)  # Its state is saved from the start.
        self.optimizer = OptimizerPair(*pair)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Gives samples of codes; pixels are in [0, 1]."""
        samples = ops.cast(self.generator(inputs, training=training), "float32")
        return 0.5 * (samples + 1) if self.scale_pixels else samples

    @functools.wraps(keras.Model.predict, assigned=())
    def predict(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Gives samples of codes in the units of the data."""
        samples = super().predict(*args, **kwargs)
        white = float(self._white.numpy())
        return samples if white == 1 else np.clip(np.round(white * samples), 0, white).astype("uint8")

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """Gives `n` samples, of codes drawn from N(0, 1), in the units of the data, `(n, *sample_shape)`.

        Args:
            n: Number of samples.
            seed: Fixes the draws. `None`: new ones each time.
        """
        generator = np.random.default_rng(_arguments.seed("seed", seed))
        codes = generator.standard_normal((_arguments.integer("n", n), self.latent_dim), "float32")
        return self.predict(codes, batch_size=64, verbose=0)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains both networks on a batch, the discriminator first; gives the logs."""
        x = self._unpack(data)
        self._white.assign(_white(x) if self.scale_pixels else 1.0)
        real = self._seen_by_networks(x)
        codes = self._codes(real, self.seed_generator.next())
        # One batch of fakes for both phases, as in the authors' code: the tape goes on in the second.
        with tf.GradientTape() as tape:
            fakes = ops.cast(self.generator(codes, training=True), "float32")
        logs = self._train_discriminator(real, fakes)
        with tape:
            loss = generator_loss(self._logits(fakes, training=True))
            scaled = self._scaled_loss(loss, self.generator, self.generator_optimizer)
        _step(tape, scaled, self.generator, self.generator_optimizer)
        return self._logs(loss, *logs)

    def _train_discriminator(self, real: Any, fakes: Any) -> tuple[Any, Any, Any]:
        shown = fakes if self.replay is None else self.replay.exchange(fakes, self.seed_generator)
        with tf.GradientTape() as tape:
            # Apart: batch normalization over both would tell them by the company they keep.
            logits = self._logits(real, training=True), self._logits(tf.stop_gradient(shown), training=True)
            loss = discriminator_loss(*logits, self.label_smoothing)
            scaled = self._scaled_loss(loss, self.discriminator, self.discriminator_optimizer)
        _step(tape, scaled, self.discriminator, self.discriminator_optimizer)
        return loss, *logits

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates a batch; gives the logs."""
        real = self._seen_by_networks(self._unpack(data))
        # Seeded by the number of samples so far: the same codes in every evaluation, and training's stay as they are.
        codes = self._codes(real, tf.stack([0, tf.cast(self._trackers[0].count, tf.int64)]))
        fakes = ops.cast(self.generator(codes, training=False), "float32")
        logits = self._logits(real, training=False), self._logits(fakes, training=False)
        return self._logs(generator_loss(logits[1]), discriminator_loss(*logits, self.label_smoothing), *logits)

    def _codes(self, real: Any, seed: Any) -> Any:
        """Draws a code for each of `real`, on every replica others: Keras' seeds are the same on all."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.cast(seed, tf.int64) + tf.stack([0, 2**32 * tf.cast(replica, tf.int64)])
        return tf.random.stateless_normal((tf.shape(real)[0], self.latent_dim), seed)

    def _unpack(self, data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        refuse_targets(("x", "y", "sample_weight"), y, sample_weight)
        return x

    def _seen_by_networks(self, x: Any) -> Any:
        """Gives samples as the networks see them: pixels from −1 to 1."""
        values = ops.cast(x, "float32")
        return values * (2 / _white(x)) - 1 if self.scale_pixels else values

    def _logits(self, samples: Any, training: bool) -> Any:
        return ops.cast(self.discriminator(samples, training=training), "float32")

    def _scaled_loss(self, loss: Any, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
        # Gradients are summed over the replicas.
        return optimizer.scale_loss((loss + sum(network.losses)) / self.distribute_strategy.num_replicas_in_sync)

    def _logs(self, by_generator: Any, by_discriminator: Any, real_logits: Any, fake_logits: Any) -> dict[str, Any]:
        number = ops.shape(real_logits)[0]
        values = by_generator, by_discriminator, ops.mean(real_logits > 0), ops.mean(fake_logits < 0)
        for tracker, value in zip(self._trackers, values, strict=True):
            tracker.update_state(value, sample_weight=number)
        return self.get_metrics_result()

    def check_arrays(
        self, x: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None, class_weight: Any = None
    ) -> None:
        """Raises the error that says what is wrong with what `fit` or `evaluate` was given."""
        if class_weight is not None:
            raise ValueError("`class_weight` needs labels, and a GAN learns from samples alone: leave it out.")
        form = self.generator.output_shape[1:], self.scale_pixels
        check = functools.partial(check_gan_samples, form if self.check_data else None)
        check_each(check, x, y, sample_weight, validation_data, class_weight)


def _step(tape: tf.GradientTape, loss: Any, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    variables = network.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))


def _white(x: Any) -> float:
    return 255.0 if x.dtype == "uint8" else 1.0
