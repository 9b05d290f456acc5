"""The kinds of models in the promises' table: what each learns from, what it predicts from, and what it logs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from contract_table import Row

BATCH = 12
STEPS = 5
WORDS = ("up", "down", "strange", "charm", "bottom", "top")

Make = Callable[["Row", np.random.Generator], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Kind:
    """What the tests know of a family, beside what its rows say.

    `fits` makes what `fit` takes, `(x,)` or `(x, y)`; `predicts` what `predict` takes, where that is not x. `logs` are
    those of `evaluate`, and `training_logs` what `fit` has beside them.
    """

    fits: Make
    logs: frozenset[str]
    training_logs: frozenset[str] = frozenset()
    predicts: Make | None = None
    model: str | None = None  # The class in kphys; `None`: one of Keras' own.
    loss: str = "loss"  # The log that a callback may watch.
    optimizers: tuple[str, ...] = ("",)  # What the logs of gradients begin with; none: there is nothing to clip.
    batches: bool = True  # False: `fit` reads a whole text and cuts it itself, or plays.
    plays: bool = False  # `fit` takes an environment.
    several_devices: bool = True
    drawn: str = "kernel"  # An expression in the paths of weights that the seed draws.


def _samples(row: Row, generator: np.random.Generator) -> np.ndarray:
    shape = row.arguments[0] if isinstance(row.arguments[0], tuple) else (row.arguments[0],)
    return generator.normal(size=(BATCH, *(STEPS if size is None else size for size in shape))).astype("float32")


def _gray(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    return (1 / (1 + np.exp(-_samples(row, generator))),)


def _gray_twice(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    return _gray(row, generator) * 2  # Both losses take what lies between 0 and 1.


def _black_and_white(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    return ((_samples(row, generator) > 0).astype("float32"),)


def _codes(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    return (generator.normal(size=(BATCH, row.arguments[1])).astype("float32"),)


def _values(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    x = _samples(row, generator)
    return x, generator.normal(size=(BATCH, *_steps(row, x), row.arguments[1])).astype("float32")


def _classes(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    x = _samples(row, generator)
    y = _labels(row, generator, _steps(row, x))
    if "mask_value" in row.options:
        x[: BATCH // 2, -2:] = row.options["mask_value"]
    return x, y


def _labels(row: Row, generator: np.random.Generator, steps: tuple[int, ...] = ()) -> np.ndarray:
    width = row.arguments[1]
    if row.options.get("multilabel"):
        return generator.integers(0, 2, size=(BATCH, *steps, width))
    y = generator.integers(0, width, size=(BATCH, *steps))
    return y[..., None] if steps and width == 2 else y


def _steps(row: Row, x: np.ndarray) -> tuple[int, ...]:
    return (x.shape[1],) if row.options.get("return_sequences") else ()


def _sentences(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    # Several steps of training in an epoch: the first one moves no vector, as all scores are 0.
    return (generator.integers(0, row.arguments[0], size=(BATCH, 4 * STEPS)),)


def _texts(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    lengths = generator.integers(1, STEPS + 1, size=BATCH)
    return np.array([" ".join(generator.choice(WORDS, length)) for length in lengths], object), _labels(row, generator)


def _next_characters(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    pieces = generator.integers(0, row.arguments[0], size=(BATCH, STEPS + 1))
    return pieces[:, :-1], pieces[:, 1:]


def _questions_and_answers(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    pair = [generator.integers(1, size, size=(BATCH, STEPS)) for size in row.arguments]
    for tokens in pair:
        tokens[: BATCH // 2, -2:] = 0  # Padding.
    return tuple(pair)


def _observations(row: Row, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    shape = np.atleast_1d(row.arguments[0])
    images = len(shape) == 3
    values = generator.integers(256, size=(BATCH, *shape)) if images else generator.normal(size=(BATCH, *shape))
    return (values.astype("uint8" if images else "float32"),)


_PLAYED = frozenset({"episode_length", "steps_per_second", "loss"})
_CLASSIFIER = Kind(_classes, frozenset({"loss", "accuracy", "auc"}))
_REGRESSOR = Kind(_values, frozenset({"loss", "mae", "rmse"}))
_AUTOENCODER = Kind(_gray_twice, frozenset({"loss", "mse"}), model="Autoencoder")
_VAE = Kind(_black_and_white, frozenset({"loss", "reconstruction_loss", "kl_loss"}), model="VAE")
_REINFORCE = Kind(
    _observations,
    frozenset({"episode_return"}),
    training_logs=_PLAYED | {"entropy"},
    model="Reinforce",
    loss="episode_return",
    batches=False,
    plays=True,
    several_devices=False,
)

# By builder, or by the name of a row that differs from its builder's others.
KINDS = {
    **dict.fromkeys(("mlp_classifier", "cnn_classifier", "rnn_classifier"), _CLASSIFIER),
    **dict.fromkeys(("mlp_regressor", "cnn_regressor", "rnn_regressor"), _REGRESSOR),
    **dict.fromkeys(("autoencoder", "conv_autoencoder"), _AUTOENCODER),
    **dict.fromkeys(("vae", "conv_vae"), _VAE),
    "dcgan": Kind(
        _gray,
        frozenset({"generator_loss", "discriminator_loss", "real_accuracy", "fake_accuracy"}),
        predicts=_codes,
        model="DCGAN",
        loss="generator_loss",
        optimizers=("generator_", "discriminator_"),
    ),
    "char_rnn": Kind(_next_characters, frozenset({"loss", "accuracy"}), model="CharRNN", drawn="kernel|embeddings"),
    "seq2seq": Kind(
        _questions_and_answers,
        frozenset({"loss", "accuracy", "sequence_accuracy"}),
        model="Seq2Seq",
        drawn="kernel|embeddings",
    ),
    "text_classifier": Kind(_texts, _CLASSIFIER.logs),
    "dqn": Kind(
        _observations,
        frozenset({"episode_return"}),
        training_logs=_PLAYED | {"q_mean", "epsilon"},
        model="DQN",
        loss="episode_return",
        batches=False,
        plays=True,
        several_devices=False,
    ),
    "reinforce": _REINFORCE,
    "reinforce[value]": dataclasses.replace(
        _REINFORCE, training_logs=_REINFORCE.training_logs | {"value_loss"}, optimizers=("policy_", "value_")
    ),
    "word_vectors": Kind(
        _sentences,
        frozenset({"loss"}),
        training_logs=frozenset({"words_per_second"}),
        model="WordVectors",
        optimizers=(),
        batches=False,
        several_devices=False,
        drawn="words/|recurrent",
    ),
}
