"""Encoder-decoders: loss, steps and searches against exact answers, then the promises of the house."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python, saved_arrays

from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.models import _answering
from kphys.models._decoding import best_answers
from kphys.models.sequences import Seq2Seq, seq2seq

INPUTS, OUTPUTS = 6, 5  # The sizes of the two vocabularies, 0 included.


def padded(samples, timesteps, size, seed=0):
    """Random sequences of 1 to `timesteps` tokens."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(1, size, size=(samples, timesteps))
    return np.where(np.arange(timesteps) < generator.integers(1, timesteps + 1, size=(samples, 1)), tokens, 0)


X, Y = padded(24, 5, INPUTS), padded(24, 4, OUTPUTS, seed=1)


def small(**settings):
    """A small model without XLA, whose compilation takes seconds, of weights large enough to have opinions."""
    model = seq2seq(INPUTS, OUTPUTS, **{"units": 7, "embedding_dim": 3, "max_length": 4, "seed": 0, **settings})
    model.jit_compile = False
    generator = np.random.default_rng(2)
    weights = model.get_weights()
    model.set_weights([weight + 1.5 * (weight.ndim > 1) * generator.normal(size=weight.shape) for weight in weights])
    return model


@functools.cache
def _untrained(options):
    return small(**dict(options))


def untrained(**settings):
    """The model of `small`, made once for all tests that only ask it."""
    return _untrained(tuple(settings.items()))


def log_softmax(logits):
    logits = np.asarray(logits, float)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def next_log_probabilities(model, question, length):
    """The ln p of every next token after every beginning of up to `length` tokens, from the model's logits alone."""
    answers = list(itertools.product(range(1, OUTPUTS), repeat=length))
    logs = log_softmax(model.logits(np.repeat(question[None], len(answers), axis=0), np.array(answers)))
    return {answer[:n]: logs[row, n] for row, answer in enumerate(answers) for n in range(length + 1)}


def log_probability(table, answer):
    """The ln p of an answer and of its end."""
    return sum(table[answer[:step]][token] for step, token in enumerate([*answer, 0]))


def without_padding(tokens):
    return tokens[tokens != 0]


# === The networks, by hand ===


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_step(x, states, kernel, recurrent, bias):
    h, c = states
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def gru_step(x, states, kernel, recurrent, bias):
    (h,) = states
    xz, xr, xg = np.split(x @ kernel + bias[0], 3, axis=-1)
    hz, hr, hg = np.split(h @ recurrent + bias[1], 3, axis=-1)
    z = sigmoid(xz + hz)
    h = z * h + (1 - z) * np.tanh(xg + sigmoid(xr + hr) * hg)
    return h, (h,)


def simple_step(x, states, kernel, recurrent, bias):
    h = np.tanh(x @ kernel + states[0] @ recurrent + bias)
    return h, (h,)


STEPS = {"lstm": (lstm_step, 2), "gru": (gru_step, 1), "simple": (simple_step, 1)}


def by_hand(model, cell, question, answer, attention=False):
    """The logits for one question and one answer, in NumPy, step by step."""
    step, num_states = STEPS[cell]
    arrays = [[w.numpy().astype(float) for w in network.weights] for network in (model.encoder, model.decoder)]
    embedding, *cells = arrays[0]
    states, seen = (np.zeros(7),) * num_states, []
    for token in question:
        h, states = step(embedding[token], states, *cells[:3])
        seen.append(h)
    names = [weight.path for weight in model.decoder.weights]
    assert "logits" in names[-1]
    embedding, *cells = arrays[1]
    kernel, bias = arrays[1][-2:]
    logits = []
    for token in [0, *answer]:
        h, states = step(embedding[token], states, *cells[:3])
        if attention:
            memory = np.array(seen) @ arrays[0][-1]
            weights = np.exp(memory @ h)
            h = np.tanh(np.concatenate([h, weights @ memory / weights.sum()]) @ arrays[1][-3])
        logits.append(h @ kernel + bias)
    return np.array(logits)


@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_the_logits_are_those_of_the_equations(cell, attention):
    model = untrained(cell=cell, attention=attention)
    logits = model.logits(X, Y).numpy()
    assert logits.shape == (24, 5, OUTPUTS)
    for row in range(5):
        question, answer = without_padding(X[row]), without_padding(Y[row])
        expected = by_hand(model, cell, question, answer, attention)
        np.testing.assert_allclose(logits[row, : len(answer) + 1], expected, rtol=1e-4, atol=1e-5)


