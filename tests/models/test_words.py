"""Word vectors: gradients, pairs and draws against exact answers, then training, questions, files and promises."""

import gzip
import os
import subprocess
import sys
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from word_language import language, write_questions

from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.models import _corpus, _word_pairs, _word_training
from kphys.models._corpus import Corpus, Piece, blocks
from kphys.models._vocabulary import Vocabulary
from kphys.models.words import UnknownWord, WordVectors, word_vectors

OBJECTIVES = ("skip_gram", "cbow", "recurrent")
LOSSES = ("negative_sampling", "nce")
MODES = [(objective, loss) for objective in OBJECTIVES for loss in LOSSES]
TEXT = ["the cat eats fish", "the dog eats meat", "a cat likes fish", "a dog likes meat"]


def uncompiled(model):
    """The same model without XLA, whose compilation takes seconds."""
    model.compile(model.optimizer, jit_compile=False)
    return model


def build(words=8, dim=4, **settings):
    return uncompiled(word_vectors(words, dim, **{"subsample": 0, "seed": 0, **settings}))


def with_vectors(vectors, words):
    """A model that knows `words` by these vectors."""
    model = build(len(words), len(vectors[0]))
    model.set_vocabulary(words, [1] * len(words))
    model.words.set_weights([np.asarray(vectors, "float32")])
    return model


def batches(objective, pieces, counts, window=2, noise=3, groups=1, seed=0, steps=1):
    """The arrays of the blocks `pieces`, without subsampling."""
    layout = _word_pairs.Layout(objective, window, groups, noise, steps, 1.0)
    made = _word_pairs.prepare(pieces, layout, np.ones(len(counts), "float32"), np.asarray(counts) / sum(counts), seed)
    return layout, list(made)


def piece(sentences):
    """Sentences of numbers as one block."""
    return Piece(np.concatenate(sentences).astype("int32"), np.cumsum([len(s) for s in sentences[:-1]], dtype="int64"))


def pairs_of(batch, window):
    """All (place of the word, place of the centre) of a skip-gram batch, with the words there, by brute force."""
    _, rows, left, right = (array.reshape(-1, array.shape[-1]) for array in batch.arrays)
    found = []
    for group in range(len(rows)):
        for centre in range(left.shape[1]):
            for offset in range(-left[group, centre], right[group, centre] + 1):
                place = centre + offset
                if offset and window <= place < window + _word_pairs.GROUP:
                    words = rows[group, place], rows[group, centre]
                    start = group * _word_pairs.GROUP - window
                    found.append((start + place, start + centre, *map(int, words)))
    return found


# === The step against automatic differentiation ===


def by_definition(objective, model, arrays, ratio):
    """The loss of one step, pair by pair, as the formula says it."""
    inputs, outputs = model.words.embeddings.value, model._output_table.embeddings.value
    shift = model._prior() + model._bias.value if model._bias is not None else tf.zeros(model.vocabulary_size)

    def loss(hidden, word, noise):
        def score(other):
            return tf.reduce_sum(hidden * outputs[other]) + shift[other]

        return -tf.math.log_sigmoid(score(word)) - ratio * sum(tf.math.log_sigmoid(-score(other)) for other in noise)

    if objective == "recurrent":
        ids, targets, continues, follows, noise = (array[0] for array in arrays)
        total = 0.0
        for stream in range(len(ids)):
            state = tf.zeros(model.embedding_dim)
            for t in range(ids.shape[1]):
                before = (state * continues[stream, t])[None]
                state = tf.sigmoid(inputs[ids[stream, t]] + tf.matmul(before, model._matrix.value)[0])
                if follows[stream, t] and stream * ids.shape[1] + t < model.length:
                    total += loss(state, targets[stream, t], noise)
        return total
    rows, outs, left, right = (array[0] for array in arrays)
    margin, total = model.window, 0.0
    for group in range(len(rows)):
        noise = outs[group, -model.noise :]
        for centre in range(left.shape[1]):
            around = [centre + o for o in range(-left[group, centre], right[group, centre] + 1) if o]
            if objective == "cbow" and around:
                mean = tf.add_n([inputs[rows[group, margin + place]] for place in around]) / len(around)
                total += loss(mean, outs[group, centre], noise)
            if objective == "skip_gram":
                for place in around:
                    if margin <= place < margin + _word_pairs.GROUP:
                        total += loss(inputs[rows[group, place - margin]], outs[group, centre], noise)
    return total


@pytest.mark.cases(1)
@pytest.mark.parametrize(("objective", "loss"), MODES)
def test_a_step_is_that_of_automatic_differentiation(objective, loss):
    """Two groups of words, sentences that end in and between them; steps of rate 1, so that they are the gradient."""
    counts = [9, 7, 5, 3, 2, 1]
    sentences = [np.random.default_rng(length).integers(0, 6, length) for length in (20, 1, 19, 5)]
    model = word_vectors(6, 3, objective=objective, loss=loss, window=2, num_negatives=4, subsample=0, seed=1)
    model.set_vocabulary(list("abcdef"), counts)
    generator = np.random.default_rng(2)
    weights = [generator.normal(size=weight.shape).astype("float32") for weight in model.get_weights()]
    model.set_weights(weights)
    layout, (batch,) = batches(objective, [piece(sentences)], counts, noise=3, groups=2, steps=2)
    model.noise, model.length = layout.noise, 45
    assert batch.steps == (1 if objective != "recurrent" else 2)
    with tf.GradientTape() as tape:
        expected = by_definition(objective, model, batch.arrays, 4 / layout.noise)
    variables = [weight.value for weight in model.trainable_weights]
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(expected, variables)]
    for jit_compile in (True, False):
        model.set_weights(weights)
        run = _word_training.compiled(model._tables(), layout, 4, train=True, jit_compile=jit_compile)
        found, _ = run(batch.arrays, model._prior(), np.int32(1), np.float32(1))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        for variable, start, gradient in zip(variables, weights, gradients, strict=True):
            assert np.abs(gradient).max() > 0.1
            np.testing.assert_allclose(start - variable.numpy(), gradient, atol=1e-5 * np.abs(gradient).max())


