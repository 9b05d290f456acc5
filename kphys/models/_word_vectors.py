"""The class of word vectors: the tables as a Keras model, its vocabulary, and how it is compiled and saved."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kphys import _arguments
from kphys.models._execution import on_replicas
from kphys.models._parts import check_room
from kphys.models._vocabulary import Vocabulary
from kphys.models._word_answers import WordAnswers
from kphys.models._word_files import WordFiles
from kphys.models._word_fit import WordFit

OBJECTIVES = ("skip_gram", "cbow", "recurrent")
LOSSES = ("negative_sampling", "nce")
LEARNING_RATES = {"skip_gram": 0.025, "cbow": 0.15, "recurrent": 0.1}
_VOCABULARY = "vocabulary.json"
_ENTROPY = "entropy.txt"


@keras.saving.register_keras_serializable("kphys")
class WordVectors(WordFit, WordAnswers, WordFiles, keras.Model):
    """Vectors of words, learnt from the words around them; what `word_vectors` builds and compiles.

    A `keras.Model` that gives vectors for numbers of words: integers `(...)` in, `(..., embedding_dim)` out. `fit`
    takes a text in place of arrays; callbacks, `History`, the progress bar and `.keras` files, which hold the
    vocabulary, are Keras' own. One batch, as callbacks count them, is a block of 32,768 words. It trains by plain
    gradient descent with updates of single rows, on one device: compile it with a `keras.optimizers.SGD`.

    Args:
        vocabulary_size, embedding_dim, objective, window, num_negatives, loss, subsample, noise_exponent: As in
            `word_vectors`.
        final_learning_rate, seed: As in `word_vectors`.
        **kwargs: `name`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Mikolov, Sutskever, Chen, Corrado and Dean, 2013, "Distributed representations of words and phrases and their
        compositionality".

    Example:
        >>> import keras
        >>> from kphys.models.words import WordVectors
        >>> vectors = WordVectors(4, 2, subsample=0, seed=0)
        >>> vectors.compile(keras.optimizers.SGD(0.05))
        >>> history = vectors.fit(["one two three four", "four three two one"], epochs=2, verbose=0)
        >>> sorted(history.history)
        ['loss', 'words_per_second']
        >>> vectors["two"].shape
        (2,)
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        *,
        objective: str = "skip_gram",
        window: int = 5,
        num_negatives: int = 5,
        loss: str = "negative_sampling",
        subsample: float = 1e-3,
        noise_exponent: float = 0.75,
        final_learning_rate: float = 1e-4,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = _arguments.integer("vocabulary_size", vocabulary_size)
        self.embedding_dim = _arguments.integer("embedding_dim", embedding_dim)
        self.objective = _arguments.choice("objective", objective, OBJECTIVES)
        self.window = _arguments.integer("window", window)
        self.num_negatives = _arguments.integer("num_negatives", num_negatives)
        self.criterion = _arguments.choice("loss", loss, LOSSES)
        self.subsample = _arguments.real("subsample", subsample, minimum=0, below=1)
        self.noise_exponent = _arguments.real("noise_exponent", noise_exponent)
        self.final_learning_rate = _arguments.real(
            "final_learning_rate", final_learning_rate, minimum=0, largest=_arguments.LARGEST_FACTOR
        )
        self.seed = _arguments.seed("seed", seed)
        if on_replicas():
            raise ValueError("Word vectors train on one device: build them outside of the strategy's scope.")
        self._vocabulary: Vocabulary | None = None
        # What the words are drawn with: the seed, or one of its own.
        self._entropy = np.random.SeedSequence(self.seed).entropy
        self._runs: dict[Any, Any] = {}
        self._make_tables()
        self.built = True

    def _make_tables(self) -> None:
        # The second table is the network's matrix where it is larger.
        check_room(
            "`vocabulary_size` and `embedding_dim`", max(self.vocabulary_size, self.embedding_dim), self.embedding_dim
        )
        # Noise words of the groups of a step, and of the steps of a block.
        check_room("`num_negatives` and `window`", 8, self.num_negatives, self.window + 1, max(self.embedding_dim, 32))
        first, second = np.random.SeedSequence(self.seed).generate_state(2).tolist()
        dim = self.embedding_dim
        # For the network σ must leave its middle early; for the others as word2vec has it.
        width = 0.1 if self.objective == "recurrent" else 0.5 / dim
        start = keras.initializers.RandomUniform(-width, width, seed=first)
        self.words = self._table("words", start)
        self._output_table = self._table("outputs", "zeros")
        self._bias = self._matrix = None
        if self.criterion == "nce":
            self._bias = self.add_weight((self.vocabulary_size,), "zeros", "float32", name="bias")
        if self.objective == "recurrent":
            start = keras.initializers.RandomNormal(stddev=0.1, seed=second)
            self._matrix = self.add_weight((dim, dim), start, "float32", name="recurrent")

    def _table(self, name: str, start: Any) -> keras.layers.Embedding:
        layer = keras.layers.Embedding(
            self.vocabulary_size, self.embedding_dim, embeddings_initializer=start, dtype="float32", name=name
        )
        layer.build()
        return layer

    def call(self, inputs: Any) -> Any:
        """Gives the vectors of numbers of words."""
        return self.words(inputs)

    def compile(self, optimizer: Any = "sgd", *, jit_compile: bool = True, **kwargs: Any) -> None:
        """Takes a plain `keras.optimizers.SGD`, whose learning rate is the one at the start; XLA as in Keras.

        Loss and training are part of the model, so that neither `loss` nor `metrics` nor `run_eagerly` can be given.
        """
        given = sorted(name for name, value in kwargs.items() if value)
        if given:
            raise ValueError(
                f"Word vectors bring their own loss, metrics and training: compile without {', '.join(given)}."
            )
        optimizer = keras.optimizers.get(optimizer)
        _check_plain(optimizer)
        # The tables are float32 under every policy: no loss to scale.
        super().compile(optimizer, jit_compile=jit_compile, auto_scale_loss=False)
        optimizer.build(self.trainable_variables)
        self._runs.clear()

    # === The vocabulary ===

    @property
    def vocabulary(self) -> Vocabulary:
        """The words, their numbers (`index`) and their counts, the most frequent word first."""
        if self._vocabulary is None:
            raise ValueError("The vocabulary is empty: call `fit` with a text first, or `set_vocabulary`.")
        return self._vocabulary

    def set_vocabulary(self, words: Sequence[str], counts: Sequence[int] | None = None) -> None:
        """Gives the rows of the table their words, in place of those that `fit` would count in its text.

        Args:
            words: The words, each once, at most `vocabulary_size`.
            counts: How often each occurs, for subsampling and noise. `None`: `fit` counts them.
        """
        self._vocabulary = Vocabulary.checked(words, counts, self.vocabulary_size)

    # === Files of Keras ===

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        return {
            "name": self.name,
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "objective": self.objective,
            "window": self.window,
            "num_negatives": self.num_negatives,
            "loss": self.criterion,
            "subsample": self.subsample,
            "noise_exponent": self.noise_exponent,
            "final_learning_rate": self.final_learning_rate,
            "seed": self.seed,
        }

    def get_compile_config(self) -> dict[str, Any]:
        """Gives what the model was compiled with."""
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model with what `get_compile_config` gave."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def save_assets(self, folder: str) -> None:
        """Writes the vocabulary, and what the words are drawn with, beside the weights."""
        (pathlib.Path(folder) / _ENTROPY).write_text(str(self._entropy))
        if self._vocabulary is not None:
            self._vocabulary.save(pathlib.Path(folder) / _VOCABULARY)

    def load_assets(self, folder: str) -> None:
        """Reads what `save_assets` wrote."""
        self._entropy = int((pathlib.Path(folder) / _ENTROPY).read_text())
        path = pathlib.Path(folder) / _VOCABULARY
        if path.is_file():
            self._vocabulary = Vocabulary.load(path)


def _check_plain(optimizer: keras.optimizers.Optimizer) -> None:
    """Raises where the optimizer is not the plain gradient descent that the compiled training does."""
    mend = "pass keras.optimizers.SGD(learning_rate)."
    if type(optimizer) is not keras.optimizers.SGD:
        raise ValueError(f"Word vectors train by plain gradient descent, got {type(optimizer).__name__}: {mend}")
    settings = (
        "momentum", "nesterov", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema",
        "loss_scale_factor", "gradient_accumulation_steps",
    )  # fmt: skip
    given = [name for name in settings if getattr(optimizer, name, None)]
    if given:
        raise ValueError(f"Word vectors train by plain gradient descent, got an SGD with {', '.join(given)}: {mend}")
    if not isinstance(optimizer.learning_rate, keras.Variable):
        raise ValueError(
            "The learning rate of word vectors falls linearly by itself, from the number given to "
            "`final_learning_rate`: give SGD a number, not a schedule."
        )
