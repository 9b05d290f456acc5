"""Forecasts of any length by a model that sees one step ahead: what it predicts becomes part of its past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys.models._arrays import check_finite, numeric
from kphys.models._functions import compiled
from kphys.models._heads import GaussianHead
from kphys.models._training import loss_name

_CACHE = "_kphys_forecast"


def forecast(model: keras.Model, history: np.ndarray, steps: int, *, increments: bool = False) -> np.ndarray:
    """Gives what `model` foresees for the next `steps` steps, fed with its own predictions.

    From the window x(t − T + 1), …, x(t) the model predicts x(t + 1). The prediction goes to the window's end, the
    window's first step leaves, and the model is asked again. All steps are one compiled call, whose number is no part
    of what is compiled.

    The smaller the time step, the more a prediction resembles the last state, and the more of the network's effort goes
    into copying it. For smooth trajectories train on x(t + 1) − x(t), and say so by `increments`: every step then adds
    to the last state.

    Args:
        model: A Keras model of one step, with as many values out as features in: `(batch, timesteps, features)` to
            `(batch, features)`, or with `return_sequences` to `(batch, timesteps, features)`, of which the last step
            counts. Of "gaussian_nll" the mean goes on, and the variance is left out.
        history: What is known, `(timesteps, features)`, or `(samples, timesteps, features)` for many at once, in the
            data's units. A model of a fixed number of time steps sees the last ones of it; a model of any length sees
            all, and keeps a window that long.
        steps: Number of steps to foresee.
        increments: `True` if the model predicts the change from one step to the next, x(t + 1) − x(t).

    Returns:
        `(steps, features)`, or `(samples, steps, features)`, float32, in the data's units; not finite any more from
        the step on at which a forecast has left the range of float32.

    Raises:
        ValueError, TypeError: An argument that the above does not allow, or a model of another kind; the message says
            the mend.

    Reference:
        Jaeger and Haas, 2004, "Harnessing nonlinearity: predicting chaotic systems and saving energy in wireless
        communication".

    Example:
        >>> import numpy as np
        >>> from kphys import rnn_regressor
        >>> from kphys.models.sequences import forecast
        >>> wave = np.sin(np.arange(220, dtype="float32") / 5)
        >>> windows = np.lib.stride_tricks.sliding_window_view(wave[:200], 21)
        >>> model = rnn_regressor((20, 1), units=16, learning_rate=0.01, seed=0)
        >>> fitted = model.fit(windows[:, :-1, None], windows[:, -1], epochs=30, verbose=0)
        >>> future = forecast(model, wave[:200, None], 20)
        >>> future.shape, bool(np.abs(future[:, 0] - wave[200:]).max() < 0.2)
        ((20, 1), True)
    """
    length, features = _check_model(model)
    history = _checked_history(history, length, features)
    steps = _arguments.integer("steps", steps)
    increments = _arguments.flag("increments", increments)
    window = history if history.ndim == 3 else history[None]
    if length is not None:
        window = window[:, -length:]
    states = _compiled(model)(window.astype("float32", copy=False), steps, increments).numpy()
    return states if history.ndim == 3 else states[0]


def _check_model(model: Any) -> tuple[int | None, int]:
    """Gives the time steps that `model` takes, `None` for any number, and its features; raises if it cannot go on."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model, got {model!r:.60} ({type(model).__name__}).")
    given, predicted = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not isinstance(given, tuple) or not isinstance(predicted, tuple):
        raise ValueError("`model` must have one input and one output of known shapes: build it with keras.Input.")
    if len(given) != 3 or given[2] is None:
        raise ValueError(
            f"`model` must take sequences, (batch, timesteps, features), got one that takes {given}: build it with "
            "rnn_regressor((timesteps, features), features)."
        )
    if "crossentropy" in str(loss_name(getattr(model, "loss", None))):
        raise ValueError(
            f"`model` must predict the next values of the features, got a classifier, {model.name!r}: build a "
            "regressor, whose predictions can be fed back."
        )
    if any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        raise ValueError("`model` must start every window anew, got a stateful one: build it with stateful=False.")
    _, length, features = given
    mean = predicted[1:-1] if _is_gaussian(model) else predicted[1:]
    if mean != (features,) and not (len(mean) == 2 and mean[1] == features and mean[0] in (None, length)):
        raise ValueError(
            f"`model` must predict as many values as it has features, {features}, for the next step, got predictions "
            f"of the shape {predicted}: train it on the next state of all features."
        )
    return length, features


def _is_gaussian(model: keras.Model) -> bool:
    return any(isinstance(layer, GaussianHead) for layer in model.layers)


def _checked_history(history: Any, length: int | None, features: int) -> np.ndarray:
    history = numeric("history", history)
    expected = f"(timesteps, {features}) or (samples, timesteps, {features})"
    if history.ndim not in (2, 3) or history.shape[-1] != features:
        mend = ": add the last axis with history[..., None]" if features == 1 and history.ndim in (1, 2) else ""
        raise ValueError(f"`history` must have the shape {expected}, got {history.shape}{mend}.")
    if length is not None and history.shape[-2] < length:
        raise ValueError(
            f"`history` must hold at least the {length} time steps that the model takes, got {history.shape[-2]}: "
            "give a longer one, or build the model for any length, with (None, features)."
        )
    check_finite("history", history)
    return history


def _compiled(model: keras.Model) -> Callable[..., tf.Tensor]:
    # Past Keras, which would take it for a part of the model.
    if _CACHE not in vars(model):
        signature = tf.TensorSpec((None, *model.input_shape[1:])), tf.TensorSpec((), "int32"), tf.TensorSpec((), "bool")
        vars(model)[_CACHE] = compiled(_run, model, _is_gaussian(model), signature=signature)
    return vars(model)[_CACHE]


def _run(model: keras.Model, gaussian: bool, window: tf.Tensor, steps: tf.Tensor, increments: tf.Tensor) -> tf.Tensor:
    def ask(step: tf.Tensor, window: tf.Tensor, states: tf.TensorArray) -> tuple[Any, ...]:
        state = tf.cast(model(window, training=False), "float32")
        state = state[..., 0] if gaussian else state
        state = state[:, -1] if len(state.shape) == 3 else state  # (samples, features)
        state = tf.where(increments, window[:, -1] + state, state)
        return step + 1, tf.concat([window[:, 1:], state[:, None]], axis=1), states.write(step, state)

    states = tf.TensorArray("float32", size=steps, element_shape=(None, window.shape[-1]))
    *_, states = tf.while_loop(lambda step, *_: step < steps, ask, (0, window, states))
    return tf.transpose(states.stack(), (1, 0, 2))