def test_a_step_without_training_changes_nothing_and_gives_the_same_loss():
    model = build(words=8)
    model.fit(TEXT * 10, verbose=0)
    before = model.get_weights()
    assert model.evaluate(TEXT * 10, verbose=0) == model.evaluate(TEXT * 10, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_follow_one_another_and_the_state_of_the_network_goes_on():
    """Words in two streams: the second step's state comes from the first step's."""
    model = word_vectors(6, 3, objective="recurrent", window=2, subsample=0, seed=1)
    model.set_vocabulary(list("abcdef"), [1] * 6)
    model.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in model.get_weights()])
    ids = np.random.default_rng(1).integers(0, 6, 2 * 2 * _word_pairs.STREAMS)
    layout, (batch,) = batches("recurrent", [piece([ids])], [1] * 6, steps=2)
    run = _word_training.compiled(model._tables(), layout, 5, train=False, jit_compile=False)
    once, words = run(batch.arrays, model._prior(), np.int32(2), np.float32(0))
    alone = 0.0
    for step in range(2):
        arrays = tuple(array[step : step + 1] for array in batch.arrays)
        alone += float(run(arrays, model._prior(), np.int32(1), np.float32(0))[0])
    assert int(words) == len(ids) - 1
    assert abs(float(once) - alone) > 0.1


# === Windows, subsampling, noise ===


def test_with_a_window_of_one_the_pairs_are_the_neighbours_in_a_sentence():
    sentences = [np.arange(40), np.arange(40, 41), np.arange(41, 70), np.arange(70, 75)]
    _, (batch,) = batches("skip_gram", [piece(sentences)], [1] * 75, window=1, groups=3)
    expected = {(i, j) for s in sentences for i in s for j in s if abs(i - j) == 1}
    found = pairs_of(batch, 1)
    assert len(found) == len(expected)
    assert {pair[:2] for pair in found} == expected
    assert all(pair[:2] == pair[2:] for pair in found)


def test_windows_are_shrunk_evenly_and_end_with_the_sentence():
    """A neighbour at distance d is in 1 − (d − 1)/w of the windows: each of 1 to w is as likely."""
    size, window = 200 * _word_pairs.GROUP, 4
    _, (batch,) = batches("skip_gram", [piece([np.arange(size)])], [1] * size, window=window, groups=200)
    distance = np.abs([i - j for i, j, *_ in pairs_of(batch, window)])
    for d in range(1, window + 1):
        share = 1 - (d - 1) / window
        assert (distance == d).sum() / (2 * size) == pytest.approx(share, abs=0.02)
    assert distance.max() == window


def test_both_windowed_objectives_lay_out_the_same_windows():
    sentences = [np.arange(30), np.arange(30, 64)]
    _, (one,) = batches("skip_gram", [piece(sentences)], [1] * 64, window=3, groups=2)
    _, (other,) = batches("cbow", [piece(sentences)], [1] * 64, window=3, groups=2)
    np.testing.assert_array_equal(one.arrays[2][..., 3:-3], other.arrays[2])
    np.testing.assert_array_equal(one.arrays[0], other.arrays[1][..., : _word_pairs.GROUP])
    np.testing.assert_array_equal(one.arrays[1][..., : _word_pairs.GROUP + 6], other.arrays[0])


def test_frequent_words_are_left_out_as_the_formula_says():
    counts = np.array([9000, 900, 100, 0])
    share = _word_pairs.kept_share(counts, 1e-2)
    frequency = counts[:3] / 10_000
    np.testing.assert_allclose(share[:3], np.minimum(1, np.sqrt(1e-2 / frequency) + 1e-2 / frequency), rtol=1e-6)
    np.testing.assert_array_equal(_word_pairs.kept_share(counts, 0), 1)
    ids = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], counts[:3])).astype("int32")
    block = Piece(ids, np.array([5000]))
    kept, lengths = _word_pairs._subsampled(block, share, np.random.default_rng(0))
    assert lengths.sum() == len(kept)
    assert len(lengths) == 2
    for word in range(3):
        assert (kept == word).sum() / counts[word] == pytest.approx(share[word], abs=5 * 0.5 / np.sqrt(counts[word]))


def test_a_sentence_that_subsampling_empties_is_gone():
    kept = np.array([1, 0], "float32")
    block = piece([[0, 0], [1, 1], [0, 1, 0], [1]])
    ids, lengths = _word_pairs._subsampled(block, kept, np.random.default_rng(0))
    assert ids.tolist() == [0, 0, 0, 0]
    assert lengths.tolist() == [2, 2]


def test_noise_words_come_as_often_as_their_power_of_counts():
    share = _word_pairs.noise_shares(np.array([16, 1, 0, 81]), 0.75)
    np.testing.assert_allclose(share, np.array([8, 1, 0, 27]) / 36)
    for seed in range(5):
        words = _word_pairs.draw_noise(np.cumsum(share), 1000, np.random.default_rng(seed))
        np.testing.assert_array_less(np.abs(np.bincount(words, minlength=4) - 1000 * share), 1)
    for exponent in (-1e4, 1e4):  # Rare or frequent words alone.
        extreme = _word_pairs.noise_shares(np.array([16, 1, 0, 81]), exponent)
        np.testing.assert_array_equal(extreme, [0, exponent < 0, 0, exponent > 0])
    # Their order is random: neighbours are no more often equal than chance has it.
    words = _word_pairs.draw_noise(np.cumsum(share), 50_000, np.random.default_rng(0))
    assert (words[1:] == words[:-1]).mean() == pytest.approx((share**2).sum(), abs=0.01)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_takes_no_more_words_than_its_learning_rate_allows(objective):
    rare, frequent = (_word_pairs.make_layout(objective, 100, 5, 5, 0.025, share, 10_000) for share in (1e-3, 0.5))
    assert rare.groups >= frequent.groups == 1
    assert rare.largest_rate > 0.025 > frequent.largest_rate
    assert rare.steps * rare.words >= 10_000


def test_two_words_alone_do_not_blow_up():
    model = build(words=2)
    losses = model.fit(np.tile([0, 1], 5000), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert np.abs(model.vectors).max() < 10


# === What training ends in, where that is known ===


def chain(size, seed=0):
    """A Markov chain of four words, its transitions and how often its words come."""
    transition = np.array([[0.1, 0.6, 0.2, 0.1], [0.5, 0.1, 0.1, 0.3], [0.25] * 4, [0.1, 0.2, 0.6, 0.1]])
    draws, ids = np.random.default_rng(seed).random(size), np.empty(size, int)
    edges = transition.cumsum(axis=1)
    word = 0
    for place in range(size):
        ids[place] = word
        word = int((draws[place] > edges[word]).sum())
    return ids


def neighbours(ids):
    """How often word j stands beside word i, `(4, 4)`."""
    counts = np.zeros((4, 4))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts + counts.T


@pytest.mark.slow
def test_negative_sampling_ends_at_the_mutual_information():
    """v(i) · u(j) = ln p(i, j) / (p(i) p_noise(j)) − ln k (Levy and Goldberg, 2014), one seed, to 0.15 in 4."""
    ids = chain(40_000)
    model = build(4, 6, window=1, num_negatives=3, noise_exponent=1.0, learning_rate=0.02)
    model.fit(ids, epochs=16, verbose=0)
    joint = neighbours(ids) / neighbours(ids).sum()
    expected = np.log(joint / np.outer(joint.sum(axis=1), joint.sum(axis=1)) / 3)
    np.testing.assert_allclose(model.vectors @ model._output_table.get_weights()[0].T, expected, atol=0.15)


@pytest.mark.slow
def test_contrastive_estimation_ends_at_the_conditional_probability():
    """The score v(i) · u(j) + b(j) + ln p(j) is ln p(j | i), to 0.08, one seed: nothing normalizes it."""
    ids = chain(40_000)
    model = build(4, 6, window=1, num_negatives=3, loss="nce", learning_rate=0.02)
    model.fit(ids, epochs=16, verbose=0)
    counts = neighbours(ids)
    found = probabilities(model, model.vectors, ids)
    np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True), atol=0.08)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.08)


