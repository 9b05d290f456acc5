"""One script for a laptop, several GPUs and a cluster: how a model is distributed over what is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from kphys.distribute._cluster import Cluster, find_cluster
from kphys.distribute._mends import mended_keras

__all__ = ["is_chief", "strategy"]

# TensorFlow joins a cluster once a process.
_joined: tuple[Cluster, tf.distribute.Strategy] | None = None
_open: list[tf.distribute.Strategy] = []


@contextlib.contextmanager
def strategy() -> Iterator[tf.distribute.Strategy]:
    """Gives a scope in which models are built and trained on all that there is: one device, several GPUs, workers.

    The environment chooses, in this order:

    - `TF_CONFIG` with several workers, or several tasks that Slurm's `srun` started: `MultiWorkerMirroredStrategy`, in
      which this process is one of the workers. Each starts the same script with the same data.
    - Several visible GPUs: `MirroredStrategy` over them.
    - Else the one device, without any strategy: everything is as it is outside of the scope, and as fast.

    On several replicas `batch_size` is that of all together: each takes its part of every batch, the gradients are
    averaged, and `fit` gives what one device gives with this batch size, but for rounding, and for what is drawn or
    normalized within a replica's part (noise, dropout, batch normalization). So it is where all parts are of one size;
    in a batch that does not divide, the samples of the smaller parts count for more, and a batch that leaves a replica
    without a sample is refused. The learning rate is left as it is. Metrics are those of all samples.

    Several workers, beside that, have one seed, the chief's, if none was set; stop together at the end of an epoch when
    one wants to, also because its batch system said so; and only the chief, the first, writes files: those of Keras'
    and these callbacks and of a model's `save`, `save_weights` and `export`, which all workers must call. The folder of
    `BackupAndRestore` must be in a file system that all see. When a worker dies, the others raise an error, some ten
    seconds later.

    Inside the scope, and only there, defects of Keras 3.15 are mended, if the installed Keras has them: `fit` fails on
    several workers, and with parts of different size on several GPUs; batch normalization saves the running statistics
    of the first replica's samples alone. Hence `fit`, `evaluate`, `predict` and `save` belong inside, too.

    Yields:
        The `tf.distribute.Strategy`. Its `num_replicas_in_sync` is the number of replicas.

    Raises:
        ValueError: A wrong `TF_CONFIG`; in `fit`, a batch too small, or workers with different seeds or data.
        RuntimeError: On several workers, if TensorFlow has computed before, or if this worker cannot join; and in the
            place of TensorFlow's own error if another worker has ended.

    Reference:
        Keras issue 20585 (the defects); Goyal et al., 2017, "Accurate, large minibatch SGD: training ImageNet in 1
        hour" (how batch size and learning rate go together).

    Example:
        >>> import kphys
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> with kphys.distribute.strategy() as strategy:
        ...     model = kphys.mlp_regressor(1, hidden_units=4, seed=0)
        ...     history = model.fit(x, x**2, batch_size=32 * strategy.num_replicas_in_sync, epochs=2, verbose=0)
        >>> history.epoch
        [0, 1]
    """
    if tf.distribute.has_strategy():
        yield _surrounding()
        return
    cluster = find_cluster(os.environ)
    if cluster is not None:
        with _on_workers(cluster) as chosen:
            yield chosen
    elif len(tf.config.get_visible_devices("GPU")) > 1:
        with _on_replicas(tf.distribute.MirroredStrategy()) as chosen:
            yield chosen
    else:
        yield tf.distribute.get_strategy()


def is_chief() -> bool:
    """Says whether this process is the one that writes: the first worker, or the only process.

    For what is no part of the training, such as printing and drawing. `fit`, `evaluate`, `predict` and `save` are for
    all workers: they wait for each other.

    Raises:
        ValueError: A wrong `TF_CONFIG`.

    Example:
        >>> import kphys
        >>> kphys.distribute.is_chief()
        True
    """
    cluster = find_cluster(os.environ)
    return cluster is None or cluster.index == 0


def _surrounding() -> tf.distribute.Strategy:
    if tf.distribute.get_strategy() not in _open:
        raise RuntimeError(
            "kphys.distribute.strategy() is called in the scope of another strategy, and chooses one itself: leave "
            "that scope out."
        )
    return tf.distribute.get_strategy()


@contextlib.contextmanager
def _on_replicas(chosen: tf.distribute.Strategy) -> Iterator[tf.distribute.Strategy]:
    with mended_keras(), chosen.scope():
        _open.append(chosen)
        try:
            yield chosen
        finally:
            _open.remove(chosen)


@contextlib.contextmanager
def _on_workers(cluster: Cluster) -> Iterator[tf.distribute.Strategy]:
    from kphys.distribute._workers import Workers  # The callbacks are needed here alone.

    chosen = _join(cluster)
    try:
        with Workers(chosen).together(), _on_replicas(chosen):
            yield chosen
    except tf.errors.OpError as error:
        if not (isinstance(error, tf.errors.UnavailableError) or "Collective ops is aborted" in str(error)):
            raise
        raise RuntimeError(
            f"Another worker has ended or cannot be reached, and {_named(cluster)} cannot go on alone: what happened "
            "stands in the other's output. Start all workers again; with BackupAndRestore they go on after the last "
            "whole epoch."
        ) from error


def _join(cluster: Cluster) -> tf.distribute.Strategy:
    global _joined
    if _joined is not None:
        before, chosen = _joined
        if before != cluster:
            raise RuntimeError(f"This process has joined a cluster as {_named(before)}: start another process.")
        return chosen
    try:
        chosen = tf.distribute.MultiWorkerMirroredStrategy(cluster.resolver())
    except RuntimeError as error:
        if "startup" not in str(error):
            raise
        raise RuntimeError(
            "On several workers kphys.distribute.strategy() must come before TensorFlow computes anything: make "
            "models, layers, tensors and data sets inside of it."
        ) from error
    except (tf.errors.OpError, ValueError) as error:
        raise RuntimeError(
            f"{_named(cluster).capitalize()} cannot join: is the address this machine's, and the port free? ({error})"
        ) from error
    _joined = cluster, chosen
    return chosen


def _named(cluster: Cluster) -> str:
    return f"worker {cluster.index} of {len(cluster.addresses)} ({cluster.addresses[cluster.index]})"
