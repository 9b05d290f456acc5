"""Character networks: data sets of text, the loss and what is written by hand, then the house's promises."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python, saved_arrays

from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.models.sequences import CharRNN, char_rnn, character_dataset

TEXT = "the cat sat on the mat; the dog sat on the log. " * 12


def small(**options):
    model = char_rnn(**{"vocabulary_size": 17, "units": (6, 5), "embedding_dim": 4, "seed": 3, **options})
    model.jit_compile = False  # Compiling takes longer than it saves; the contract's rows go through XLA.
    return model


def pieces(dataset):
    """Gives what a data set holds, as text."""
    found = [[], []]
    for batch in dataset:
        for part, rows in zip(found, batch, strict=True):
            part.extend("".join(dataset.vocabulary[number] for number in row) for row in rows.numpy())
    return found


def with_vocabulary(model, vocabulary="abcdefghijklmnopq"):
    model.vocabulary = vocabulary
    return model


def test_vectors_of_characters_start_wide_apart():
    table = char_rnn(500, seed=0).network.layers[1].embeddings.numpy()
    assert abs(table.mean()) < 0.02
    assert abs(table.std() - 1) < 0.02


# === Data sets ===


def test_pieces_in_order_make_the_text_and_targets_are_one_ahead():
    text = "abcdefghijklmnopqrst"
    x, y = pieces(character_dataset(text, 3, 2, shuffle=False))
    assert x == ["abc", "def", "ghi", "jkl", "mno", "pqr"]
    assert y == ["bcd", "efg", "hij", "klm", "nop", "qrs"]


@pytest.mark.parametrize(("characters", "expected"), [(4, 1), (6, 1), (7, 2), (10, 3)])
def test_a_piece_needs_its_characters_and_one_more(characters, expected):
    x, _ = pieces(character_dataset("x" * characters, 3, 8, vocabulary="x", shuffle=False))
    assert len(x) == expected


def test_shuffled_pieces_are_the_same_ones_in_orders_fixed_by_the_seed():
    text = "".join(map(chr, range(97, 123))) * 4
    in_order, _ = pieces(character_dataset(text, 5, 4, shuffle=False))
    dataset = character_dataset(text, 5, 4, seed=1)
    first, second = pieces(dataset)[0], pieces(dataset)[0]
    assert sorted(first) == sorted(in_order[: len(first)]) or len(set(in_order)) > len(set(first))
    assert set(first) <= set(in_order)
    assert first != second
    assert len(first) == len(in_order) // 4 * 4
    again = character_dataset(text, 5, 4, seed=1)
    assert [pieces(again)[0], pieces(again)[0]] == [first, second]
    assert pieces(character_dataset(text, 5, 4, seed=2))[0] != first


def test_rows_of_a_stateful_data_set_go_on_from_batch_to_batch():
    text = "abcdefghijklmnopqrstuvwxyz"
    x, y = pieces(character_dataset(text, 4, 2, stateful=True))
    # Two rows of twelve characters each, in three batches.
    assert ["".join(x[row::2]) for row in (0, 1)] == ["abcdefghijkl", "mnopqrstuvwx"]
    assert ["".join(y[row::2]) for row in (0, 1)] == ["bcdefghijklm", "nopqrstuvwxy"]


def test_the_vocabulary_is_sorted_and_any_character_counts_as_one():
    text = "∇²φ = 0 \n\t 🙂 naïve"
    dataset = character_dataset(text, 3, 1, shuffle=False)
    assert dataset.vocabulary == "".join(sorted(set(text)))
    assert "".join(pieces(dataset)[0]) == text[: (len(text) - 1) // 3 * 3]


def test_a_long_text_is_looked_up_in_parts(monkeypatch):
    from kphys.models import _characters

    whole = _characters.encode("text", TEXT, "".join(sorted(set(TEXT))))
    monkeypatch.setattr(_characters, "_AT_ONCE", 7)
    np.testing.assert_array_equal(_characters.encode("text", TEXT, "".join(sorted(set(TEXT)))), whole)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((b"bytes", 3, 2), {}, TypeError, r"`text` must be a string, got bytes: pass value.decode"),
        (("", 3, 2), {}, ValueError, "`text` is empty"),
        (("abc", 3, 2), {}, ValueError, "`text` has 3 characters, .* need at least 4"),
        (("abcdef", 3, 2, True), {}, ValueError, "and 2 rows with `stateful`, need at least 7"),
        (("abcdef", 0, 2), {}, ValueError, "`sequence_length` must be a positive integer, got 0"),
        (("abcdef", 2, 1.5), {}, ValueError, "`batch_size` must be a positive integer"),
        (("abcdef", 2, 2), {"vocabulary": "abc"}, ValueError, "not among the 3 of the vocabulary: 'd', 'e', 'f'"),
        (("abcdef", 2, 2), {"vocabulary": "abca"}, ValueError, "every character once, got 'a' twice"),
        (("abcdef", 2, 2), {"vocabulary": ["a", "bc"]}, ValueError, "single characters, got 'bc'"),
        (("abcdef", 2, 2), {"vocabulary": 7}, TypeError, "`vocabulary` must be a string, got int"),
        (("ab\0cd", 2, 2), {}, ValueError, r"holds the character '\\x00' at place 2"),
        (("ab\ud800cd", 2, 2), {}, ValueError, "surrogate pair at place 2"),
        (("abcdef", 2, 2, "yes"), {}, TypeError, "`stateful` must be True or False"),
        (("abcdef", 2, 2), {"shuffle": 1}, ValueError, "`shuffle` must be True or False"),
        (("abcdef", 2, 2), {"seed": -1}, ValueError, "`seed` must be"),
    ],
)
def test_refuses_texts_that_make_no_data_set(arguments, options, error, message):
    with pytest.raises(error, match=message):
        character_dataset(*arguments, **options)


# === The network ===


def test_the_loss_is_the_mean_of_minus_ln_p():
    dataset = character_dataset(TEXT, 12, 5, shuffle=False)
    model = small(vocabulary_size=len(dataset.vocabulary))
    logs = model.evaluate(dataset, verbose=0, return_dict=True)
    x, y = (np.concatenate(arrays) for arrays in zip(*dataset.as_numpy_iterator(), strict=True))
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    assert logs["loss"] == pytest.approx(-np.log(np.take_along_axis(p, y[..., None], -1)).mean(), rel=1e-5)
    assert logs["accuracy"] == pytest.approx((p.argmax(-1) == y).mean(), abs=1e-6)


def test_no_prediction_sees_what_comes_later():
    x = np.random.default_rng(0).integers(0, 17, size=(4, 9)).astype("int32")
    changed = x.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % 17
    a, b = (small().predict(part, verbose=0) for part in (x, changed))
    np.testing.assert_allclose(a[:, :5], b[:, :5], rtol=1e-6)
    assert (np.abs(a[:, 5:] - b[:, 5:]).max(axis=(1, 2)) > 1e-6).all()


def test_states_carried_along_give_what_one_long_reading_gives():
    dataset = character_dataset(TEXT, 8, 3, stateful=True)
    size = len(dataset.vocabulary)
    model, plain = small(vocabulary_size=size, stateful=True, batch_size=3), small(vocabulary_size=size)
    plain.set_weights([weight.numpy() for weight in model.trainable_weights])
    x, y = (np.stack(arrays) for arrays in zip(*dataset.as_numpy_iterator(), strict=True))
    rows = [part.transpose(1, 0, 2).reshape(3, -1) for part in (x, y)]
    expected = plain.evaluate(*rows, verbose=0, return_dict=True)
    for _ in range(2):  # And the second time from the state zero again.
        found = model.evaluate(dataset, verbose=0, return_dict=True)
        assert found == pytest.approx(expected, rel=1e-5)
    for _ in range(2):
        p = model.predict(x.reshape(-1, 8), batch_size=3, verbose=0).reshape(*x.shape, size)
        p = p.transpose(1, 0, 2, 3).reshape(3, -1, size)
        np.testing.assert_allclose(p, plain.predict(rows[0], verbose=0), rtol=1e-4, atol=1e-6)
    pieces_alone = plain.evaluate(x.reshape(-1, 8), y.reshape(-1, 8), verbose=0, return_dict=True)
    assert abs(pieces_alone["loss"] - expected["loss"]) > 1e-6


def test_every_epoch_of_a_stateful_network_starts_from_zero():
    dataset = character_dataset(TEXT, 8, 3, stateful=True)
    size = len(dataset.vocabulary)
    still = small(vocabulary_size=size, stateful=True, batch_size=3, optimizer=keras.optimizers.SGD(0.0))
    history = still.fit(dataset, validation_data=dataset, epochs=3, verbose=0).history
    expected = still.evaluate(dataset, verbose=0)[0]
    for key in ("loss", "val_loss"):
        assert history[key] == pytest.approx([expected] * 3, rel=1e-5)


# === Writing ===


@pytest.mark.cases(1)
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
@pytest.mark.parametrize("layer_normalization", [False, True])
def test_at_temperature_zero_it_writes_what_the_network_finds_likeliest(cell, layer_normalization):
    model = with_vocabulary(small(cell=cell, layer_normalization=layer_normalization, dropout=0.5))
    # Larger weights than at the start, so that the likeliest is not always the same.
    model.set_weights([4 * weight for weight in model.get_weights()])
    text = "abba"
    for _ in range(12):
        numbers = np.array([[model.vocabulary.index(character) for character in text]])
        text += model.vocabulary[int(np.argmax(model(numbers)[0, -1]))]
    assert model.generate("abba", 12, temperature=0) == text[4:]
    assert len(set(text)) > 2


@pytest.mark.cases(1)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_characters_are_drawn_in_proportion_to_the_power_of_their_probability(temperature):
    model = with_vocabulary(small(vocabulary_size=4, units=2), "abcd")
    bias = np.array([0.0, 0.5, 1.0, -1.0], "float32")
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()[:-1]] + [bias])
    expected = np.exp(bias / temperature) / np.exp(bias / temperature).sum()
    number = 20_000
    text = model.generate("a", number, temperature, seed=0)
    counts = np.array([text.count(character) for character in "abcd"])
    # Four standard deviations of a binomial count, and as much for neighbours, which must not depend on each other.
    assert (np.abs(counts - number * expected) < 4 * np.sqrt(number * expected * (1 - expected))).all()
    pairs = sum(a == b for a, b in itertools.pairwise(text))
    same = (expected**2).sum()
    assert abs(pairs - number * same) < 6 * math.sqrt(number * same * (1 - same))


def test_the_seed_fixes_the_text():
    model = with_vocabulary(small())
    texts = [model.generate("abc", 40, seed=seed) for seed in (0, 0, 1, None, None)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 4


def test_all_prompts_lengths_and_temperatures_share_one_trace():
    model = with_vocabulary(small())
    for prompt, length, temperature in (("a", 1, 1.0), ("abcdef", 30, 0.5), ("q" * 50, 3, 0)):
        assert len(model.generate(prompt, length, temperature)) == length
    assert model._write.experimental_get_tracing_count() == 1


def test_writes_with_the_weights_it_has_now():
    model = with_vocabulary(small(vocabulary_size=4, units=2), "abcd")
    for winner in "ab":
        bias = np.where(np.array(list("abcd")) == winner, 50.0, 0.0)
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()[:-1]] + [bias])
        assert model.generate("c", 5) == winner * 5


def test_outputs_without_a_character_are_never_drawn():
    model = with_vocabulary(small(), "abc")
    assert set(model.generate("a", 500, temperature=5.0, seed=0)) == set("abc")


@pytest.mark.slow
def test_learns_to_go_on_with_a_text():
    # Every character of the sentence follows from the four before it. Seed 0; none may fail.
    dataset = character_dataset(TEXT, 25, 4, seed=0)
    model = char_rnn(len(dataset.vocabulary), units=48, learning_rate=0.02, seed=0)
    model.fit(dataset, epochs=25, verbose=0)
    assert model.generate("the cat sat on the ", 20, temperature=0) == "mat; the dog sat on "


@pytest.mark.parametrize(
    ("prompt", "options", "error", "message"),
    [
        ("", {}, ValueError, "`prompt` is empty"),
        (3, {}, TypeError, "`prompt` must be a string"),
        ("ab€ß", {}, ValueError, "`prompt` holds characters that are not among the 17 of the vocabulary: 'ß', '€'"),
        ("ab", {"length": 0}, ValueError, "`length` must be a positive integer, got 0"),
        ("ab", {"temperature": -1}, ValueError, "`temperature` must be"),
        ("ab", {"temperature": math.nan}, ValueError, "`temperature` must be"),
        ("ab", {"seed": 1.5}, ValueError, "`seed` must be"),
    ],
)
def test_refuses_to_write_nonsense(prompt, options, error, message):
    with pytest.raises(error, match=message):
        with_vocabulary(small()).generate(prompt, **{"length": 5, **options})


def test_says_that_there_is_no_vocabulary_yet():
    with pytest.raises(ValueError, match=r"call `fit` with a `character_dataset`, or set `model.vocabulary`"):
        small().generate("a", 3)


# === Vocabularies meet ===


def test_a_text_to_validate_on_must_have_the_vocabulary_learnt_from():
    dataset, other = character_dataset(TEXT, 12, 5, seed=0), character_dataset("the cat", 3, 2)
    model = small(vocabulary_size=len(dataset.vocabulary))
    with pytest.raises(ValueError, match=r"`validation_data` numbers its 6 .* vocabulary=model.vocabulary"):
        model.fit(dataset, validation_data=other, verbose=0)
    same = character_dataset("the cat sat on the mat", 3, 2, vocabulary=dataset.vocabulary)
    model.fit(dataset, validation_data=same, verbose=0)
    with pytest.raises(ValueError, match="`x` numbers its 6 characters otherwise"):
        model.evaluate(other, verbose=0)


def test_only_the_text_learnt_from_gives_the_vocabulary():
    dataset, other = character_dataset(TEXT, 12, 5, seed=0), character_dataset("the cat", 3, 2)
    model = small()
    with pytest.raises(ValueError, match="`validation_data` has a vocabulary, and the model has none yet"):
        model.fit(dataset.cache(), validation_data=other, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="`validation_data` numbers its 6 characters otherwise"):
        model.fit(dataset, validation_data=other, verbose=0)
    model.evaluate(other, verbose=0)
    assert model.vocabulary is None
    model.fit(dataset, verbose=0)
    assert model.vocabulary == dataset.vocabulary
    with pytest.raises(ValueError, match="`x` numbers its 6 characters otherwise"):
        model.predict(other, verbose=0)


def test_a_stateful_network_refuses_what_does_not_go_on_from_batch_to_batch():
    model = small(stateful=True, batch_size=3)
    for wrong in (character_dataset(TEXT, 12, 3, seed=0), character_dataset(TEXT, 12, 4, stateful=True)):
        with pytest.raises(ValueError, match=r"does not go on .* in 3 rows, .*batch_size=3, stateful=True"):
            model.fit(wrong, verbose=0)
    with pytest.raises(ValueError, match="`shuffle` must be False with arrays"):
        model.fit(NUMBERS, NUMBERS, batch_size=3, verbose=0)
    model.fit(NUMBERS, NUMBERS, batch_size=3, shuffle=False, verbose=0)


def test_a_vocabulary_that_is_too_large_is_refused():
    dataset = character_dataset(TEXT, 12, 5, seed=0)
    with pytest.raises(ValueError, match=r"holds 15 characters, but `vocabulary_size` is 4: build with .*=15"):
        small(vocabulary_size=4).fit(dataset, verbose=0)


# === Bad input ===


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"vocabulary_size": 1}, ValueError, "`vocabulary_size` must be an integer of at least 2, got 1"),
        ({"vocabulary_size": "abc"}, TypeError, "`vocabulary_size` must be"),
        ({"embedding_dim": 0}, ValueError, "`embedding_dim` must be a positive integer, got 0"),
        ({"units": ()}, ValueError, "`units` must hold at least one integer"),
        ({"cell": "ltsm"}, ValueError, "Did you mean 'lstm'"),
        ({"stateful": True}, ValueError, "`batch_size` goes with `stateful`"),
        ({"batch_size": 8}, ValueError, "`batch_size` goes with `stateful`"),
        ({"dropout": 1.0}, ValueError, "`dropout` must be"),
        ({"check_data": 1}, ValueError, "`check_data` must be True or False"),
    ],
)
def test_refuses_what_makes_no_network(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)


NUMBERS = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (TEXT, None, {}, TypeError, "got a string: pass character_dataset"),
        (NUMBERS, None, {}, ValueError, "`y` is missing"),
        (NUMBERS + 6, NUMBERS, {}, ValueError, r"0 to 16: 1 of its 12 values do not, the first is x\[2, 3\] = 17"),
        (NUMBERS, NUMBERS - 1, {}, ValueError, r"the first is y\[0, 0\] = -1"),
        (NUMBERS / 2, NUMBERS, {}, ValueError, r"must hold integers, .* got float64: pass x.astype"),
        (NUMBERS[:, 0], NUMBERS[:, 0], {}, ValueError, r"`x` must have the shape \(samples, timesteps\), got \(3,\)"),
        (NUMBERS, NUMBERS[:, :3], {}, ValueError, r"`y` must have the shape of `x`, \(3, 4\)"),
        (NUMBERS[:0], NUMBERS[:0], {}, ValueError, "`x` must hold at least one sample"),
        (NUMBERS, NUMBERS, {"sample_weight": np.ones(3)}, ValueError, "one weight for every time step"),
        ([[1, 2], [3, 4]], [[2, 3], [4, 5]], {}, TypeError, r"`x` must be an array, got list: pass np.asarray"),
        (NUMBERS, NUMBERS, {"validation_data": (NUMBERS,) * 4}, ValueError, "or .*, got 4 entries"),
        (NUMBERS, NUMBERS, {"class_weight": {0: 2.0}}, ValueError, "`class_weight` takes one label a sample"),
        (NUMBERS, NUMBERS, {"validation_data": (NUMBERS + 9, NUMBERS)}, ValueError, r"validation_data\[0\]"),
    ],
)
def test_refuses_arrays_before_training(x, y, options, error, message):
    model = small()
    before = model.get_weights()
    with pytest.raises(error, match=message):
        model.fit(x, y, verbose=0, **options)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def chain(*layers, shape=(None,)):
    return keras.Sequential([keras.Input(shape, dtype="int32"), *layers])


EMBEDDING = {"input_dim": 5, "output_dim": 3}


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (lambda: "lstm", TypeError, "`network` must be a functional or sequential keras.Model, got str"),
        (
            lambda: chain(
                keras.layers.Embedding(**EMBEDDING),
                keras.layers.Bidirectional(keras.layers.LSTM(2)),
            ),
            ValueError,
            "got a Bidirectional",
        ),
        (
            lambda: chain(keras.layers.Embedding(**EMBEDDING), keras.layers.LSTM(2), keras.layers.Dense(5)),
            ValueError,
            "return_sequences=True",
        ),
        (
            lambda: chain(keras.layers.Embedding(**EMBEDDING, mask_zero=True), keras.layers.Dense(5, "softmax")),
            ValueError,
            "mask_zero=False",
        ),
        (
            lambda: chain(keras.layers.Embedding(**EMBEDDING), keras.layers.Dense(5)),
            ValueError,
            "must give probabilities, .* activation=.softmax",
        ),
        (lambda: chain(keras.layers.Dense(5, "softmax"), shape=(3,)), ValueError, r"must go from \(batch, timesteps\)"),
    ],
)
def test_refuses_networks_that_are_no_chain(network, error, message):
    with pytest.raises(error, match=message):
        CharRNN(network())


def test_refuses_a_network_with_a_branch():
    inputs = keras.Input((None,), dtype="int32")
    first = keras.layers.Embedding(5, 5)(inputs)
    second = keras.layers.Dense(5)(first)
    outputs = keras.layers.Dense(5, "softmax")(first)
    with pytest.raises(ValueError, match="must be a chain of layers"):
        CharRNN(keras.Model(inputs, [second, outputs]))


# === The promises of the house ===


def same(a, b, **tolerance):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(other, one, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"stateful": True, "batch_size": 5, "cell": "gru"}])
def test_a_new_process_builds_the_same_and_goes_on_as_if_nothing_had_happened(options, tmp_path):
    dataset = character_dataset(TEXT, 12, 5, stateful="stateful" in options, shuffle=False)
    model = small(vocabulary_size=len(dataset.vocabulary), **options)
    start = model.get_weights()
    model.fit(dataset, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    code = [
        "import sys, pathlib, keras, numpy as np, kphys",
        "from kphys.models.sequences import char_rnn, character_dataset",
        "folder, text, options = pathlib.Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3])",
        "dataset = character_dataset(text, 12, 5, stateful='stateful' in options, shuffle=False)",
        "built = char_rnn(len(dataset.vocabulary), units=(6, 5), embedding_dim=4, seed=3, **options)",
        "np.savez(folder / 'built.npz', *built.get_weights())",
        "model = keras.models.load_model(folder / 'model.keras')",
        "model.jit_compile = False",  # As that of `small`: XLA draws other masks of dropout.
        "text = model.generate('the ', 30, seed=1)",
        "(folder / 'text.txt').write_text(text)",
        "model.fit(dataset, epochs=1, verbose=0)",
        "np.savez(folder / 'resumed.npz', *model.get_weights())",
    ]
    run_python("-c", "\n".join(code), tmp_path, TEXT, options)
    for a, b in zip(start, saved_arrays(tmp_path / "built.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "text.txt").read_text() == model.generate("the ", 30, seed=1)
    model.fit(dataset, epochs=1, verbose=0)
    same(model.get_weights(), saved_arrays(tmp_path / "resumed.npz"))


@pytest.mark.slow
def test_works_with_callbacks(tmp_path):
    dataset = character_dataset(TEXT, 12, 5, seed=0)
    model = small(vocabulary_size=len(dataset.vocabulary))
    callbacks = [
        GradientClipping(global_norm=1.0),
        EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
    ]
    history = model.fit(dataset, validation_data=dataset, epochs=3, callbacks=callbacks, verbose=0).history
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "gradient_norm"} <= set(history)
    assert history["loss"][-1] < history["loss"][0]
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert loaded.evaluate(dataset, verbose=0)[0] == pytest.approx(min(history["val_loss"]), rel=1e-4)


def test_weights_of_characters_count():
    x = np.random.default_rng(0).integers(0, 17, size=(6, 8))
    y = (x + 1) % 17
    weights = np.zeros((6, 8))
    weights[:2, 3:] = 1
    model = small()
    p = model.predict(x, verbose=0)
    each = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]
    logs = model.evaluate(x, y, sample_weight=weights, batch_size=6, verbose=0, return_dict=True)
    # As in Keras, weights do not change what the sum is divided by; metrics divide by their sum.
    assert logs["loss"] == pytest.approx((each * weights).sum() / weights.size, rel=1e-5)
    right = p.argmax(-1) == y
    assert logs["accuracy"] == pytest.approx((right * weights).sum() / weights.sum(), abs=1e-6)


def test_mixed_precision_writes_too():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = with_vocabulary(small())
    finally:
        keras.config.set_dtype_policy(policy)
    assert len(model.generate("abc", 10, seed=0)) == 10


def test_a_network_of_ones_own_writes():
    inputs = keras.Input((None,), dtype="int32")
    features = keras.layers.Embedding(17, 4)(inputs)
    features = keras.layers.GRU(5, return_sequences=True)(features)
    outputs = keras.layers.Dense(17, activation="softmax")(keras.layers.Activation("tanh")(features))
    model = CharRNN(keras.Model(inputs, outputs), vocabulary="abcdefghijklmnopq")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(NUMBERS, NUMBERS, verbose=0)
    assert len(model.generate("abc", 10)) == 10
    assert isinstance(model(tf.constant([[1, 2]])), tf.Tensor)
