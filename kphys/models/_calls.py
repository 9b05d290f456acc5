"""How a call of `fit`, `evaluate` or `predict` runs: how many batches at a time, and through XLA or not."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras.src.trainers.trainer import model_supports_jit

from kphys import _arguments
from kphys.models._chunks import chunked_steps
from kphys.models._execution import REPLICATED, Execution, on_replicas
from kphys.models._normalization import fused_normalization
from kphys.models._pipelines import untuned_pipelines
from kphys.models._recurrence import own_backward_passes, pays_in_parts
from kphys.models._updates import mended_updates

# What words' numbers are, in place of texts: not what users have, so that those are refused.
NUMBERS = "uint32"

# Of a traced model, with the numbers and choices at that time baked in.
_TRACED = ("train_function", "test_function", "predict_function")


class Mode(NamedTuple):
    """Of a call: how many batches at a time, and whether XLA compiles the model, or the loops over steps in it."""

    steps: int
    xla: bool
    loops: bool


class Calls:
    """What the house remembers of one model: an object of its own, which Keras and TensorFlow do not look into."""

    def __init__(self) -> None:
        self.compiled: Any = None  # Keras' record of the `compile` that the builder's choices belong to.
        self.steps_worth_xla: int | None = None
        self.compiles_loops = False  # Where XLA is worth it, it compiles the model for arrays, else the loops in it.
        self.uses_xla = False  # Since some `fit`; its code is there already.
        self.usual: Mode | None = None  # While a call runs otherwise.
        self.loops = False  # While a call has the loops compiled.
        self.reader: keras.Model | None = None  # What reads arrays in a `fit`, if it is not the model.
        self.predicting = threading.RLock()  # Keras' `predict` may be called from several threads.
        self.traced: dict[Mode, tuple[Any, ...]] = {}
        self.traced_for: Any = None  # Keras' record of the `compile` that these were traced for.


def calls_of(model: keras.Model) -> Calls:
    """Gives what is remembered of `model`."""
    if not hasattr(model, "_calls"):
        model._calls = Calls()
    return model._calls


def choose(model: keras.Model, execution: Execution) -> None:
    """Has `model`, compiled just now, run as its builder chose, as far as that works here."""
    if on_replicas():
        execution = REPLICATED
        model.jit_compile = REPLICATED.jit_compile
    # Not through `compile`, which would save it: Keras' `predict` unrolls that many batches into one graph, ten times
    # slower at the first call. Here it runs one batch a call; a loaded model does so too.
    model.steps_per_execution = execution.steps_per_execution
    calls = calls_of(model)
    calls.compiled, calls.steps_worth_xla = model._compile_config, execution.steps_worth_xla
    calls.compiles_loops = execution.steps_worth_xla is not None and not execution.jit_compile


def saved_execution(model: keras.Model) -> dict[str, int | None]:
    """Gives for a file how `model` runs where nothing else is asked for; of XLA Keras tells the file."""
    return {"steps_per_execution": _usual(model).steps, "steps_worth_xla": _steps_worth_xla(model)}


def read_execution(model: keras.Model, saved: dict[str, Any]) -> Execution:
    """Gives what `saved_execution` gave, for the loaded `model`."""
    worth = saved.get("steps_worth_xla")  # Older files have none.
    return Execution(
        model.jit_compile,
        _arguments.integer("steps_per_execution", saved.get("steps_per_execution", 1)),
        None if worth is None else _arguments.integer("steps_worth_xla", worth),
    )


def _present(model: keras.Model) -> Mode:
    """Gives how `model` runs just now."""
    return Mode(model.steps_per_execution, bool(model.jit_compile), calls_of(model).loops)


def _usual(model: keras.Model) -> Mode:
    """Gives how `model` runs where no call wants it otherwise."""
    return calls_of(model).usual or _present(model)


def _steps_worth_xla(model: keras.Model) -> int | None:
    """Gives the builder's choice unless somebody has compiled `model` anew."""
    return calls_of(model).steps_worth_xla if _is_builders(model) else None


def _is_builders(model: keras.Model) -> bool:
    """Says whether `model` is compiled as its builder did it."""
    return calls_of(model).compiled is getattr(model, "_compile_config", None)


