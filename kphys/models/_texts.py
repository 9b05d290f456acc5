"""Texts given to `fit`, `evaluate` and `predict`: every form that they come in, and what is wrong with them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys.models._arrays import NAMES, VALIDATION_NAMES, refuse_no_data
from kphys.models._calls import NUMBERS, calls_of
from kphys.models._execution import on_replicas
from kphys.models._pipelines import untuned
from kphys.models._replicas import build_from_one_replica

FIRST_WORD = 2  # `TextVectorization` numbers padding 0, and 1 every word that is not in its vocabulary.
_TEXTS_AT_ONCE = 1024
_ON_BATCH = ("train_on_batch", "test_on_batch", "predict_on_batch")


def take_texts(model: keras.Model, vectorization: keras.layers.TextVectorization, check_data: bool) -> None:
    """Has `model` take texts in every form, and look through them before training if `check_data`."""
    if check_data:
        model.check_arrays = functools.partial(_check_texts, vectorization, model.check_arrays)
    if on_replicas():
        model._maybe_symbolic_build = functools.partial(build_from_one_replica, model)
    else:
        _number_words_once(model, vectorization)
    for name in ("fit", "evaluate", "predict", *_ON_BATCH):
        setattr(model, name, _taking_texts(getattr(model, name)))


def _number_words_once(model: keras.Model, vectorization: keras.layers.TextVectorization) -> None:
    """Has a `fit` or `evaluate` of texts in memory cut them into words before its first batch, if all get one length.

    No other epoch waits for words then, and XLA, which has no strings, can compile what reads the words' numbers. Not
    with functions of a user's, which may do otherwise every time.
    """
    node = next(node for node in vectorization._inbound_nodes if node.input_tensors[0] is model.input)
    (words,) = node.outputs
    config = vectorization.get_config()
    if words.shape[1] is None or callable(config["standardize"]) or callable(config["split"]):
        return
    reader = keras.Model(words, model.output)
    table = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding))
    model.as_input = functools.partial(_numbers, vectorization, table.input_dim)
    model.call = functools.partial(_read, model.call, reader.call)
    calls_of(model).reader = reader
    for name in _ON_BATCH:  # A callback may call these while XLA trains the model.
        setattr(model, name, _taking_numbers(model, getattr(model, name)))
    model.input_spec = None  # That of strings; a graph of Keras' looks at what it is given itself.


def _read(read_texts: Callable[..., Any], read_numbers: Callable[..., Any], inputs: Any, **settings: Any) -> Any:
    """Stands for `call`."""
    return (read_numbers if getattr(inputs, "dtype", None) == NUMBERS else read_texts)(inputs, **settings)


def _numbers(vectorization: keras.layers.TextVectorization, rows: int, x: Any) -> Any:
    """Gives the numbers of the words of texts, `(samples, words)`; data sets and generators as they are."""
    if not ops.is_tensor(x):
        return x

    def cut(texts: tf.Tensor) -> tf.Tensor:
        return tf.cast(vectorization(texts), NUMBERS)

    if len(x) <= _TEXTS_AT_ONCE:  # Sooner done than a pipeline is built.
        numbers = cut(x).numpy()
    else:
        parts = tf.data.Dataset.from_tensor_slices(x).batch(_TEXTS_AT_ONCE).map(cut, num_parallel_calls=os.cpu_count())
        numbers = np.concatenate(list(untuned(parts).as_numpy_iterator()))
    if numbers.max(initial=0) >= rows:  # Where XLA would read the last row.
        raise ValueError(
            f"`vectorization` knows {vectorization.vocabulary_size()} words by now, but the model has vectors of the "
            f"{rows} that it was built with: build it anew."
        )
    return numbers


def _taking_numbers(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `method`, whose first argument are texts, with their words' numbers in their place."""

    @functools.wraps(method)
    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        return method(model.as_input(x), *args, **kwargs)

    return run


def _taking_texts(method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `method` for texts in every form; Keras itself takes tensors, and arrays of Python's strings."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        if "_use_cached_eval_dataset" in kwargs:  # What a `fit` evaluates it has taken at its start.
            return method(*args, **kwargs)
        call = signature.bind(*args, **kwargs)
        if "x" in call.arguments:
            call.arguments["x"] = _strings(NAMES[0], call.arguments["x"])
        validation_data = call.arguments.get("validation_data")
        if isinstance(validation_data, (tuple, list)) and validation_data:
            texts, *others = validation_data
            call.arguments["validation_data"] = (_strings(VALIDATION_NAMES[0], texts), *others)
        return method(*call.args, **call.kwargs)

    return run


def _strings(name: str, x: Any) -> Any:
    """Gives texts back as a tensor of strings, `(samples,)`; data sets and generators as they are."""
    if isinstance(x, (list, tuple)) and len(x) == 1 and hasattr(x[0], "shape"):
        x = x[0]  # Keras takes a list of the one input.
    if tf.is_tensor(x) and x.dtype == tf.string and x.shape.rank == 1 and len(x):
        return x
    if isinstance(x, (str, bytes)):
        raise TypeError(f"`{name}` must be a list or an array of texts, got one text: pass [{name}].")
    if not isinstance(x, (list, tuple)) and not (hasattr(x, "shape") and hasattr(x, "__len__")):
        refuse_no_data(name, x)
        return x
    # Of a list with numbers among its texts NumPy would make texts.
    texts = x.numpy() if ops.is_tensor(x) else np.asarray(x, dtype=object if isinstance(x, (list, tuple)) else None)
    if texts.size == 0:
        raise ValueError(f"`{name}` must hold at least one text, got an array of shape {texts.shape}.")
    if texts.dtype.kind not in "USOT":
        raise TypeError(f"`{name}` must hold texts, strings, got dtype {texts.dtype}: pass the texts themselves.")
    if texts.ndim not in (1, 2) or texts.shape[1:] not in ((), (1,)):
        raise ValueError(f"`{name}` must have the shape (samples,), one text each, got {texts.shape}.")
    texts = texts.astype(object).ravel()
    for index, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise TypeError(
                f"`{name}` must hold texts alone, strings, got {name}[{index}] = {text!r} ({type(text).__name__}): "
                "drop these samples, or write '' for an empty text."
            )
    return tf.constant(texts, "string")


def _check_texts(
    vectorization: keras.layers.TextVectorization,
    check_arrays: Callable[..., None],
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    validation_data: Any = None,
    class_weight: Any = None,
) -> None:
    """Raises the error that says what is wrong with the texts, or with what goes with them."""
    x = _stand_in(NAMES[0], x, vectorization)
    if isinstance(validation_data, (tuple, list)) and validation_data:
        texts, *others = validation_data
        validation_data = (_stand_in(VALIDATION_NAMES[0], texts, vectorization), *others)
    check_arrays(x=x, y=y, sample_weight=sample_weight, validation_data=validation_data, class_weight=class_weight)


def _stand_in(name: str, x: Any, vectorization: keras.layers.TextVectorization) -> Any:
    """Gives as many zeros as there are texts, for the checks of all else; data sets are passed on."""
    texts = _strings(name, x)
    if not ops.is_tensor(texts):
        return x
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        if np.any(vectorization(texts[start : start + _TEXTS_AT_ONCE]) >= FIRST_WORD):
            return np.zeros(len(texts))
    words = some(vectorization.get_vocabulary()[FIRST_WORD:])
    raise ValueError(f"`{name}` holds no word that `vectorization` knows, such as {words}: adapt it to these texts.")


def some(words: Sequence[Any]) -> str:
    """Gives the first three of `words`, for a message."""
    return ", ".join(repr(str(word)) for word in words[:3])