@pytest.mark.slow
def test_the_recurrent_network_foresees_the_next_word():
    """Its probabilities, averaged over the places of a word, are those that follow the word; one seed, to 0.08."""
    ids = chain(40_000)
    model = build(4, 8, objective="recurrent", loss="nce", num_negatives=3)
    model.fit(ids, epochs=10, verbose=0)
    state, states = np.zeros(8), []
    for word in ids[:3000]:
        state = 1 / (1 + np.exp(-model.vectors[word] - state @ model._matrix.numpy()))
        states.append(state)
    found = probabilities(model, np.array(states), ids)
    counts = np.zeros((4, 4))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    mean = np.stack([found[ids[:3000] == word].mean(axis=0) for word in range(4)])
    np.testing.assert_allclose(mean, counts / counts.sum(axis=1, keepdims=True), atol=0.08)


def probabilities(model, hidden, ids):
    """What the scores of NCE say that the probabilities of the words are."""
    frequency = np.bincount(ids) / len(ids)
    return np.exp(hidden @ model._output_table.get_weights()[0].T + model._bias.numpy()) * frequency


@pytest.mark.cases(1)
@pytest.mark.parametrize(("objective", "loss"), MODES)
def test_every_mode_learns_the_relations_of_a_language(objective, loss, tmp_path):
    """8,000 sentences of five words, 12 epochs, one seed: at least 90 % of the analogies, chance is 1 %."""
    model = word_vectors(120, 20, objective=objective, loss=loss, subsample=0, seed=0)
    losses = model.fit(language(0, 8000, 6), epochs=12, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.3
    scores = model.evaluate_analogies(write_questions(tmp_path / "questions.txt", 6))
    assert scores["total"].num_questions == 90
    assert scores["total"].accuracy >= 0.9


# === Texts ===


def ids_of(x, vocabulary):
    found = list(blocks(Corpus(x, "x").pieces(vocabulary), 1000))
    assert len(found) == 1
    return found[0].ids.tolist(), found[0].starts.tolist()


def test_a_text_is_the_same_in_every_form(tmp_path):
    vocabulary = Vocabulary(["the", "cat", "eats", "fish", "dog"])
    sentences = ["the cat eats fish", "", "no such words", "the  big dog\teats"]
    lines = "\n".join(sentences) + "\n"
    (tmp_path / "text.txt").write_text(lines)
    with gzip.open(tmp_path / "text.txt.gz", "wt") as file:
        file.write(lines)
    numbers = [np.array([0, 1, 2, 3]), np.array([], int), np.array([0, 4, 2])]
    expected = [0, 1, 2, 3, 0, 4, 2], [4]
    texts = (
        sentences, tuple(sentences), [s.split() for s in sentences], np.array(sentences), iter(sentences),
        str(tmp_path / "text.txt"), tmp_path / "text.txt.gz",
    )  # fmt: skip
    for x in texts:
        corpus = Corpus(x, "x")
        assert corpus.holds_words
        assert corpus.once == (x is texts[4])
        found = list(blocks(corpus.pieces(vocabulary), 1000))
        assert [(block.ids.tolist(), block.starts.tolist()) for block in found] == [expected]
    data = tf.data.Dataset.from_generator(lambda: numbers, output_signature=tf.TensorSpec((None,), tf.int64))
    for x in (numbers, [n.tolist() for n in numbers], iter(numbers), data):
        assert ids_of(x, None) == expected
    assert not Corpus(numbers, "x").holds_words
    assert ids_of(np.array([[0, 1], [2, 3]]), None) == ([0, 1, 2, 3], [2])
    assert ids_of([0, 1, 2], None) == ([0, 1, 2], [])
    corpus = Corpus(sentences, "x")
    corpus.keep_encoded(vocabulary)
    kept = next(corpus.pieces(vocabulary))
    assert (kept.ids.tolist(), kept.starts.tolist()) == expected


def test_blocks_have_one_size_and_keep_words_and_sentences_in_order():
    generator = np.random.default_rng(0)
    sentences = [generator.integers(0, 100, length) for length in generator.integers(1, 30, 200)]
    cuts = np.cumsum([len(s) for s in sentences])
    pieces = [piece(sentences[i : i + 37]) for i in range(0, 200, 37)]
    found = list(blocks(pieces, 64))
    assert {len(block.ids) for block in found[:-1]} == {64}
    np.testing.assert_array_equal(np.concatenate([block.ids for block in found]), np.concatenate(sentences))
    starts = np.concatenate([block.starts + 64 * index for index, block in enumerate(found)])
    np.testing.assert_array_equal(starts, [cut for cut in cuts[:-1] if cut % 64])


def test_the_vocabulary_holds_the_most_frequent_words_the_others_are_not_there():
    model = build(words=3)
    model.fit(["b a rare b", "c b a", "c b a"], verbose=0)
    assert model.vocabulary.words == ["b", "a", "c"]
    assert model.vocabulary.counts.tolist() == [4, 3, 2]
    assert "rare" not in model


def test_a_vocabulary_may_be_given_and_its_words_are_counted_in_the_text():
    model = build(words=4)
    model.set_vocabulary(["dog", "cat", "cow"])
    model.fit([["cat", "dog", "cat", "bird", "dog", "cat", "cow", "cat"]], verbose=0)
    assert model.vocabulary.words == ["dog", "cat", "cow"]
    assert model.vocabulary.counts.tolist() == [2, 4, 1]
    assert model.vectors.shape == (3, 4)


def test_a_text_in_one_line_is_read_in_parts_and_a_byte_order_mark_is_no_letter(tmp_path, monkeypatch):
    words = [f"{'word' * (i % 5)}{i}" for i in range(500)]
    (tmp_path / "text").write_text(" ".join(words), encoding="utf-8-sig")
    assert list(_corpus._lines(tmp_path / "text")) == [words]
    for characters in (1, 7, 64, 65):
        monkeypatch.setattr(_corpus, "_CHARACTERS", characters)
        parts = list(_corpus._lines(tmp_path / "text"))
        assert [word for part in parts for word in part] == words
        assert max(sum(map(len, part)) for part in parts) <= characters + len(max(words, key=len))


def test_numbers_are_counted_and_their_own_names():
    model = build(words=6)
    model.fit(np.array([0, 1, 2, 1] * 20), verbose=0)
    assert model.vocabulary.counts.tolist() == [20, 40, 20, 0, 0, 0]
    assert {name for name, _ in model.most_similar(1, n=5)} == {0, 2, 3, 4, 5}
    with pytest.raises(UnknownWord, match="trained on numbers"):
        model["one"]
    with pytest.raises(ValueError, match="give numbers, not words"):
        model.fit(TEXT, verbose=0)


def test_words_that_never_occur_keep_their_vectors():
    model = build(words=6)
    before = model.get_weights()
    model.fit(np.array([0, 1, 2, 1] * 20), verbose=0)
    for start, end in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(start[3:], end[3:])
        assert (start[:3] != end[:3]).all()


def test_a_stream_is_read_in_bounded_memory():
    """Three million words in arrays of 10,000: at most 12 MB at a time, and as int32 alone they would be 12 MB."""

    class Stream:
        def __iter__(self):
            generator = np.random.default_rng(0)
            for _ in range(300):
                yield generator.integers(0, 50, 10_000)

    model = build(words=50, objective="cbow", window=1, num_negatives=1)
    layout = _word_pairs.Layout("cbow", 1, 8, 4, 128, 1.0)
    model.fit(Stream().__iter__().__next__(), verbose=0)  # Counts, and traces.
    tracemalloc.start()
    words = sum(batch.words for batch in model._prepared(Corpus(Stream(), "x"), layout, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words == 3_000_000
    assert peak < 12e6


def test_a_file_trains_the_same_vectors_as_its_sentences(tmp_path):
    (tmp_path / "text").write_text("\n".join(TEXT * 9))
    one, other = build(), build()
    one.fit(TEXT * 9, epochs=2, verbose=0)
    other.fit(tmp_path / "text", epochs=2, verbose=0)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_an_iterator_that_is_read_once_takes_counts_and_its_length():
    model = build(words=3)
    numbers = np.array([0, 1, 2, 1] * 50)
    with pytest.raises(ValueError, match="can be read once"):
        model.fit(iter([numbers]), verbose=0)
    model.set_vocabulary(["a", "b", "c"], [50, 100, 50])
    with pytest.raises(ValueError, match="can be read once"):
        model.fit(iter([numbers]), epochs=2, words_per_epoch=200, verbose=0)
    model.fit(iter([numbers]), words_per_epoch=200, verbose=0)
    other = build(words=3)
    other.set_vocabulary(["a", "b", "c"], [50, 100, 50])
    other.fit(numbers, verbose=0)
    np.testing.assert_array_equal(model.vectors, other.vectors)
    model.fit(iter([numbers] * 9), words_per_epoch=200, verbose=0)  # Longer than was said.


def test_a_text_that_changes_between_two_readings_is_trained_on_as_it_comes():
    class Changing:
        size = 0

        def __iter__(self):
            self.size += 20
            return iter([np.array([0, 1, 2, 1])] * self.size)

    text = Changing()
    assert np.isfinite(build(words=3).fit(text, epochs=3, validation_data=text, verbose=0).history["val_loss"]).all()


def test_a_text_that_cannot_be_read_again_is_refused_by_its_epoch():
    class Once:
        def __init__(self):
            self.words = iter(TEXT * 9)

        def __iter__(self):
            return self.words

    with pytest.raises(ValueError, match="`x` gave no words of the vocabulary in epoch 1"):
        build().fit(Once(), verbose=0)


def test_the_length_that_is_given_is_the_one_of_the_bar_and_the_rate():
    for x in (np.arange(200) % 4, [["a", "b", "c", "d"] * 50]):
        model = build(words=4)
        for _ in range(2):  # Not counted yet, and counted.
            assert model.fit(x, words_per_epoch=70_000, verbose=0).params["steps"] == 3
    model.fit(x, words_per_epoch=2, verbose=0)


# === Keras' promises ===


def test_history_bar_and_callbacks(tmp_path, capsys):
    model = build()
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True),
        keras.callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        EarlyStopping(monitor="val_loss", patience=50),
    ]
    history = model.fit(TEXT * 20, epochs=3, validation_data=TEXT, callbacks=callbacks)
    assert history is model.history
    assert {"loss", "val_loss", "words_per_second"} <= set(history.history)
    assert history.epoch == [0, 1, 2]
    assert history.history["loss"][2] < history.history["loss"][0]
    assert history.history["val_loss"][2] == pytest.approx(model.evaluate(TEXT, verbose=0))
    assert all(speed > 0 for speed in history.history["words_per_second"])
    shown = capsys.readouterr().out
    assert "Epoch 3/3" in shown
    assert "1/1" in shown
    assert keras.models.load_model(tmp_path / "best.keras")["cat"].shape == (4,)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert list((tmp_path / "logs" / "train").iterdir())


def test_it_stops_when_a_callback_says_so_and_puts_the_best_weights_back():
    model = build()
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1, restore_best_weights=True)
    first = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: first.append(model.get_weights()) if epoch == 0 else None
    )
    history = model.fit(TEXT * 20, epochs=9, verbose=0, callbacks=[keep, stop])
    assert history.epoch == [0, 1]
    for start, end in zip(first[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(start, end)


def test_batches_are_blocks_of_the_text():
    model, seen = build(words=4), []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])))
    history = model.fit(np.arange(70_000) % 4, verbose=0, callbacks=[count])
    assert [batch for batch, _ in seen] == [0, 1, 2]
    assert seen[-1][1] == history.history["loss"][0]
    assert history.params["steps"] == 3


