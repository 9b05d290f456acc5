"""kphys: every network of a machine-learning lecture course as one call that returns a Keras model, ready to fit."""

import importlib
import os
from typing import Any

_KERAS_BACKEND = os.environ.get("KERAS_BACKEND") or "tensorflow"
if _KERAS_BACKEND != "tensorflow":
    raise ImportError(
        f"kphys trains with TensorFlow, but the environment variable KERAS_BACKEND is {_KERAS_BACKEND!r}: set "
        "KERAS_BACKEND=tensorflow, or unset it, before Python starts."
    )

import keras  # noqa: E402

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"kphys trains with TensorFlow, but Keras' own configuration file chooses {keras.backend.backend()!r}: set "
        "KERAS_BACKEND=tensorflow before Python starts."
    )

__version__ = "0.1.0"

# Public name -> the module that holds it, imported at first use.
_HOMES = {
    "mlp_classifier": "kphys.models.dense",
    "mlp_regressor": "kphys.models.dense",
    "cnn_classifier": "kphys.models.convolutional",
    "cnn_regressor": "kphys.models.convolutional",
    "rnn_classifier": "kphys.models.recurrent",
    "rnn_regressor": "kphys.models.recurrent",
    "autoencoder": "kphys.models.autoencoders",
    "conv_autoencoder": "kphys.models.autoencoders",
    "Autoencoder": "kphys.models.autoencoders",
    "pretrain_layerwise": "kphys.models.autoencoders",
    "classifier_from_encoder": "kphys.models.autoencoders",
    "vae": "kphys.models.variational",
    "conv_vae": "kphys.models.variational",
    "VAE": "kphys.models.variational",
    "Sampling": "kphys.models.variational",
    "dcgan": "kphys.models.adversarial",
    "DCGAN": "kphys.models.adversarial",
    "MinibatchStddev": "kphys.models.adversarial",
    "mode_coverage": "kphys.models.adversarial",
    "gaussian_mode_coverage": "kphys.models.adversarial",
    "char_rnn": "kphys.models.sequences",
    "CharRNN": "kphys.models.sequences",
    "seq2seq": "kphys.models.sequences",
    "Seq2Seq": "kphys.models.sequences",
    "forecast": "kphys.models.sequences",
    "text_classifier": "kphys.models.texts",
    "word_vectors": "kphys.models.words",
    "WordVectors": "kphys.models.words",
    "fast_call": "kphys.models.inference",
    "dqn": "kphys.agents.q_learning",
    "DQN": "kphys.agents.q_learning",
    "reinforce": "kphys.agents.policy_gradient",
    "Reinforce": "kphys.agents.policy_gradient",
    "evaluate_classifier": "kphys.evaluation",
    "evaluate_regressor": "kphys.evaluation",
    "cross_validate": "kphys.evaluation",
    "load_model": "kphys.files",
}
_MODULES = ("agents", "callbacks", "datasets", "distribute", "environments", "evaluation", "models", "records")
__all__ = [*_HOMES, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"kphys.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'kphys' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# From here on Keras knows the classes that files of models name.
_REGISTERED = (
    "models._heads",
    "models._periodic",
    "models._codes",
    "models._tied",
    "models._reconstruction",
    "models._sampling",
    "models._vae",
    "models._gan",
    "models._char_rnn",
    "models._seq2seq",
    "models._word_vectors",
    "agents._dueling",
    "agents._dqn",
    "agents._reinforce",
)
for _module in _REGISTERED:
    importlib.import_module(f"kphys.{_module}")
