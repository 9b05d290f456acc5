"""What Keras 3.15 does wrong on several replicas, mended while a scope is open if the installed Keras still errs."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer

from kphys.models._replicas import build_from_one_replica

_Trainer = keras_trainer.TensorFlowTrainer


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Puts `value` in the place of an attribute of a class or module, and what was there back at the end."""
    inherited, before = name not in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextlib.contextmanager
def mended_keras() -> Iterator[None]:
    """Mends the defects for models under a strategy, and refuses batches that leave a replica without a sample."""
    with contextlib.ExitStack() as scope:
        build = build_from_one_replica if reduces_batches() else _Trainer._maybe_symbolic_build
        scope.enter_context(replaced(_Trainer, "_maybe_symbolic_build", _checked(build)))
        if reduces_scalars_by_rows():
            reduce = _reducing_scalars(keras_trainer.reduce_per_replica)
            scope.enter_context(replaced(keras_trainer, "reduce_per_replica", reduce))
        if keeps_statistics_apart():
            scope.enter_context(replaced(keras.layers.BatchNormalization, "add_weight", _add_averaged_weight))
        yield


def _reducing_scalars(keras_reduce: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(keras_reduce)
    def reduce_per_replica(values: Any, strategy: tf.distribute.Strategy, reduction: str) -> Any:
        if not keras_trainer._collective_all_reduce_multi_worker(strategy) or reduction not in ("auto", "mean"):
            return keras_reduce(values, strategy, reduction)
        # Logs are means over a replica's samples: no axis of samples is left to reduce.
        return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)

    return reduce_per_replica


def _add_averaged_weight(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    if kwargs.get("trainable") is False:
        kwargs["aggregation"] = "mean"  # What the replicas assign.
    return keras.layers.Layer.add_weight(layer, *args, **kwargs)


def _checked(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def checked(model: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if model._distribute_strategy is not None and iterator is not None:
            _check_batches(iterator.data_adapter, model._distribute_strategy.num_replicas_in_sync)
        build(model, iterator=iterator, data_batch=data_batch)

    return checked


def _check_batches(adapter: Any, num_replicas: int) -> None:
    """Raises where a replica would get nothing: means over no samples are NaN, in batch normalization for good."""
    batch_size, rest = getattr(adapter, "batch_size", None), getattr(adapter, "partial_batch_size", None)
    if batch_size is not None and batch_size < num_replicas:
        raise ValueError(
            f"`batch_size` must be at least {num_replicas}, one sample for each replica that shares a batch, got "
            f"{batch_size}."
        )
    if rest is not None and rest < num_replicas:
        raise ValueError(
            f"`batch_size` is {batch_size}, which leaves {rest} sample{'s' if rest > 1 else ''} for the last batch, "
            f"too few for {num_replicas} replicas: choose another, or leave these samples out."
        )


# === Does the installed Keras still err? ===
#
# Its own functions are asked, with a strategy that only notes what it is asked for: nothing is built, no worker waits.
# Mended is what is recognized; whatever else a later Keras does is left to it.


class _Asked(Exception):
    """`Strategy.reduce` was called; `args` is the axis."""


class _Notes(tf.distribute.MultiWorkerMirroredStrategy):
    def __init__(self) -> None:
        self._extended = types.SimpleNamespace(_in_multi_worker_mode=lambda: True)

    def reduce(self, reduce_op: Any, value: Any, axis: Any = None) -> Any:
        raise _Asked(axis)


class _Part(tf.distribute.DistributedValues):
    """What stands for the replicas' parts of a batch."""


def reduces_batches() -> bool:
    """Says whether `fit` still adds up the parts of a batch, which differ in size, before it builds a model."""
    strategy = _Notes()
    model = types.SimpleNamespace(_distribute_strategy=strategy, distribute_strategy=strategy)
    return _asks_for(lambda: _Trainer._maybe_symbolic_build(model, iterator=[(0, 0, iter([(_Part(),)]))])) is not None


def reduces_scalars_by_rows() -> bool:
    """Says whether `fit` on several workers still reduces logs, which are scalars, along an axis."""
    return _asks_for(lambda: keras_trainer.reduce_per_replica(1.0, _Notes(), "auto")) == (0,)


def keeps_statistics_apart() -> bool:
    """Says whether batch normalization still keeps running means for each replica, and saves those of the first."""
    layer = keras.layers.BatchNormalization()
    layer.build((None, 1))
    return layer.moving_mean.aggregation == "none"


def _asks_for(call: Callable[[], Any]) -> tuple[Any, ...] | None:
    try:
        call()
    except _Asked as asked:
        return asked.args
    except Exception:  # Written anew, with other needs than these notes serve.
        return None
    return None