def test_the_learning_rate_falls_linearly_and_callbacks_set_its_start():
    model = build(learning_rate=0.5, final_learning_rate=0.1)
    assert [model._rate(share) for share in (0, 0.5, 1)] == pytest.approx([0.5, 0.3, 0.1])
    model.optimizer.learning_rate = 0.05
    assert model._rate(1) == pytest.approx(0.05)
    before = model.get_weights()
    nothing = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    model.fit(TEXT * 9, verbose=0, callbacks=[nothing])
    for start, end in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(start, end)


def test_each_block_takes_the_rate_of_its_place():
    model, rates = build(words=4, learning_rate=1e-3, final_learning_rate=0), []
    model.fit(np.arange(70_000) % 4, verbose=0)
    ((layout, train),) = model._runs
    assert train
    model._runs[layout, train] = lambda arrays, prior, steps, rate: rates.append(float(rate)) or (1.0, 1.0)
    model.fit(np.arange(70_000) % 4, epochs=4, initial_epoch=2, verbose=0)
    starts = [epoch + words / 70_000 for epoch in (2, 3) for words in (0, 32_768, 65_536)]
    np.testing.assert_allclose(rates, [1e-3 * (1 - start / 4) for start in starts], rtol=1e-5)


@pytest.mark.cases(1)
@pytest.mark.parametrize(("objective", "loss"), MODES)
def test_saved_in_the_midst_it_goes_on_in_a_new_process_as_if_it_had_not_stopped(objective, loss, tmp_path):
    settings = {"objective": objective, "loss": loss, "subsample": 0.1, "seed": 3, "learning_rate": 0.05}

    text, whole = TEXT * 30, build(**settings)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "epoch{epoch}.keras")
    whole.fit(text, epochs=4, verbose=0, callbacks=[checkpoint])
    program = (
        "import sys, keras, kphys.models.words\n"
        "model = keras.models.load_model(sys.argv[1] + '/epoch2.keras')\n"
        f"model.fit({text!r}, epochs=4, initial_epoch=2, verbose=0)\n"
        "model.save(sys.argv[1] + '/whole.keras')\n"
    )
    if (objective, loss) == ("skip_gram", "nce"):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)
    else:
        loaded = keras.models.load_model(tmp_path / "epoch2.keras")
        loaded.fit(text, epochs=4, initial_epoch=2, verbose=0)
        loaded.save(tmp_path / "whole.keras")
    resumed = keras.models.load_model(tmp_path / "whole.keras")
    assert resumed.get_config() == whole.get_config()
    assert resumed.vocabulary.words == whole.vocabulary.words
    assert resumed.jit_compile is False
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_seed_it_goes_on_with_its_own_draws(tmp_path):
    model = build(seed=None)
    model.fit(TEXT * 9, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(TEXT * 9, epochs=2, initial_epoch=1, verbose=0)
    np.testing.assert_array_equal(model.vectors, loaded.vectors)


def test_windows_and_noise_are_drawn_anew_in_every_epoch():
    model, seen = build(), []
    model.fit(TEXT * 9, verbose=0)
    ((layout, train),) = model._runs

    def run(arrays, prior, steps, rate):
        seen.append(arrays)
        return 1.0, 1.0

    model._runs[layout, train] = run
    model.fit(TEXT * 9, epochs=2, verbose=0)
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    for place in (1, 2, 3):
        assert (seen[0][place] != seen[1][place]).any()


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_the_tables_are_float32_under_every_policy(policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build(objective="recurrent", loss="nce")
        assert np.isfinite(model.fit(TEXT * 9, verbose=0).history["loss"]).all()
        assert {weight.dtype for weight in model.weights} == {"float32"}
        model.save(tmp_path / "model.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras").vectors, model.vectors)
    finally:
        keras.config.set_dtype_policy(before)


def test_what_is_interrupted_while_it_is_counted_leaves_no_vocabulary_in_the_midst_its_vectors():
    class Interrupted(list):
        def __iter__(self):
            if model._vocabulary is not None:
                raise KeyboardInterrupt
            return super().__iter__()

    model = build()
    with pytest.raises(KeyboardInterrupt):
        model.fit(Interrupted(TEXT * 9), verbose=0)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        _ = model.vocabulary

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        model.fit(TEXT * 9, verbose=0, callbacks=[Interrupt()])
    assert np.isfinite(model.vectors).all()
    assert (model.vectors != before[0]).any()
    assert model.fit(TEXT * 9, epochs=2, verbose=0).epoch == [0, 1]


def test_an_evaluation_is_the_same_at_every_learning_rate_and_takes_a_list_of_callbacks():
    class Count(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

    model, seen = build(words=300, learning_rate=1e-5), []
    text = np.random.default_rng(0).integers(0, 300, 3000)
    model.fit(text, verbose=0)
    expected = model.evaluate(text, verbose=0)
    for rate in (1.0, 0.0):
        model.optimizer.learning_rate = rate
        assert model.evaluate(text, verbose=0) == expected
    model.evaluate(text, verbose=0, callbacks=keras.callbacks.CallbackList([Count()], model=model))
    assert seen == [0]


def test_backup_and_restore_goes_on_where_it_was_killed(tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    whole, killed, restored = build(), build(), build()
    whole.fit(TEXT * 9, epochs=4, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(
            TEXT * 9, epochs=4, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), Kill()]
        )
    history = restored.fit(
        TEXT * 9, epochs=4, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    )
    assert history.epoch == [2, 3]
    np.testing.assert_array_equal(restored.vectors, whole.vectors)


@pytest.mark.cases(1)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_gives_the_same_vectors_another_one_others(objective):
    text = np.random.default_rng(0).integers(0, 300, 20_000)
    one, same, other = (build(300, 16, objective=objective, subsample=1e-3, seed=seed) for seed in (1, 1, 2))
    for model in (one, same, other):
        model.fit(text, verbose=0)
    np.testing.assert_array_equal(one.vectors, same.vectors)
    assert (one.vectors != other.vectors).any(axis=1).all()
    twice = one.vectors
    one.fit(text, verbose=0)
    assert (one.vectors != twice).any()


def test_without_a_seed_every_model_is_another():
    one, other = word_vectors(3, 4), word_vectors(3, 4)
    assert (one.get_weights()[0] != other.get_weights()[0]).all()


def test_it_is_a_layer_of_vectors_for_numbers():
    model = build()
    model.fit(TEXT * 9, verbose=0)
    numbers = np.array([[0, 3], [7, 1]])
    np.testing.assert_array_equal(model.predict(numbers, verbose=0), model.vectors[numbers])
    assert model.count_params() == 2 * 8 * 4
    assert build(loss="nce", objective="recurrent").count_params() == 2 * 8 * 4 + 8 + 4 * 4


def test_the_embedding_layer_holds_a_copy_for_other_models(tmp_path):
    model = build()
    model.fit(TEXT * 9, verbose=0)
    before = model.vectors
    for trainable in (True, False):
        inputs = keras.Input((3,), dtype="int32")
        layer = model.embedding_layer(trainable=trainable)
        other = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(layer(inputs))))
        np.testing.assert_array_equal(layer.get_weights()[0], before)
        other.compile("sgd", "mse")
        other.fit(np.array([[0, 1, 2]] * 8), np.ones(8), verbose=0)
        assert (layer.get_weights()[0] != before).any() == trainable
        other.save(tmp_path / "other.keras")
        np.testing.assert_array_equal(
            keras.models.load_model(tmp_path / "other.keras").layers[1].get_weights()[0], layer.get_weights()[0]
        )
    np.testing.assert_array_equal(model.vectors, before)
    inputs = keras.Input((3,), dtype="int32")
    keras.Model(inputs, [model.embedding_layer()(inputs), model.embedding_layer()(inputs)])  # Their names differ.
    with pytest.raises(TypeError, match="`trainable` must be True or False"):
        model.embedding_layer(trainable="no")


