"""A model's answers to a few samples at a time, in microseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kphys.models._forward import in_numpy
from kphys.models._functions import compiled

__all__ = ["fast_call"]


def fast_call(model: keras.Model) -> Callable[[ArrayLike], Any]:
    """Gives what a model says of a few samples as one call of microseconds, for loops that ask for one at a time.

    `model.predict` makes a data set and a loop over it at every call, `model(x)` goes through the layers one by one:
    fifty and two milliseconds for a small perceptron. Here a chain of dense layers is worked out in NumPy, in some 25
    microseconds; any other model is one compiled call, through XLA where all its shapes are known. For many samples
    at once `predict` is faster.

    Args:
        model: A Keras model of one input, built: a builder's, `model.encoder` and the like, or your own.

    Returns:
        A function of one sample, of the shape of the model's input without the batch axis, or of several with a first
        axis. It gives what calling the model gives, for one sample without the first axis: what `model.predict` gives,
        but for a `DCGAN`, whose pixels are from 0 to 1 here whatever it was trained on. The weights are those of the
        moment when the function was made: make another after training. Values are not checked. A number of samples that
        it has not met before may take it a second to compile.

    Raises:
        TypeError, ValueError: `model` is not a Keras model of one input of known rank; or what the function gets has
            another shape than the model takes.

    Example:
        >>> import kphys
        >>> model = kphys.mlp_classifier(3, 2, seed=0)
        >>> answer = kphys.fast_call(model)
        >>> answer([0.1, 0.2, 0.3]).shape, answer([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]).shape
        ((1,), (2, 1))
    """
    shape, kind = _input_of(model)
    chain = in_numpy(model) if kind == "float32" else None
    forward = chain() if chain else _compiled(model, shape, kind)
    dtype = object if kind == "string" else kind

    def answer(samples: ArrayLike) -> Any:
        x = np.asarray(samples, dtype)
        single = _fits(x.shape, shape)
        if not (single or _fits(x.shape[1:], shape)) or x.size == 0:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"`samples` must have the shape ({wanted}), or that with a first axis, got {x.shape}.")
        outputs = forward(x[None] if single else x)
        return keras.tree.map_structure(lambda output: output[0], outputs) if single else outputs

    return answer


def _input_of(model: keras.Model) -> tuple[tuple[int | None, ...], str]:
    """Gives the shape of a sample and its type."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model, got {type(model).__name__}.")
    built_with = getattr(model, "_build_shapes_dict", None) or {}
    shape = getattr(model, "input_shape", None) or built_with.get("input_shape")
    if not isinstance(shape, tuple) or any(isinstance(part, tuple) for part in shape):
        raise ValueError(
            f"`model` must be built and have one input of known shape, got {model.name!r}: call it once on data, or "
            "take the part of it that has one input."
        )
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    return tuple(shape[1:]), inputs[0].dtype if inputs else "float32"


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(size in (None, part) for part, size in zip(found, shape, strict=True))


def _compiled(model: keras.Model, shape: tuple[int | None, ...], kind: str) -> Callable[[np.ndarray], Any]:
    parts = model.trainable_variables, model.non_trainable_variables
    trainable, others = ([tf.identity(variable) for variable in part] for part in parts)

    def forward(x: tf.Tensor) -> Any:
        return model.stateless_call(trainable, others, x, training=False)[0]

    signature = [tf.TensorSpec((None, *shape), kind)]
    of_known_shape = kind != "string" and None not in shape
    call = compiled(forward, signature=signature, jit_compile=of_known_shape).get_concrete_function()
    return lambda x: keras.tree.map_structure(lambda output: output.numpy(), call(tf.constant(x, kind)))
