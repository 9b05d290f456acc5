"""What a builder puts on its stock Keras model: compiled, checked before training, many batches in one call.

All of it lives on the instance. The class stays Keras' own, so that a `.keras` file of stock layers loads where kphys
is not installed. What Keras loads from a file is a plain Keras model without these additions; `kphys.load_model` gives
them back.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from kphys import _arguments
from kphys.models._arrays import VALIDATION_NAMES, check_arrays, only_input, validation_parts
from kphys.models._calls import choose, runs_as_asked, runs_batch_by_batch, steps_as_fit_does, traced_anew
from kphys.models._execution import execution
from kphys.models._heads import Head
from kphys.models._marks import mark
from kphys.models._parts import make_optimizer


def finish_model(
    inputs: keras.KerasTensor,
    features: keras.KerasTensor,
    head: Head,
    *,
    family: str,
    optimizer: Any,
    learning_rate: Any,
    seed: int | None,
    check_data: bool,
    name: str,
) -> keras.Model:
    """Gives the model from `inputs` to the outputs of `head` on `features`, ready to fit.

    The metrics are `weighted_metrics`: without weights these are the plain ones, with weights the only right ones.
    """
    check_data = _arguments.flag("check_data", check_data)
    model = keras.Model(inputs, head.attach(features, seed), name=name)
    loss = head.loss()
    compile_for(family, model, optimizer, learning_rate, loss, head.metrics())
    equip(model, head, loss, check_data)
    return model


def equip(model: keras.Model, head: Head, loss: keras.losses.Loss, check_data: bool) -> None:
    """Puts on a compiled `model` that learns `head` by `loss` all that Keras does not."""
    keep_keras_promises(model, functools.partial(_check, model, head, loss) if check_data else None)
    model.load_weights = _with_random_state(model, model.load_weights)
    model.get_compile_config = _portable_compile_config(model, head, loss)
    mark(model, head, check_data)


def compile_for(
    family: str, model: keras.Model, optimizer: Any, learning_rate: Any, loss: Any = None, metrics: Any = None
) -> None:
    """Compiles `model` with the execution settings of its family."""
    settings = execution(family)
    optimizer = make_optimizer(optimizer, learning_rate)
    model.compile(optimizer, loss, weighted_metrics=metrics, jit_compile=settings.jit_compile)
    choose(model, settings)
    model.optimizer.build(model.trainable_variables)  # Its state is saved from the start.


def keep_keras_promises(model: keras.Model, check: Callable[..., None] | None) -> None:
    """Puts on `model` what many batches a call would break, and `check`, which looks through the arrays before.

    `as_input` of the model gives an `x` in the form that the network reads.
    """
    model.fit = runs_as_asked(model, model.fit, trains=True)
    model.train_on_batch = steps_as_fit_does(model, model.train_on_batch)
    model.evaluate = runs_as_asked(model, model.evaluate, trains=False)
    model.predict = runs_batch_by_batch(model, model.predict)
    model.quantize = traced_anew(model, model.quantize)
    model.as_input = only_input
    if check is not None:
        model.check_arrays = check
    for name in ("fit", "evaluate"):
        setattr(model, name, _taking_arrays(model, getattr(model, name), checks=check is not None))


def _taking_arrays(model: keras.Model, method: Callable[..., Any], checks: bool) -> Callable[..., Any]:
    """Gives `fit` or `evaluate` for arrays in the form in which users have them."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        # What `fit` evaluates after every epoch it has looked through at its start.
        if "_use_cached_eval_dataset" not in kwargs:
            given = signature.bind(*args, **kwargs)
            if checks:
                names = ("x", "y", "sample_weight", "validation_data", "class_weight")
                model.check_arrays(**{name: given.arguments.get(name) for name in names})
            if "x" in given.arguments:
                given.arguments["x"] = model.as_input(given.arguments["x"])
            validation = given.arguments.get("validation_data")
            if isinstance(validation, (tuple, list)) and validation:
                given.arguments["validation_data"] = (model.as_input(validation[0]), *validation[1:])
            args, kwargs = given.args, given.kwargs
        return method(*args, **kwargs)

    return run


def _check(
    model: keras.Model,
    head: Head,
    loss: keras.losses.Loss,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    validation_data: Any = None,
    class_weight: Any = None,
) -> None:
    """Raises the error that says what is wrong with the arrays of `fit` or `evaluate`."""
    # Another loss, compiled by the user, may take other targets.
    expected = head if loss_name(model.loss) == loss_name(loss) else None
    check_arrays(expected, model.input_shape[1:], x, y, sample_weight)
    if head.sequences and class_weight is not None:
        raise ValueError(
            "`class_weight` takes one label a sample, and this model has one for every time step: pass "
            "`sample_weight`, of shape (samples, timesteps)."
        )
    for part in validation_parts(validation_data):
        check_arrays(expected, model.input_shape[1:], *part, names=VALIDATION_NAMES)


def loss_name(loss: Any) -> str | None:
    """Gives the name of a loss, given as one, as an object or as a function."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    return getattr(loss, "name", None) or getattr(loss, "__name__", None)


def _with_random_state(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `method` and puts the dropout layers where they were."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        put_random_state(model)
        return result

    return run


def put_random_state(model: keras.Model) -> None:
    """Puts the dropout layers where the optimizer is: Keras does not save how often they have drawn."""
    # They draw once a step; `iterations` would count accumulated steps as one.
    steps = getattr(model.optimizer, "inner_optimizer", model.optimizer)._iterations.numpy()
    for layer in model.layers:
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            seed, _ = generator.state.numpy()
            generator.state.assign([seed, steps])


def _portable_compile_config(
    model: keras.Model, head: Head, loss: keras.losses.Loss
) -> Callable[[], dict[str, Any] | None]:
    keras_get_compile_config = model.get_compile_config
    stock_layers = all(type(layer).__module__.startswith("keras.") for layer in model.layers)

    @functools.wraps(keras_get_compile_config)
    def get_compile_config() -> dict[str, Any] | None:
        config = keras_get_compile_config()
        if config is None:
            return config
        if head.delta is not None and model.loss is loss:
            config["loss"]["config"]["delta"] = head.delta  # Keras' Huber forgets it.
        if not stock_layers:
            return config
        metrics = config.get("weighted_metrics")
        if isinstance(metrics, list):
            config["weighted_metrics"] = [metric for metric in metrics if not _is_ours(metric)]
        return config

    return get_compile_config


def _is_ours(serialized: Any) -> bool:
    return isinstance(serialized, dict) and str(serialized.get("registered_name")).startswith("kphys>")