# === Questions ===


@pytest.fixture(scope="module")
def family():
    words = ["king", "man", "woman", "queen", "apple", "zero"]
    return with_vectors([[2, 2, 0], [1, 0, 0], [0, 0, 3], [0.1, 2, 2], [-1, 0, 0.1], [0, 0, 0]], words)


def cosine(a, b):
    return np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)


def test_similarity_is_the_cosine(family):
    assert family.similarity("king", "man") == pytest.approx(np.sqrt(0.5))
    assert family.similarity("man", "apple") == pytest.approx(cosine([1, 0, 0], [-1, 0, 0.1]))
    assert family.similarity("man", 1) == pytest.approx(1)
    assert family.similarity("zero", "man") == 0


def test_neighbours_are_ordered_by_the_cosine(family):
    found = family.most_similar("king", n=2)
    assert [word for word, _ in found] == ["man", "queen"]
    assert found[1][1] == pytest.approx(cosine([2, 2, 0], [0.1, 2, 2]))
    assert len(family.most_similar("king", n=100)) == 5
    assert "king" not in dict(family.most_similar("king", n=100))


def test_analogies_add_unit_vectors_and_leave_the_question_out(family):
    (word, score), *_ = family.analogy("king", "man", "woman")
    target = np.array([2, 2, 0]) / np.sqrt(8) - [1, 0, 0] + [0, 0, 1]
    assert word == "queen"
    assert score == pytest.approx(cosine(target, [0.1, 2, 2]))
    assert not {"king", "man", "woman"} & {word for word, _ in family.analogy("king", "man", "woman")}


