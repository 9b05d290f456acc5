"""How gradients are clipped: functions of tensors, for `GradientClipping`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Tensors = list[tf.Tensor]
# (gradients, variables, norms, global norm, threshold) -> clipped gradients, whether something was clipped
Clip = Callable[[Tensors, Sequence[tf.Variable], tf.Tensor, tf.Tensor, tf.Tensor], tuple[Tensors, tf.Tensor]]

# Brock et al.'s ε: units whose weights are still zero move too.
SMALLEST_WEIGHT_NORM = 1e-3


# Up to here a sum costs XLA less than a product.
_FEW_ELEMENTS = 4096


def norms_of(gradients: Tensors, as_products: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives the norm of every gradient, and of all together, finite wherever the gradients are.

    `as_products` sums squares as a matrix times ones. XLA compiles a sum into a loop over single numbers on a CPU: for
    the 266,000 weights of a perceptron 300 µs, this 30 µs.
    """
    sum_of_squares = _sum_of_squares_as_product if as_products else _sum_of_squares
    norms = tf.sqrt(tf.stack([sum_of_squares(tf.cast(gradient, tf.float32)) for gradient in gradients]))
    # Squares overflow at 1e19, far below the gradients themselves: then once more, in units of the largest.
    norms = tf.cond(tf.reduce_all(tf.math.is_finite(norms)), lambda: norms, lambda: _scaled_norms(gradients))
    largest = tf.reduce_max(norms)
    return norms, largest * tf.norm(tf.math.divide_no_nan(norms, largest))


def _sum_of_squares(tensor: tf.Tensor) -> tf.Tensor:
    return 2.0 * tf.nn.l2_loss(tensor)


def _sum_of_squares_as_product(tensor: tf.Tensor) -> tf.Tensor:
    if tensor.shape.num_elements() <= _FEW_ELEMENTS:
        return _sum_of_squares(tensor)
    rows = tf.reshape(tensor, (-1, tensor.shape[-1]))
    return tf.reduce_sum(tf.matmul(tf.square(rows), tf.ones((rows.shape[-1], 1))))


def _scaled_norms(gradients: Tensors) -> tf.Tensor:
    gradients = [tf.cast(gradient, tf.float32) for gradient in gradients]
    largest = [tf.reduce_max(tf.abs(gradient)) for gradient in gradients]
    return tf.stack([m * tf.norm(tf.math.divide_no_nan(g, m)) for g, m in zip(gradients, largest, strict=True)])


def clip_global_norm(
    gradients: Tensors, variables: Sequence[tf.Variable], norms: tf.Tensor, global_norm: tf.Tensor, threshold: tf.Tensor
) -> tuple[Tensors, tf.Tensor]:
    """Gives g min(1, c / ‖g‖)."""
    factor = threshold / tf.maximum(global_norm, threshold)
    return [gradient * tf.cast(factor, gradient.dtype) for gradient in gradients], global_norm > threshold


def clip_norm(
    gradients: Tensors, variables: Sequence[tf.Variable], norms: tf.Tensor, global_norm: tf.Tensor, threshold: tf.Tensor
) -> tuple[Tensors, tf.Tensor]:
    """Gives g_i min(1, c / ‖g_i‖)."""
    factors = tf.unstack(threshold / tf.maximum(norms, threshold), num=len(gradients))
    clipped = [gradient * tf.cast(factor, gradient.dtype) for gradient, factor in zip(gradients, factors, strict=True)]
    return clipped, tf.reduce_any(norms > threshold)


def clip_value(
    gradients: Tensors, variables: Sequence[tf.Variable], norms: tf.Tensor, global_norm: tf.Tensor, threshold: tf.Tensor
) -> tuple[Tensors, tf.Tensor]:
    """Gives every component limited to [−c, c]."""
    clipped = [
        tf.clip_by_value(gradient, -tf.cast(threshold, gradient.dtype), tf.cast(threshold, gradient.dtype))
        for gradient in gradients
    ]
    return clipped, tf.reduce_any([tf.reduce_any(a != b) for a, b in zip(gradients, clipped, strict=True)])


def clip_adaptive(
    gradients: Tensors, variables: Sequence[tf.Variable], norms: tf.Tensor, global_norm: tf.Tensor, threshold: tf.Tensor
) -> tuple[Tensors, tf.Tensor]:
    """Gives g_u min(1, c max(‖w_u‖, ε) / ‖g_u‖) for every unit u."""
    clipped, too_large = [], []
    for gradient, variable in zip(gradients, variables, strict=True):
        weight = tf.cast(tf.convert_to_tensor(variable), gradient.dtype)
        limit = tf.cast(threshold, gradient.dtype) * tf.maximum(_unit_norms(weight), SMALLEST_WEIGHT_NORM)
        size = _unit_norms(gradient)
        clipped.append(gradient * (limit / tf.maximum(size, limit)))
        too_large.append(tf.reduce_any(size > limit))
    return clipped, tf.reduce_any(too_large)


def _unit_norms(tensor: tf.Tensor) -> tf.Tensor:
    # Keras keeps a matrix's or a kernel's units on the last axis; a vector counts as one.
    axes = range(len(tensor.shape) - 1) if len(tensor.shape) > 1 else None
    largest = tf.reduce_max(tf.abs(tensor), axis=axes, keepdims=True)
    units = tf.math.divide_no_nan(tensor, largest)  # Squares overflow at 1e19.
    return largest * tf.sqrt(tf.reduce_sum(tf.square(units), axis=axes, keepdims=True))


CLIPS: dict[str, Clip] = {
    "global_norm": clip_global_norm,
    "norm": clip_norm,
    "value": clip_value,
    "percentile": clip_global_norm,
    "adaptive": clip_adaptive,
}

# Norms from 2⁻⁶⁴ to 2⁶⁴ in bins of a ratio of 2^(1/64): the middle of a bin is right to 0.6 %.
NUM_BINS = 8192
_BINS_PER_OCTAVE = 64


def bin_of(norm: tf.Tensor) -> tf.Tensor:
    """Gives the bin that counts `norm`."""
    octaves = tf.math.log(tf.maximum(norm, 1e-37)) / tf.math.log(2.0)
    position = tf.cast(tf.floor(octaves * _BINS_PER_OCTAVE), tf.int64) + NUM_BINS // 2
    return tf.clip_by_value(position, 0, NUM_BINS - 1)


def percentile_of(counts: tf.Tensor, percentile: tf.Tensor) -> tf.Tensor:
    """Gives the percentile of the norms counted in `counts`, linear between neighbours as NumPy has it."""
    upto = tf.cumsum(counts)
    rank = percentile / 100.0 * tf.cast(upto[-1] - 1, tf.float32)
    low, high = tf.floor(rank), tf.math.ceil(rank)
    bins = tf.searchsorted(upto, tf.cast(tf.stack([low, high]), upto.dtype), side="right")
    octaves = (tf.cast(bins, tf.float32) + 0.5 - NUM_BINS / 2) / _BINS_PER_OCTAVE
    values = tf.pow(2.0, octaves)
    return values[0] + (rank - low) * (values[1] - values[0])
