"""Compiled calls that belong to one model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def compiled(
    function: Callable[..., Any], *given: Any, signature: Sequence[tf.TensorSpec], jit_compile: bool | None = None
) -> Callable[..., Any]:
    """Gives `function`, its first arguments `given`, as one compiled call of tensors of this `signature`."""
    # A partial function has no code object, by which TensorFlow would take those of several models for one traced anew.
    function = functools.partial(function, *given)
    return tf.function(function, input_signature=signature, autograph=False, jit_compile=jit_compile)
