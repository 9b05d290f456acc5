"""Two guards against mode collapse: fakes of earlier steps shown again, and the spread of a batch as a feature."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kphys import _arguments

GUARDS = ("replay", "minibatch_stddev")


@keras.saving.register_keras_serializable("kphys")
class MinibatchStddev(keras.layers.Layer):
    """Tells a discriminator how much the samples of a batch differ: a generator of equal samples gives itself away.

    One more feature, the same number s everywhere: the standard deviation of every feature at every position over the
    batch, averaged over features and positions. Put it before the last layer of a discriminator.

    Args:
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Reference:
        Karras, Aila, Laine and Lehtinen, 2018, "Progressive growing of GANs for improved quality, stability, and
        variation".

    Example:
        >>> import numpy as np
        >>> from kphys.models.adversarial import MinibatchStddev
        >>> features = np.array([[1.0, 5.0], [3.0, 5.0]])
        >>> np.round(MinibatchStddev()(features), 2).tolist()
        [[1.0, 5.0, 0.5], [3.0, 5.0, 0.5]]
    """

    def call(self, inputs: Any) -> Any:
        """Gives the features `(batch, ..., features)` and s, `(batch, ..., features + 1)`."""
        # float32 whatever the policy; 1e-8 as in the paper's code: the root has no slope at 0.
        variance = ops.var(ops.cast(inputs, "float32"), axis=0)
        spread = ops.cast(ops.mean(ops.sqrt(variance + 1e-8)), inputs.dtype)
        return ops.concatenate([inputs, ops.zeros_like(inputs[..., :1]) + spread], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Gives the shape with one feature more."""
        return (*input_shape[:-1], input_shape[-1] + 1)


@keras.saving.register_keras_serializable("kphys")
class ReplayBuffer(keras.layers.Layer):
    """Keeps fakes of earlier steps, so that a discriminator does not forget what it has learnt to refuse.

    Half of the fakes that are shown in a step are drawn from it. One new fake a step goes in, in the place of the
    oldest: the buffer reaches back `capacity` steps.

    Args:
        capacity: Number of fakes that it holds.
        **kwargs: `name`, as in `keras.layers.Layer`.

    Reference:
        Shrivastava et al., 2017, "Learning from simulated and unsupervised images through adversarial training".
    """

    def __init__(self, capacity: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.capacity = _arguments.integer("capacity", capacity)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes room for fakes of this shape, `(None, ...)`."""
        # Under `tf.distribute` each replica keeps fakes of its own.
        own = {"trainable": False, "synchronization": "on_read", "aggregation": "only_first_replica"}
        shape = (self.capacity, *input_shape[1:])
        self.fakes = keras.Variable("zeros", shape=shape, dtype="float32", name="fakes", **own)
        # Of 64 bits: TensorFlow keeps shorter integers in the processor's memory, where XLA on a GPU cannot reach them.
        self.num_seen = keras.Variable("zeros", shape=(), dtype="int64", name="num_seen", **own)

    def exchange(self, fakes: Any, seed: Any) -> Any:
        """Gives the fakes to show, as many as `fakes`, and keeps one of these."""
        half = tf.shape(fakes)[0] // 2
        num_kept = tf.minimum(self.num_seen.value, self.capacity)
        share = keras.random.uniform((half,), seed=seed)
        rows = tf.minimum(tf.cast(share * tf.cast(num_kept, "float32"), "int64"), tf.maximum(num_kept - 1, 0))
        new, spare = fakes[half:], fakes[:half]
        earlier = tf.where(num_kept > 0, tf.gather(self.fakes.value, rows), spare)
        place = self.num_seen.value % self.capacity
        self.fakes.assign(tf.tensor_scatter_nd_update(self.fakes.value, [[place]], new[:1]))
        self.num_seen.assign(self.num_seen.value + 1)
        return tf.concat([new, earlier], axis=0)

    def get_config(self) -> dict[str, Any]:
        """Gives what the layer was made with."""
        return {**super().get_config(), "capacity": self.capacity}
