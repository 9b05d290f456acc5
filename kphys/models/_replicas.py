"""What models need on several replicas that Keras 3.15 does wrong, and on one that costs memory for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


def build_from_one_replica(model: keras.Model, iterator: Any = None, data_batch: Any = None) -> None:
    """Builds from the shapes of one replica's part of a batch, where Keras adds up the parts of all, texts too.

    Stands where Keras has `_maybe_symbolic_build`.
    """
    strategy = model._distribute_strategy
    if strategy is None:
        return
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        data_batch = keras.tree.map_structure(
            lambda values: strategy.experimental_local_results(values)[0], next(batches)
        )
    with strategy.scope():
        model._symbolic_build(data_batch=data_batch)


# How a Keras optimizer for TensorFlow sums its gradients over the replicas.
_ALL_REDUCE = "_all_reduce_sum_gradients"


@contextlib.contextmanager
def no_sums_over_one_replica(model: keras.Model) -> Iterator[None]:
    """Leaves out of what is traced meanwhile that gradients are summed over the replicas, where there is one.

    TensorFlow 2.21 keeps a function for the gradient of every such sum that was traced, and with it the graph of the
    whole training step, as long as the process lives: some 3 MB a model.
    """
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    # A callback may evaluate in a `fit`, which sees to it already.
    optimizers = [each for each in _inner_optimizers(model.optimizer) if alone and _ALL_REDUCE not in vars(each)]
    for optimizer in optimizers:
        setattr(optimizer, _ALL_REDUCE, list)
    try:
        yield
    finally:
        for optimizer in optimizers:
            delattr(optimizer, _ALL_REDUCE)


def _inner_optimizers(optimizer: Any) -> Iterator[Any]:
    """Gives what makes the steps: the optimizer itself, each of several, or the one inside one."""
    inner = getattr(optimizer, "optimizers", None) or [getattr(optimizer, "inner_optimizer", None)]
    for each in filter(None, inner):
        yield from _inner_optimizers(each)
    if hasattr(optimizer, _ALL_REDUCE):
        yield optimizer
