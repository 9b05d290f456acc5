"""The class of variational autoencoders: an encoder and a decoder, and the training step on their bound."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.models._code_space import CodeSpace
from kphys.models._heads import bounded
from kphys.models._images import (
    Form,
    check_images,
    check_networks,
    checked_images,
    checked_variance,
    nothing,
    stands_for_none,
)
from kphys.models._likelihoods import LIKELIHOODS, kl_divergence
from kphys.models._sampling import Sampling
from kphys.models._saved import KeepsState, with_parts
from kphys.models._targetless import check_each, with_weights
from kphys.models._training import keep_keras_promises

Schedule = keras.optimizers.schedules.LearningRateSchedule
Beta = float | Schedule


@keras.saving.register_keras_serializable("kphys")
class VAE(CodeSpace, KeepsState, keras.Model):
    """A variational autoencoder made of an encoder and a decoder.

    The encoder gives the distribution q(z | x) = N(μ, σ²) of the codes of an image x, the decoder the distribution
    p(x | z) of the images of a code z, whose prior is N(0, 1). Training minimizes, averaged over the images,
    −E_q ln p(x | z) + β KL(q(z | x) ‖ N(0, 1)): with β = 1 an upper bound on −ln p(x).

    `fit(x)` and `evaluate(x)` take images alone, as an array or a data set, and log `loss`, `reconstruction_loss` (the
    first term) and `kl_loss` (the second without β) in nats an image: summed over pixels, averaged over images.
    `evaluate` draws the same noise every time. `predict` gives the mean images of the mean codes, as `reconstruct`.
    Compile it with an optimizer alone.

    Args:
        encoder: A functional Keras model, `(batch, *input_shape)` to μ and a raw r, each `(batch, latent_dim)`. The
            log-variance is ln σ² = b tanh(r / b) with b = 20, which is r where r is small.
        decoder: A functional or Sequential model, `(batch, latent_dim)` to `(batch, *input_shape)`: for "bernoulli" the
            logits, for "gaussian" the means.
        beta: β, not negative; below 1 images come out sharper, above 1 the dimensions of the code become more
            independent of each other. A Keras schedule of the optimizer's iterations anneals it:
            `PolynomialDecay(0.0, 1000, 1.0)` rises to 1 in 1000 steps. A number may be changed through `beta`.
        likelihood: "bernoulli" for pixels from 0 to 1, or "gaussian" for any.
        variance: σ² of the Gaussian pixels, from 1e-8 to 1e8. `None`: one for all pixels, which is learnt, from 1 on.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes the noise of training. `None`: new noise each time.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or an encoder and a decoder that do not fit;
            the message says the mend.

    Reference:
        Kingma and Welling, 2014, "Auto-encoding variational Bayes"; Higgins et al., 2017, "beta-VAE: learning basic
        visual concepts with a constrained variational framework"; Rybkin, Daniilidis and Levine, 2021, "Simple and
        effective VAE training with calibrated decoders" (the learnt variance).

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from kphys.models.variational import VAE
        >>> inputs = keras.Input((4,))
        >>> encoder = keras.Model(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)])
        >>> decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4)])
        >>> model = VAE(encoder, decoder, likelihood="gaussian", seed=0)
        >>> model.compile("adam")
        >>> history = model.fit(np.random.default_rng(0).normal(size=(64, 4)), verbose=0)
        >>> sorted(history.history)
        ['kl_loss', 'loss', 'reconstruction_loss']
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        beta: Beta = 1.0,
        likelihood: str = "bernoulli",
        variance: float | None = None,
        check_data: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.likelihood = _arguments.choice("likelihood", likelihood, LIKELIHOODS)
        check_networks(encoder, decoder, self.likelihood)
        self.encoder, self.decoder = encoder, decoder
        self.variance = checked_variance(variance, self.likelihood)
        self.check_data = _arguments.flag("check_data", check_data)
        self.sampling = Sampling(seed, name="sampling")
        self._set_beta(beta)
        self._row = LIKELIHOODS[self.likelihood]
        self._raw_log_variance = None
        if self.likelihood == "gaussian" and self.variance is None:
            self._raw_log_variance = self.add_weight(shape=(), initializer="zeros", name="log_variance")
        self._trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction_loss", "kl_loss")]
        self.built = True
        # As on every model of the house, but here: loaded from a file it has them, too.
        keep_keras_promises(self, self.check_arrays if self.check_data else None)

    fit = with_weights(keras.Model.fit, nothing)
    evaluate = with_weights(keras.Model.evaluate, nothing)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch of images, `(None, *input_shape)`."""
        return self.encoder.input_shape

    @property
    def latent_dim(self) -> int:
        """The number of dimensions of the code."""
        return self.decoder.input_shape[-1]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that make up the logs."""
        return self._trackers

    @property
    def beta(self) -> Beta:
        """The weight β of the divergence; a new number holds from the next step on, without a new trace."""
        return self._beta

    @beta.setter
    def beta(self, value: float) -> None:
        if isinstance(self._beta, Schedule) or isinstance(value, Schedule):
            raise ValueError(
                "`beta` can be changed from one number to another, and a schedule is part of the compiled step: "
                "give the schedule when building."
            )
        self._set_beta(value)

    def _set_beta(self, value: Beta) -> None:
        if isinstance(value, Schedule):
            self._beta = value
            return
        self._beta = _arguments.real("beta", value, minimum=0, largest=_arguments.LARGEST_FACTOR)
        if not hasattr(self, "_beta_variable"):
            # TensorFlow's own variable: β is a setting, which Keras shall not count among the weights.
            self._beta_variable = tf.Variable(
                self._beta, trainable=False, dtype="float32", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
        self._beta_variable.assign(self._beta)

    def _current_beta(self) -> Any:
        if isinstance(self._beta, Schedule):
            return ops.cast(self._beta(self.optimizer.iterations), "float32")
        return self._beta_variable

    def posterior(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        """Gives tensors of mean and log-variance of q(z | x)."""
        mean, raw = self.encoder(x, training=training)
        # float32 whatever the policy: e²⁰ is beyond float16.
        return ops.cast(mean, "float32"), bounded(ops.cast(raw, "float32"))

    def means(self, codes: Any, training: bool = False) -> Any:
        """Gives the mean images of `codes` as a tensor."""
        return self._row.mean(ops.cast(self.decoder(codes, training=training), "float32"))

    def reconstruction_loss(self, x: Any, codes: Any, training: bool = False) -> Any:
        """Gives −ln p(x | z) for every image x with its code z, `(batch,)`."""
        outputs = ops.cast(self.decoder(codes, training=training), "float32")
        return self._row.loss(x, outputs, self._log_variance())

    def _log_variance(self) -> Any:
        if self._raw_log_variance is not None:
            return bounded(self._raw_log_variance)
        return None if self.variance is None else np.float32(np.log(self.variance))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Gives the mean images of the mean codes."""
        mean, _ = self.posterior(inputs, training)
        return self.means(mean, training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains on a batch; gives the logs."""
        x, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            loss, terms = self._loss(x, sample_weight, self.sampling, training=True)
            # Gradients are summed over the replicas.
            scaled = self.optimizer.scale_loss(loss / self.distribute_strategy.num_replicas_in_sync)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return self._logs(loss, terms, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluates a batch; gives the logs."""
        x, sample_weight = self._unpack(data)
        # Seeded by the number of images so far: the same noise in every evaluation, and training's stays as it is.
        seed = tf.stack([0, tf.cast(self._trackers[0].count, tf.int32)])

        def draw(posterior: tuple[Any, Any]) -> Any:
            mean, log_variance = posterior
            return mean + ops.exp(0.5 * log_variance) * tf.random.stateless_normal(tf.shape(mean), seed)

        loss, terms = self._loss(x, sample_weight, draw, training=False)
        return self._logs(loss, terms, sample_weight)

    def _unpack(self, data: Any) -> tuple[Any, Any]:
        if self.loss is not None or self._compile_metrics is not None:
            raise ValueError("A VAE brings its own loss and metrics: compile it with an optimizer alone.")
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is not None and not stands_for_none(y):
            raise ValueError("A VAE learns from images alone: give x without y, a data set with dataset.map.")
        return ops.cast(x, "float32"), None if sample_weight is None else ops.cast(sample_weight, "float32")

    def _loss(self, x: Any, sample_weight: Any, draw: Any, training: bool) -> tuple[Any, tuple[Any, Any]]:
        posterior = self.posterior(x, training)
        terms = self.reconstruction_loss(x, draw(posterior), training), kl_divergence(*posterior)
        each = terms[0] + self._current_beta() * terms[1]  # (batch,)
        if sample_weight is not None:
            each = each * ops.reshape(sample_weight, (-1,))
        # As in Keras, weights do not change what the sum is divided by.
        return ops.mean(each) + sum(self.losses), terms

    def _logs(self, loss: Any, terms: tuple[Any, Any], sample_weight: Any) -> dict[str, Any]:
        total, *parts = self._trackers
        total.update_state(loss, sample_weight=ops.shape(terms[0])[0])
        for tracker, term in zip(parts, terms, strict=True):
            tracker.update_state(term, None if sample_weight is None else ops.reshape(sample_weight, (-1,)))
        return self.get_metrics_result()

    def check_arrays(
        self, x: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None, class_weight: Any = None
    ) -> None:
        """Raises the error that says what is wrong with the arrays of `fit` or `evaluate`."""
        check = functools.partial(check_images, self._form)
        check_each(check, x, y, sample_weight, validation_data, class_weight)

    @property
    def _form(self) -> Form:
        return self.input_shape[1:], self._row.unit_interval

    def _images(self, name: str, x: Any) -> np.ndarray:
        """Gives `x` checked, in float32, each image of the shape that the encoder takes."""
        x = checked_images(name, self._form, x)
        return x.astype("float32").reshape(-1, *self.input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with, β as it is now."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "beta": serialize(self.beta),
            "likelihood": self.likelihood,
            "variance": self.variance,
            "check_data": self.check_data,
            "seed": self.sampling.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> VAE:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, ("encoder", "decoder", "beta"), custom_objects))
