"""Callbacks for Keras' `fit`, one a file."""

from kphys.callbacks.early_stopping import EarlyStopping
from kphys.callbacks.gradient_clipping import GradientClipping
from kphys.callbacks.image_logger import ImageLogger
from kphys.callbacks.learning_rate_finder import LearningRateFinder
from kphys.callbacks.training_record import TrainingRecord

__all__ = ["EarlyStopping", "GradientClipping", "ImageLogger", "LearningRateFinder", "TrainingRecord"]
