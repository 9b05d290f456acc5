"""Autoencoders: networks that learn to describe a sample by few numbers, and to give it back from them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._mirrors import ConvolutionalMirror, Ends, dense_mirror
from kphys.models._pretraining import classifier_from_encoder, pretrain_layerwise
from kphys.models._reconstruction import Autoencoder
from kphys.models._reconstruction_training import LOSSES, compiled_autoencoder
from kphys.models.dense import Activation, LearningRate

__all__ = ["Autoencoder", "autoencoder", "classifier_from_encoder", "conv_autoencoder", "pretrain_layerwise"]


def autoencoder(
    input_shape: int | Sequence[int],
    latent_dim: int,
    *,
    hidden_units: int | Sequence[int] = (100,),
    activation: Activation = "relu",
    loss: str = "mse",
    tied_weights: bool = False,
    noise: float = 0.0,
    input_dropout: float = 0.0,
    sparsity: float | None = None,
    sparsity_weight: float = 0.01,
    code_l1: float = 0.0,
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
) -> Autoencoder:
    """Gives an autoencoder of dense layers: encoder h = f(x), decoder x̂ = g(h), symmetric about the code h.

    It minimizes the mean over a sample's n values of (x − x̂)² ("mse") or −x ln x̂ − (1 − x) ln(1 − x̂)
    ("binary_crossentropy"). With linear units and "mse" the codes span the space of the first principal components.

    | kind | how |
    | --- | --- |
    | undercomplete | `latent_dim` below the number of inputs |
    | overcomplete | `latent_dim` above it, and one of the next three |
    | sparse | `sparsity`, or `code_l1` |
    | denoising | `noise` or `input_dropout`: the target is the input without them |
    | regularized | `dropout`, `l1`, `l2` |

    Args:
        input_shape: Shape of one sample, without the batch axis: `784` or `(28, 28)`, which is flattened inside.
        latent_dim: Numbers in a code. The code is linear; with `sparsity` it is logistic, in (0, 1).
        hidden_units: Units of the encoder's hidden layers, first to last; the decoder has them in reverse. `()`: none.
        activation: Activation of the hidden layers, as in `mlp_classifier`.
        loss: "mse" for real numbers, the outputs linear; "binary_crossentropy" for numbers in [0, 1], outputs logistic.
        tied_weights: `True`: each matrix of the decoder is the transpose of the encoder's.
        noise: Standard deviation of Gaussian noise added to the inputs in training, in their units.
        input_dropout: Share of the inputs set to 0 in training, in [0, 1); the others grow by 1 / (1 − share).
        sparsity: ρ in (0, 1), the mean activity wanted of every unit of the code: β Σⱼ KL(ρ‖ρ̂ⱼ) is added to the loss,
            with ρ̂ⱼ the mean of hⱼ over the batch and KL(ρ‖ρ̂) = ρ ln(ρ/ρ̂) + (1 − ρ) ln((1 − ρ)/(1 − ρ̂)). `None`: not.
        sparsity_weight: β ≥ 0. The loss is a mean over the inputs, not a sum: so β is small.
        code_l1: λ ≥ 0 of λ Σⱼ |hⱼ|, averaged over the batch and added to the loss.
        normalization: An adapted `keras.layers.Normalization`, put first. With "mse" it is inverted at the output, and
            `loss`, `mse` and `anomaly_score` measure in standard deviations, so that every feature counts alike; one
            that does not vary does not count. With "binary_crossentropy" the outputs are not normalized.
        dropout, l1, l2, batch_normalization: As in `mlp_classifier`, for the hidden layers; l1 and l2 also for the
            code's matrix.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `Autoencoder`, a Keras model: `(batch, *input_shape)` in and out. `fit(x)` and `evaluate(x)` need no
        targets. It logs `loss` and `mse`, per value, counting `sample_weight`. `encoder` and `decoder` are Keras
        models; `encode`, `decode` and `anomaly_score` take and give arrays.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Warns:
        UserWarning: The code is larger than the input, and nothing keeps the network from copying.

    Reference:
        Hinton and Salakhutdinov, 2006, "Reducing the dimensionality of data with neural networks"; Vincent et al.,
        2010, "Stacked denoising autoencoders"; Ng, 2011, "Sparse autoencoder"; Baldi and Hornik, 1989, "Neural
        networks and principal component analysis".

    Example:
        >>> import numpy as np
        >>> from kphys import autoencoder
        >>> angle = np.random.default_rng(0).uniform(0, 6, size=(256, 1))
        >>> x = np.hstack([np.cos(angle), np.sin(angle), angle])
        >>> model = autoencoder(3, 1, hidden_units=(16,), seed=0)
        >>> history = model.fit(x, epochs=2, verbose=0)
        >>> model.encode(x).shape
        (256, 1)
    """
    input_shape = _parts.shape("input_shape", input_shape, range(1, 6), "such as (8,) or (28, 28)")
    latent_dim = _arguments.integer("latent_dim", latent_dim)
    ends = _ends(loss, normalization, sparsity, sparsity_weight, code_l1)
    regularization = _parts.Regularization(dropout, l1, l2)
    seeds = _parts.Seeds(seed)
    encoder, decoder = dense_mirror(
        input_shape,
        latent_dim,
        hidden_units=() if _is_none_of(hidden_units) else _arguments.integers("hidden_units", hidden_units),
        activation=_parts.activation_name(activation),
        tied=_arguments.flag("tied_weights", tied_weights),
        ends=ends,
        regularization=regularization,
        batch_normalization=_arguments.flag("batch_normalization", batch_normalization),
        seeds=seeds,
    )
    name = _parts.model_name(name, "autoencoder")
    model = compiled_autoencoder(
        encoder,
        decoder,
        LOSSES[loss](),
        family="dense autoencoder",
        optimizer=optimizer,
        learning_rate=learning_rate,
        noise=noise,
        input_dropout=input_dropout,
        check_data=check_data,
        seed=seeds(),
        name=name,
    )
    _warn_of_copying(model, ends, regularization)
    return model


def conv_autoencoder(
    image_shape: Sequence[int],
    latent_dim: int | None = None,
    *,
    filters: int | Sequence[int] = (16, 8, 8),
    kernel_size: int = 3,
    activation: Activation = "relu",
    loss: str = "mse",
    tied_weights: bool = False,
    noise: float = 0.0,
    input_dropout: float = 0.0,
    sparsity: float | None = None,
    sparsity_weight: float = 0.01,
    code_l1: float = 0.0,
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
) -> Autoencoder:
    """Gives a convolutional autoencoder of images.

    The encoder has, for each of `filters`, a convolution and a max pooling by 2; an odd image keeps its last row and
    column. The decoder goes back by convolutions and up-sampling by 2, cut to the encoder's sizes. For `(28, 28, 1)`:

    | encoder | size | decoder | size |
    | --- | --- | --- | --- |
    | convolution 16, pooling | 14×14×16 | convolution 8, up-sampling | 8×8×8 |
    | convolution 8, pooling | 7×7×8 | convolution 8, up-sampling | 16×16×8 |
    | convolution 8, pooling | 4×4×8 | convolution 16 without padding, up-sampling | 28×28×16 |
    | | | convolution 1 | 28×28×1 |

    Where the last but one convolution without padding gives just the encoder's size, as here, nothing is cut;
    elsewhere all convolutions are padded, and up-sampled rows and columns that the encoder has not are cut at the end.

    Args:
        image_shape: `(height, width, channels)`, height and width at least 2 to the number of `filters`: 8.
        latent_dim: Numbers in a code: a dense layer to them and one back stand between encoder and decoder. `None`:
            the code is the encoder's last map, (4, 4, 8) for 28×28, after the activation, or with `sparsity` a
            logistic one.
        filters: Channels of the encoder's convolutions.
        kernel_size: Pixels along each axis of a convolution.
        activation: Activation after the convolutions, and after the dense layer back, as in `mlp_classifier`.
        loss: As in `autoencoder`.
        tied_weights: `True`: the decoder is the encoder's mirror, up-sampling before the transposed convolution that
            has the encoder's kernel.
        noise, input_dropout: As in `autoencoder`.
        sparsity, sparsity_weight, code_l1: As in `autoencoder`; in a map every place counts as a unit.
        normalization: As in `autoencoder`.
        dropout, l1, l2, batch_normalization: As in `cnn_classifier`; l1 and l2 also for the dense layers.
        optimizer, learning_rate, check_data, seed, name: As in `mlp_classifier`.

    Returns:
        A compiled `Autoencoder` as that of `autoencoder`: `(batch, *image_shape)` in and out.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, an image too small for the `filters` among
            them; the message says the mend.

    Warns:
        UserWarning: The code is larger than the image, and nothing keeps the network from copying.

    Reference:
        Masci et al., 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction".

    Example:
        >>> import numpy as np
        >>> from kphys import conv_autoencoder
        >>> model = conv_autoencoder((28, 28, 1), loss="binary_crossentropy", noise=0.3, seed=0)
        >>> model.encode(np.zeros((5, 28, 28, 1))).shape
        (5, 4, 4, 8)
    """
    image_shape = _parts.shape("image_shape", image_shape, (3,), "(height, width, channels)")
    filters = _arguments.integers("filters", filters)
    _check_size(image_shape, filters)
    ends = _ends(loss, normalization, sparsity, sparsity_weight, code_l1)
    regularization = _parts.Regularization(dropout, l1, l2)
    seeds = _parts.Seeds(seed)
    mirror = ConvolutionalMirror(
        image_shape,
        None if latent_dim is None else _arguments.integer("latent_dim", latent_dim),
        filters=filters,
        kernel_size=_arguments.integer("kernel_size", kernel_size),
        activation=_parts.activation_name(activation),
        ends=ends,
        regularization=regularization,
        batch_normalization=_arguments.flag("batch_normalization", batch_normalization),
        seeds=seeds,
    )
    encoder = mirror.encoder()
    decoder = mirror.tied_decoder(encoder) if _arguments.flag("tied_weights", tied_weights) else mirror.decoder()
    name = _parts.model_name(name, "conv_autoencoder")
    model = compiled_autoencoder(
        encoder,
        decoder,
        LOSSES[loss](),
        family="convolutional",
        optimizer=optimizer,
        learning_rate=learning_rate,
        noise=noise,
        input_dropout=input_dropout,
        check_data=check_data,
        seed=seeds(),
        name=name,
    )
    _warn_of_copying(model, ends, regularization)
    return model


def _is_none_of(hidden_units: Any) -> bool:
    return isinstance(hidden_units, (tuple, list)) and len(hidden_units) == 0


def _ends(loss: str, normalization: Any, sparsity: Any, sparsity_weight: Any, code_l1: Any) -> Ends:
    if sparsity is not None:
        sparsity = _arguments.real("sparsity", sparsity, minimum=0, below=1)
        if sparsity == 0:
            raise ValueError("`sparsity` must be above 0 and below 1, got 0: give a small one, such as 0.05.")
    return Ends(
        loss=_arguments.choice("loss", loss, LOSSES),
        normalization=normalization,
        sparsity=sparsity,
        sparsity_weight=_arguments.real(
            "sparsity_weight", sparsity_weight, minimum=0, largest=_arguments.LARGEST_FACTOR
        ),
        code_l1=_arguments.real("code_l1", code_l1, minimum=0, largest=_arguments.LARGEST_FACTOR),
    )


def _check_size(image_shape: tuple[int, ...], filters: tuple[int, ...]) -> None:
    smallest = 2 ** len(filters)
    if min(image_shape[:2]) < smallest:
        raise ValueError(
            f"`image_shape` {image_shape} is too small for {len(filters)} poolings by 2: it takes at least {smallest} "
            "pixels along every axis; give larger images, or fewer `filters`."
        )


def _warn_of_copying(model: Autoencoder, ends: Ends, regularization: _parts.Regularization) -> None:
    code, inputs = (math.prod(part.input_shape[1:]) for part in (model.decoder, model.encoder))
    restraints = (
        *(model.noise, model.input_dropout, ends.sparsity, ends.code_l1),
        *(regularization.dropout, regularization.l1, regularization.l2),
    )
    if code > inputs and not any(restraints):
        warnings.warn(
            f"The code has {code} numbers and the input {inputs}: nothing keeps the network from copying. Give a "
            "smaller `latent_dim`, or `noise`, `input_dropout`, `sparsity`, `code_l1`, `dropout`, `l1` or `l2`.",
            stacklevel=3,
        )
