"""How Keras feeds arrays: without the tuning that TensorFlow may wait for at the end of a pass.

TensorFlow 2.21 tunes the pipelines of `tf.data` in a thread that sleeps 10 ms, then twice as long each time, up to a
minute. Whoever is done with a pass through the data wakes this thread and waits for its end; where it wakes before it
is marked as cancelled, it sleeps again, and an epoch takes up to twice its time. Keras' own pipelines have one step
worth tuning, which runs on all cores without, too.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter

_lock = threading.Lock()
_open_scopes = 0
_keras_method: Any = None  # While some scope is open.


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Gives `dataset` without the thread that tunes it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextlib.contextmanager
def untuned_pipelines() -> Iterator[None]:
    """Has Keras' pipelines run untuned while some such scope is open; a user's `tf.data` stays as it is."""
    global _open_scopes, _keras_method  # One class of Keras' serves all threads.
    keras_class = keras_trainer.TFEpochIterator
    with _lock:
        if _open_scopes == 0:
            _keras_method = keras_class._get_iterator
            keras_class._get_iterator = _untuned_iterator(_keras_method)
        _open_scopes += 1
    try:
        yield
    finally:
        with _lock:
            _open_scopes -= 1
            if _open_scopes == 0:
                keras_class._get_iterator = _keras_method


def _untuned_iterator(get_iterator: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get_iterator)
    def get(epochs: keras_trainer.TFEpochIterator) -> Any:
        batches = get_iterator(epochs)
        is_own = isinstance(epochs.data_adapter, TFDatasetAdapter) or not isinstance(batches, tf.data.Dataset)
        return batches if is_own else untuned(batches)

    return get
