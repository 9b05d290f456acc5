"""Word vectors: for every word of a text a vector that tells in which company the word is found."""

from __future__ import annotations

import keras

from kphys import _arguments
from kphys.models import _parts
from kphys.models._vocabulary import UnknownWord
from kphys.models._word_answers import AnalogyScore, SimilarityScore
from kphys.models._word_vectors import LEARNING_RATES, OBJECTIVES, WordVectors

__all__ = ["AnalogyScore", "SimilarityScore", "UnknownWord", "WordVectors", "word_vectors"]


def word_vectors(
    vocabulary_size: int,
    embedding_dim: int,
    *,
    objective: str = "skip_gram",
    window: int = 5,
    num_negatives: int = 5,
    loss: str = "negative_sampling",
    subsample: float = 1e-3,
    noise_exponent: float = 0.75,
    learning_rate: float | None = None,
    final_learning_rate: float = 1e-4,
    seed: int | None = None,
    name: str | None = None,
) -> WordVectors:
    """Gives vectors of words, to be learnt from a text: words found in the same company get similar ones.

    With v the vector of a word and u its output vector, "skip_gram" scores a word w and a neighbour c by
    s = v(w) · u(c), "cbow" a word c and the mean of its neighbours' vectors by s = mean v · u(c), and "recurrent" the
    next word c by s = h(t) · u(c), h(t) = σ(U w(t) + W h(t − 1)), whose matrix U holds the vectors. Training minimizes
    −ln σ(s) − k E ln σ(−s') with k noise words drawn in place of c; with "nce" s is corrected by
    ln p(c) − ln k p_noise(c) and a bias a word, so that it becomes the logarithm of a normalized probability.

    Noise words are shared by groups of words, with weights that keep the mean gradient what it is with k noise words
    of one's own; a noise word may happen to be the word found.

    Args:
        vocabulary_size: Number of words that have vectors, at most: the most frequent ones of the text.
        embedding_dim: Number of components of a vector.
        objective: "skip_gram", "cbow" or "recurrent".
        window: Words to either side that count as neighbours, at most: each place draws a number from 1 to this. For
            "recurrent", the number of words that one step of training sees in a row, and traces its error back.
        num_negatives: k, noise words for each word found.
        loss: "negative_sampling" or "nce".
        subsample: t ≥ 0: a word of frequency f stays in the text with the probability (√(f/t) + 1) t/f, drawn anew in
            every epoch. 0: all stay. 1e-3 suits texts of millions of words; short ones want 0.
        noise_exponent: Noise words are drawn in proportion to this power of their counts.
        learning_rate: Learning rate at the start, of plain gradient descent with the sums over pairs. `None`: 0.025
            for "skip_gram", 0.15 for "cbow", 0.1 for "recurrent". Where few words make up the whole text, training
            takes no more than what a step of many equal words bears without overshooting.
        final_learning_rate: What it has fallen to, linearly, when `fit` ends.
        seed: Fixes the starting vectors and what is drawn in training. `None`: new ones each time.
        name: Name of the model.

    Returns:
        A compiled `WordVectors`, a `keras.Model`: numbers of words `(...)` in, vectors `(..., embedding_dim)` out.
        `fit(sentences)` takes text; `vectors["word"]`, `most_similar`, `analogy`, `similarity`, `doesnt_match`,
        `evaluate_similarity` and `evaluate_analogies` ask the trained one, `embedding_layer` gives a layer for other
        models, `to_file`, `from_file` and `to_projector` are for other programs.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Mikolov, Sutskever, Chen, Corrado and Dean, 2013, "Distributed representations of words and phrases and their
        compositionality"; Mikolov, Yih and Zweig, 2013, "Linguistic regularities in continuous space word
        representations" (the recurrent network); Mnih and Kavukcuoglu, 2013, "Learning word embeddings efficiently with
        noise-contrastive estimation"; Ji, Satish, Li and Dubey, 2016, "Parallelizing word2vec in shared and distributed
        memory" (shared noise words).

    Example:
        >>> from kphys.models.words import word_vectors
        >>> text = ["the cat eats fish", "the dog eats meat", "a cat likes fish", "a dog likes meat"] * 50
        >>> vectors = word_vectors(8, 16, window=2, subsample=0, seed=0)
        >>> history = vectors.fit(text, epochs=3, verbose=0)
        >>> [word for word, cosine in vectors.most_similar("cat", n=2)]
        ['dog', 'fish']
        >>> vectors["fish"].shape
        (16,)
    """
    objective = _arguments.choice("objective", objective, OBJECTIVES)
    if learning_rate is None:
        learning_rate = LEARNING_RATES[objective]
    vectors = WordVectors(
        vocabulary_size,
        embedding_dim,
        objective=objective,
        window=window,
        num_negatives=num_negatives,
        loss=loss,
        subsample=subsample,
        noise_exponent=noise_exponent,
        final_learning_rate=final_learning_rate,
        seed=seed,
        name=_parts.model_name(name, "word_vectors"),
    )
    rate = _arguments.real("learning_rate", learning_rate, positive=True, largest=_arguments.LARGEST_FACTOR)
    vectors.compile(keras.optimizers.SGD(rate))
    return vectors
