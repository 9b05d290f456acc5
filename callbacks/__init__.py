"""Callbacks for Keras' `fit`, one a file."""

from kphys.callbacks.backup_and_restore import BackupAndRestore
from kphys.callbacks.early_stopping import EarlyStopping
from kphys.callbacks.gradient_clipping import GradientClipping
from kphys.callbacks.image_logger import ImageLogger
from kphys.callbacks.learning_rate_finder import LearningRateFinder
from kphys.callbacks.model_checkpoint import ModelCheckpoint
from kphys.callbacks.training_record import TrainingRecord

__all__ = [
    "BackupAndRestore",
    "EarlyStopping",
    "GradientClipping",
    "ImageLogger",
    "LearningRateFinder",
    "ModelCheckpoint",
    "TrainingRecord",
]
