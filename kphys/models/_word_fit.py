"""How word vectors are trained: a text is counted, cut into blocks, and each block is one compiled call."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments
from kphys.models._corpus import Corpus, Piece, blocks
from kphys.models._vocabulary import Vocabulary
from kphys.models._word_pairs import Batches, Layout, ahead, kept_share, make_layout, noise_shares, prepare
from kphys.models._word_training import Tables, compiled

_BLOCK = 32_768  # Words of the text in one compiled call.


class WordFit:
    """`fit` and `evaluate`, for a model with the tables and settings of `WordVectors`."""

    # Callbacks that work through the gradients of an optimizer would do nothing here, and say so.
    trains_without_optimizer = True

    def fit(
        self,
        x: Any = None,
        *,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_data: Any = None,
        initial_epoch: int = 0,
        words_per_epoch: int | None = None,
    ) -> keras.callbacks.History:
        """Trains on a text; the learning rate falls linearly to `final_learning_rate`.

        Sentences are split at white space, and windows end where they do. The first `fit` makes the vocabulary: the
        `vocabulary_size` most frequent words; the others are left out, as if they were not there.

        Args:
            x: A list of sentences, each a string or a list of words; or numbers of words, `(words,)` or
                `(sentences, words)`, or a list of arrays `(words,)`, a sentence each; or an iterable of sentences in
                these forms, such as a `tf.data.Dataset` of arrays; or the path of a text file, one sentence a line,
                `.gz` too. Files and iterables are read again in every epoch, a block at a time, so that they may be
                larger than the memory.
            epochs: The epoch to end with, from which the fall of the learning rate is reckoned.
            verbose, callbacks, initial_epoch: As in `keras.Model.fit`.
            validation_data: A text in the same forms, evaluated after every epoch.
            words_per_epoch: Number of words in the text, for the learning rate and the progress bar. `None`: they are
                counted first, in a reading of their own. An iterator that can be read once needs it, and a vocabulary
                with counts.

        Returns:
            Keras' `History`: `loss`, the mean a pair, or a word with "cbow" and "recurrent", in nats, and
            `words_per_second`, of the text as it was before subsampling.

        Raises:
            ValueError, TypeError: A text that is empty, shorter than the window or of numbers out of range, or an
                argument that the above does not allow.
        """
        self._assert_compile_called("fit")
        epochs = _arguments.integer("epochs", epochs)
        initial_epoch = _arguments.integer("initial_epoch", initial_epoch, minimum=0)
        before = self._vocabulary
        try:
            corpus, total = self._opened(x, words_per_epoch, epochs)
            validation = None if validation_data is None else self._survey(Corpus(validation_data, "validation_data"))
        except BaseException:
            self._vocabulary = before
            raise
        callbacks = self._callbacks(callbacks, verbose, total, epochs=epochs, add_history=True)
        self.stop_training = False
        callbacks.on_train_begin()
        # Once: a callback that changes the learning rate shall not have it compiled anew.
        ready = self._ready(_BLOCK if words_per_epoch else min(_BLOCK, total), train=True)
        logs: dict[str, float] = {}
        # BackupAndRestore says by this attribute where it goes on.
        for epoch in range(self._initial_epoch or initial_epoch, epochs):
            callbacks.on_epoch_begin(epoch)
            logs = self._epoch(corpus, total, ready, (epoch, epochs), callbacks)
            if validation is not None:
                logs["val_loss"] = self._evaluated(*validation, callbacks)["loss"]
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        callbacks.on_train_end(logs=logs)
        return self.history

    def evaluate(
        self, x: Any = None, *, verbose: int | str = "auto", callbacks: Any = None, return_dict: bool = False
    ) -> float | dict[str, float]:
        """Gives the loss on a text, in the forms that `fit` takes; windows and noise words are the same every time."""
        self._assert_compile_called("evaluate")
        if self._vocabulary is None or self._vocabulary.counts is None:
            raise ValueError("The words are not counted yet: call `fit` first.")
        corpus, total = self._survey(Corpus(x, "x"))
        logs = self._evaluated(corpus, total, self._callbacks(callbacks, verbose, total, epochs=1))
        return logs if return_dict else logs["loss"]

    def _callbacks(self, given: Any, verbose: int | str, total: int, **settings: Any) -> keras.callbacks.CallbackList:
        if isinstance(given, keras.callbacks.CallbackList):
            return given
        steps = math.ceil(total / _BLOCK)
        return keras.callbacks.CallbackList(
            given, add_progbar=verbose != 0, verbose=verbose, steps=steps, model=self, **settings
        )

    def _opened(self, x: Any, words_per_epoch: Any, epochs: int) -> tuple[Corpus, int]:
        """Gives the text and its number of words, after the vocabulary is made and all is counted and checked."""
        if words_per_epoch is not None:
            words_per_epoch = _arguments.integer("words_per_epoch", words_per_epoch, below=2**63)
        corpus = Corpus(x, "x")
        counted = self._vocabulary is not None and self._vocabulary.counts is not None
        if corpus.once and (epochs > 1 or not counted or words_per_epoch is None):
            raise ValueError(
                "`x` is an iterator that can be read once: give a list, a file or an object that makes a new iterator "
                "each time; or epochs=1, `words_per_epoch` and a vocabulary with counts by `set_vocabulary`."
            )
        if self._vocabulary is None and corpus.holds_words:
            self._vocabulary = Vocabulary.of_text(corpus.count_words(), self.vocabulary_size)
            if not len(self._vocabulary):
                raise ValueError("`x` holds no words: it must hold sentences of at least two words.")
            counted = True
            if words_per_epoch is None and not corpus.in_memory:
                words_per_epoch = self._long_enough(corpus, int(self._vocabulary.counts.sum()))
        if counted and words_per_epoch is not None and not corpus.in_memory:
            return corpus, words_per_epoch
        corpus, total = self._survey(corpus, count=not counted)
        return corpus, words_per_epoch or total

    def _survey(self, corpus: Corpus, count: bool = False) -> tuple[Corpus, int]:
        """Gives the text and its number of words, read through once; `count` counts each of them too."""
        if corpus.once:
            raise ValueError(
                f"`{corpus.name}` is an iterator that can be read once: give a list, a file or an object that makes a "
                "new iterator each time."
            )
        if corpus.holds_words and self._vocabulary.words is None:
            raise ValueError("These vectors were trained on numbers of words: give numbers, not words.")
        corpus.keep_encoded(self._vocabulary)
        counts, total = np.zeros(self._size(), "int64"), 0
        neighbours = False
        for block in self._blocks(corpus, _BLOCK):
            total += len(block.ids)
            neighbours = neighbours or len(block.ids) > len(block.starts) + 1
            counts += np.bincount(block.ids, minlength=len(counts)) if count else 0
        self._long_enough(corpus, total)
        if not neighbours:
            raise corpus.no_neighbours()
        if count:
            words = None if self._vocabulary is None else self._vocabulary.words
            self._vocabulary = Vocabulary(words, counts)
        return corpus, total

    def _long_enough(self, corpus: Corpus, total: int) -> int:
        if total <= self.window:
            raise ValueError(
                f"`{corpus.name}` must be longer than the window of {self.window} words, got {total} of the vocabulary."
            )
        return total

    def _size(self) -> int:
        return self.vocabulary_size if self._vocabulary is None else len(self._vocabulary)

    def _blocks(self, corpus: Corpus, words: int) -> Iterator[Piece]:
        size = self._size()
        for block in blocks(corpus.pieces(self._vocabulary), words):
            wrong = (block.ids < 0) | (block.ids >= size)
            if wrong.any():
                raise ValueError(
                    f"The numbers of the words in `{corpus.name}` must be from 0 to {size - 1}, got "
                    f"{block.ids[wrong.argmax()]}: the vocabulary has no more words."
                )
            yield Piece(block.ids.astype("int32"), block.starts)

    def _epoch(
        self, corpus: Corpus, total: int, ready: tuple[Any, ...], place: tuple[int, int], callbacks: Any
    ) -> dict[str, float]:
        # By the steps so far: what is interrupted and resumed draws the same words.
        seed = (self._entropy, int(self.optimizer.iterations))
        (layout, run, prior), (epoch, epochs) = ready, place
        started, words, loss, found = time.perf_counter(), 0, 0.0, 0.0
        batches = ahead(self._prepared(corpus, layout, seed))
        for index, batch in enumerate(batches):
            callbacks.on_train_batch_begin(index)
            rate = min(self._rate((epoch + min(words / total, 1)) / epochs), layout.largest_rate)
            sums = run(batch.arrays, prior, np.int32(batch.steps), np.float32(rate))
            self.optimizer.iterations.assign_add(batch.steps)
            words, loss, found = words + batch.words, loss + float(sums[0]), found + float(sums[1])
            callbacks.on_train_batch_end(index, {"loss": _mean(loss, found)})
            if self.stop_training:
                break
        if not words:
            raise ValueError(
                f"`{corpus.name}` gave no words of the vocabulary in epoch {epoch + 1}: what is read in every epoch "
                "must make a new iterator each time."
            )
        return {"loss": _whole_mean(corpus, loss, found), "words_per_second": words / (time.perf_counter() - started)}

    def _rate(self, progress: float) -> float:
        """Gives the learning rate after a share of the training; callbacks may change the optimizer's, its start."""
        start = float(self.optimizer.learning_rate)
        return start + (min(start, self.final_learning_rate) - start) * progress

    def _evaluated(self, corpus: Corpus, total: int, callbacks: Any) -> dict[str, float]:
        layout, run, prior = self._ready(min(_BLOCK, total), train=False)
        callbacks.on_test_begin()
        loss = found = 0.0
        for index, batch in enumerate(ahead(self._prepared(corpus, layout, 0))):
            callbacks.on_test_batch_begin(index)
            sums = run(batch.arrays, prior, np.int32(batch.steps), np.float32(0))
            loss, found = loss + float(sums[0]), found + float(sums[1])
            callbacks.on_test_batch_end(index, {"loss": _mean(loss, found)})
        logs = {"loss": _whole_mean(corpus, loss, found)}
        callbacks.on_test_end(logs)
        return logs

    def _prepared(self, corpus: Corpus, layout: Layout, seed: Any) -> Iterator[Batches]:
        counts = self._vocabulary.counts
        # No more than the layout holds: what is read anew may have grown since it was counted.
        pieces = self._blocks(corpus, min(_BLOCK, layout.steps * layout.words))
        return prepare(
            pieces, layout, kept_share(counts, self.subsample), noise_shares(counts, self.noise_exponent), seed
        )

    def _ready(self, block: int, train: bool) -> tuple[Layout, Any, Any]:
        """Gives the layout of blocks of `block` words, the compiled function and what it adds to the scores."""
        counts = self._vocabulary.counts
        left = kept_share(counts, self.subsample) * counts
        layout = make_layout(
            self.objective,
            self.embedding_dim,
            self.window,
            self.num_negatives,
            # Evaluated is by one layout, whatever the rate: its draws depend on it.
            float(self.optimizer.learning_rate) if train else 0.0,
            left.max() / left.sum(),
            block,
        )
        if (layout, train) not in self._runs:
            self._runs[layout, train] = compiled(
                self._tables(), layout, self.num_negatives, train=train, jit_compile=self.jit_compile
            )
        return layout, self._runs[layout, train], self._prior()

    def _tables(self) -> Tables:
        variables = (self.words.embeddings, self._output_table.embeddings, self._bias, self._matrix)
        return Tables(*(None if variable is None else variable.value for variable in variables))

    def _prior(self) -> tf.Tensor:
        """Gives ln p(w) − ln k p_noise(w): with it and the bias, scores of NCE are those of a softmax.

        Without p(w) every bias would first have to learn how frequent its word is.
        """
        counts = self._vocabulary.counts
        seen = counts > 0
        prior = np.zeros(self.vocabulary_size, "float32")
        if self.criterion == "nce":
            noise = np.maximum(noise_shares(counts, self.noise_exponent)[seen], 1e-30)
            prior[: len(counts)][seen] = np.log(counts[seen] / counts.sum()) - np.log(self.num_negatives * noise)
        return tf.constant(prior)


def _mean(total: float, number: float) -> float:
    return total / number if number else math.nan


def _whole_mean(corpus: Corpus, total: float, number: float) -> float:
    if not number:
        raise ValueError(
            f"No pair of words was left in `{corpus.name}`: give sentences of two words and more, and build with "
            "subsample=0 where the text is short, so that frequent words stay."
        )
    return total / number