def test_the_odd_one_out(family):
    assert family.doesnt_match(["king", "queen", "apple"]) == "apple"
    assert family.doesnt_match("king queen apple") == "apple"
    with pytest.raises(ValueError, match="at least three words"):
        family.doesnt_match(["king", "queen"])


def test_an_unknown_word_is_named_with_the_nearest_spelling(family):
    with pytest.raises(KeyError) as caught:
        family["quene"]
    assert str(caught.value) == "The word 'quene' is not in the vocabulary of 6 words. Did you mean 'queen'?"
    assert "queen" in family
    assert "quene" not in family
    with pytest.raises(UnknownWord, match="number 6 is not in the vocabulary, which has 0 to 5"):
        family.similarity("king", 6)
    with pytest.raises(TypeError, match="must be a string, or its number"):
        family[1.5]


def test_the_rank_correlation_is_that_of_scipy(family, tmp_path):
    pairs = [
        ("King", "man", 7.0),
        ("king", "queen", 9.0),
        ("man", "apple", 1.0),
        ("woman", "queen", 5.0),
        ("ant", "king", 3),
    ]
    cosines = [family.similarity(a.lower(), b) for a, b, _ in pairs[:4]]
    rho = stats.spearmanr(cosines, [7, 9, 1, 5]).statistic
    score = family.evaluate_similarity(pairs)
    assert score.correlation == pytest.approx(rho)
    assert score.error == pytest.approx(np.sqrt((1 - rho**2) / 2))
    assert (score.num_pairs, score.out_of_vocabulary) == (4, pytest.approx(0.2))
    for separator in "\t,":
        file = tmp_path / "pairs.txt"
        file.write_text("# a comment\n" + "\n".join(separator.join(map(str, pair)) for pair in pairs) + "\n\n")
        assert family.evaluate_similarity(file) == score
    file.write_text("# a comment\nking\tman\t3\nking man\n")
    with pytest.raises(ValueError, match=r"line 3 must be two words and a number.*got 'king man'"):
        family.evaluate_similarity(file)
    with pytest.raises(ValueError, match="at least three pairs of known words, got 1"):
        family.evaluate_similarity(pairs[:1])
    with pytest.raises(ValueError, match=r"pairs\[1\] = \('king', 'man'\)"):
        family.evaluate_similarity([pairs[0], ("king", "man")])
    with pytest.raises(ValueError, match=r"`pairs\[0\]\[2\]` must be a finite number, got nan"):
        family.evaluate_similarity([("king", "man", np.nan)])
    file.write_text("king\tman\tnan\n")
    with pytest.raises(ValueError, match="line 1 must be two words and a number"):
        family.evaluate_similarity(file)


