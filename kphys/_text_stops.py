"""The stops of the tour at words and sequences of characters."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import keras
import numpy as np

import kphys
from kphys._figures import COLOR, panels, save
from kphys._tour import Data, Part, Stop, judge_classifier, mean_and_error
from kphys.datasets import arithmetic, toy_language
from kphys.models.sequences import character_dataset


def _sentences(quick: bool) -> Data:
    train, test = toy_language.load_data(10_000 if quick else 30_000)
    return (train, None), (test, None)


def _writing(quick: bool) -> Data:
    train, test = ("\n".join(text) for text in toy_language.load_data(3_000, num_pairs=4))
    dataset = character_dataset(train, 60, 32, seed=0)
    return (dataset, None), (character_dataset(test, 60, 32, vocabulary=dataset.vocabulary, shuffle=False), None)


def _sums(quick: bool) -> Data:
    return arithmetic.load_data(2, operations="+")


def _differences(quick: bool) -> Data:
    parts = arithmetic.load_data(2, 3_000 if quick else 6_000, "-")
    texts, answers = zip(*((arithmetic.decode(x), arithmetic.decode(y)) for x, y in parts), strict=True)
    labels = [np.array([answer.startswith("-") for answer in part], int) for part in answers]
    return tuple((np.array(part, object), label) for part, label in zip(texts, labels, strict=True))


def _right_answers(model: kphys.WordVectors) -> np.ndarray:
    questions = itertools.chain(*toy_language.questions().values())
    return np.array([model.analogy(b, a, c, n=1)[0][0] == d for a, b, c, d in questions], float)


def _neighbours(data: Data) -> tuple[str, float]:
    from sklearn.feature_extraction.text import CountVectorizer

    (train, _), _ = data
    counter = CountVectorizer(lowercase=False, token_pattern=r"\S+")
    counts = counter.fit_transform(train)  # (sentences, words)
    counts = (counts.T @ counts).toarray()  # (words, words)
    np.fill_diagonal(counts, 0)
    model = kphys.word_vectors(*counts.shape)
    model.set_vocabulary(counter.get_feature_names_out())
    model.words.set_weights([counts])
    return f"{len(counts)} counts a word", mean_and_error(_right_answers(model))[0]


def _judge_words(model: kphys.WordVectors, test: Part, picture: Path) -> tuple[float, float]:
    _draw_pairs(model, picture)
    return mean_and_error(_right_answers(model))


def _draw_pairs(model: kphys.WordVectors, picture: Path) -> None:
    """Draws pairs of each relation as arrows, in the plane in which their vectors differ most."""
    from sklearn.decomposition import PCA

    figure, axes = panels(len(toy_language.RELATIONS), 4.4)
    for axis, (relation, questions) in zip(axes, toy_language.questions(8).items(), strict=True):
        pairs = list(dict.fromkeys((a, b) for a, b, *_ in questions))
        vectors = np.stack([model[word] for pair in pairs for word in pair])
        places = PCA(2).fit_transform(vectors).reshape(len(pairs), 2, 2)
        for words, ends in zip(pairs, places, strict=True):
            axis.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": COLOR})
            for word, place, other in zip(words, ends, ends[::-1], strict=True):
                side, shift = ("right", -4) if place[0] < other[0] else ("left", 4)
                axis.annotate(word, place, (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=8)
        axis.plot(*places.reshape(-1, 2).T, ".", color=COLOR)
        axis.margins(x=0.4)
        axis.set(title=relation, xlabel="first component", ylabel="second component")
    save(figure, picture)


def _char_rnn(data: Data) -> kphys.CharRNN:
    (dataset, _), _ = data
    return kphys.char_rnn(len(dataset.vocabulary), units=64, embedding_dim=32, learning_rate=1e-2, seed=0)


def _five_characters(data: Data) -> tuple[str, float]:
    train, test = (np.concatenate([x for x, _ in dataset]) for dataset, _ in data)
    grams = _grams(train)
    counts, before = Counter(grams), Counter(gram[:-1] for gram in grams)
    size, little = len(data[0][0].vocabulary), 0.01
    shares = [(counts[gram] + little) / (before[gram[:-1]] + size * little) for gram in _grams(test)]
    return "from 5 characters", -float(np.log(shares).mean())


def _grams(pieces: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(gram) for gram in np.lib.stride_tricks.sliding_window_view(pieces, 6, axis=1).reshape(-1, 6).tolist()]


def _judge_characters(model: kphys.CharRNN, test: Part, picture: Path) -> tuple[float, float]:
    figure, axes = panels(2, 6)
    for axis, temperature in zip(axes, (0.5, 1.0), strict=True):
        lines = model.generate("\n", 1000, temperature=temperature, seed=0).split("\n")[:20]
        axis.set_axis_off()
        axis.set_title(f"written at temperature {temperature}", loc="left")
        axis.text(0, 1, "\n".join(lines), family="monospace", fontsize=9, va="top", linespacing=1.4)
    save(figure, picture)
    nats = []
    for x, y in test[0]:
        chosen = np.take_along_axis(model.predict_on_batch(x), y.numpy()[..., None], axis=-1)
        nats += list(-np.log(chosen).mean(axis=(1, 2)))
    return mean_and_error(np.array(nats))


def _seq2seq(data: Data) -> kphys.Seq2Seq:
    size = len(arithmetic.CHARACTERS) + 1
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 2_000)
    return kphys.seq2seq(size, size, cell="gru", units=128, embedding_dim=32, learning_rate=rate, seed=0)


def _most_frequent_answer(data: Data) -> tuple[str, float]:
    train, test = (arithmetic.decode(y) for _, y in data)
    return "always the most frequent", test.count(Counter(train).most_common(1)[0][0]) / len(test)


def _judge_sums(model: kphys.Seq2Seq, test: Part, picture: Path) -> tuple[float, float]:
    x, y = test
    given, right = (np.array(arithmetic.decode(tokens)) for tokens in (model.generate(x), y))
    numbers = np.array([(int(b), int(a) - int(b)) for a, b in zip(given, right, strict=True) if a.isdecimal()])
    figure, (axis,) = panels(1, 4.8)
    axis.plot(*numbers.T, ".", color=COLOR, markersize=4)
    axis.set(xlabel="sum", ylabel="answer of the network − sum")
    save(figure, picture)
    return mean_and_error((given == right).astype(float))


def _text_classifier(data: Data) -> keras.Model:
    (texts, _), _ = data
    vectorization = keras.layers.TextVectorization(standardize=None, split="character")
    vectorization.adapt(texts)
    return kphys.text_classifier(vectorization, 2, embedding_dim=16, units=32, learning_rate=1e-2, seed=0)


def _counted_characters(data: Data) -> tuple[str, float]:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    (x_train, y_train), (x_test, y_test) = data
    counter = CountVectorizer(analyzer="char")
    model = LogisticRegression(max_iter=1000).fit(counter.fit_transform(x_train), y_train)
    return "from counts of characters", model.score(counter.transform(x_test), y_test)


TEXT_STOPS = {
    "word_vectors": Stop(
        "analogies in a language with relations",
        _sentences,
        lambda data: kphys.word_vectors(400, 30, subsample=0, seed=0),
        epochs=10,
        score="analogies",
        threshold=0.95,
        simple=_neighbours,
        judge=_judge_words,
        takes={},
        clips=False,
    ),
    "char_rnn": Stop(
        "text of such a language, by characters",
        _writing,
        _char_rnn,
        epochs=16,
        score="nats",
        threshold=0.36,
        simple=_five_characters,
        judge=_judge_characters,
        higher_is_better=False,
        takes={},
    ),
    "seq2seq": Stop(
        "sums of two-digit numbers, as text",
        _sums,
        _seq2seq,
        epochs=8,
        score="right",
        threshold=0.85,
        simple=_most_frequent_answer,
        judge=_judge_sums,
    ),
    "text_classifier": Stop(
        "is 17-42 negative? as text",
        _differences,
        _text_classifier,
        epochs=6,
        score="accuracy",
        threshold=0.92,
        simple=_counted_characters,
        judge=judge_classifier,
    ),
}