def runs_as_asked(model: keras.Model, method: Callable[..., Any], trains: bool) -> Callable[..., Any]:
    """Gives `fit` or `evaluate` with no more batches a call than its arguments allow, and with XLA where it pays.

    Of a builder that chose from when on XLA pays, but not to compile the model, a `fit` of arrays compiles it, as all
    batches are of one length then, and one of other data the loops in it; so it does where sequences are long.

    Steps made before count in a `fit`, and once one has gone through XLA all later ones do. Callbacks that act on
    batches are called after each, as Keras promises. And as a call of several batches takes that many from a data set
    whether asked for or not, numbers of steps must be multiples of it.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        # In a `fit`, as that runs; without `compile` Keras says what is missing.
        if "_use_cached_eval_dataset" in kwargs or not model.compiled:
            return method(*args, **kwargs)
        arguments = signature.bind(*args, **kwargs).arguments
        asked = (arguments.get(name) for name in ("steps_per_epoch", "validation_steps", "steps"))
        steps = math.gcd(model.steps_per_execution, *(number for number in asked if number is not None))
        if any(map(_acts_on_batches, _flat(arguments.get("callbacks")))):
            steps = 1
        calls, batches = calls_of(model), _batches(arguments)
        whole, loops = _by_xla(model, arguments, trains)
        pays = calls.uses_xla or _pays(model, batches, model.optimizer if trains else None)
        uses_xla = (whole or loops) and pays
        if trains:
            calls.uses_xla = uses_xla
        xla = uses_xla and whole
        loops = uses_xla and not whole and trains and not model.run_eagerly
        with contextlib.ExitStack() as stack:
            stack.enter_context(_running(model, Mode(steps, xla, loops)))
            stack.enter_context(_own_kernels(model, xla, loops))
            stack.enter_context(untuned_pipelines())
            stack.enter_context(chunked_steps(model, trains))
            return method(*args, **kwargs)

    return run


def steps_as_fit_does(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `train_on_batch` with the steps of `fit`, which may go on with what was traced in it."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not model.compiled:  # Keras says so.
            return method(*args, **kwargs)
        with _own_kernels(model, bool(model.jit_compile), loops=False):
            return method(*args, **kwargs)

    return run


@contextlib.contextmanager
def _own_kernels(model: keras.Model, xla: bool, loops: bool) -> Iterator[None]:
    """Has what is traced meanwhile do otherwise than Keras what Keras does wrongly or slowly."""
    with mended_updates(model, xla), own_backward_passes(model, xla, loops), fused_normalization(model, xla):
        yield


def runs_batch_by_batch(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `predict`, one batch a call, as large as serves where nobody asks for a size or looks at batches.

    Calls from several threads wait for each other: each changes how the model runs.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        xla = _usual(model).xla and _pays(model, _batches(given.arguments))
        free = not any(given.arguments.get(name) for name in ("batch_size", "steps", "callbacks"))
        if free and isinstance(given.arguments.get("x"), np.ndarray):
            given.arguments["batch_size"] = _prediction_batch(model)
        with calls_of(model).predicting, _running(model, Mode(1, xla, loops=False)), untuned_pipelines():
            return method(*given.args, **given.kwargs)

    return run


def traced_anew(model: keras.Model, method: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `quantize`, after which nothing that was traced before is used."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        finally:
            calls_of(model).traced.clear()

    return run


@contextlib.contextmanager
def _running(model: keras.Model, wanted: Mode) -> Iterator[None]:
    """Has `model` run in this way, with what was traced for it before; afterwards it is as it was."""
    calls, config = calls_of(model), getattr(model, "_compile_config", None)
    if calls.traced_for is not config:
        calls.traced.clear()
        calls.traced_for = config
    before = _present(model)
    if before == wanted:
        yield
        return
    outermost = calls.usual is None
    if outermost:
        calls.usual = before
    calls.loops = wanted.loops
    _switch(model, before, wanted)
    finished = False
    try:
        yield
        finished = True
    finally:
        if outermost:
            calls.usual = None
        calls.loops = before.loops
        if getattr(model, "_compile_config", None) is config:  # Not compiled by a callback, that is.
            _switch(model, wanted, before)
            if not finished:  # What a callback had traced otherwise it has not put back.
                del calls.traced[wanted]


def _switch(model: keras.Model, present: Mode, wanted: Mode) -> None:
    traced = calls_of(model).traced
    traced[present] = tuple(getattr(model, name) for name in _TRACED)
    for name, function in zip(_TRACED, traced.pop(wanted, (None,) * len(_TRACED)), strict=True):
        setattr(model, name, function)
    model.steps_per_execution = wanted.steps
    if calls_of(model).reader is None:
        model.jit_compile = wanted.xla
    else:
        model._jit_compile = wanted.xla  # The other asks all layers, those too that no numbers come to.


# === Whether XLA pays ===


def _by_xla(model: keras.Model, arguments: dict[str, Any], trains: bool) -> tuple[bool, bool]:
    """Says whether XLA is to compile `model`, and whether the loops in it alone, in a `fit` or `evaluate`."""
    whole, loops = _usual(model).xla, calls_of(model).compiles_loops and _steps_worth_xla(model) is not None
    if not trains or not _is_builders(model):
        return whole, loops
    x, validation_data = arguments.get("x"), arguments.get("validation_data")
    if pays_in_parts(model, _steps_of(x)):
        return False, whole or loops
    return whole or (loops and _of_one_length(model, x, validation_data)), loops


def _of_one_length(model: keras.Model, x: Any, validation_data: Any) -> bool:
    """Says whether these are arrays, all batches of one length, and of texts the numbers of their words."""
    if model.run_eagerly or not _steps_of(x) or not isinstance(validation_data, (tuple, list, type(None))):
        return False
    reader, inputs = calls_of(model).reader, [x, *(validation_data or ())[:1]]
    readable = reader is None or all(getattr(each, "dtype", None) == NUMBERS for each in inputs)
    return readable and model_supports_jit(reader or model)


def _pays(model: keras.Model, batches: float, optimizer: keras.optimizers.Optimizer | None = None) -> bool:
    """Says whether so many batches, after those of `optimizer`, take longer without XLA than XLA takes to compile."""
    worth = _steps_worth_xla(model)
    return worth is None or batches + (int(optimizer.iterations.numpy()) if optimizer else 0) >= worth


def _batches(arguments: dict[str, Any]) -> float:
    """Gives how many batches a call of `fit`, `evaluate` or `predict` runs through; infinitely many if nobody knows."""
    asked = arguments.get("steps_per_epoch") or arguments.get("steps")
    try:
        epochs = arguments.get("epochs", 1) - arguments.get("initial_epoch", 0)
        split = arguments.get("validation_split") or 0
        return epochs * (asked or _batches_of(arguments.get("x"), arguments.get("batch_size") or 32, 1 - split))
    except TypeError:  # Keras will say what is wrong with these numbers.
        return math.inf


def _batches_of(x: Any, batch_size: int, share: float) -> float:
    """Gives how many batches `x` has, or that share of arrays."""
    if isinstance(x, keras.utils.PyDataset):
        return math.inf if x.num_batches is None else x.num_batches
    if hasattr(x, "cardinality"):  # A data set of TensorFlow's; negative: endless, or unknown.
        batches = int(x.cardinality())
        return math.inf if batches < 0 else batches
    shapes = [leaf.shape for leaf in keras.tree.flatten(x) if getattr(leaf, "shape", None)]
    return math.ceil(share * shapes[0][0] / batch_size) if shapes else math.inf


def _steps_of(x: Any) -> int:
    """Gives how many steps the sequences of an array have; 0 of anything else."""
    shapes = [leaf.shape for leaf in keras.tree.flatten(x) if len(getattr(leaf, "shape", None) or ()) > 1]
    return shapes[0][1] if shapes and isinstance(shapes[0][1], int) else 0


# === Callbacks that act on batches ===

# These have batch hooks, and do nothing of their own in them while this attribute is "epoch".
_FREQUENCY = {
    keras.callbacks.TensorBoard: "update_freq",
    keras.callbacks.ModelCheckpoint: "save_freq",
    keras.callbacks.BackupAndRestore: "save_freq",
}
_BATCH_HOOKS = [f"on_{phase}batch_{moment}" for phase in ("", "train_", "test_") for moment in ("begin", "end")]


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


# === How large the batches of `predict` are ===

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