def test_analogies_are_scored_by_section(family, tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text(": family\nman king woman queen\nMan King Woman Apple\n: fruit\nman king pear queen\n\n")
    scores = family.evaluate_analogies(file)
    assert tuple(scores["family"]) == (1, 2, 0)
    assert tuple(scores["fruit"]) == (0, 0, 1)
    assert tuple(scores["total"]) == (1, 2, 1)
    assert scores["family"].accuracy == 0.5
    assert np.isnan(scores["fruit"].accuracy)
    file.write_text(": a\nman king woman queen\n: b\n: a\nman king woman apple\n")
    assert tuple(family.evaluate_analogies(file)["a"]) == (1, 2, 0)
    file.write_text(": family\nman king woman\n")
    with pytest.raises(ValueError, match="line 2 must be four words"):
        family.evaluate_analogies(file)
    file.write_text("\n")
    with pytest.raises(ValueError, match="holds no analogies"):
        family.evaluate_analogies(file)


# === Files ===


@pytest.mark.parametrize("format", ["word2vec", "word2vec_binary", "glove"])
def test_files_come_back_as_they_were(format, tmp_path):
    words = ["été", "b", "10", "x-y"]
    model = with_vectors(np.random.default_rng(0).normal(size=(4, 3)).astype("float32") * [1, 1e-9, 1e9], words)
    model.to_file(tmp_path / "vectors", format)
    other = WordVectors.from_file(tmp_path / "vectors", format, window=2, subsample=0, seed=0)
    assert other.vocabulary.words == words
    assert other.window == 2
    np.testing.assert_array_equal(other.vectors, model.vectors)


def test_what_is_read_can_be_trained_further_and_counts_the_words_itself(tmp_path):
    model = build()
    model.fit(TEXT * 9, verbose=0)
    model.to_file(tmp_path / "vectors")
    other = uncompiled(WordVectors.from_file(tmp_path / "vectors", subsample=0, seed=0))
    start = other.vectors
    other.fit(TEXT * 9, verbose=0)
    assert (other.vectors != start).any(axis=1).all()
    assert other.vocabulary.counts.tolist() == model.vocabulary.counts.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_and_writes_the_same_files(binary, tmp_path):
    keyedvectors = pytest.importorskip("gensim.models.keyedvectors")
    format = "word2vec_binary" if binary else "word2vec"
    model = with_vectors(np.random.default_rng(0).normal(size=(3, 5)), ["été", "b", "c"])
    model.to_file(tmp_path / "ours", format)
    theirs = keyedvectors.KeyedVectors.load_word2vec_format(tmp_path / "ours", binary=binary)
    assert theirs.index_to_key == model.vocabulary.words
    np.testing.assert_array_equal(theirs.vectors, model.vectors)
    theirs.save_word2vec_format(tmp_path / "theirs", binary=binary)
    np.testing.assert_array_equal(WordVectors.from_file(tmp_path / "theirs", format).vectors, model.vectors)
    (word, score), *_ = theirs.most_similar("b")
    assert model.most_similar("b", n=1)[0] == (word, pytest.approx(score, abs=1e-6))


TEXT_FILES = {
    "glove as word2vec": ("word2vec", b"a 1 2\nb 3 4\n", "line 1 must be the numbers of words and dimensions"),
    "word2vec as glove": ("glove", b"2 2\na 1 2\nb 3 4\n", "line 1 holds two integers: .* format 'word2vec'"),
    "a number too few": ("word2vec", b"2 2\na 1 2\nb 3\n", "line 3 must be a word and its vector of 2, got 1 numbers"),
    "no number": ("word2vec", b"2 2\na 1 x\nb 3 4\n", "line 2 must be a word and its vector of 2: .*'x'"),
    "not finite": ("glove", b"a 1 2\nb nan 4\n", "line 2: the vector of 'b' holds a number that is not finite"),
    "a word twice": ("glove", b"a 1 2\nb 3 4\na 1 2\n", "line 3: the word 'a' stands in line 1 too"),
    "too few words": ("word2vec", b"3 2\na 1 2\nb 3 4\n", "line 1 says that there are 3 words, and there are 2"),
    "no words": ("glove", b"", "holds no words"),
    "nothing": ("word2vec", b"", "line 1 must be"),
    "negative": ("word2vec", b"-1 2\n", "line 1 must be two positive numbers"),
    "binary as text": ("word2vec", b"1 1\na \xff\xff\xff\xff\n", "line 2 is not text"),
    "cut off": ("word2vec_binary", b"2 1\na \0\0\0\0\nb \0\0", "word 2 of 2, 'b': the file ends in its vector"),
    "too short": ("word2vec_binary", b"9 9\na \0\0\0\0", "too short for the 9 words"),
    "text as binary": ("word2vec_binary", b"2 1\na 1.250\nb 4.500\n", "goes on after its 2 words"),
    "no word": ("word2vec_binary", b"2 1\na \0\0\0\0\n \0\0\0\0\n", "word 2 is missing"),
    "not finite, binary": ("word2vec_binary", b"1 1\na \0\0\xc0\x7f\n", "word 1, 'a': a number of it is not finite"),
    "twice, binary": ("word2vec_binary", b"2 1\na \0\0\0\0\na \0\0\0\0\n", "word 2: 'a' is word 1 too"),
    "not utf-8": ("word2vec_binary", b"1 1\n\xff \0\0\0\0\n", "word 1 is not text"),
}


@pytest.mark.parametrize("case", TEXT_FILES)
def test_a_file_that_is_wrong_is_refused_by_its_line(case, tmp_path):
    format, content, message = TEXT_FILES[case]
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordVectors.from_file(tmp_path / "vectors", format)


def test_words_with_white_space_and_unknown_formats_are_not_written(tmp_path):
    model = with_vectors([[1.0], [2.0]], ["New York", "b"])
    with pytest.raises(ValueError, match="'New York' holds white space"):
        model.to_file(tmp_path / "vectors")
    with pytest.raises(ValueError, match=r"`format` must be one of 'word2vec'.*Did you mean 'word2vec'"):
        model.to_file(tmp_path / "vectors", "word2vecs")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_completed_leaves_the_one_before(tmp_path, monkeypatch):
    model = with_vectors([[1.0], [2.0]], ["a", "b"])
    model.to_file(tmp_path / "vectors")
    before = (tmp_path / "vectors").read_bytes()

    monkeypatch.setattr(WordVectors, "_written_words", lambda self: ["a"])  # Fails at the second vector.
    with pytest.raises(ValueError, match="zip"):
        model.to_file(tmp_path / "vectors")
    assert (tmp_path / "vectors").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "vectors"]


