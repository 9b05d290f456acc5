"""What `TrainingRecord` writes about a run before its first epoch."""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kphys
from kphys.callbacks._fit import callbacks_of, fit_frame
from kphys.callbacks._optimizers import optimizers_of
from kphys.callbacks._setting import fingerprint, setting

# Longer lists of numbers are data, of which only the length is told.
LONGEST_LIST = 20
GIT_SECONDS = 5.0
_ALWAYS_THERE = ("History", "ProgbarLogger", "TrainingRecord")


def run_information(model: keras.Model, params: dict[str, Any] | None, seed: int | None) -> dict[str, Any]:
    """Gives the contents of `config.json`; `params` stands in where no call of `fit` is found."""
    architecture = _model(model)
    defined = {
        "model": architecture,
        "optimizers": _optimizers(model),
        "compile": _compile(model),
        "fit": _fit_arguments(model, params),
    }
    flat = setting(defined)
    return {
        "started": now(),
        **defined,
        "seeds": {
            "seed": seed,
            "global": _global_seed(),
            "layers": dict(_seeds(architecture["config"], "")),
        },
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "kphys": kphys.__version__,
            **{name: _version(name) for name in ("gymnasium", "scipy", "tensorflow-probability")},
        },
        "git": _git(),
        "device": _device(model),
        "command": list(sys.argv),
        "setting": flat,
        "fingerprint": fingerprint(flat),
    }


def _version(package: str) -> str | None:
    """Gives an installed version without the import, which may take seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def now() -> str:
    """Gives the time in ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _model(model: keras.Model) -> dict[str, Any]:
    config, error = _serialized(model.get_config)
    sizes = [int(np.prod(weight.shape)) for weight in model.weights]
    described = {
        "class_name": type(model).__name__,
        "module": type(model).__module__,
        "name": model.name,
        "num_weights": sum(sizes) if model.built else None,  # Some models make their weights in the first step.
        "config": config,
    }
    if error is not None:
        described["config_error"] = error
        described["weight_shapes"] = [list(weight.shape) for weight in model.weights]
    return described


def _serialized(get_config: Any) -> tuple[Any, str | None]:
    """Gives a config and no error, or none and what went wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of lambdas, which are unsafe to load; this is only read.
        try:
            return keras.saving.serialize_keras_object(get_config()), None
        except Exception as error:  # Whatever a user's class raises: a run must not die of its record.
            return None, f"{type(error).__name__}: {' '.join(str(error).split())}"


def _optimizers(model: keras.Model) -> dict[str, Any]:
    found = {}
    for name, optimizer in optimizers_of(model).items():
        config, error = _serialized(lambda optimizer=optimizer: optimizer)
        found[name] = config or {"class_name": type(optimizer).__name__, "config": None, "config_error": error}
    return found


def _compile(model: keras.Model) -> Any:
    config, error = _serialized(model.get_compile_config)
    if error is not None:
        return {"config_error": error}
    return {name: value for name, value in (config or {}).items() if name != "optimizer"}


def _fit_arguments(model: keras.Model, params: dict[str, Any] | None) -> dict[str, Any]:
    frame = fit_frame(model)
    if frame is None:
        return _described(params or {})
    code, values = frame.f_code, frame.f_locals
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    arguments = {name: _described(values.get(name)) for name in names if name != "callbacks"}
    others = [entry for entry in callbacks_of(frame) if type(entry).__name__ not in _ALWAYS_THERE]
    arguments["callbacks"] = [_callback(entry) for entry in others]
    return arguments


def _callback(callback: Any) -> dict[str, Any]:
    """Gives those of its constructor's arguments that it keeps under their name and that are single values."""
    found = {}
    for name in inspect.signature(type(callback).__init__).parameters:
        value = getattr(callback, name, inspect.Parameter.empty)
        if value is None or isinstance(value, (bool, int, float, str, np.number)):
            found[name] = _described(value)
    return {"class_name": type(callback).__name__, "config": found}


def _described(value: Any) -> Any:
    """Gives a plain value as it is, and of data the kind, shape and dtype."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.number, np.bool_)):
        return value.item()
    if isinstance(value, dict):
        return {str(name): _described(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)) and len(value) <= LONGEST_LIST:
        return [_described(entry) for entry in value]
    told = {"class_name": type(value).__name__}
    if isinstance(value, (list, tuple)):
        told["length"] = len(value)
    elif isinstance(value, tf.data.Dataset):
        told.update(element_spec=str(value.element_spec), cardinality=int(value.cardinality()))
    elif isinstance(value, keras.utils.PyDataset):
        told["num_batches"] = value.num_batches
    elif hasattr(value, "shape"):
        told["shape"] = [None if length is None else int(length) for length in value.shape]
        if hasattr(value, "dtype"):
            told["dtype"] = getattr(value.dtype, "name", str(value.dtype))
    elif all(hasattr(getattr(value, "spec", None), name) for name in ("id", "kwargs")):  # A Gymnasium environment.
        told.update(id=value.spec.id, kwargs=_described(value.spec.kwargs))
    return told


def _global_seed() -> int | None:
    """Gives what `keras.utils.set_random_seed` was told, for which Keras has no public name."""
    try:
        from keras.src.utils.rng_utils import get_random_seed
    except ImportError:  # A Keras that keeps it elsewhere trains as well.
        return None
    return get_random_seed()


def _seeds(config: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(config, dict):
        for key, value in config.items():
            if key == "seed" and isinstance(value, int):
                yield path, value
            else:
                yield from _seeds(value, path if key in ("config", "layers") else f"{path}.{key}".lstrip("."))
    elif isinstance(config, (list, tuple)):
        for index, entry in enumerate(config):
            inner = entry.get("config") if isinstance(entry, dict) else None
            name = inner.get("name", index) if isinstance(inner, dict) else index
            yield from _seeds(entry, f"{path}.{name}".lstrip("."))


def _git() -> dict[str, Any] | None:
    commit = _git_says("rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git_says("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if changes is None else changes != ""}


def _git_says(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # Asking must not write to the repository.
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout.strip()


def _device(model: keras.Model) -> dict[str, Any]:
    strategy = model.distribute_strategy
    return {
        "host": platform.node(),
        "cpu_count": os.cpu_count(),
        "devices": [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()],
        "gpus": [
            tf.config.experimental.get_device_details(device).get("device_name")
            for device in tf.config.list_physical_devices("GPU")
        ],
        "strategy": type(strategy).__name__,
        "num_replicas": strategy.num_replicas_in_sync,
    }


def peak_memory() -> dict[str, int | None]:
    """Gives the most bytes that this process has held so far, and each GPU has held for it."""
    peaks = {"process": _process_peak()}
    for device in tf.config.list_logical_devices("GPU"):
        name = device.name.removeprefix("/device:")
        peaks[name] = int(tf.config.experimental.get_memory_info(name)["peak"])
    return peaks


def _process_peak() -> int | None:
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Bytes on macOS, KiB elsewhere.