def test_both_directions_reach_the_decoder():
    model = untrained(bidirectional=True)
    # Forwards the last token, backwards the first is the latest: either alone must change the answer.
    start = model.logits(np.array([[1, 2, 3, 4]]), [[1]]).numpy()
    for other in ([5, 2, 3, 4], [1, 2, 3, 5]):
        assert abs(model.logits(np.array([other]), [[1]]).numpy() - start).max() > 1e-3
    forward, backward = (
        getattr(model.encoder.get_layer("bidirectional_lstm_1"), f"{way}_layer") for way in ("forward", "backward")
    )
    assert (forward.cell.kernel.numpy() != backward.cell.kernel.numpy()).all()


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        # Embeddings; an LSTM has 4 units (inputs + units + 1), a GRU 3 units (inputs + units + 2).
        ({}, 3 * 11 + 2 * 4 * 7 * 11 + 8 * 5),
        ({"cell": "gru"}, 3 * 11 + 2 * 3 * 7 * 12 + 8 * 5),
        ({"units": (7, 4)}, 3 * 11 + 2 * (4 * 7 * 11 + 4 * 4 * 12) + 5 * 5),
        # Two states, each made of two.
        ({"bidirectional": True}, 3 * 11 + 3 * 4 * 7 * 11 + 2 * 15 * 7 + 8 * 5),
        ({"attention": True}, 3 * 11 + 2 * 4 * 7 * 11 + 7 * 7 + 14 * 7 + 8 * 5),
    ],
)
def test_the_number_of_weights(options, weights):
    model = seq2seq(INPUTS, OUTPUTS, **{"units": 7, "embedding_dim": 3, **options})
    assert model.count_params() == weights


