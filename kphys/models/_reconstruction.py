"""The model that learns to give back what it is given, made of an encoder and a decoder."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from kphys import _arguments
from kphys.models._arrays import check_finite, check_samples, check_unit_interval, checked_samples, numeric
from kphys.models._parts import Seeds
from kphys.models._saved import KeepsState
from kphys.models._targetless import check_each, with_weights
from kphys.models._tied import tied_to
from kphys.models._training import keep_keras_promises, loss_name

_SAMPLES_AT_ONCE = 4096  # Bounds the memory that the reconstructions take.


class Noise(keras.layers.Layer):
    """Adds Gaussian noise of any standard deviation in training: that of Keras ends at 1."""

    def __init__(self, deviation: float, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.deviation = deviation
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        return inputs + keras.random.normal(
            ops.shape(inputs), stddev=self.deviation, dtype=inputs.dtype, seed=self.seed_generator
        )


def _itself(x: Any) -> Any:
    return x


@keras.saving.register_keras_serializable("kphys")
class Autoencoder(KeepsState, keras.Model):
    """A Keras model whose target is its own input: x̂ = decoder(encoder(x)).

    `fit`, `evaluate` and `validation_data` take x alone, as arrays or data sets, and `sample_weight` with it. Targets
    given all the same are used: `fit(noisy, clean)`. If the decoder ends with an inverse `Normalization`, loss and
    metrics measure every difference in standard deviations; a feature that has none does not count.

    Args:
        encoder: A model from inputs to codes.
        decoder: A model from codes to the shape of the inputs.
        noise: Standard deviation ≥ 0 of the Gaussian noise added to the inputs in training, in their units.
        input_dropout: Share of the inputs set to 0 in training, in [0, 1); the others grow by 1 / (1 − share).
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, range, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes noise and dropout. `None`: other ones each time.
        name: Name of the model.

    Raises:
        ValueError, TypeError: Parts that do not fit together, or an argument out of its range.

    Reference:
        Hinton and Salakhutdinov, 2006, "Reducing the dimensionality of data with neural networks"; Vincent et al.,
        2010, "Stacked denoising autoencoders".

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from kphys import Autoencoder
        >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        >>> decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
        >>> model = Autoencoder(encoder, decoder, noise=0.1, seed=0)
        >>> model.compile("adam", "mse")
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> history = model.fit(x, verbose=0)
        >>> model.encode(x).shape, model.anomaly_score(x).shape
        ((64, 2), (64,))
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        noise: float = 0.0,
        input_dropout: float = 0.0,
        check_data: bool = True,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        _check_parts(encoder, decoder)
        self.noise = _arguments.real("noise", noise, minimum=0, largest=_arguments.LARGEST_DATA)
        self.input_dropout = _arguments.real("input_dropout", input_dropout, minimum=0, below=1)
        self.check_data = _arguments.flag("check_data", check_data)
        self.seed = _arguments.seed("seed", seed)
        self.encoder = encoder
        self.decoder = decoder
        seeds = Seeds(self.seed)
        corruption = [
            Noise(self.noise, seed=seeds(), name="noise"),
            keras.layers.Dropout(self.input_dropout, seed=seeds(), name="input_dropout"),
        ]
        self.corruption = [
            layer for layer, size in zip(corruption, (self.noise, self.input_dropout), strict=True) if size
        ]
        self._inverse_deviation = _inverse_deviation(decoder)
        self.build(encoder.input_shape)
        # As on every model of the house, but here: loaded from a file it has them, too.
        keep_keras_promises(self, self.check_arrays if self.check_data else None)

    def build(self, input_shape: Any) -> None:
        for layer in self.corruption:
            layer.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        features = ops.cast(inputs, keras.config.floatx())
        for layer in self.corruption:
            features = layer(features, training=training)
        return self.decoder(self.encoder(features, training=training), training=training)

    fit = with_weights(keras.Model.fit, _itself)
    evaluate = with_weights(keras.Model.evaluate, _itself)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        y, y_pred, sample_weight = self._measured(x, y, y_pred, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        y, y_pred, sample_weight = self._measured(x, y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _measured(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        y = ops.cast(x if y is None else y, y_pred.dtype)
        if self._inverse_deviation is not None:
            y, y_pred = y * self._inverse_deviation, y_pred * self._inverse_deviation
        if sample_weight is not None:
            # Over images Keras would take a weight for every sample as one for every column.
            sample_weight = ops.reshape(sample_weight, (-1, *(1,) * (len(y_pred.shape) - 2)))
        return y, y_pred, sample_weight

    def check_arrays(
        self, x: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None, class_weight: Any = None
    ) -> None:
        """Raises the error that says what is wrong with what `fit` or `evaluate` was given."""
        check_each(self._check_one, x, y, sample_weight, validation_data, class_weight)

    def _check_one(self, names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None) -> None:
        x = check_samples(names, self.encoder.input_shape[1:], x, sample_weight)
        if x is None:
            return
        target, name = (x, names[0]) if y is None else (numeric(names[1], y), names[1])
        if target.shape != x.shape:
            raise ValueError(f"`{name}` must have the shape of `{names[0]}`, {x.shape}, got {target.shape}.")
        if target is not x:
            check_finite(name, target)
        if loss_name(getattr(self, "loss", None)) == "binary_crossentropy":
            check_unit_interval(name, target, "the loss 'binary_crossentropy'", "loss='mse'")

    def encode(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Gives the codes of `x`, an array or a data set of inputs: `(samples, *code_shape)`."""
        return self.encoder.predict(x, batch_size=_batch_size(x, batch_size), verbose=0)

    def decode(self, codes: Any, batch_size: int = 256) -> np.ndarray:
        """Gives what `codes`, an array or a data set, stand for: `(samples, *input_shape)`."""
        return self.decoder.predict(codes, batch_size=_batch_size(codes, batch_size), verbose=0)

    def anomaly_score(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Gives the mean squared error of the reconstruction of every sample, `(samples,)`.

        Samples unlike those seen in training have large ones. The units are those of the metric `mse`: the mean over a
        sample's values, in standard deviations if the model has a `normalization`.

        Raises:
            ValueError, TypeError: Not an array, one of another shape, or with values that are NaN or infinite.
        """
        shape = self.encoder.input_shape[1:]
        x = checked_samples("x", shape, x)
        scores = []
        for start in range(0, len(x), _SAMPLES_AT_ONCE):
            part = np.asarray(x[start : start + _SAMPLES_AT_ONCE], "float32").reshape(-1, *shape)
            difference = part - self.predict(part, batch_size=batch_size, verbose=0)
            if self._inverse_deviation is not None:
                difference = difference * self._inverse_deviation
            scores.append(np.mean(np.square(difference).reshape(len(part), -1), axis=1))
        return np.concatenate(scores)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "noise": self.noise,
            "input_dropout": self.input_dropout,
            "check_data": self.check_data,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Autoencoder:
        config = dict(config)
        read = functools.partial(keras.saving.deserialize_keras_object, custom_objects=custom_objects)
        encoder = read(config.pop("encoder"))
        with tied_to(encoder):
            decoder = read(config.pop("decoder"))
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = read(config["dtype"])
        return cls(encoder, decoder, **config)


def _batch_size(x: Any, batch_size: int) -> int | None:
    # Data sets come in batches of their own, and Keras refuses another number.
    return _arguments.integer("batch_size", batch_size) if hasattr(x, "shape") else None


def _check_parts(encoder: Any, decoder: Any) -> None:
    for name, part in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(part, keras.Model):
            raise TypeError(f"`{name}` must be a keras.Model, got {part!r} ({type(part).__name__}).")
        if not part.built:
            raise ValueError(f"`{name}` must know its input shape: put a keras.Input first.")
    if encoder.output_shape != decoder.input_shape:
        raise ValueError(
            f"`decoder` must take what `encoder` gives, codes of shape {encoder.output_shape[1:]}, got one that takes "
            f"{decoder.input_shape[1:]}."
        )
    if decoder.output_shape != encoder.input_shape:
        raise ValueError(
            f"`decoder` must give what `encoder` takes, samples of shape {encoder.input_shape[1:]}, got one that gives "
            f"{decoder.output_shape[1:]}."
        )


def _inverse_deviation(decoder: keras.Model) -> np.ndarray | None:
    last = decoder.layers[-1]
    if not isinstance(last, keras.layers.Normalization) or not last.invert:
        return None
    deviation = np.sqrt(ops.convert_to_numpy(last.variance).astype("float64"))
    varies = deviation > keras.config.epsilon()
    return np.where(varies, 1 / np.where(varies, deviation, 1), 0).astype("float32")
