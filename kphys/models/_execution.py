"""Family, device -> `jit_compile`, `steps_per_execution`, from when on XLA, with the measurement behind each."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import tensorflow as tf


class Execution(NamedTuple):
    """How a compiled model runs: through XLA or not, how many batches one call trains on, how many are worth XLA.

    A `fit` that asks for fewer steps in all goes without XLA, which takes seconds to compile, and so does `evaluate` or
    `predict` for fewer batches. `None`: any is worth it. A model that is not compiled with XLA is so in a longer `fit`
    of arrays, and in one of a data set has the loops over steps compiled alone, where all samples have as many; `None`:
    it is not.
    """

    jit_compile: bool | str
    steps_per_execution: int
    steps_worth_xla: int | None = None


# Measured on two x86-64 cores, batches of 32, as a ratio to Keras' defaults (no XLA, one step a call):
#   dense          32 steps 1.7, XLA 1.4, both 2.3, XLA's own loop over the steps (`_chunks`) 3.2 to 3.7: small
#                  matrices, the time is in the calls between them. Since Adam's update is one kernel without XLA, the
#                  last is 1.4 to 1.5 times as fast as 32 steps alone; with batches of 512 as fast.
#   convolutional  32 steps 1.2, XLA 0.4: oneDNN's convolutions are faster than XLA's. Without XLA `_chunks` saves 2 %,
#                  of dense autoencoders 5 to 7, and takes 0.3 s more to trace.
#   recurrent      32 steps 1.0 to 1.2, both LSTM 2, GRU 2, `_chunks` and `_recurrence` 2.9, 3.7: XLA compiles the loop
#                  over time with what is in it. Long sequences in two halves side by side, which it compiles alone.
#   of any length  without XLA, which would compile anew for every length that it meets. Arrays have one length: as
#                  above, 2.3 times as fast as without (LSTM, 64 units, 40 words), sooner done after 450 steps; a data
#                  set, maybe of strings, may have one: the loops alone, 2, and in 1 s less to compile.
# XLA takes 1 to 1.4 s more of dense networks, 1.5 to 3 of recurrent ones, and saves 0.2 to 0.5 ms a step, and 2 to 4.
# Autoencoders take the row of the layers that they are made of, but
#   dense autoencoder  as fast through XLA as without: large products take the time, and XLA a fifth more memory.
# One thread in place of two for the inside of an operation, a setting of the process and so the user's: batches of 32
# without XLA, dense 1.1 to 1.3, CNNs 1.0, autoencoders and VAEs 1.1 to 1.4; DCGAN 0.9, batches of 512 0.9 to 1.0;
# what XLA compiles: dense 1.0, `char_rnn` 1.0 to 1.15, `seq2seq` 0.9.
# On a GPU nothing has been measured yet: Keras' own choice of XLA, which keeps cuDNN's recurrent kernels.
_SETTINGS = {
    ("dense", "CPU"): Execution(jit_compile=True, steps_per_execution=32, steps_worth_xla=3000),
    ("dense autoencoder", "CPU"): Execution(jit_compile=False, steps_per_execution=32),
    ("convolutional", "CPU"): Execution(jit_compile=False, steps_per_execution=32),
    ("recurrent", "CPU"): Execution(jit_compile=True, steps_per_execution=32, steps_worth_xla=700),
    ("recurrent of any length", "CPU"): Execution(jit_compile=False, steps_per_execution=32, steps_worth_xla=500),
    ("dense", "GPU"): Execution(jit_compile="auto", steps_per_execution=32),
    ("dense autoencoder", "GPU"): Execution(jit_compile="auto", steps_per_execution=32),
    ("convolutional", "GPU"): Execution(jit_compile="auto", steps_per_execution=32),
    ("recurrent", "GPU"): Execution(jit_compile="auto", steps_per_execution=32),
    ("recurrent of any length", "GPU"): Execution(jit_compile="auto", steps_per_execution=32),
}


# Under a strategy of several replicas neither works in Keras 3.15: both end in a graph execution error.
REPLICATED = Execution(jit_compile=False, steps_per_execution=1)


def on_replicas() -> bool:
    """Says whether the strategy in force has several replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def execution(family: str) -> Execution:
    """Gives the settings of `family` on the device, or the strategy, that the model is built for."""
    if on_replicas():
        return REPLICATED
    device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    settings = _SETTINGS[family, device]
    if settings.steps_worth_xla is not None and _share_of_mappings() > _MOST_MAPPINGS:
        warnings.warn(
            "This process has trained hundreds of models, and TensorFlow keeps the compiled code of each: this one is "
            "compiled without XLA, and trains up to twice as slowly. Train so many in several processes.",
            stacklevel=2,
        )
        return settings._replace(jit_compile=False, steps_worth_xla=None)
    return settings


# XLA's code is never freed, in TensorFlow 2.21 some 140 memory mappings for the training of one small network. Beyond
# Linux' limit, 65530 for a process by default, XLA fails or the process dies.
_MOST_MAPPINGS = 0.75


def _share_of_mappings() -> float:
    """Gives how much of the memory mappings that a process may have this one has; 0 where there is no limit."""
    try:
        with open("/proc/self/maps", "rb") as maps, open("/proc/sys/vm/max_map_count", "rb") as limit:
            return sum(1 for _ in maps) / int(limit.read())
    except OSError:  # Not Linux.
        return 0.0
