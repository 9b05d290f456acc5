"""Data sets for physicists: simulated, inside the installation, or downloaded once and checked.

Each module holds one data set and a `load_data` that returns NumPy arrays in Keras' form:

    from kphys.datasets import ising
    (x_train, y_train), (x_test, y_test) = ising.load_data(size=40)

A module, and what it needs (SciPy, scikit-learn), is imported on first use.
"""

import importlib
from types import ModuleType

__all__ = [
    "abstracts",
    "arithmetic",
    "cms_zmumu",
    "countdown",
    "digits",
    "double_pendulum",
    "ising",
    "lorenz",
    "mackey_glass",
    "recall",
    "sunspots",
    "tinyshakespeare",
    "toy",
    "toy_language",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