OPTIONS = [
    {},
    {"cell": "gru", "units": (7, 6)},
    {"bidirectional": True, "attention": True, "units": (6, 5)},
    {"cell": "simple", "attention": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padding_changes_no_probability(options):
    model = untrained(**options)
    x, y = (np.pad(tokens, ((0, 0), (0, 3))) for tokens in (X, Y))
    expected = np.exp(log_softmax(model.logits(X, Y)))
    np.testing.assert_allclose(np.exp(log_softmax(model.logits(x, y)))[:, :5], expected, atol=1e-6)
    for row in range(4):
        alone = model.logits(without_padding(X[row])[None], Y[row][None])
        np.testing.assert_allclose(np.exp(log_softmax(alone))[0], expected[row], atol=1e-6)


def test_padding_changes_no_answer_and_no_log():
    model = untrained(bidirectional=True, attention=True)
    x, y = (np.pad(tokens, ((0, 0), (0, 3))) for tokens in (X, Y))
    (answers, scores), (same, same_scores) = (model.generate(a, beam_width=3, return_scores=True) for a in (x, X))
    np.testing.assert_array_equal(answers, same)
    np.testing.assert_allclose(scores, same_scores, rtol=1e-5)
    losses = [model.evaluate(*arrays, verbose=0) for arrays in ((x, y), (X, Y))]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_attention_gives_padding_no_weight():
    model = small(attention=True, bidirectional=True)
    layer, seen = model.decoder.get_layer("attention"), []
    layer.call = lambda inputs, mask, **settings: (
        seen.append(type(layer).call(layer, inputs, mask, return_attention_scores=True)[1])
        or type(layer).call(layer, inputs, mask)
    )
    model.logits(X, Y)
    scores = seen[0].numpy()  # (batch, steps, timesteps)
    assert (scores[np.broadcast_to((X == 0)[:, None], scores.shape)] == 0).all()
    assert (scores[np.broadcast_to((X != 0)[:, None], scores.shape)] > 0).all()


# === Loss and metrics ===


def expected_logs(model, x, y, weights):
    """Loss, accuracy and accuracy of sequences by their definitions, a Python loop over tokens."""
    logs = log_softmax(model.logits(x, y))
    losses, counts, right, right_sequences = [], [], [], []
    for row, answer in enumerate(y):
        targets = [*without_padding(answer), 0]
        of_steps = [*weights[row][: len(targets) - 1], weights[row][len(targets) - 2]]
        hits = [logs[row, step].argmax() == token for step, token in enumerate(targets)]
        losses += [-w * logs[row, step, token] for step, (token, w) in enumerate(zip(targets, of_steps, strict=True))]
        counts += of_steps
        right += [w * hit for w, hit in zip(of_steps, hits, strict=True)]
        each = np.mean(of_steps)
        right_sequences.append((each, all(hit or w == 0 for hit, w in zip(hits, of_steps, strict=True))))
    sums = np.array([(w, w * hit) for w, hit in right_sequences]).sum(axis=0)
    return {
        "loss": np.sum(losses) / len(losses),
        "accuracy": np.sum(right) / np.sum(counts),
        "sequence_accuracy": sums[1] / sums[0],
    }


def weighted(kind, y):
    generator = np.random.default_rng(3)
    if kind == "none":
        return None, np.ones(y.shape)
    if kind == "samples":
        weights = generator.uniform(0.5, 2, size=len(y))
        return weights, np.repeat(weights[:, None], y.shape[1], axis=1)
    weights = generator.choice([0.0, 1.0, 3.0], size=y.shape)
    return weights, weights


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", ["none", "samples", "tokens"])
@pytest.mark.parametrize("batch_size", [24, 7])
def test_evaluate_gives_the_mean_over_the_tokens(kind, batch_size):
    model = untrained(cell="simple", attention=True)
    # Some answers right, or there were nothing to count.
    y = np.where(np.arange(24)[:, None] < 12, model.generate(X, 9), np.pad(Y, ((0, 0), (0, 5))))
    y[y[:, 0] == 0, 0] = 1
    given, each = weighted(kind, y)
    logs = model.evaluate(X, y, sample_weight=given, batch_size=batch_size, return_dict=True, verbose=0)
    expected = expected_logs(model, X, y, each)
    assert 0 < expected["sequence_accuracy"] < 1
    assert logs == pytest.approx(expected, rel=1e-5)


def test_training_logs_and_descends_along_the_gradient_of_the_loss():
    model = small(optimizer="sgd", learning_rate=0.1, l2=0.01)
    weights, each = weighted("tokens", Y)
    start = [variable.numpy() for variable in model.trainable_variables]
    paths = [variable.path for variable in model.trainable_variables]
    squares = [(w**2).sum() for w, path in zip(start, paths, strict=True) if "kernel" in path and "lstm" in path]
    targets, counts = np.pad(Y, ((0, 0), (0, 1))), np.pad(Y != 0, ((0, 0), (1, 0)), constant_values=True)
    shifted = np.concatenate([each[:, :1], each], axis=1)
    of_steps = counts * np.where(targets != 0, np.pad(each, ((0, 0), (0, 1))), shifted)
    with tf.GradientTape() as tape:
        logs = tf.nn.log_softmax(model.logits(X, Y))
        losses = -tf.reduce_sum(of_steps.astype("float32") * tf.gather(logs, targets, batch_dims=2))
        loss = losses / counts.sum() + sum(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    expected = expected_logs(model, X, Y, each)
    history = model.fit(X, Y, sample_weight=weights, batch_size=24, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected["loss"] + 0.01 * sum(squares), rel=1e-5)
    assert history["accuracy"][0] == pytest.approx(expected["accuracy"], rel=1e-5)
    for before, variable, gradient in zip(start, model.trainable_variables, gradients, strict=True):
        np.testing.assert_allclose(variable, before - 0.1 * tf.convert_to_tensor(gradient), rtol=1e-3, atol=1e-5)


def test_right_answers_are_those_of_the_greedy_search():
    model, x = untrained(cell="simple", attention=True), padded(100, 5, INPUTS, seed=4)
    answers = model.generate(x, 9)
    # Those that end by themselves and are not empty.
    kept = (answers[:, 0] != 0) & (answers[:, -1] == 0)
    assert kept.sum() >= 5
    assert model.evaluate(x[kept], answers[kept], verbose=0, return_dict=True)["sequence_accuracy"] == 1
    wrong = answers[kept]
    wrong[:, 0] = wrong[:, 0] % (OUTPUTS - 1) + 1
    assert model.evaluate(x[kept], wrong, verbose=0, return_dict=True)["sequence_accuracy"] == 0


# === The searches ===


@pytest.mark.cases(1)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_greedy_answer_takes_the_most_probable_token_at_every_step(options):
    model = untrained(**options)
    answers, scores = model.generate(X, return_scores=True)
    assert answers.shape == (24, 4)
    for row, question in enumerate(X):
        table, answer = next_log_probabilities(model, question, 4), ()
        while len(answer) < 4 and table[answer].argmax() != 0:
            answer += (int(table[answer].argmax()),)
        np.testing.assert_array_equal(without_padding(answers[row]), answer)
        assert scores[row] == pytest.approx(log_probability(table, answer), rel=1e-4, abs=1e-5)
    assert len({tuple(answer) for answer in answers.tolist()}) > 3


def all_answers(length):
    return [answer for n in range(length + 1) for answer in itertools.product(range(1, OUTPUTS), repeat=n)]


@pytest.mark.cases(1)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("options", [OPTIONS[-1], {"bidirectional": True, "cell": "gru"}], ids=str)
def test_a_wide_beam_finds_the_best_of_all_answers(options, length_penalty):
    model, x, answers = untrained(**options), X[:6], all_answers(3)
    penalty = [((6 + len(answer)) / 6) ** length_penalty for answer in answers]
    found, scores = model.generate(x, 3, beam_width=5**3, length_penalty=length_penalty, return_scores=True)
    lengths = set()
    for row, question in enumerate(x):
        table = next_log_probabilities(model, question, 3)
        logs = [log_probability(table, answer) for answer in answers]
        if length_penalty == 0:
            assert np.exp(logs).sum() < 1
        best = int(np.argmax(np.array(logs) / penalty))
        np.testing.assert_array_equal(without_padding(found[row]), answers[best])
        assert scores[row] == pytest.approx(logs[best], rel=1e-4)
        lengths.add(len(answers[best]))
    assert len(lengths) > 1 or length_penalty > 0 or "simple" not in options.values()


@pytest.mark.cases(1)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_narrow_beam_is_the_beam_search_of_the_books(length_penalty):
    model, width = untrained(), 2
    found, scores = model.generate(X, beam_width=width, length_penalty=length_penalty, return_scores=True)

    def score(log, steps):
        return log / ((5 + steps) / 6) ** length_penalty

    greedy, better = model.generate(X), 0
    for row, question in enumerate(X):
        table, beam, ended_ones = next_log_probabilities(model, question, 4), [((), 0.0, False)], []
        for step in range(5):
            grown = [kept for kept in beam if kept[2]]
            for answer, log, ended in beam:
                tokens = () if ended else range(OUTPUTS) if step < 4 else (0,)
                grown += [((*answer, t) if t else answer, log + table[answer][t], t == 0) for t in tokens]
            beam = sorted(grown, key=lambda one: -score(one[1], len(one[0]) + one[2]))[:width]
            ended_ones += [one for one in beam if one[2]]  # Which others may push out later.
        greedy_answer = tuple(without_padding(greedy[row]))
        beam = ended_ones
        beam.append((greedy_answer, log_probability(table, greedy_answer), True))
        best = max(beam, key=lambda one: score(one[1], len(one[0]) + 1))
        better += greedy_answer != best[0]
        np.testing.assert_array_equal(without_padding(found[row]), best[0])
        assert scores[row] == pytest.approx(best[1], rel=1e-4)
    assert better > 0


def test_weights_of_another_model_leave_the_given_length(tmp_path):
    learnt, given = (seq2seq(INPUTS, OUTPUTS, units=4, max_length=length) for length in (3, 7))
    learnt.save_weights(tmp_path / "a.weights.h5")
    given.load_weights(tmp_path / "a.weights.h5")
    assert given.max_length == 7


def test_an_answer_that_others_push_out_of_the_beam_is_not_forgotten():
    """End has 0.28 at first, 1 has 0.72; after 1 come 1 and 2 with a half each, after these all three with a third."""
    tables = np.log([[0.28, 0.72, 1e-9], [1e-9, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]).astype("float32")

    def next_logits(last, states, constants):
        (step,) = states
        return tf.gather(tables, tf.minimum(step, 2)), [step + 1]

    answers = best_answers(next_logits, [tf.zeros((1, 1), tf.int32)], [], 2, 4, 0.0)
    assert answers.tokens.numpy().tolist() == [[0, 0, 0, 0]]
    assert float(answers.log_probs[0]) == pytest.approx(np.log(0.28), rel=1e-4)


@pytest.mark.cases(1)
@pytest.mark.parametrize("beam_width", [2, 3, 10])
def test_no_beam_is_worse_than_the_greedy_search(beam_width):
    model = untrained(attention=True)
    x = padded(300, 6, INPUTS, seed=5)
    greedy, beam = (model.generate(x, 6, beam_width=width, return_scores=True)[1] for width in (1, beam_width))
    assert (beam >= greedy - 1e-5).all()
    assert (beam > greedy + 1e-3).any()


def test_answers_end_at_the_given_length_and_hold_nothing_after_the_end():
    model = untrained()
    for beam_width, max_length in itertools.product((1, 3), (1, 2, 9)):
        answers = model.generate(X, max_length, beam_width=beam_width)
        assert answers.shape == (24, max_length)
        assert answers.dtype == np.int32
        assert not ((answers[:, :-1] == 0) & (answers[:, 1:] != 0)).any()
        assert 0 <= answers.min() <= answers.max() < OUTPUTS
    np.testing.assert_array_equal(model.generate(X, 9)[:, :2], model.generate(X, 2))


def test_predict_gives_the_greedy_answers():
    model = untrained(attention=True)
    answers = model.generate(X)
    np.testing.assert_array_equal(model.predict(X, batch_size=10, verbose=0), answers)
    np.testing.assert_array_equal(model.predict(tf.data.Dataset.from_tensor_slices(X).batch(7), verbose=0), answers)
    np.testing.assert_array_equal(model(X), answers)


@pytest.mark.slow
def test_answers_are_as_long_as_the_widest_target_seen():
    model = seq2seq(INPUTS, OUTPUTS, cell="simple", units=3)
    model.jit_compile = False
    assert model.max_length is None
    for ask in (model.generate, model.predict):
        with pytest.raises(ValueError, match="`max_length` must be given"):
            ask(X)
    for width, seen in ((3, 3), (4, 4), (2, 4)):
        y = np.maximum(Y[:, :width], [1] + (width - 1) * [0])
        model.fit(X, y, verbose=0)
        assert model.max_length == seen
        assert model.predict(X, verbose=0).shape == model.generate(X).shape == (24, seen)
    given = small(max_length=2)
    given.fit(X, Y, verbose=0)
    assert given.generate(X).shape == (24, 2)


@pytest.mark.parametrize("elements", [1, 200])
def test_memory_bounds_do_not_change_the_answers(elements, monkeypatch):
    model = untrained(attention=True)
    expected = [model.generate(X, beam_width=width, return_scores=True) for width in (1, 3)]
    monkeypatch.setattr(_answering, "_ELEMENTS_AT_ONCE", elements)
    for width, (answers, scores) in zip((1, 3), expected, strict=True):
        found = model.generate(X, beam_width=width, return_scores=True)
        np.testing.assert_array_equal(found[0], answers)
        np.testing.assert_allclose(found[1], scores, rtol=1e-5)


def test_a_search_is_traced_once():
    model = small()
    for samples, timesteps, max_length, length_penalty in ((1, 3, 2, 0.0), (24, 5, 4, 1.0), (7, 4, 9, 0.5)):
        model.generate(padded(samples, timesteps, INPUTS), max_length, beam_width=2, length_penalty=length_penalty)
    assert list(model._searches) == [2]
    assert model._searches[2].experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_asking_many_models_is_no_retracing(caplog):
    for _ in range(7):
        small().generate(X[:1])
    assert "retracing" not in caplog.text


# === Training ===


@pytest.mark.slow
def test_it_learns_to_turn_sequences_round():
    """Sequences of 1 to 4 of 4 tokens, 340 in all, every one in training: all but 3 of 100 must be right."""
    x = np.array([[*a, *[0] * (4 - len(a))] for n in range(1, 5) for a in itertools.product(range(1, 5), repeat=n)])
    y = np.array([[*without_padding(row)[::-1], *row[row == 0]] for row in x])
    keras.utils.set_random_seed(0)
    model = seq2seq(5, 5, units=48, embedding_dim=16, learning_rate=0.01, seed=0)
    model.jit_compile = False
    history = model.fit(x, y, batch_size=34, epochs=25, verbose=0).history
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert (model.generate(x) == y).all(axis=1).mean() >= 0.97


def batches(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(8)


@pytest.mark.cases(1)
@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weights"])
def test_fits_data_sets_and_arrays_with_and_without_validation(weights):
    arrays = (X, Y, np.linspace(0, 2, 24)) if weights else (X, Y)
    settings = dict(zip(("x", "y", "sample_weight"), arrays, strict=False))
    results = []
    for data, validation in (
        ({**settings, "batch_size": 8}, arrays),
        ({"x": batches(X.astype("int8"), *arrays[1:])}, batches(*arrays)),
    ):
        model = small(cell="simple")
        history = model.fit(**data, shuffle=False, validation_data=validation, epochs=2, verbose=0).history
        logs = ("loss", "accuracy", "sequence_accuracy")
        assert set(history) == {prefix + log for prefix in ("", "val_") for log in logs}
        results.append([history[key] for key in sorted(history)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4)


@pytest.mark.slow
def test_validation_split_takes_the_last_samples():
    model = small(cell="simple")
    history = model.fit(X, Y, validation_split=0.25, batch_size=6, verbose=0).history
    logs = model.evaluate(X[18:], Y[18:], batch_size=6, verbose=0, return_dict=True)
    assert logs == pytest.approx({name: history[f"val_{name}"][0] for name in logs})


@pytest.mark.slow
def test_batches_of_every_width_train_through_xla():
    model = seq2seq(INPUTS, OUTPUTS, units=3, cell="gru", attention=True, seed=0)
    assert (model.jit_compile, model.steps_per_execution) == (True, 32)
    data = tf.data.Dataset.from_generator(
        lambda: iter([(X[:8, :3], Y[:8]), (X[8:13], Y[8:13, :3])]),
        output_signature=(tf.TensorSpec((None, None), "int64"), tf.TensorSpec((None, None), "int64")),
    ).apply(tf.data.experimental.assert_cardinality(2))
    start = model.get_weights()
    assert np.isfinite(model.fit(data, shuffle=False, verbose=0).history["loss"]).all()
    assert all((a != b).any() for a, b in zip(start, model.get_weights(), strict=True))
    assert model.max_length == 4


@pytest.mark.slow
def test_works_with_the_callbacks_and_compiles_again(tmp_path):
    model = small(cell="gru", attention=True, dropout=0.2)
    callbacks = [
        GradientClipping(global_norm=0.1),
        EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path / "logs", write_graph=False),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    history = model.fit(X, Y, validation_data=(X, Y), epochs=2, callbacks=callbacks, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    assert history["clipped_fraction"][0] > 0
    assert list(tmp_path.glob("logs/train/events*"))
    assert keras.models.load_model(tmp_path / "2.keras").max_length == 4
    model.compile(keras.optimizers.SGD(1e-3))
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


@pytest.mark.slow
def test_half_precision_keeps_the_loss_finite():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(attention=True, bidirectional=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(model.fit(X, Y, epochs=2, verbose=0).history["loss"]).all()
    assert model.logits(X, Y).dtype == tf.float32
    assert model.generate(X, beam_width=2).shape == (24, 4)


# === Files, processes, devices ===

SETTINGS = "dict(cell='gru', units=5, embedding_dim=3, attention=True, dropout=0.3, seed=3)"


def new_process(code, *arguments, **environment):
    lines = [
        "import sys, keras, numpy as np, tensorflow as tf",
        "from kphys.models.sequences import seq2seq",
        f"settings = {SETTINGS}",
        "folder = sys.argv[1]",
        "data = np.load(folder + '/data.npz')",
        "x, y = data['x'], data['y']",
        *code,
    ]
    run_python("-c", "\n".join(lines), *arguments, **environment)


@pytest.mark.slow
def test_a_new_process_builds_the_same_and_goes_on_as_if_nothing_had_happened(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    model = seq2seq(INPUTS, OUTPUTS, **eval(SETTINGS))
    start = model.get_weights()
    model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    new_process(
        [
            f"np.savez(folder + '/built.npz', *seq2seq({INPUTS}, {OUTPUTS}, **settings).get_weights())",
            "model = keras.models.load_model(folder + '/model.keras')",
            "answers = [model.predict(x, verbose=0), *model.generate(x, beam_width=3, return_scores=True)]",
            "np.savez(folder + '/answers.npz', *answers, model.evaluate(x, y, verbose=0))",
            "model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)",
            "np.savez(folder + '/resumed.npz', *model.get_weights())",
        ],
        tmp_path,
    )
    for a, b in zip(start, saved_arrays(tmp_path / "built.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = model.predict(X, verbose=0), *model.generate(X, beam_width=3, return_scores=True)
    for a, b in zip([*expected, model.evaluate(X, Y, verbose=0)], saved_arrays(tmp_path / "answers.npz"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), saved_arrays(tmp_path / "resumed.npz"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_a_file_keeps_settings_optimizer_length_and_random_state(tmp_path):
    model = small(check_data=False, optimizer="rmsprop", dropout=0.5, max_length=None, name="sums")
    model.fit(X, Y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    other = small(dropout=0.5, max_length=None, optimizer="rmsprop", seed=1)
    other.load_weights(tmp_path / "model.weights.h5")
    assert (loaded.check_data, loaded.name, loaded.input_vocabulary_size) == (False, "sums", INPUTS)
    assert loaded.max_length == other.max_length == 4
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(b.numpy(), a.numpy())
    loaded.jit_compile = False  # As `model`: XLA draws other numbers from the same state.
    weights = [m.train_on_batch(X, Y) and m.get_weights() for m in (model, loaded)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    assert small(max_length=3).get_config()["max_length"] == 3


@pytest.mark.slow
def test_trains_on_two_devices_as_on_one(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    settings = {**eval(SETTINGS), "dropout": 0.0, "l2": 0.01, "optimizer": "sgd", "learning_rate": 0.5}
    new_process(
        [
            "device = tf.config.list_physical_devices('CPU')[0]",
            "tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)",
            f"with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():\n"
            f"    model = seq2seq({INPUTS}, {OUTPUTS}, **{settings!r})",
            "assert not model.jit_compile",
            "logs = model.fit(x, y, batch_size=24, shuffle=False, validation_data=(x, y), epochs=2, verbose=0).history",
            "np.savez(folder + '/weights.npz', *model.get_weights(), *[logs[key] for key in sorted(logs)])",
            "assert model.predict(x, verbose=0).shape == model.generate(x, beam_width=2).shape == (24, 4)",
        ],
        tmp_path,
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    model = seq2seq(INPUTS, OUTPUTS, **settings)
    model.jit_compile = False
    logs = model.fit(X, Y, batch_size=24, shuffle=False, validation_data=(X, Y), epochs=2, verbose=0).history
    # The halves of the batch have not as many tokens each: their losses are not to be averaged.
    assert (Y[:12] != 0).sum() != (Y[12:] != 0).sum()
    expected = [*model.get_weights(), *(logs[key] for key in sorted(logs))]
    for a, b in zip(expected, saved_arrays(tmp_path / "weights.npz"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def test_the_same_seed_starts_alike_and_another_does_not():
    one, same, other = (seq2seq(INPUTS, OUTPUTS, units=3, attention=True, seed=seed) for seed in (1, 1, 2))
    for weight, a, b, c in zip(one.weights, *(m.get_weights() for m in (one, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert "bias" in weight.name or (a != c).any()
    kernels = [weight.numpy() for weight in one.weights if "kernel" in weight.name]
    assert all((a != b).any() for a, b in itertools.combinations(kernels, 2) if a.shape == b.shape)


# === Bad input ===


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 0}, "`units` must be|`units.*` must be a positive integer, got 0"),
        ({"cell": "lstn"}, "`cell` must be one of .* Did you mean 'lstm'?"),
        ({"embedding_dim": 0}, "`embedding_dim` must be a positive integer, got 0"),
        ({"max_length": 0}, "`max_length` must be a positive integer, got 0"),
        ({"dropout": 1.0}, "`dropout` must be a number of at least 0 and below 1"),
        ({"l2": -1.0}, "`l2` must be a number that is not negative"),
        ({"seed": -1}, "`seed` must be None or an integer"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
    ],
)
def test_the_builder_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        seq2seq(INPUTS, OUTPUTS, **settings)


@pytest.mark.parametrize("flag", ["bidirectional", "attention", "check_data"])
def test_the_builder_refuses_what_is_no_flag(flag):
    with pytest.raises(TypeError, match=f"`{flag}` must be True or False, got 'yes'"):
        seq2seq(INPUTS, OUTPUTS, **{flag: "yes"})


@pytest.mark.parametrize("sizes", [(1, 5), (5, 1)])
def test_a_vocabulary_of_padding_alone_is_refused(sizes):
    with pytest.raises(ValueError, match="put_vocabulary_size` must be an integer of at least 2, got 1"):
        seq2seq(*sizes)


BAD = [
    ([[1, 2, 6]], ValueError, r"`x` must hold the numbers of tokens, 0 to 5: .* the first is x\[0, 2\] = 6"),
    ([[1, -1]], ValueError, r"`x` must hold the numbers of tokens, 0 to 5: .* x\[0, 1\] = -1"),
    ([[1, 0, 2]], ValueError, r"padded with 0 at the end .* got x\[0, 1\] = 0 before x\[0, 2\] = 2"),
    ([[0, 2]], ValueError, r"padded with 0 at the end .* got x\[0, 0\] = 0 before x\[0, 1\] = 2"),
    ([[1, 2], [0, 0]], ValueError, r"at least one token in every sequence, got 1 .* the first is x\[1\]"),
    ([[1.5, 2.0]], ValueError, r"`x` must hold integers, .* got float"),
    ([[1.0, np.nan]], ValueError, r"`x` must hold integers, .* got float"),
    ([1, 2], ValueError, r"`x` must have the shape \(samples, timesteps\), got \(2,\): .* x\[None\]"),
    ([[[1]]], ValueError, r"`x` must have the shape \(samples, timesteps\), got \(1, 1, 1\)"),
    (np.zeros((0, 3), int), ValueError, "`x` must hold at least one sample"),
    (np.zeros((2, 0), int), ValueError, "`x` must hold at least one sample"),
    ([["1+2"]], TypeError, "`x` must hold real numbers, got dtype <U3"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD)
def test_bad_sequences_are_refused_before_anything_is_trained(x, error, message):
    model, x = untrained(), np.asarray(x)
    start = model.get_weights()
    right = np.ones((len(x), 2), int)
    with pytest.raises(error, match=message):
        model.generate(x)
    for ask in (model.fit, model.evaluate):
        with pytest.raises(error, match=message):
            ask(x, right)
        with pytest.raises(error, match=message.replace("x", "y", 1).replace("to 5", "to 4").replace(r"x\[", r"y\[")):
            ask(X[:1] if not len(x) else np.ones((len(x), 2), int), x)
    with pytest.raises(
        error, match=message.replace("`x`", r"`validation_data\[0\]`").replace(r"x\[", r"validation_data\[0\]\[")
    ):
        model.fit(X, Y, validation_data=(x, right))
    for a, b in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda m: m.fit(X), ValueError, "`y` is missing: give one answer for each of the 24 samples of `x`"),
        (lambda m: m.fit(X.tolist(), Y), TypeError, r"`x` must be an array, got list: pass np.asarray\(x\)"),
        (lambda m: m.fit(X, Y[:5]), ValueError, "`x` and `y` must have the same length, got 24 and 5"),
        (lambda m: m.fit(X, Y, validation_data=(X,)), ValueError, "`validation_data` must be .*, got 1"),
        (lambda m: m.fit(X, Y, class_weight={0: 1.0}), ValueError, "`class_weight` .* pass `sample_weight`"),
        (lambda m: m.fit(X, Y, sample_weight=np.ones(7)), ValueError, "`sample_weight` must have the same length"),
        (lambda m: m.fit(X, Y, sample_weight=np.ones((24, 3))), ValueError, r"shape \(24, 4\), got \(24, 3\)"),
        (lambda m: m.fit(X, Y, sample_weight=np.full(24, np.nan)), ValueError, "`sample_weight` must be finite"),
        (
            lambda m: m.fit(batches(X), shuffle=False),
            ValueError,
            r"learns from pairs: give .* a data set as batches \(x, y\)",
        ),
        (lambda m: m.generate(X, 0), ValueError, "`max_length` must be a positive integer, got 0"),
        (lambda m: m.generate(X, beam_width=0), ValueError, "`beam_width` must be a positive integer, got 0"),
        (lambda m: m.generate(X, length_penalty=-1), ValueError, "`length_penalty` must be a number that is not neg"),
        (lambda m: m.generate(X, return_scores="yes"), TypeError, "`return_scores` must be True or False"),
    ],
)
def test_the_model_refuses(ask, error, message):
    with pytest.raises(error, match=message):
        ask(untrained())


@pytest.mark.parametrize("settings", [{"loss": "mse"}, {"metrics": ["mae"]}], ids=str)
def test_another_loss_is_refused(settings):
    model = small()
    model.compile("adam", **settings)
    for ask in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="brings its own loss and metrics: compile it with an optimizer alone"):
            ask(X, Y, verbose=0)


def test_without_check_data_arrays_are_not_looked_through():
    assert np.isfinite(small(check_data=False).fit(X.astype("float64"), Y, verbose=0).history["loss"][0])


def networks(units=4, other=None, tokens=(None,)):
    question, given, state = keras.Input((None,)), keras.Input(tokens), keras.Input((other or units,))
    encoder = keras.Model(question, keras.layers.GRU(units)(keras.layers.Embedding(5, 3, mask_zero=True)(question)))
    gru = keras.layers.GRU(other or units, return_sequences=True, return_state=True)
    outputs, last = gru(keras.layers.Embedding(5, 3)(given), initial_state=state)
    return encoder, keras.Model([given, state], [keras.layers.Dense(5)(outputs), last])


@pytest.mark.slow
def test_networks_of_ones_own_learn_and_answer():
    model = Seq2Seq(*networks(), 5)
    model.compile("adam")
    x = np.minimum(X, 4)
    model.fit(x, Y, verbose=0)
    assert model.generate(x, beam_width=2).shape == Y.shape


@pytest.mark.parametrize(
    ("encoder", "decoder", "error", "message"),
    [
        ("encoder", networks()[1], TypeError, "`encoder` must be a Keras model, got str"),
        (networks()[0], keras.Sequential(), ValueError, "`decoder` must be a functional model"),
        (networks()[0], networks(other=3)[1], ValueError, r"must take the outputs of `encoder` .*\(None, 4\).*3\)"),
        (networks()[1], networks()[1], ValueError, r"`encoder` must take tokens \(batch, timesteps\)"),
        (networks()[0], networks()[0], ValueError, r"`decoder` tokens \(batch, steps\) first, to give logits"),
    ],
)
def test_networks_that_do_not_fit_are_refused(encoder, decoder, error, message):
    with pytest.raises(error, match=message):
        Seq2Seq(encoder, decoder, 5)
