"""What a builder puts on its stock Keras model: compiled, checked before training, many batches in one call.

All of it lives on the instance. The class stays Keras' own, so that a `.keras` file of stock layers loads where kphys
is not installed; what is loaded from a file is a plain Keras model without these additions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from kphys import _arguments
from kphys.models._arrays import check_arrays
from kphys.models._execution import execution
from kphys.models._heads import Head
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
    jit_compile, steps_per_execution = execution(family)
    loss = head.loss()
    model.compile(
        make_optimizer(optimizer, learning_rate),
        loss,
        weighted_metrics=head.metrics(),
        jit_compile=jit_compile,
    )
    # Set here and not through `compile`, which would save it: Keras' `predict` unrolls that many batches into one
    # graph, ten times slower at the first call. Below, `predict` runs one batch a call; a loaded model does so too.
    model.steps_per_execution = steps_per_execution
    model.fit = _batch_by_batch_for_callbacks(model, model.fit)
    model.evaluate = _batch_by_batch_for_callbacks(model, model.evaluate)
    model.predict = _one_batch_a_call(model, model.predict)
    if check_data:
        model.fit = _checked(model, head, loss, model.fit)
    model.get_compile_config = _portable_compile_config(model)
    return model


def _checked(
    model: keras.Model, head: Head, loss: keras.losses.Loss, fit: Callable[..., keras.callbacks.History]
) -> Callable[..., keras.callbacks.History]:
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def checked_fit(*args: Any, **kwargs: Any) -> keras.callbacks.History:
        arguments = signature.bind(*args, **kwargs).arguments
        # Another loss, compiled by the user, may take other targets.
        _check(model, head if model.loss is loss else None, arguments)
        return fit(*args, **kwargs)

    return checked_fit


def _check(model: keras.Model, head: Head | None, arguments: dict[str, Any]) -> None:
    input_shape = model.input_shape[1:]
    x, y, sample_weight = (arguments.get(name) for name in ("x", "y", "sample_weight"))
    check_arrays(head, input_shape, x, y, sample_weight)
    validation_data = arguments.get("validation_data")
    if isinstance(validation_data, (tuple, list)) and len(validation_data) in (2, 3):
        names = tuple(f"validation_data[{index}]" for index in range(3))
        check_arrays(head, input_shape, *validation_data, names=names)


# These have batch hooks, and do nothing of their own in them while this attribute is "epoch".
_FREQUENCY = {
    keras.callbacks.TensorBoard: "update_freq",
    keras.callbacks.ModelCheckpoint: "save_freq",
    keras.callbacks.BackupAndRestore: "save_freq",
}
_BATCH_HOOKS = [f"on_{phase}batch_{moment}" for phase in ("", "train_", "test_") for moment in ("begin", "end")]


def _batch_by_batch_for_callbacks(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `method`, run one batch a call if a callback acts on batches, as Keras promises it can."""
    signature = inspect.signature(method)
    stepwise = _one_batch_a_call(model, method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        callbacks = signature.bind(*args, **kwargs).arguments.get("callbacks")
        if model.steps_per_execution == 1 or not any(map(_acts_on_batches, _flat(callbacks))):
            return method(*args, **kwargs)
        # Functions traced before and after have the other number of batches baked in.
        model.train_function = model.test_function = None
        try:
            return stepwise(*args, **kwargs)
        finally:
            model.train_function = model.test_function = None

    return run


def _flat(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return keras.tree.flatten(callbacks)


def _acts_on_batches(callback: Any) -> bool:
    frequency = _FREQUENCY.get(type(callback))
    if type(callback) is keras.callbacks.ProgbarLogger or (frequency and getattr(callback, frequency) == "epoch"):
        return False
    base = keras.callbacks.Callback
    return isinstance(callback, base) and any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook) for hook in _BATCH_HOOKS
    )


def _one_batch_a_call(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        steps_per_execution, model.steps_per_execution = model.steps_per_execution, 1
        try:
            return method(*args, **kwargs)
        finally:
            model.steps_per_execution = steps_per_execution

    return run


def _portable_compile_config(model: keras.Model) -> Callable[[], dict[str, Any] | None]:
    keras_get_compile_config = model.get_compile_config
    stock_layers = all(type(layer).__module__.startswith("keras.") for layer in model.layers)

    @functools.wraps(keras_get_compile_config)
    def get_compile_config() -> dict[str, Any] | None:
        config = keras_get_compile_config()
        if config is None or not stock_layers:
            return config
        metrics = config.get("weighted_metrics")
        if isinstance(metrics, list):
            config["weighted_metrics"] = [metric for metric in metrics if not _is_ours(metric)]
        return config

    return get_compile_config


def _is_ours(serialized: Any) -> bool:
    return isinstance(serialized, dict) and str(serialized.get("registered_name")).startswith("kphys>")
