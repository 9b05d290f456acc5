"""What models need on several replicas that Keras 3.15 does wrong."""

from __future__ import annotations

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