def test_the_projector_finds_vectors_and_names(tmp_path):
    model = with_vectors([[1.5, 2.0], [3.0, -4.25]], ["a", "été"])
    model.to_projector(tmp_path / "projector")
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "projector" / "vectors.tsv"), model.vectors)
    assert (tmp_path / "projector" / "metadata.tsv").read_text(encoding="utf-8") == "a\nété\n"
    from google.protobuf import text_format
    from tensorboard.plugins.projector import ProjectorConfig

    config = text_format.Parse((tmp_path / "projector" / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert config.embeddings[0].tensor_path == "vectors.tsv"
    assert config.embeddings[0].metadata_path == "metadata.tsv"


# === Bad input ===

ARGUMENTS = {
    "vocabulary_size": ([0, -1, 2.5], "must be a positive integer"),
    "embedding_dim": ([0, -2], "must be a positive integer"),
    "objective": (["skipgram"], "must be one of 'skip_gram', 'cbow', 'recurrent'.*Did you mean 'skip_gram'"),
    "loss": (["softmax"], "must be one of 'negative_sampling', 'nce'"),
    "window": ([0], "must be a positive integer"),
    "num_negatives": ([0], "must be a positive integer"),
    "subsample": ([-1e-3, 1.0, np.nan], "must be a number of at least 0 and below 1"),
    "noise_exponent": ([np.inf], "must be a finite number"),
    "learning_rate": ([0.0, -1, np.nan, 1e38], "must be a positive number"),
    "final_learning_rate": ([-1.0, 1e38], "must be a number that is not negative"),
    "seed": ([-1], "must be None or an integer"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments_are_refused(name):
    values, message = ARGUMENTS[name]
    for value in values:
        with pytest.raises(ValueError, match=f"`{name}` {message}"):
            word_vectors(**{"vocabulary_size": 5, "embedding_dim": 2, name: value})


TEXTS = {
    "empty": ([], "`x` is empty"),
    "no words": (["", " "], "holds no words"),
    "no file": ("the cat", r"there is no file 'the cat': pass a text itself as a list of sentences"),
    "short": (["one two three"], "must be longer than the window of 5 words, got 3"),
    "flat": (list("abcdefgh"), r"a list of words is one sentence, pass \[words\]"),
    "mixed": ([["a", 3]], "each a string or a list of words: sentence 0 is"),
    "number": (5, "must be a list of sentences"),
    "none": (None, "must be a list of sentences"),
    "scalar": (np.array(3), "must be a list of sentences"),
    "a whole text": ("the cat eats " * 99, "there is no file.*pass a text itself as a list of sentences"),
    "out of range": (np.array([0, 9] * 9), "must be from 0 to 7, got 9"),
    "negative": (np.array([0, -1] * 9), "must be from 0 to 7, got -1"),
    "too large": (np.array([0, 2**32] * 9), "must be from 0 to 7, got 4294967296"),
    "real": (np.array([0.5, np.nan]), "must hold integers"),
    "cube": (np.zeros((2, 2, 2), int), "must hold integers"),
    "real in a list": ([np.array([0, 1]), np.array([0.5])], "item 1 has the shape"),
    "masked": (np.ma.masked_array(np.arange(8) % 4, np.arange(8) == 3), "must not have masked values: .*compressed"),
    "too few in a matrix": (np.arange(4).reshape(2, 2).view(np.matrix), "longer than the window of 5 words, got 4"),
    "no numbers": (np.zeros(0, int), "got 0 of the vocabulary"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_bad_texts_are_refused_and_leave_nothing(case):
    x, message = TEXTS[case]
    model = build()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        _ = model.vocabulary
    for start, end in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(start, end)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "text").write_bytes(b"abc \xff\xfe def")
    with pytest.raises(ValueError, match="must be UTF-8"):
        build().fit(tmp_path / "text", verbose=0)


def test_a_file_that_is_no_gzip_file_is_refused(tmp_path):
    whole = gzip.compress(b"the cat eats fish\n" * 99)
    for content in (b"the cat eats fish\n" * 9, whole[:-9]):
        (tmp_path / "text.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"text\.gz' must be a whole gzip file"):
            build().fit(tmp_path / "text.gz", verbose=0)


def test_a_file_of_single_words_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "text").write_text("\n".join("abcdefgh"))
    model = build()
    with pytest.raises(ValueError, match="`x` has a single word of the vocabulary in every sentence"):
        model.fit(tmp_path / "text", verbose=0)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        _ = model.vocabulary


def test_a_file_that_is_shorter_than_the_window_is_refused(tmp_path):
    (tmp_path / "text").write_text("one two\nthree\n")
    with pytest.raises(ValueError, match="must be longer than the window of 5 words, got 3"):
        build().fit(tmp_path / "text", verbose=0)


def test_a_text_that_subsampling_empties_is_refused():
    with pytest.raises(ValueError, match="build with subsample=0"):
        build(subsample=1e-9).fit(TEXT, verbose=0)
    model = build()
    model.fit(TEXT * 9, verbose=0)
    model.subsample = 1e-9
    with pytest.raises(ValueError, match="No pair of words was left in `x`"):
        model.evaluate(TEXT, verbose=0)


def test_validation_on_what_is_read_once_is_refused_by_its_name():
    with pytest.raises(ValueError, match="`validation_data` is an iterator that can be read once"):
        build().fit(TEXT, validation_data=iter(TEXT), verbose=0)


def test_a_wrong_validation_is_named_and_leaves_no_vocabulary():
    model = build()
    with pytest.raises(ValueError, match="`validation_data` must be longer than the window of 5 words, got 0"):
        model.fit(TEXT, validation_data=["no such words"], verbose=0)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        _ = model.vocabulary


def test_vocabularies_are_checked():
    model = build(words=2)
    for words, counts, message in (
        ("the cat", None, "must be a list of words"),
        (["a", 3], None, r"words\[1\] = 3"),
        ([], None, "at least one word"),
        (["a", "b", "c"], None, "build with vocabulary_size=3"),
        (["a", "a"], None, "'a' twice"),
        (["a", "b"], [1], "must be 2 integers"),
        (["a", "b"], [0.5, 1], "must be 2 integers"),
        (["a", "b"], [0, 0], "at least one must be above zero"),
        (["a", "b"], [-1, 1], "must not be negative"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            model.set_vocabulary(words, counts)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        model.most_similar("a")
    with pytest.raises(ValueError, match="not counted yet"):
        model.evaluate(TEXT, verbose=0)


def test_it_compiles_with_plain_gradient_descent_alone():
    model = build()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.9)
    for optimizer, message in (
        ("adam", "got Adam: pass keras.optimizers.SGD"),
        (keras.optimizers.SGD(momentum=0.9), "an SGD with momentum"),
        (keras.optimizers.SGD(clipnorm=1.0), "an SGD with clipnorm"),
        (keras.optimizers.SGD(gradient_accumulation_steps=4), "an SGD with gradient_accumulation_steps"),
        (keras.optimizers.SGD(loss_scale_factor=4.0), "an SGD with loss_scale_factor"),
        (keras.optimizers.SGD(schedule), "give SGD a number, not a schedule"),
    ):
        with pytest.raises(ValueError, match=message):
            model.compile(optimizer)
    with pytest.raises(ValueError, match="compile without loss, metrics"):
        model.compile("sgd", loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match="GradientClipping works through the gradients"):
        model.fit(TEXT * 9, verbose=0, callbacks=[GradientClipping(norm=1.0)])


def test_fit_checks_its_numbers():
    model = build()
    for settings in ({"epochs": 0}, {"initial_epoch": -1}, {"words_per_epoch": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
            model.fit(TEXT, verbose=0, **settings)


def test_several_devices_are_refused():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope(), pytest.raises(ValueError, match="train on one device"):
        word_vectors(3, 2)
