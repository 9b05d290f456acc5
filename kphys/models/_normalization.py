"""Batch normalization of images, signals and volumes by one kernel, where XLA does not make one of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from kphys.models._updates import put


@contextlib.contextmanager
def fused_normalization(model: keras.Model, xla: bool) -> Iterator[None]:
    """Has the batch normalizations of `model` be one kernel in what is traced meanwhile; then they are as before.

    Keras' dozen operations read and write the features as often, and take a fifth of a convolutional network's step.
    The kernel gives the same numbers and first derivatives to rounding. Not with `xla`, on several replicas, or where
    there is a GPU, on which nothing was measured. An evaluation within a `fit` finds that done.
    """
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    fuses = alone and not xla and not tf.config.get_visible_devices("GPU")
    with contextlib.ExitStack() as stack:
        for layer in model._flatten_layers() if fuses else ():
            if _is_plain(layer) and "call" not in vars(layer):
                put(stack, layer, "call", functools.partial(_normalize, layer, layer.call))
        yield


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Says whether `layer` is Keras' batch normalization with nothing beside Ioffe and Szegedy's formula."""
    return type(layer) is keras.layers.BatchNormalization and not layer.renorm and not layer.synchronized


def _normalize(
    layer: keras.layers.BatchNormalization,
    call: Callable[..., Any],
    inputs: Any,
    training: Any = None,
    mask: Any = None,
) -> Any:
    """Does what `BatchNormalization.call` does.

    Of vectors, with few numbers a batch, Keras' own way is faster.
    """
    rank = len(inputs.shape)
    learns = training is True and layer.trainable and mask is None
    if not learns or rank < 3 or layer.axis not in (-1, rank - 1) or inputs.dtype == tf.float64:
        return call(inputs, training=training, mask=mask)
    features = tf.cast(inputs, tf.float32)
    channels = inputs.shape[-1]
    shape = tf.shape(features)
    normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(features, (shape[0], -1, 1, channels)),
        scale=tf.ones(channels) if layer.gamma is None else tf.cast(layer.gamma, tf.float32),
        offset=tf.zeros(channels) if layer.beta is None else tf.cast(layer.beta, tf.float32),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
    )
    # The kernel divides by one less than the number of values: Bessel's correction.
    number = tf.cast(tf.size(features, tf.int64) // channels, tf.float32)
    variance *= tf.maximum(number - 1, 1) / number
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(tf.cast(moving, tf.float32) * layer.momentum + now * (1.0 - layer.momentum))
    return tf.cast(tf.reshape(normalized, shape), layer.compute_dtype)
