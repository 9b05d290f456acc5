"""Multilayer perceptrons: the classifier and the regressor for tables of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._heads import Head, classifier_head, regressor_head
from kphys.models._training import finish_model

Activation = str | Callable[..., Any]
LearningRate = float | keras.optimizers.schedules.LearningRateSchedule | None


def mlp_classifier(
    input_shape: int | Sequence[int],
    num_classes: int,
    *,
    hidden_units: int | Sequence[int] = (100, 100),
    activation: Activation = "relu",
    multilabel: bool = False,
    normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_normalization: bool = False,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a multilayer perceptron that tells classes apart.

    Every hidden layer computes a(W h + b), from the features x to the last h; the outputs are probabilities. It
    learns by minimizing the cross-entropy −Σ ln p(class | x).

    Args:
        input_shape: Shape of one sample, without the batch axis: `8` or `(8,)`; `(28, 28)` is flattened.
        num_classes: Number of classes, at least 2; with 2 there is one logistic unit, with more a softmax. With
            `multilabel`, the number of labels, at least 1.
        hidden_units: Units of each hidden layer; the length is the depth.
        activation: a, the name of a Keras activation (or the function). The weights start as belongs to it: He for
            "relu", "leaky_relu", "elu", "gelu", "silu" and their kin, LeCun for "selu", Glorot for the others.
        multilabel: `True` if a sample can have several labels, or none: one logistic unit for each.
        normalization: An adapted `keras.layers.Normalization`, put first, so that the model takes raw values.
            `None`: the features are taken as they come.
        dropout: Share of the units left out in each training step, in [0, 1), after every hidden layer; with "selu"
            it is the alpha dropout that keeps mean and variance.
        l1: Weight λ₁ ≥ 0 of the penalty λ₁ Σ|w| on the hidden layers' matrices.
        l2: Weight λ₂ ≥ 0 of the penalty λ₂ Σw².
        batch_normalization: `True` puts a batch normalization before every activation.
        optimizer: Any Keras optimizer, by name or as an object.
        learning_rate: Learning rate or schedule for an optimizer given by name. `None`: that optimizer's own.
        check_data: `True` makes `fit` and `evaluate` look through their arrays once (shape, labels, NaN) before they
            start; data sets and generators are not looked through.
        seed: Fixes the starting weights and the dropout masks. `None`: new ones each time. The order of batches is
            Keras': fix it with `keras.utils.set_random_seed`.
        name: Name of the model.

    Returns:
        A compiled `keras.Model`: `(batch, *input_shape)` in; `(batch, 1)`, `(batch, num_classes)` or one column a label
        out. Targets are integer labels `(batch,)`, with `multilabel` 0 or 1 `(batch, num_classes)`. It logs `loss`,
        `accuracy` and `auc` (one class against the rest), all counting `sample_weight`. The `.keras` file leaves out
        metrics that are not Keras' own, which is the `auc` of three or more classes.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Rumelhart, Hinton and Williams, 1986, "Learning representations by back-propagating errors".

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_classifier
        >>> x = np.random.default_rng(0).normal(size=(256, 2)).astype("float32")
        >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
        >>> model = mlp_classifier(2, 2, hidden_units=(16, 16), seed=0)
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> model.predict(x, verbose=0).shape
        (256, 1)
    """
    num_classes = _parts.num_classes(num_classes, multilabel)
    return _mlp(
        input_shape,
        classifier_head(num_classes, multilabel=multilabel),
        hidden_units=hidden_units,
        activation=activation,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        batch_normalization=batch_normalization,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "mlp_classifier"),
    )


def mlp_regressor(
    input_shape: int | Sequence[int],
    num_outputs: int = 1,
    *,
    hidden_units: int | Sequence[int] = (100, 100),
    activation: Activation = "relu",
    loss: str = "mse",
    delta: float = 1.0,
    normalization: keras.layers.Normalization | None = None,
    target_normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_normalization: bool = False,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a multilayer perceptron that predicts real numbers.

    Hidden layers as in `mlp_classifier`, a linear layer last. With residual r = y − ŷ it minimizes the mean of r²
    ("mse"), |r| ("mae"), ½r² up to |r| = δ and δ(|r| − ½δ) beyond ("huber"), or ½ [ln 2πσ² + r²/σ²] ("gaussian_nll"),
    where it predicts the variance σ² of every output beside its mean.

    Args:
        input_shape: Shape of one sample, without the batch axis.
        num_outputs: Number of values to predict.
        hidden_units: Units of each hidden layer; the length is the depth.
        activation: As in `mlp_classifier`.
        loss: "mse", "mae", "huber" or "gaussian_nll".
        delta: δ > 0 of "huber", in the target's units.
        normalization: An adapted `keras.layers.Normalization`, put first, so that the model takes raw values.
        target_normalization: A `keras.layers.Normalization` adapted to the targets by
            `adapt(y.reshape(-1, num_outputs))`, inverted at the output: predictions, loss and metrics are in the
            target's units. `None`: the network's own outputs; then scale targets far from 0 or 1 yourself.
        dropout, l1, l2, batch_normalization: As in `mlp_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `keras.Model`: `(batch, *input_shape)` in, `(batch, num_outputs)` out; for "gaussian_nll"
        `(batch, num_outputs, 2)`, mean and variance, the standard deviation between e⁻¹⁰ and e¹⁰ times that of
        `target_normalization`, or 1.
        Targets are `(batch, num_outputs)`, or `(batch,)` for one. It logs `loss`, `mae` and `rmse`, all counting
        `sample_weight`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Nix and Weigend, 1994, "Estimating the mean and variance of the target probability distribution";
        Huber, 1964, "Robust estimation of a location parameter".

    Example:
        >>> import numpy as np
        >>> from kphys import mlp_regressor
        >>> x = np.linspace(-1, 1, 256, dtype="float32")[:, None]
        >>> model = mlp_regressor(1, hidden_units=16, loss="gaussian_nll", seed=0)
        >>> history = model.fit(x, x[:, 0] ** 2, epochs=2, verbose=0)
        >>> mean, variance = np.moveaxis(model.predict(x, verbose=0), -1, 0)
        >>> mean.shape
        (256, 1)
    """
    num_outputs = _arguments.integer("num_outputs", num_outputs)
    target_normalization = _parts.adapted_to_targets(target_normalization, num_outputs)
    return _mlp(
        input_shape,
        regressor_head(num_outputs, loss, delta, target_normalization),
        hidden_units=hidden_units,
        activation=activation,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        batch_normalization=batch_normalization,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "mlp_regressor"),
    )


def _mlp(
    input_shape: int | Sequence[int],
    head: Head,
    *,
    hidden_units: int | Sequence[int],
    activation: Activation,
    normalization: keras.layers.Normalization | None,
    regularization: _parts.Regularization,
    batch_normalization: bool,
    seed: int | None,
    **training: Any,
) -> keras.Model:
    input_shape = _parts.shape("input_shape", input_shape, range(1, 6), "such as (8,) or (28, 28)")
    hidden_units = _arguments.integers("hidden_units", hidden_units)
    activation = _parts.activation_name(activation)
    batch_normalization = _arguments.flag("batch_normalization", batch_normalization)
    seeds = _parts.Seeds(seed)

    inputs = keras.Input(input_shape, name="inputs")
    features = _parts.normalized(inputs, normalization)
    if len(input_shape) > 1:
        features = keras.layers.Flatten(name="flatten")(features)
    features = _parts.dense_stack(features, hidden_units, activation, regularization, batch_normalization, seeds)
    return finish_model(inputs, features, head, family="dense", seed=seeds(), **training)
