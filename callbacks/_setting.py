"""What defines a run apart from seeds and numbered names: equal for runs that may be averaged."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# What changes neither the network nor what it is trained on: names, execution, how far an interrupted run had come.
_DROPPED = (
    *("name", "seed", "module", "registered_name", "build_config", "shared_object_id", "config_error"),
    *("jit_compile", "run_eagerly", "steps_per_execution", "steps_worth_xla"),
)
_PROGRESS = ("verbose", "initial_epoch", "callbacks")
_WATCHERS = ("BackupAndRestore", "CSVLogger", "ImageLogger", "ModelCheckpoint", "RemoteMonitor", "TensorBoard")
_PLACES = ("path", "dir", "folder", "file")


def setting(defined: dict[str, Any]) -> dict[str, Any]:
    """Gives one flat dictionary, such as `{"model.layers.1": "Dense", "model.layers.1.units": 100, …}`.

    Args:
        defined: The sections "model", "optimizers", "compile" and "fit" of a record's configuration.
    """
    model, fit = defined["model"], defined["fit"]
    sections = {
        "model": {"class_name": model["class_name"], "config": model["config"]},
        **defined["optimizers"],
        "compile": defined["compile"],
        "fit": {name: value for name, value in fit.items() if name not in _PROGRESS},
    }
    if model["config"] is None:
        sections["model"]["config"] = {"weight_shapes": model["weight_shapes"]}
    callbacks = [
        {**entry, "config": {name: value for name, value in entry["config"].items() if not _is_place(name)}}
        for entry in fit.get("callbacks", ())
        if entry["class_name"] not in _WATCHERS
    ]
    if callbacks:
        sections["fit"]["callbacks"] = callbacks
    flat: dict[str, Any] = {}
    _flatten(sections, "", flat)
    return flat


def fingerprint(flat: dict[str, Any]) -> str:
    """Gives 16 hexadecimal digits that are equal for equal settings."""
    return hashlib.sha256(json.dumps(flat, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _is_place(name: str) -> bool:
    return any(word in name.lower() for word in _PLACES)


def _flatten(value: Any, path: str, flat: dict[str, Any]) -> None:
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        value = _object(value)
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in _DROPPED:
                _flatten(entry, f"{path}.{key}".strip("."), flat)
    elif isinstance(value, (list, tuple)) and any(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            _flatten(entry, f"{path}.{index}", flat)
    else:
        flat[path] = value


def _object(value: dict[str, Any]) -> Any:
    """Gives the class under the object's own path, and its arguments under that."""
    kind, config = value["class_name"], value["config"]
    if kind == "DTypePolicy":
        return config["name"]  # The one name that says something.
    if not isinstance(config, dict):
        return kind if config is None else config  # A function's name.
    return {"": kind, **_with_numbered_layers(config)}


def _with_numbered_layers(config: dict[str, Any]) -> dict[str, Any]:
    """Gives a functional model's config with its wiring by the layers' places, as names are numbered by chance."""
    if not isinstance(config.get("layers"), list) or "output_layers" not in config:
        return config
    places = {layer["name"]: place for place, layer in enumerate(config["layers"])}
    layers = []
    for layer in config["layers"]:
        nodes = json.dumps(_rewired(layer.get("inbound_nodes"), places, everywhere=False))
        layers.append({**layer, "config": {**layer["config"], "inbound_nodes": nodes}})
    ends = {
        end: json.dumps(_rewired(config[end], places, everywhere=True)) for end in ("input_layers", "output_layers")
    }
    return {**config, "layers": layers, **ends}


def _rewired(value: Any, places: dict[str, int], everywhere: bool) -> Any:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return _rewired(value["config"]["keras_history"], places, everywhere=True)
    if isinstance(value, dict):
        return {key: _rewired(entry, places, everywhere) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rewired(entry, places, everywhere) for entry in value]
    # Elsewhere a string is an argument, which may look like a layer's name.
    return places.get(value, value) if everywhere and isinstance(value, str) else value
