"""The class of character networks: a recurrent network of numbers of characters that writes text."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys.models._arrays import (
    NAMES,
    VALIDATION_NAMES,
    check_numbers,
    check_weights,
    refuse_no_data,
    validation_parts,
)
from kphys.models._char_writing import WritesText, checked_chain
from kphys.models._characters import checked_vocabulary
from kphys.models._saved import KeepsState, with_parts
from kphys.models._training import keep_keras_promises

_FIT, _EVALUATE, _PREDICT = map(inspect.signature, (keras.Model.fit, keras.Model.evaluate, keras.Model.predict))


@keras.saving.register_keras_serializable("kphys")
class CharRNN(WritesText, KeepsState, keras.Model):
    """A network that foretells the next character, with its vocabulary; what `char_rnn` builds and compiles.

    A `keras.Model`: numbers of characters `(batch, timesteps)` in, probabilities of the next one `(batch, timesteps,
    vocabulary_size)` out. `fit` takes the vocabulary of its `character_dataset`, and `.keras` files hold it.

    Args:
        network: A Keras model that is a chain of layers from numbers to probabilities: `Embedding`; `LSTM`, `GRU` or
            `SimpleRNN` with `return_sequences=True`; `Dropout`, `LayerNormalization`, `Activation`; and at the end a
            `Dense` with softmax.
        vocabulary: The characters, number i at place i. `None`: that of the first data set that `fit` is given.
        check_data: Whether arrays are looked through before training.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: A network that is not such a chain, or a vocabulary that it has no outputs for.

    Reference:
        Sutskever, Martens and Hinton, 2011, "Generating text with recurrent neural networks".

    Example:
        >>> import keras
        >>> from kphys.models.sequences import CharRNN, character_dataset
        >>> dataset = character_dataset("to be or not to be " * 20, 10, 4, seed=0)
        >>> inputs = keras.Input((None,), dtype="int32")
        >>> features = keras.layers.GRU(16, return_sequences=True)(keras.layers.Embedding(7, 8)(inputs))
        >>> model = CharRNN(keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(features)))
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> history = model.fit(dataset, epochs=2, verbose=0)
        >>> len(model.generate("to be", 12, seed=0))
        12
    """

    def __init__(self, network: keras.Model, *, vocabulary: str | None = None, check_data: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self._chain = checked_chain(network)
        self.network = network
        self._vocabulary: str | None = None
        if vocabulary is not None:
            self.vocabulary = vocabulary
        self.check_data = _arguments.flag("check_data", check_data)
        self.built = True
        keep_keras_promises(self, self.check_arrays if self.check_data else None)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Gives the probabilities of every next character."""
        return self.network(inputs, training=training)

    # === The vocabulary ===

    @property
    def vocabulary_size(self) -> int:
        """The number of characters that the network has outputs for."""
        return self.network.output_shape[-1]

    @property
    def vocabulary(self) -> str | None:
        """The characters, number i at place i; `None` before the first `character_dataset`."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, value: str) -> None:
        value = checked_vocabulary(value)
        if len(value) > self.vocabulary_size:
            raise ValueError(
                f"`vocabulary` holds {len(value)} characters, but `vocabulary_size` is {self.vocabulary_size}: "
                f"build with vocabulary_size={len(value)}."
            )
        self._vocabulary = value

    def _hold_against(self, vocabulary: str | None, name: str, data: Any) -> None:
        """Raises where a data set is not for a model with this vocabulary, or not for one that keeps its states."""
        if not hasattr(data, "vocabulary"):
            return
        if vocabulary is None:
            raise ValueError(
                f"`{name}` has a vocabulary, and the model has none yet: call `fit` with a `character_dataset` as x "
                "first, or set `model.vocabulary`; a data set loses it by `map`, `cache` and the like."
            )
        if data.vocabulary != vocabulary:
            raise ValueError(
                f"`{name}` numbers its {len(data.vocabulary)} characters otherwise than the model its "
                f"{len(vocabulary)}: make it with vocabulary=model.vocabulary, for a text to validate on with that of "
                "the text learnt from."
            )
        if self._stateful and data.rows != self.network.input_shape[0]:
            raise ValueError(
                f"`{name}` does not go on from batch to batch in {self.network.input_shape[0]} rows, as this model "
                f"reads it: make it with character_dataset(…, batch_size={self.network.input_shape[0]}, stateful=True)."
            )

    @property
    def _stateful(self) -> list[keras.layers.Layer]:
        return [layer for layer in self._chain if getattr(layer, "stateful", False)]

    # === Training ===

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        given = _FIT.bind(self, *args, **kwargs)
        x, validation_data = (given.arguments.get(name) for name in ("x", "validation_data"))
        vocabulary = self._vocabulary or getattr(x, "vocabulary", None)
        self._hold_against(vocabulary, "x", x)
        self._hold_against(vocabulary, "validation_data", validation_data)
        if isinstance(x, tf.data.Dataset):
            # Keras warns otherwise that it leaves the order to the data set, which it should.
            given.arguments.setdefault("shuffle", False)
        elif self._stateful and given.arguments.get("shuffle", True):
            raise ValueError(
                "`shuffle` must be False with arrays for a stateful model, whose rows go on from batch to batch."
            )
        if vocabulary is not None:
            self.vocabulary = vocabulary
        return keras.Model.fit(*self._from_zero(given).args, **given.kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return self._asked(keras.Model.evaluate, _EVALUATE.bind(self, *args, **kwargs))

    @functools.wraps(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return self._asked(keras.Model.predict, _PREDICT.bind(self, *args, **kwargs))

    def _asked(self, method: Callable[..., Any], given: inspect.BoundArguments) -> Any:
        x = given.arguments.get("x")
        self._hold_against(self._vocabulary or getattr(x, "vocabulary", None), "x", x)
        return method(*self._from_zero(given).args, **given.kwargs)

    def _from_zero(self, given: inspect.BoundArguments) -> inspect.BoundArguments:
        """Adds what lets the reading of a text start from the state zero."""
        callbacks = given.arguments.get("callbacks")
        zero = _ZeroStates(self._stateful)
        if not self._stateful:
            return given
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            given.arguments["callbacks"] = [*keras.tree.flatten(callbacks or []), zero]
        elif not any(isinstance(callback, _ZeroStates) for callback in callbacks.callbacks):
            callbacks.append(zero)
        return given

    def check_arrays(
        self, x: Any, y: Any = None, sample_weight: Any = None, validation_data: Any = None, class_weight: Any = None
    ) -> None:
        """Raises the error that says what is wrong with the arrays of `fit` or `evaluate`."""
        if class_weight is not None:
            raise ValueError("`class_weight` takes one label a sample, and this model has one for every character.")
        self._check(NAMES, x, y, sample_weight)
        for part in validation_parts(validation_data):
            self._check(VALIDATION_NAMES, *part)

    def _check(self, names: tuple[str, str, str], x: Any, y: Any = None, sample_weight: Any = None) -> None:
        if isinstance(x, str):
            raise TypeError(f"`{names[0]}` must hold numbers of characters, got a string: pass character_dataset(…).")
        if not isinstance(x, (list, tuple)) and not hasattr(x, "shape"):
            refuse_no_data(names[0], x)
            return
        x = check_numbers(names[0], x, self.vocabulary_size, "characters")
        if y is None:
            raise ValueError(f"`{names[1]}` is missing: give the next character for every one of `{names[0]}`.")
        y = check_numbers(names[1], y, self.vocabulary_size, "characters")
        if x.ndim != 2:
            raise ValueError(f"`{names[0]}` must have the shape (samples, timesteps), got {x.shape}.")
        if y.shape != x.shape:
            raise ValueError(
                f"`{names[1]}` must have the shape of `{names[0]}`, {x.shape}, one next character for each, got "
                f"{y.shape}."
            )
        if sample_weight is not None:
            check_weights(names, sample_weight, x, x.shape)

    # === Files ===

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "vocabulary": self._vocabulary,
            "check_data": self.check_data,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> CharRNN:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, ("network",), custom_objects))


class _ZeroStates(keras.callbacks.Callback):
    """Lets the reading of a text start from the state zero: every epoch, evaluation and prediction."""

    def __init__(self, layers: list[keras.layers.Layer]):
        super().__init__()
        self._layers = layers

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Before an epoch of training."""
        for layer in self._layers:
            layer.reset_state()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before an evaluation."""
        self.on_epoch_begin(0)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Before a prediction."""
        self.on_epoch_begin(0)
