"""Convolutional networks: the classifier and the regressor for images, signals and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._blocks import ARCHITECTURES, Architecture, Space, convolutional_features
from kphys.models._heads import Head, classifier_head, regressor_head
from kphys.models._training import finish_model
from kphys.models.dense import Activation, LearningRate


def cnn_classifier(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    architecture: str = "plain",
    filters: int | Sequence[int] | None = None,
    kernel_size: int | None = None,
    hidden_units: int | Sequence[int] | None = None,
    activation: Activation | None = None,
    periodic: bool = False,
    multilabel: bool = False,
    normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_normalization: bool | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a convolutional network that tells classes of images, signals or volumes apart.

    Stages of convolutions, each of half the resolution of the one before, then dense layers and the outputs of
    `mlp_classifier`, which learn by the same cross-entropy. The architectures are those of the papers in a form for
    small images, 28 to 128 pixels:

    | name | a stage | filters | head |
    | --- | --- | --- | --- |
    | "plain" | convolution, max pooling | 32, 64 | dense 128 |
    | "lenet5" | 5×5 convolution, average pooling, tanh | 6, 16 | dense 120, 84 |
    | "vgg" | two convolutions, max pooling | 32, 64, 128 | dense 128 |
    | "resnet" | two residual blocks of two convolutions | 16, 32, 64 | mean over space |
    | "se_resnet" | the same with squeeze and excitation | 16, 32, 64 | mean over space |
    | "xception" | two separable convolutions beside a shortcut | 32, 64, 128 | mean over space |

    Networks of ImageNet's size are in `keras.applications`. Put one between an input and a head like this:
    `backbone = keras.applications.ResNet50(include_top=False, pooling="avg", input_shape=(224, 224, 3))`, then
    `keras.Sequential([backbone, keras.layers.Dense(num_classes, activation="softmax")])`, compile and fit on images
    that went through `keras.applications.resnet50.preprocess_input`, as its pretrained weights expect.

    Args:
        input_shape: Shape of one sample with the channels last: `(length, channels)` for signals,
            `(height, width, channels)` for images, `(depth, height, width, channels)` for volumes (not for "xception":
            Keras has no separable convolution for them).
        num_classes: Number of classes, or of labels with `multilabel`, as in `mlp_classifier`.
        architecture: A name of the table.
        filters: Channels of each stage; the length is the number of stages. `None`: the table's.
        kernel_size: Pixels along each axis of a convolution. `None`: 3, and 5 for "lenet5".
        hidden_units: Units of each dense layer before the outputs. `None`: the table's.
        activation: As in `mlp_classifier`. `None`: "relu", and "tanh" for "lenet5".
        periodic: `True` for images without an edge, such as lattices or detectors around a beam: convolutions continue
            at the opposite side, and a shift of the image (with what leaves it coming in again) by any number of pixels
            leaves the prediction as it is. For that the resolution is not halved: convolutions are dilated instead,
            which costs about 2, 4 or 8 times as much (in 1, 2 or 3 dimensions) for every stage after the first, and the
            head sees the mean over space.
        multilabel: As in `mlp_classifier`.
        normalization: An adapted `keras.layers.Normalization`, put first.
        dropout: Share of the units left out in each training step, in [0, 1), after the activations of convolutions
            and hidden layers.
        l1, l2: Weights λ ≥ 0 of the penalties λ₁ Σ|w| and λ₂ Σw² on the kernels of convolutions and hidden layers.
        batch_normalization: `True` puts one after every convolution and hidden layer, `False` none. `None`: as in the
            papers, which is `True` for "resnet", "se_resnet" and "xception".
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `keras.Model`: `(batch, *input_shape)` in, the outputs of `mlp_classifier` out.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, an image too small for the stages among them;
            the message says the mend.

    Reference:
        LeCun et al., 1998, "Gradient-based learning applied to document recognition"; Simonyan and Zisserman, 2015,
        "Very deep convolutional networks for large-scale image recognition"; He et al., 2016, "Deep residual
        learning for image recognition"; Hu, Shen and Sun, 2018, "Squeeze-and-excitation networks"; Chollet, 2017,
        "Xception: deep learning with depthwise separable convolutions".

    Example:
        >>> import numpy as np
        >>> from kphys import cnn_classifier
        >>> model = cnn_classifier((28, 28, 1), 10, architecture="lenet5", seed=0)
        >>> model.count_params()
        61706
        >>> model.predict(np.zeros((5, 28, 28, 1)), verbose=0).shape
        (5, 10)
    """
    num_classes = _parts.num_classes(num_classes, multilabel)
    return _cnn(
        input_shape,
        classifier_head(num_classes, multilabel=multilabel),
        architecture=architecture,
        filters=filters,
        kernel_size=kernel_size,
        hidden_units=hidden_units,
        activation=activation,
        periodic=periodic,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        batch_normalization=batch_normalization,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "cnn_classifier"),
    )


