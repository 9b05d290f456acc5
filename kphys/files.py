"""Files of models: looked through before anything is made of them, and given back what Keras leaves out."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from kphys._files import local_path
from kphys.models._returning import give_back

_CONFIG, _WEIGHTS = "config.json", ("model.weights.h5", "model.weights.npz")
_NOT_BY_SAVE = "model.save does not write that, so ask who did"
_COPY_AGAIN = "copy it again, or take an earlier one"
_HDF5 = b"\x89HDF\r\n\x1a\n"
# Keras writes members as they are; nobody's weights shrink to a hundredth.
_MOST_EXPANSION, _MEMBER_TO_WATCH = 100, 2**28

# What Keras says of an optimizer that has only its counter and its learning rate in the file.
_NO_STEP = "Skipping variable loading for optimizer .* the saved optimizer has [12] variables"

# What a configuration may hold beside classes and functions.
_PLAIN = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
# Layers that run what a file brings along, or point to.
_RUNS_CODE = ("__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
# Where Keras keeps what models are made of; elsewhere it has functions that read, write and download.
_MODELING = (
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models"),
    *("ops", "optimizers", "quantizers", "random", "regularizers", "trainers"),
)


def load_model(path: str | os.PathLike[str], compile: bool = True) -> keras.Model:
    """Gives the model that a `.keras` file holds, after the file was looked through; nothing in it is executed.

    Any `.keras` file will do whose classes are Keras', kphys' or registered with
    `keras.saving.register_keras_serializable`. A model of a builder comes back as the builder gave it, with the check
    of the arrays, many batches in one call, all metrics, and dropout where it was: training goes on as if it had not
    stopped. (Saved on several replicas it has one batch a call, as there.) `keras.saving.load_model` gives the plain
    Keras model.

    Args:
        path: The file, which `model.save`, or a checkpoint, has written.
        compile: `False` leaves out optimizer, loss and metrics, and what a builder puts on a model.

    Returns:
        The model.

    Raises:
        ValueError: No file, one that is cut off, damaged or something else, or a model with code in it or with classes
            that nobody has registered. The message says which, and the mend.
        TypeError: Not a path.

    Example:
        >>> import pathlib, tempfile
        >>> import kphys
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
        >>> kphys.mlp_classifier(8, 2, hidden_units=16, name="jets").save(path)
        >>> kphys.load_model(path).name
        'jets'
        >>> content = path.read_bytes()
        >>> _ = path.write_bytes(content[: len(content) // 2])
        >>> try:
        ...     kphys.load_model(path)
        ... except ValueError as error:
        ...     print(str(error).partition(": ")[2])
        it ends early, or is no .keras file at all; copy it again, or take an earlier one.
    """
    path = local_path("path", path, "model.keras")
    config = _checked_config(path)
    try:
        with warnings.catch_warnings():
            # Of weights that are not there, which stay as drawn, Keras only warns.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            # But an optimizer that has made no step yet has nothing to bring along.
            warnings.filterwarnings("ignore", _NO_STEP, UserWarning)
            model = keras.saving.load_model(path, compile=compile, safe_mode=True)
        if compile:
            give_back(model, config["config"])
    # Whatever Keras stumbles over in a file that somebody else wrote.
    except Exception as error:
        raise _refused(path, f"Keras cannot make a model of it ({_reason(error)})", _COPY_AGAIN) from error
    return model


def _reason(error: Exception) -> str:
    """Gives the first line of what was wrong at the innermost; Keras puts the whole configuration before it."""
    text = str(error).rpartition("Exception encountered: ")[2].strip().partition("\n")[0]
    return text[:300].rstrip(".") or type(error).__name__


def _refused(path: Path, what: str, mend: str) -> ValueError:
    return ValueError(f"`path` {str(path)!r} cannot be loaded: {what}; {mend}.")


def _checked_config(path: Path) -> dict[str, Any]:
    """Gives the configuration in a file that is whole and holds nothing that Keras should not make."""
    if not path.exists():
        raise _refused(path, "there is no such file", "look for a wrong folder or ending")
    if not path.is_file():
        raise _refused(path, "it is a folder", "give a file in it, such as 'model.keras'")
    with path.open("rb") as file:
        legacy = file.read(len(_HDF5)) == _HDF5
    if legacy:
        raise _refused(path, "it is an HDF5 file", "of a whole model save a .keras file, weights go to load_weights")
    if path.suffix != ".keras":
        raise _refused(path, "its name does not end in .keras", "rename it if it is such a file")
    try:
        with zipfile.ZipFile(path) as archive:
            config, weights = _contents(path, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise _refused(path, "it ends early, or is no .keras file at all", _COPY_AGAIN) from error
    _check_weights(path, weights)
    try:
        config = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its {_CONFIG} is damaged", _COPY_AGAIN) from error
    if not isinstance(config, dict) or "class_name" not in config or not isinstance(config.get("config"), dict):
        raise _refused(path, f"its {_CONFIG} describes no model", "give a file that model.save has written")
    for entry in _entries(config):
        _check_entry(path, entry)
    return config


def _contents(path: Path, archive: zipfile.ZipFile) -> tuple[bytes, bytes]:
    """Gives configuration and weights, every byte in the archive held against its checksum."""
    names = archive.namelist()
    weights = next((name for name in _WEIGHTS if name in names), None)
    if _CONFIG not in names or weights is None:
        missing = _CONFIG if _CONFIG not in names else _WEIGHTS[0]
        raise _refused(path, f"it is a zip archive without {missing}", "give a file that model.save has written")
    for member in archive.infolist():
        if member.file_size > max(_MEMBER_TO_WATCH, _MOST_EXPANSION * member.compress_size):
            raise _refused(path, f"its {member.filename!r} would grow a hundredfold", _NOT_BY_SAVE)
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename).parts:
            raise _refused(path, f"its {member.filename!r} lies outside of it", _NOT_BY_SAVE)
    damaged = archive.testzip()
    if damaged is not None:
        raise _refused(path, f"its {damaged!r} is damaged", _COPY_AGAIN)
    return archive.read(_CONFIG), archive.read(weights) if weights.endswith(".h5") else b""


def _check_weights(path: Path, weights: bytes) -> None:
    """Refuses weights that are no HDF5, or that point to other files."""
    if not weights:
        return
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            foreign = next(_foreign(file), None)
    # HDF5's own, and of groups that hold themselves.
    except (OSError, RuntimeError, KeyError, ValueError, OverflowError) as error:
        raise _refused(path, "its weights are damaged", _COPY_AGAIN) from error
    if foreign is not None:
        raise _refused(path, f"its weights {foreign!r} are a link to elsewhere", _NOT_BY_SAVE)


def _foreign(group: h5py.Group) -> Iterator[str]:
    for name in group:
        if type(group.get(name, getlink=True)) is not h5py.HardLink:
            yield f"{group.name}/{name}"
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _foreign(item)
        elif item.external or item.is_virtual:
            yield item.name


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Gives every description of a class or function in a configuration, however deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_entry(path: Path, entry: dict[str, Any]) -> None:
    name, module = entry["class_name"], entry.get("module")
    registered = str(entry.get("registered_name") or name)
    function = entry.get("config") if name == "function" else None
    if name in _RUNS_CODE:
        raise _refused(path, f"it holds a {name.strip('_')}, which may run any code", _OWN_LAYER)
    if name in _PLAIN or _is_registered(registered) or (isinstance(function, str) and _is_registered(function)):
        return
    # Without a module nor a registered name Keras looks among its own.
    foreign = not _is_of_keras(str(module), function is not None) if module else bool(entry.get("registered_name"))
    if foreign:
        named = f"{module}.{function or name}" if module else registered
        mend = "import the module that registers it with keras.saving.register_keras_serializable, if you trust it"
        raise _refused(path, f"it names {named!r}, which is no registered class", mend)
    settings = entry.get("config")
    if isinstance(settings, dict) and any(isinstance(settings.get(key), str) for key in ("vocabulary", "idf_weights")):
        raise _refused(
            path, f"its {name} reads the vocabulary from another file", "make it with the words, or adapt it, and save"
        )


_OWN_LAYER = (
    "put a layer of your own, registered with keras.saving.register_keras_serializable, in its place; or, if you trust "
    "who wrote it, use keras.saving.load_model with safe_mode=False"
)


def _is_registered(name: str) -> bool:
    return keras.saving.get_registered_object(name) is not None


def _is_of_keras(module: str, builtin: bool) -> bool:
    """Tells whether a module is one of those that Keras keeps parts of models in; `builtin` functions have none."""
    package, *parts = module.split(".")
    if parts[:1] == ["src"]:
        parts = parts[1:] or ["src"]
    return (builtin and module == "builtins") or (package == "keras" and (not parts or parts[0] in _MODELING))
