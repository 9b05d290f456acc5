"""Callbacks for Keras' `fit`, one a file."""

from kphys.callbacks.early_stopping import EarlyStopping
from kphys.callbacks.gradient_clipping import GradientClipping

__all__ = ["EarlyStopping", "GradientClipping"]