def cnn_regressor(
    input_shape: Sequence[int],
    num_outputs: int = 1,
    *,
    architecture: str = "plain",
    filters: int | Sequence[int] | None = None,
    kernel_size: int | None = None,
    hidden_units: int | Sequence[int] | None = None,
    activation: Activation | None = None,
    periodic: bool = False,
    loss: str = "mse",
    delta: float = 1.0,
    normalization: keras.layers.Normalization | None = None,
    target_normalization: keras.layers.Normalization | None = None,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    batch_normalization: bool | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: LearningRate = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a convolutional network that predicts real numbers from images, signals or volumes.

    The convolutions of `cnn_classifier` with the outputs and losses of `mlp_regressor`.

    Args:
        input_shape: Shape of one sample with the channels last, as in `cnn_classifier`.
        num_outputs: Number of values to predict.
        architecture, filters, kernel_size, hidden_units, activation, periodic: As in `cnn_classifier`.
        loss, delta, target_normalization: As in `mlp_regressor`.
        normalization, dropout, l1, l2, batch_normalization: As in `cnn_classifier`.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `keras.Model`: `(batch, *input_shape)` in, the outputs of `mlp_regressor` out.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Those of `cnn_classifier` and `mlp_regressor`.

    Example:
        >>> import numpy as np
        >>> from kphys import cnn_regressor
        >>> model = cnn_regressor((16, 16, 1), filters=(8, 8), periodic=True, seed=0)
        >>> image = np.random.default_rng(0).normal(size=(1, 16, 16, 1))
        >>> shifted = np.roll(image, (3, 5), axis=(1, 2))
        >>> bool(np.allclose(model.predict(image, verbose=0), model.predict(shifted, verbose=0), atol=1e-5))
        True
    """
    num_outputs = _arguments.integer("num_outputs", num_outputs)
    target_normalization = _parts.adapted_to_targets(target_normalization, num_outputs)
    return _cnn(
        input_shape,
        regressor_head(num_outputs, loss, delta, target_normalization),
        architecture=architecture,
        filters=filters,
        kernel_size=kernel_size,
        hidden_units=hidden_units,
        activation=activation,
        periodic=periodic,
        normalization=normalization,
        regularization=_parts.Regularization(dropout, l1, l2),
        batch_normalization=batch_normalization,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        check_data=check_data,
        name=_parts.model_name(name, "cnn_regressor"),
    )


def _cnn(
    input_shape: Sequence[int],
    head: Head,
    *,
    architecture: str,
    filters: int | Sequence[int] | None,
    kernel_size: int | None,
    hidden_units: int | Sequence[int] | None,
    activation: Activation | None,
    periodic: bool,
    normalization: keras.layers.Normalization | None,
    regularization: _parts.Regularization,
    batch_normalization: bool | None,
    seed: int | None,
    **training: Any,
) -> keras.Model:
    form = "(length, channels), (height, width, channels) or (depth, height, width, channels)"
    input_shape = _parts.shape("input_shape", input_shape, (2, 3, 4), form)
    row = ARCHITECTURES[_arguments.choice("architecture", architecture, ARCHITECTURES)]
    filters = row.filters if filters is None else _arguments.integers("filters", filters)
    hidden_units = row.hidden_units if hidden_units is None else _arguments.integers("hidden_units", hidden_units)
    if batch_normalization is None:
        batch_normalization = row.batch_normalization
    seeds = _parts.Seeds(seed)
    space = Space(
        axes=len(input_shape) - 1,
        kernel_size=row.kernel_size if kernel_size is None else _arguments.integer("kernel_size", kernel_size),
        activation=row.activation if activation is None else _parts.activation_name(activation),
        batch_normalization=_arguments.flag("batch_normalization", batch_normalization),
        periodic=_arguments.flag("periodic", periodic),
        regularization=regularization,
        seeds=seeds,
    )
    _check_fits(input_shape, row, architecture, filters, space)

    inputs = keras.Input(input_shape, name="inputs")
    features = _parts.normalized(inputs, normalization)
    features = convolutional_features(space, features, filters, row)
    features = _parts.dense_stack(
        features, hidden_units, space.activation, regularization, space.batch_normalization, seeds
    )
    return finish_model(inputs, features, head, family="convolutional", seed=seeds(), **training)


def _check_fits(
    input_shape: tuple[int, ...], row: Architecture, architecture: str, filters: tuple[int, ...], space: Space
) -> None:
    """Refuses what a layer deep inside would refuse later, in words that its user can act on."""
    if architecture == "xception" and space.axes == 3:
        raise ValueError(
            f"`architecture` 'xception' takes signals and images, got `input_shape` {input_shape}: Keras has no "
            "separable convolution for volumes; take 'resnet'."
        )
    smallest = row.smallest_image(len(filters), space.kernel_size)
    if not space.periodic and min(input_shape[:-1]) < smallest:
        raise ValueError(
            f"`input_shape` {input_shape} is too small for {len(filters)} stages of {architecture!r}, each of half "
            f"the resolution: it takes at least {smallest} pixels along every axis; give larger images, or fewer "
            "`filters`."
        )
