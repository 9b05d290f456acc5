"""How an optimizer changes the weights, where Keras 3.15's on TensorFlow is wrong, slow, or keeps memory for good."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# Methods of a Keras optimizer for TensorFlow: one sums gradients over the replicas; one goes through clipping, weight
# decay and the update; one updates a variable.
_ALL_REDUCE, _APPLY, _UPDATE = "_all_reduce_sum_gradients", "_backend_apply_gradients", "update_step"


@contextlib.contextmanager
def mended_updates(model: keras.Model, xla: bool) -> Iterator[None]:
    """Has what is traced meanwhile update weights as follows; afterwards the optimizers are as they were.

    - Gradients of a table of vectors are summed up row by row. Where a row occurs several times in a batch, Keras clips
      and squares the parts: Adam and its kin then take steps that are too long, by a factor of √n for n parts that are
      alike, or too short.
    - On one replica no gradients are summed over the replicas: TensorFlow 2.21 keeps a function for the gradient of
      every such sum, and with it the graph of the whole training step, as long as the process lives, 3 MB a model.
    - Adam's update is one kernel, unless XLA makes one of it: Keras' dozen operations read and write the weights as
      often, and take a third of a perceptron's step.
    """
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    with contextlib.ExitStack() as stack:
        for optimizer in _inner_optimizers(model.optimizer):
            if {_APPLY, _ALL_REDUCE} & vars(optimizer).keys():  # A callback evaluates in a `fit`, which has seen to it.
                continue
            if not _is_linear(optimizer):
                put(stack, optimizer, _APPLY, functools.partial(_apply_dense, optimizer._backend_apply_gradients))
            if alone:
                put(stack, optimizer, _ALL_REDUCE, list)
            if alone and not xla and _is_plain_adam(optimizer):
                put(stack, optimizer, _UPDATE, functools.partial(_update_as_adam, optimizer))
        yield


def put(stack: contextlib.ExitStack, instance: Any, name: str, method: Callable[..., Any]) -> None:
    """Puts `method` on `instance` in place of its class's, until `stack` ends."""
    stack.callback(vars(instance).pop, name, None)
    setattr(instance, name, method)


def _inner_optimizers(optimizer: Any) -> Iterator[Any]:
    """Gives what makes the steps: the optimizer itself, each of several, or the one inside one."""
    inner = getattr(optimizer, "optimizers", None) or [getattr(optimizer, "inner_optimizer", None)]
    for each in filter(None, inner):
        yield from _inner_optimizers(each)
    if hasattr(optimizer, _APPLY):
        yield optimizer


def _is_linear(optimizer: keras.optimizers.Optimizer) -> bool:
    """Says whether a row's parts may stay apart, so that not the whole table is written: descent without clipping."""
    clips = (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
    return type(optimizer) is keras.optimizers.SGD and all(limit is None for limit in clips)


def _apply_dense(apply: Callable[..., None], gradients: list[Any], variables: list[Any]) -> None:
    apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)


def _is_plain_adam(optimizer: keras.optimizers.Optimizer) -> bool:
    """Says whether `optimizer` is Keras' Adam or AdamW, with nothing of a user's in its place."""
    ours = type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad
    return ours and _UPDATE not in vars(optimizer)


def _update_as_adam(optimizer: keras.optimizers.Adam, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Does what `Adam.update_step` does, to rounding."""

    def number(value: Any) -> tf.Tensor:
        # `tf.cast` would round a number of Python's to 32 bits first.
        is_plain = isinstance(value, (int, float))
        return tf.convert_to_tensor(value, variable.dtype) if is_plain else tf.cast(value, variable.dtype)

    index, step = optimizer._get_variable_index(variable), number(optimizer.iterations + 1)
    beta_1, beta_2 = number(optimizer.beta_1), number(optimizer.beta_2)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=tf.pow(beta_1, step),
        beta2_power=tf.pow(beta_2, step),
        lr=number(learning_rate),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=number(optimizer.epsilon),
        grad=number(gradient),
    )
