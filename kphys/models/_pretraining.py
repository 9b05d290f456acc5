"""Training one layer after the other, and what an encoder has learnt put under a classifier."""

from __future__ import annotations

from typing import Any

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._arrays import NAMES, check_samples
from kphys.models._codes import CodePenalty
from kphys.models._heads import classifier_head
from kphys.models._reconstruction import Autoencoder
from kphys.models._reconstruction_training import compiled_autoencoder
from kphys.models._tied import TiedDense
from kphys.models._training import finish_model


def pretrain_layerwise(
    model: Autoencoder,
    x: Any,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    optimizer: str = "adam",
    learning_rate: Any = None,
    verbose: int | str = 0,
) -> list[keras.callbacks.History]:
    """Trains `model` one layer at a time, from the outside in, and leaves it ready for `fit`.

    Layer k of the encoder and its mirror image in the decoder learn to give back what the layers before them make of
    `x`; those before stay as they are. `noise` and `input_dropout` of the model act on what each pair takes. The
    outermost pair learns by the loss that the model was compiled with, the others by the mean squared error.

    Args:
        model: What `autoencoder` gave, tied or not; compiled.
        x: The samples, an array `(samples, *input_shape)`.
        epochs: Passes through `x` for each layer.
        batch_size: Samples in a step.
        optimizer: Name of a Keras optimizer, made new for every layer; that of `model` is not touched.
        learning_rate: Its learning rate. `None`: its own.
        verbose: As in `fit`.

    Returns:
        A `History` for every layer.

    Raises:
        ValueError, TypeError: Another model, or an array that `fit` would refuse.

    Reference:
        Bengio et al., 2007, "Greedy layer-wise training of deep networks"; Vincent et al., 2010, "Stacked denoising
        autoencoders".

    Example:
        >>> import numpy as np
        >>> from kphys import autoencoder, pretrain_layerwise
        >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        >>> model = autoencoder(8, 2, hidden_units=(6, 4), seed=0)
        >>> len(pretrain_layerwise(model, x, epochs=2))
        3
    """
    stages = _stages(model)
    epochs, batch_size = _arguments.integer("epochs", epochs), _arguments.integer("batch_size", batch_size)
    if not isinstance(optimizer, str):
        raise TypeError(f"`optimizer` must be a name, as every layer has a new one, got {type(optimizer).__name__}.")
    shape, loss, histories = model.encoder.input_shape[1:], model.loss, []
    check_samples(NAMES, shape, x)
    for up, down in stages:
        encoder = _chain(up, shape, "encoder")
        shape = encoder.output_shape[1:]
        decoder = _chain(down, shape, "decoder")
        shallow = compiled_autoencoder(
            encoder,
            decoder,
            loss,
            family="dense autoencoder",
            optimizer=optimizer,
            learning_rate=learning_rate,
            noise=model.noise,
            input_dropout=model.input_dropout,
            seed=model.seed,
        )
        histories.append(shallow.fit(x, epochs=epochs, batch_size=batch_size, verbose=verbose))
        x, loss = shallow.encode(x), "mse"
    return histories


def classifier_from_encoder(
    model: Autoencoder,
    num_classes: int,
    *,
    trainable: bool = True,
    multilabel: bool = False,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: Any = None,
    check_data: bool = True,
    seed: int | None = None,
    name: str | None = None,
) -> keras.Model:
    """Gives a classifier that starts from what the encoder of `model` has learnt without labels.

    A copy of the encoder, without noise at the inputs and without the penalty on the code, and one layer of outputs on
    its code. `model` stays as it is.

    Args:
        model: A trained `Autoencoder`.
        num_classes: As in `mlp_classifier`.
        trainable: `False` keeps the encoder's weights as they are, and only the outputs learn.
        multilabel: As in `mlp_classifier`.
        optimizer, learning_rate, check_data, name: As in `mlp_classifier`.
        seed: Fixes the starting weights of the outputs.

    Returns:
        A compiled `keras.Model`, the outputs and metrics those of `mlp_classifier`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Bengio et al., 2007, "Greedy layer-wise training of deep networks".

    Example:
        >>> from kphys import autoencoder, classifier_from_encoder
        >>> model = autoencoder(8, 4, hidden_units=(6,), seed=0)
        >>> classifier_from_encoder(model, 3, seed=0).count_params() - model.encoder.count_params()
        15
    """
    _check_model(model)
    trainable = _arguments.flag("trainable", trainable)
    num_classes = _parts.num_classes(num_classes, multilabel)
    encoder = keras.models.clone_model(model.encoder, clone_function=_without_penalty)
    encoder.set_weights(model.encoder.get_weights())
    for layer in encoder.layers:
        if not trainable:
            layer.trainable = False
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # It computes with a copy of its weights.
    code = encoder.outputs[0]
    if len(code.shape) > 2:
        code = keras.layers.Flatten(name="flat_code")(code)
    convolutional = any(isinstance(layer, keras.layers.Conv2D) for layer in encoder.layers)
    return finish_model(
        encoder.inputs[0],
        code,
        classifier_head(num_classes, multilabel=multilabel),
        family="convolutional" if convolutional else "dense",
        optimizer=optimizer,
        learning_rate=learning_rate,
        seed=_parts.Seeds(seed)(),
        check_data=check_data,
        name=_parts.model_name(name, "classifier_from_encoder"),
    )


def _without_penalty(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, CodePenalty):
        return keras.layers.Activation("linear", name=layer.name)
    return type(layer).from_config(layer.get_config())


def _check_model(model: Any) -> None:
    if not isinstance(model, Autoencoder):
        raise TypeError(f"`model` must be an Autoencoder, got {type(model).__name__}: make one with `autoencoder`.")


def _stages(model: Any) -> list[tuple[list[keras.layers.Layer], list[keras.layers.Layer]]]:
    """Gives, for every dense layer of the encoder, what belongs to it there and in the decoder."""
    _check_model(model)
    up, down = (_split(part.layers) for part in (model.encoder, model.decoder))
    widths = [
        [layer.units for block in blocks for layer in block if isinstance(layer, _DENSE)] for blocks in (up, down)
    ]
    kinds = {type(layer) for blocks in (up, down) for block in blocks for layer in block}
    if keras.layers.Conv2D in kinds or len(up) != len(down) or widths[0][:-1] != widths[1][-2::-1]:
        raise ValueError(
            "`model` must have an encoder and a decoder of dense layers, one the mirror of the other: make it with "
            "`autoencoder`."
        )
    if not model.compiled:
        raise ValueError("`model` must be compiled, as its loss is what its outermost layers learn by.")
    return list(zip(up, reversed(down), strict=True))


_DENSE = (keras.layers.Dense, TiedDense)


def _split(layers: list[keras.layers.Layer]) -> list[list[keras.layers.Layer]]:
    # What comes before the first dense layer goes with it.
    blocks: list[list[keras.layers.Layer]] = [[]]
    for layer in layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, _DENSE) and any(isinstance(other, _DENSE) for other in blocks[-1]):
            blocks.append([])
        blocks[-1].append(layer)
    return blocks


def _chain(layers: list[keras.layers.Layer], shape: tuple[int, ...], name: str) -> keras.Model:
    inputs = features = keras.Input(shape)
    for layer in layers:
        features = layer(features)
    return keras.Model(inputs, features, name=name)
