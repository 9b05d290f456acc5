"""Many batches of arrays in one call, all steps of it in a loop that XLA compiles.

Keras pulls batch by batch through its pipeline into a loop of TensorFlow's, which calls what XLA has compiled for each.
With small batches that takes longer than the arithmetic. Here a pipeline gathers as many rows as a call takes steps, in
Keras' order, and XLA's own loop runs through them: a perceptron of 300 and 100 units trains 1.4 times as fast.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from kphys.models._pipelines import untuned
from kphys.models._updates import put

# Of a chunk; there are three at a time, one trained on, one ready, one that is gathered.
_MOST_BYTES = 2**25


class _Names(NamedTuple):
    """Of a Keras model: what is called with an iterator, what makes that, and what a batch goes through."""

    function: str
    make: str
    step: str


_TRAINING = _Names("train_function", "make_train_function", "train_step")
_EVALUATION = _Names("test_function", "make_test_function", "test_step")


@contextlib.contextmanager
def chunked_steps(model: keras.Model, trains: bool) -> Iterator[None]:
    """Has a `fit` of `model`, or else an `evaluate`, run through chunks of arrays where XLA compiles it.

    Afterwards the model is as before. Not where somebody has put a step of his own on it, whose logs may be more than
    the metrics, under a strategy, or where there is a GPU, on which nothing was measured. An evaluation within a `fit`
    finds that done.
    """
    kinds = [_TRAINING, _EVALUATION] if trains else [_EVALUATION]
    names = {"compute_metrics", *(name for kind in kinds for name in (kind.make, kind.step))}
    known = type(model).__module__.partition(".")[0] in ("keras", "kphys") and not names & vars(model).keys()
    plain = known and model._distribute_strategy is None and not tf.distribute.has_strategy()
    compiled = model.jit_compile and not model.run_eagerly and not tf.config.get_visible_devices("GPU")
    with contextlib.ExitStack() as stack:
        if plain and compiled and model.steps_per_execution > 1:
            for kind in kinds:
                put(stack, model, kind.make, functools.partial(_make, model, kind, getattr(model, kind.make)))
            # Called with the iterator of the training, if there is one, and then with those of evaluations.
            build = functools.partial(_see, model, iter(kinds), model._maybe_symbolic_build)
            put(stack, model, "_maybe_symbolic_build", build)
        yield


def _make(model: keras.Model, kind: _Names, keras_make: Callable[..., Any], force: bool = False) -> Any:
    """Stands for `make_train_function` or `make_test_function`."""
    if force or getattr(model, kind.function) is None:
        keras_make(force=force)
    # A callback that put its own step on the model may have left one of Keras' there.
    present = getattr(model, kind.function)
    if present.__module__ == keras_trainer.__name__ and model.jit_compile and model.steps_per_execution > 1:
        setattr(model, kind.function, _Function(model, kind.step, present))
    return getattr(model, kind.function)


def _see(
    model: keras.Model,
    passes: Iterator[_Names],
    keras_build: Callable[..., None],
    iterator: Any = None,
    **settings: Any,
) -> None:
    """Stands for `_maybe_symbolic_build`, the first that a model sees of the iterator of a `fit` or an `evaluate`."""
    kind = next(passes, _EVALUATION)
    if iterator is not None and "_get_iterator" not in vars(iterator):
        keras_batches, chunks = iterator._get_iterator, _chunks(iterator)

        def get_iterator() -> Any:
            takes_chunks = chunks is not None and isinstance(getattr(model, kind.function), _Function)
            return chunks if takes_chunks else keras_batches()

        iterator._get_iterator = get_iterator
    return keras_build(iterator=iterator, **settings)


def _chunks(epochs: Any) -> _Chunks | None:
    """Gives what `epochs`, a `TFEpochIterator`, may iterate over: of arrays with enough batches to put together."""
    adapter = epochs.data_adapter
    if not isinstance(adapter, ArrayDataAdapter) or epochs.steps_per_epoch or adapter._shuffle == "batch":
        return None
    arrays = _arrays(epochs._distributed_dataset)
    batches = min(epochs.steps_per_execution, adapter._num_samples // adapter._batch_size)
    rows = batches * adapter._batch_size
    if arrays is None or batches < 2 or rows * _bytes_a_row(arrays) > _MOST_BYTES:
        return None
    wide = copy.copy(adapter)  # The same rows in the same order, in batches as large as what Keras has a call take.
    size = rows if batches == epochs.steps_per_execution else adapter._num_samples
    wide._inputs, wide._batch_size, wide._partial_batch_size = arrays, size, adapter._num_samples % size
    dataset = wide.get_tf_dataset().map(functools.partial(_as_chunk, rows, adapter._batch_size))
    return _Chunks(untuned(dataset.prefetch(1)))


def _arrays(dataset: tf.data.Dataset) -> Any:
    """Gives the arrays in TensorFlow's memory that Keras' `dataset` draws from, or `None`."""
    if not hasattr(dataset, "_tensors"):
        found = [_arrays(source) for source in dataset._inputs()]
        return next((arrays for arrays in found if arrays is not None), None)
    specs = tf.nest.flatten(dataset.element_spec)
    if not all(type(spec) is tf.TensorSpec and spec.dtype != tf.string and spec.shape.rank for spec in specs):
        return None
    return tf.nest.pack_sequence_as(dataset.element_spec, dataset._tensors)


def _bytes_a_row(arrays: Any) -> int:
    return sum(array.shape[1:].num_elements() * array.dtype.size for array in tf.nest.flatten(arrays))


class _Chunks:
    """What an epoch iterates over, and what a `_Function` knows it by."""

    def __init__(self, dataset: tf.data.Dataset):
        self._dataset = dataset

    def __iter__(self) -> _Chunks:
        self.iterator = iter(self._dataset)
        return self

    def __next__(self) -> Any:
        return next(self.iterator)


def _as_chunk(rows: int, batch_size: int, *data: Any) -> tuple[tf.Tensor, Any, Any]:
    """Gives the number of whole batches, these, with some that are nothing up to the usual number, and the rest."""
    number = tf.shape(tf.nest.flatten(data)[0])[0] // batch_size

    def batches(tensor: tf.Tensor) -> tf.Tensor:
        whole = tensor[: number * batch_size]
        missing = rows - number * batch_size
        padded = tf.pad(whole, [[0, missing], *[[0, 0]] * (len(tensor.shape) - 1)])
        return tf.reshape(padded, (rows // batch_size, batch_size, *tensor.shape[1:]))

    return (
        number,
        tf.nest.map_structure(batches, data),
        tf.nest.map_structure(lambda part: part[number * batch_size :], data),
    )


class _Function:
    """What Keras calls with an iterator: runs through a chunk, or what it would do itself."""

    def __init__(self, model: keras.Model, step: str, keras_function: Callable[[Any], Any]):
        self._model, self._step, self._keras_function = model, step, keras_function
        compiled = functools.partial(tf.function, autograph=False, reduce_retracing=True, jit_compile=True)
        self._many, self._one = compiled(self._run_many), compiled(self._run_one)
        self._run = tf.function(self._run_chunk, autograph=False, reduce_retracing=True)

    def __call__(self, iterator: Any) -> Any:
        return self._run(iterator.iterator) if isinstance(iterator, _Chunks) else self._keras_function(iterator)

    def _run_chunk(self, iterator: Any) -> dict[str, Any]:
        number, batches, rest = iterator.get_next()
        logs = self._many(number, batches)
        first = tf.nest.flatten(rest)[0]
        if first.shape[0] == 0:  # In every chunk.
            return logs
        return tf.cond(tf.shape(first)[0] > 0, lambda: self._one(rest), lambda: logs)

    def _run_many(self, number: tf.Tensor, batches: Any) -> dict[str, Any]:
        def run(count: tf.Tensor) -> tf.Tensor:
            getattr(self._model, self._step)(tf.nest.map_structure(lambda part: part[count], batches))
            return count + 1

        tf.while_loop(lambda count: count < number, run, [tf.constant(0)])
        return self._model.get_metrics_result()

    def _run_one(self, batch: Any) -> dict[str, Any]:
        getattr(self._model, self._step)(batch)
        return self._model.get_metrics_result()
