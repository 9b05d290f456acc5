"""What a builder puts on its stock Keras model: compiled, checked before training, many batches in one call.

All of it lives on the instance. The class stays Keras' own, so that a `.keras` file of stock layers loads where kphys
is not installed. What Keras loads from a file is a plain Keras model without these additions; `kphys.load_model` gives
them back.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys.models._arrays import VALIDATION_NAMES, check_arrays, only_input, validation_parts
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
    jit_compile, steps_per_execution = execution(family)
    model.compile(make_optimizer(optimizer, learning_rate), loss, weighted_metrics=metrics, jit_compile=jit_compile)
    # Not through `compile`, which would save it: Keras' `predict` unrolls that many batches into one graph, ten times
    # slower at the first call. `keep_keras_promises` has it run one batch a call; a loaded model does so too.
    model.steps_per_execution = steps_per_execution
    model.optimizer.build(model.trainable_variables)  # Its state is saved from the start.


def keep_keras_promises(model: keras.Model, check: Callable[..., None] | None) -> None:
    """Puts on `model` what many batches a call would break, and `check`, which looks through the arrays before."""
    model.fit = _with_keras_steps(model, model.fit)
    model.evaluate = _with_keras_steps(model, model.evaluate)
    model.predict = _with_batches_of_its_own(model, model.predict)
    if check is not None:
        model.check_arrays = check
        model.fit = _checked(model, model.fit)
        model.evaluate = _checked(model, model.evaluate)


def _checked(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        # What `fit` evaluates after every epoch it has looked through at its start.
        if "_use_cached_eval_dataset" not in kwargs:
            given = signature.bind(*args, **kwargs)
            names = ("x", "y", "sample_weight", "validation_data", "class_weight")
            model.check_arrays(**{name: given.arguments.get(name) for name in names})
            if "x" in given.arguments:
                given.arguments["x"] = only_input(given.arguments["x"])
            validation = given.arguments.get("validation_data")
            if isinstance(validation, (tuple, list)):
                given.arguments["validation_data"] = (only_input(validation[0]), *validation[1:])
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


# These have batch hooks, and do nothing of their own in them while this attribute is "epoch".
_FREQUENCY = {
    keras.callbacks.TensorBoard: "update_freq",
    keras.callbacks.ModelCheckpoint: "save_freq",
    keras.callbacks.BackupAndRestore: "save_freq",
}
_BATCH_HOOKS = [f"on_{phase}batch_{moment}" for phase in ("", "train_", "test_") for moment in ("begin", "end")]


def _with_keras_steps(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `method` with no more batches a call than its arguments allow.

    Callbacks that act on batches are called after each, as Keras promises. And as a call of several batches takes that
    many from a data set whether asked for or not, numbers of steps must be multiples of it.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        usual = model.steps_per_execution
        asked = (arguments.get(name) for name in ("steps_per_epoch", "validation_steps", "steps"))
        steps = math.gcd(usual, *(number for number in asked if number is not None))
        if any(map(_acts_on_batches, _flat(arguments.get("callbacks")))):
            steps = 1
        if steps == usual:
            return method(*args, **kwargs)
        # Traced functions have their number of batches baked in.
        traced = model.train_function, model.test_function
        model.steps_per_execution, model.train_function, model.test_function = steps, None, None
        try:
            return method(*args, **kwargs)
        finally:
            model.steps_per_execution = usual
            model.train_function, model.test_function = traced

    return run


def _flat(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return keras.tree.flatten(callbacks)


def _acts_on_batches(callback: Any) -> bool:
    if getattr(callback, "batches_may_share_a_call", False):
        return False
    frequency = _FREQUENCY.get(type(callback))
    idle = frequency is not None and getattr(callback, frequency) == "epoch"
    if type(callback) is keras.callbacks.ProgbarLogger or (idle and not getattr(callback, "_should_trace", False)):
        return False
    base = keras.callbacks.Callback
    return isinstance(callback, base) and any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook) for hook in _BATCH_HOOKS
    )


def _with_batches_of_its_own(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `predict`, one batch a call, as large as serves where nobody asks for a size or looks at batches."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        free = not any(given.arguments.get(name) for name in ("batch_size", "steps", "callbacks"))
        if free and isinstance(given.arguments.get("x"), np.ndarray):
            given.arguments["batch_size"] = _prediction_batch(model)
        steps_per_execution, model.steps_per_execution = model.steps_per_execution, 1
        try:
            return method(*given.args, **given.kwargs)
        finally:
            model.steps_per_execution = steps_per_execution

    return run


# A million rows of a small perceptron take a thirtieth of the time that they do in batches of 32.
_LARGEST_BATCH = 4096
_BYTES_A_LAYER = 2**26  # Of one layer's output: bounds the memory.


def _prediction_batch(model: keras.Model) -> int | None:
    """Gives the samples a batch whose largest layer is within bounds, or `None`, which leaves the choice to Keras."""
    if not hasattr(model, "operations"):  # A class of ours, which may draw random numbers by the batch.
        return None
    layers = model._flatten_layers(include_self=False)
    shapes = [tensor.shape for layer in layers for node in layer._inbound_nodes for tensor in node.outputs]
    if any(shape[0] is not None or None in shape[1:] for shape in shapes):
        return None
    largest = max(4 * math.prod(shape[1:]) for shape in shapes)
    return min(max(32, _BYTES_A_LAYER // largest), _LARGEST_BATCH)


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
