"""The classifier of raw strings: rows looked up by hand, padding, word vectors on their words, texts in every form."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python, saved_arrays

import kphys
from kphys import rnn_classifier, word_vectors
from kphys.callbacks import EarlyStopping, GradientClipping, TrainingRecord
from kphys.models._calls import calls_of
from kphys.models.texts import text_classifier

WORDS = ["the", "dog", "bites", "man", "cat"]
TEXTS = ["the dog bites the man", "The man bites the dog!", "cat", "the cat the dog", "dog unheard-of bites"]
SMALL = {"embedding_dim": 3, "units": 4, "seed": 0}


def vectorization(**options):
    return keras.layers.TextVectorization(**{"vocabulary": WORDS, **options})


def numbers(text):
    """Gives the rows of a text's words: 0 is padding, 1 every unknown word, then the vocabulary."""
    words = text.lower().replace("!", "").replace("-", "").split()
    return [WORDS.index(word) + 2 if word in WORDS else 1 for word in words]


def strings(texts):
    return tf.constant(list(texts))


# === The network ===


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "units": (4, 3)},
        {"cell": "simple", "bidirectional": True},
        {"layer_normalization": True, "bidirectional": True, "units": (4, 3)},
        {"multilabel": True},
    ],
)
def test_it_is_rnn_classifier_on_rows_of_the_table(options):
    options = {"units": 4, "seed": 0, **options}
    model = text_classifier(vectorization(), 3, embedding_dim=3, **options)
    table, *weights = model.get_weights()
    assert table.shape == (7, 3)
    reader = rnn_classifier((None, 3), 3, **options)
    reader.set_weights(weights)
    predicted = model.predict(TEXTS, verbose=0)
    for text, probability in zip(TEXTS, predicted, strict=True):
        expected = reader.predict(table[numbers(text)][None], verbose=0)[0]
        np.testing.assert_allclose(probability, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.cases(1)
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
@pytest.mark.parametrize("length", [None, 12])
def test_padding_changes_nothing(cell, length):
    model = text_classifier(
        vectorization(output_sequence_length=length), 3, cell=cell, bidirectional=True, **{**SMALL, "units": (4, 3)}
    )
    together = model.predict(TEXTS, verbose=0)
    for text, probability in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(model.predict([text], verbose=0)[0], probability, rtol=1e-5, atol=1e-6)


def test_a_length_cuts_texts():
    model = text_classifier(vectorization(output_sequence_length=2), 3, **SMALL)
    long, short = model.predict(["the dog bites the man", "the dog"], verbose=0)
    np.testing.assert_allclose(long, short, rtol=1e-6)


def test_an_empty_text_is_read_as_nothing_in_every_batch():
    model = text_classifier(vectorization(), 3, **SMALL)
    alone, among = model.predict(["", "!"], verbose=0), model.predict(["", "the dog"], verbose=0)
    # The state is still zero: softmax of the bias, which starts at 0.
    np.testing.assert_allclose(alone, np.full((2, 3), 1 / 3), rtol=1e-6)
    np.testing.assert_allclose(among[0], alone[0], rtol=1e-6)
    assert not np.allclose(among[1], alone[0], atol=1e-4)


def test_characters_are_words_where_the_vectorization_cuts_so():
    layer = keras.layers.TextVectorization(split="character", vocabulary=["a", "b"])
    model = text_classifier(layer, 2, **SMALL)
    assert not np.allclose(*model.predict(["ab", "ba"], verbose=0), atol=1e-5)


def test_the_defaults():
    model = text_classifier(vectorization(), 4)
    assert model.name == "text_classifier"
    assert model.get_layer("embedding").embeddings.shape == (7, 64)
    assert (model.input_shape, model.output_shape) == ((None,), (None, 4))
    assert model.jit_compile is False


def test_same_seed_same_weights():
    same, again, other = (
        text_classifier(vectorization(), 3, **{**SMALL, "seed": seed}).get_weights() for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(same, again, strict=True))
    assert not np.allclose(same[0], other[0])
    assert not np.allclose(same[1], other[1])


# === Word vectors ===


@pytest.fixture(scope="module")
def vectors():
    """Vectors of some of the words and of others, in another order."""
    vectors = word_vectors(5, 3, seed=1)
    vectors.set_vocabulary(["man", "muon", "the", "bites", "electron"])
    return vectors


def looked_up(model, texts):
    """Gives E(w) of every word that the model reads, the steps of padding included."""
    return keras.Model(model.input, model.get_layer("embedding").output)(strings(texts)).numpy()


def test_word_vectors_land_on_their_words(vectors):
    model = text_classifier(vectorization(), 2, word_vectors=vectors, units=4)
    rows = looked_up(model, ["The man bites the muon dog"])[0]
    expected = [vectors["the"], vectors["man"], vectors["bites"], vectors["the"], np.zeros(3), np.zeros(3), np.zeros(3)]
    assert all(np.abs(vectors[word]).max() > 0.01 for word in ("the", "man", "bites"))
    np.testing.assert_array_equal(rows, expected)


def test_words_are_found_in_lower_case_too(vectors):
    layer = keras.layers.TextVectorization(standardize=None, vocabulary=["Man", "muon", "Quark"])
    model = text_classifier(layer, 2, word_vectors=vectors, units=4)
    rows = looked_up(model, ["Man muon Quark"])[0]
    np.testing.assert_array_equal(rows[:3], [vectors["man"], vectors["muon"], np.zeros(3)])


def test_the_vectors_own_words_make_a_vectorization(vectors):
    layer = keras.layers.TextVectorization(vocabulary=vectors.vocabulary.words)
    model = text_classifier(layer, 2, word_vectors=vectors, units=4)
    table = model.get_layer("embedding").embeddings.numpy()
    np.testing.assert_array_equal(table[:2], np.zeros((2, 3)))
    np.testing.assert_array_equal(table[2:], vectors.vectors)


@pytest.mark.cases(1)
@pytest.mark.parametrize("trainable", [True, False])
def test_the_table_is_trained_or_kept(vectors, trainable):
    model = text_classifier(
        vectorization(), 2, word_vectors=vectors, trainable_embedding=trainable, units=4, learning_rate=0.1
    )
    before, *weights = model.get_weights()
    model.fit(TEXTS, np.array([0, 1, 0, 1, 0]), verbose=0)
    after, *moved = model.get_weights()
    assert (before != after).any() == trainable
    np.testing.assert_array_equal(before[0], after[0])  # Padding is never read.
    assert all((a != b).any() for a, b in zip(weights, moved, strict=True))
    assert len(model.trainable_weights) == len(model.weights) - (not trainable)


# === Texts in every form ===

FORMS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "objects": lambda texts: np.array(texts, object),
    "column": lambda texts: np.array(texts)[:, None],
    "column of objects": lambda texts: np.array(texts, object)[:, None],
    "bytes": lambda texts: np.array([text.encode() for text in texts]),
    "bytes as objects": lambda texts: np.array([text.encode() for text in texts], object),
    "tensor": tf.constant,
    "one input": lambda texts: [np.array(texts)],
}
if hasattr(np.dtypes, "StringDType"):
    FORMS["NumPy's strings"] = lambda texts: np.array(texts, np.dtypes.StringDType())


@pytest.fixture(scope="module")
def models():
    """By the number of words that texts are cut after."""
    return {length: text_classifier(vectorization(output_sequence_length=length), 3, **SMALL) for length in (None, 3)}


@pytest.fixture(scope="module")
def model(models):
    return models[None]


@pytest.mark.parametrize("form", FORMS)
def test_texts_come_in_every_form(model, form):
    texts, y = [*TEXTS, "naïve Müller, the dog"], np.array([0, 1, 2, 0, 1, 2])
    expected = model(strings(texts)).numpy()
    given = FORMS[form](texts)
    np.testing.assert_allclose(model.predict(given, verbose=0), expected, rtol=1e-5, atol=1e-7)
    loss = model.evaluate(given, y, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(-np.log(expected[np.arange(6), y]).mean(), rel=1e-5)


@pytest.mark.slow
def test_fit_learns_the_same_from_lists_columns_and_tensors():
    y = np.array([0, 1, 2, 0, 1])
    weights = []
    for form in ("tensor", "list", "column of objects", "one input"):
        model = text_classifier(vectorization(), 3, **{**SMALL, "cell": "simple"})
        given = FORMS[form](TEXTS)
        history = model.fit(given, y, validation_data=(given, y), batch_size=2, shuffle=False, verbose=0).history
        assert {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"} == set(history)
        weights.append(model.get_weights())
    for others in weights[1:]:
        for a, b in zip(weights[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_data_set_of_more_batches_than_one_call_takes_equals_arrays():
    texts = TEXTS * 14  # 70 texts: 32 batches in a call, then 3, the last of one text.
    y = np.arange(70) % 3
    one, other = (text_classifier(vectorization(), 3, learning_rate=0.01, **SMALL) for _ in range(2))
    assert one.steps_per_execution == 32
    one.fit(texts, y, batch_size=2, shuffle=False, verbose=0)
    other.fit(tf.data.Dataset.from_tensor_slices((texts, y)).batch(2), shuffle=False, verbose=0)
    assert one.optimizer.iterations == other.optimizer.iterations == 35
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        other.predict(tf.data.Dataset.from_tensor_slices(texts).batch(3), verbose=0),
        other.predict(texts, verbose=0),
        rtol=1e-5,
    )


@pytest.mark.slow
def test_a_part_is_split_off_for_validation():
    model = text_classifier(vectorization(), 3, **SMALL)
    history = model.fit(TEXTS * 2, np.arange(10) % 3, validation_split=0.2, verbose=0).history
    assert math.isfinite(history["val_loss"][0])


def test_weights_count(model):
    y, weight = np.array([0, 1, 2, 0, 1]), np.array([1.0, 0.0, 3.0, 0.5, 2.0])
    probability = model.predict(TEXTS, verbose=0)[np.arange(5), y]
    loss = model.evaluate(TEXTS, y, sample_weight=weight, verbose=0, return_dict=True)["loss"]
    # Keras divides by the number of samples.
    assert loss == pytest.approx(-(weight * np.log(probability)).mean(), rel=1e-5)


def test_weights_of_classes_are_those_of_their_samples():
    y = np.array([0, 1, 2, 0, 1])
    one, other = (text_classifier(vectorization(), 3, learning_rate=0.1, **SMALL) for _ in range(2))
    one.fit(TEXTS, y, class_weight={0: 1.0, 1: 3.0, 2: 0.5}, shuffle=False, verbose=0)
    other.fit(TEXTS, y, sample_weight=np.array([1.0, 3.0, 0.5])[y], shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("num_classes", "multilabel", "y"),
    [(2, False, np.array([0, 1, 0, 1, 0])), (3, False, np.arange(5) % 3), (3, True, np.eye(5, 3, dtype=int))],
)
def test_every_kind_of_class(num_classes, multilabel, y):
    model = text_classifier(vectorization(), num_classes, multilabel=multilabel, dropout=0.2, l2=0.01, **SMALL)
    history = model.fit(TEXTS, y, epochs=2, verbose=0).history
    assert set(history) == {"loss", "accuracy", "auc"}
    assert np.isfinite(list(history.values())).all()
    assert model.predict(TEXTS, verbose=0).shape == (5, 1 if num_classes == 2 else 3)


def test_the_order_of_words_is_learnt():
    """Two texts of the same words: both are told apart, which no count of words can."""
    texts, y = ["dog bites man", "man bites dog"] * 32, np.arange(64) % 2
    model = text_classifier(vectorization(), 2, embedding_dim=8, units=8, learning_rate=0.03, seed=0)
    model.fit(texts, y, epochs=20, verbose=0)
    np.testing.assert_allclose(model.predict(texts[:2], verbose=0)[:, 0], [0, 1], atol=0.1)


@pytest.mark.slow
def test_callbacks_and_records(tmp_path):
    model = text_classifier(vectorization(), 3, **SMALL)
    callbacks = [
        GradientClipping(global_norm=1.0),
        EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
        TrainingRecord(tmp_path / "record", seed=0),
    ]
    y = np.arange(5) % 3
    history = model.fit(TEXTS, y, epochs=2, validation_data=(TEXTS, y), callbacks=callbacks, verbose=0).history
    assert history["clipped_fraction"] is not None
    best = keras.models.load_model(tmp_path / "best.keras")
    assert best.evaluate(strings(TEXTS), y, verbose=0, return_dict=True)["loss"] == pytest.approx(
        min(history["val_loss"]), rel=1e-5
    )


# === Words cut once ===


def _trained(data, validation, xla=False, standardize="lower_and_strip_punctuation", **settings):
    """Gives the history and the weights of a model of texts of four words each."""
    layer = vectorization(output_sequence_length=4, standardize=standardize)
    model = text_classifier(layer, 3, learning_rate=0.01, **SMALL)
    calls_of(model).steps_worth_xla = 1 if xla else 10**6
    history = model.fit(*data, epochs=3, shuffle=False, verbose=0, validation_data=validation, **settings).history
    return history, model.get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
def test_texts_in_memory_train_as_those_of_a_data_set(xla):
    texts, y = [*TEXTS, "", "unheard"] * 2, np.arange(14) % 3
    data_set = tf.data.Dataset.from_tensor_slices((texts, y)).batch(4)
    expected, weights = _trained((data_set,), data_set)
    cut_by_a_function = _trained((texts, y), (texts, y), standardize=tf.strings.lower, batch_size=4, xla=xla)
    for validation in ((texts, y), (np.array(texts)[:, None], y), data_set):
        history, found = _trained((texts, y), validation, xla, batch_size=4)
        assert history.keys() == expected.keys()
        for name, values in history.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-6)
        for a, b in zip(found, weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    lower = strings(text.lower() for text in texts)  # Which leaves punctuation, as that function does.
    expected, _ = _trained((lower, y), (lower, y), standardize=None, batch_size=4)
    np.testing.assert_allclose(cut_by_a_function[0]["val_loss"], expected["val_loss"], rtol=1e-4)


@pytest.mark.slow
def test_epochs_after_the_first_cut_no_texts(monkeypatch):
    cuts, standardized = [], tf.strings.regex_replace

    def count(texts):
        cuts.append(len(texts))
        return standardized(texts, "!", "")

    def counted(texts, *others):
        return tf.ensure_shape(tf.py_function(count, [texts], tf.string), texts.shape)

    monkeypatch.setattr(tf.strings, "regex_replace", counted)
    model = text_classifier(vectorization(output_sequence_length=4), 3, check_data=False, **SMALL)
    model.fit(TEXTS, np.arange(5) % 3, batch_size=2, epochs=3, verbose=0)
    assert cuts == [5]
    model.evaluate(TEXTS, np.arange(5) % 3, verbose=0)
    assert cuts == [5, 5]


@pytest.mark.slow
def test_callbacks_read_texts_while_xla_trains(tmp_path):
    model, y, seen = text_classifier(vectorization(output_sequence_length=4), 3, **SMALL), np.arange(5) % 3, []
    calls_of(model).steps_worth_xla = 1

    def look(epoch, logs):
        data_set = tf.data.Dataset.from_tensor_slices((TEXTS, y)).batch(2)
        losses = [model.evaluate(*data, verbose=0)[0] for data in ((TEXTS, y), (data_set,))]
        np.testing.assert_allclose(model.predict(TEXTS, verbose=0), model(strings(TEXTS)), rtol=1e-5)
        np.testing.assert_allclose(model.predict_on_batch(TEXTS), model(strings(TEXTS)), rtol=1e-5)
        assert model.test_on_batch(TEXTS, y)[0] == pytest.approx(losses[0], rel=1e-5)
        seen.append((model.jit_compile, *losses))
        model.save(tmp_path / "model.keras")

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=look)]
    history = model.fit(TEXTS, y, epochs=2, validation_split=0.4, batch_size=2, callbacks=callbacks, verbose=0).history
    assert [xla for xla, *_ in seen] == [True, True]
    assert model.jit_compile is False
    loss, from_data_set = seen[-1][1:]
    assert loss == pytest.approx(from_data_set, rel=1e-5)
    loaded = kphys.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(TEXTS, y, verbose=0)[0] == pytest.approx(loss, rel=1e-5)
    last = model.evaluate(TEXTS[3:], y[3:], verbose=0)[0]
    assert last == pytest.approx(history["val_loss"][-1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
def test_batches_one_by_one_train_as_fit_does(xla):
    y = np.arange(5) % 3
    one, other = (text_classifier(vectorization(output_sequence_length=4), 3, **SMALL) for _ in range(2))
    calls_of(one).steps_worth_xla = calls_of(other).steps_worth_xla = 1 if xla else 10**6

    def batch_by_batch(epoch, logs):  # In a `fit` that changes nothing, through XLA or not.
        for start in range(0, 5, 2):
            other.train_on_batch(TEXTS[start : start + 2], y[start : start + 2])

    one.fit(TEXTS, y, batch_size=2, shuffle=False, verbose=0)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=batch_by_batch)]
    other.fit(TEXTS, y, sample_weight=np.zeros(5), batch_size=5, verbose=0, callbacks=callbacks)
    other_alone = text_classifier(vectorization(output_sequence_length=4), 3, **SMALL)
    for start in range(0, 5, 2):
        other_alone.train_on_batch(TEXTS[start : start + 2], y[start : start + 2])
    assert (one.optimizer.iterations, other.optimizer.iterations) == (3, 4)
    for a, b in zip(one.get_weights(), other_alone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The structure of .inputs. does")  # Keras expects a tensor.
def test_what_keras_takes_for_one_input_is_taken_where_words_are_cut_once(models):
    model, texts = models[3], strings(TEXTS)
    expected = model(texts).numpy()
    for given in ([texts], (texts,), {"texts": texts}):
        np.testing.assert_array_equal(model(given), expected)
    losses = [model.evaluate(x, Y, verbose=0)[0] for x in (TEXTS, {"texts": texts})]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The structure of .inputs. does")  # Keras expects a tensor.
def test_texts_that_are_not_cut_do_not_go_through_xla():
    model, named = text_classifier(vectorization(output_sequence_length=4), 3, **SMALL), {"texts": strings(TEXTS)}
    calls_of(model).steps_worth_xla = 1
    xla = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: xla.append(model.jit_compile))
    for x, validation in ((TEXTS, TEXTS), (TEXTS, named), (named, TEXTS)):
        model.fit(x, Y, validation_data=(validation, Y), callbacks=[look], verbose=0)
    assert xla == [True, False, False]


def test_numbers_in_place_of_texts_are_refused(models):
    numbers = np.ones((5, 3), "int32")
    data_set = tf.data.Dataset.from_tensor_slices((numbers, Y)).batch(5)
    for call in (
        lambda: models[3](tf.constant(numbers)),
        lambda: models[3].fit(data_set, shuffle=False, verbose=0),
        lambda: models[3].train_on_batch(numbers, Y),
    ):
        with pytest.raises((TypeError, ValueError, tf.errors.UnimplementedError)):  # Keras', but for the last call.
            call()


def test_words_beyond_the_table_are_refused():
    layer = vectorization(output_sequence_length=4)
    model = text_classifier(layer, 3, **SMALL)
    layer.set_vocabulary([*WORDS, "unheard", "of"])
    assert math.isfinite(model.evaluate(TEXTS[:4], Y[:4], verbose=0)[0])
    with pytest.raises(ValueError, match=r"knows 9 words by now, but the model has vectors of the 7 .* build it anew"):
        model.evaluate(["unheard"], Y[:1], verbose=0)


def test_two_models_may_have_one_vectorization():
    layer = vectorization(output_sequence_length=4)
    models = [text_classifier(layer, 3, **{**SMALL, "seed": seed}) for seed in (0, 1)]
    for model in models:
        expected = -np.log(model.predict(TEXTS, verbose=0)[np.arange(5), Y]).mean()
        assert model.evaluate(TEXTS, Y, verbose=0)[0] == pytest.approx(expected, rel=1e-5)


# === Files ===

ELSEWHERE = """
import json, sys
sys.modules["kphys"] = None  # Not installed here.
import keras, numpy as np, tensorflow as tf
model = keras.models.load_model(sys.argv[1])
texts = json.loads(sys.argv[3])
np.savez(sys.argv[2], model.predict(tf.constant(texts), verbose=0), model.predict(np.array(texts, object), verbose=0))
"""


@pytest.mark.slow
def test_its_file_takes_strings_where_kphys_is_not_installed(tmp_path):
    layer = keras.layers.TextVectorization()
    layer.adapt(["the naïve dog", "man bites dog"])
    model = text_classifier(layer, 3, dropout=0.1, bidirectional=True, layer_normalization=True, **SMALL)
    texts = [*TEXTS, "naïve", ""]
    model.save(tmp_path / "model.keras")
    run_python("-c", ELSEWHERE, tmp_path / "model.keras", tmp_path / "out.npz", json.dumps(texts))
    expected = model.predict(texts, verbose=0)
    for predicted in saved_arrays(tmp_path / "out.npz"):
        np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-7)


def test_training_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path):
    y = np.arange(5) % 3
    model = text_classifier(vectorization(), 3, **SMALL)
    model.fit(TEXTS, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = kphys.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_vocabulary() == ["", "[UNK]", *WORDS]
    for going_on in (model, loaded):
        going_on.fit(strings(TEXTS), y, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


MIRRORED = """
import sys
import keras, numpy as np, tensorflow as tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from kphys.models.texts import text_classifier
texts = ["dog bites man", "man bites dog", "the dog", "a man"] * 3
def train():
    layer = keras.layers.TextVectorization(vocabulary=["the", "dog", "bites", "man"])
    model = text_classifier(layer, 2, embedding_dim=3, units=4, optimizer="sgd", learning_rate=0.5, seed=0)
    arrays = texts, np.arange(12) % 2
    model.fit(*arrays, validation_data=arrays, batch_size=4, shuffle=False, epochs=2, verbose=0)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    model.fit(*arrays, batch_size=4, shuffle=False, verbose=0)
    return [*model.get_weights(), model.predict(texts, verbose=0)]
alone = train()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    together = train()
np.savez(sys.argv[1], *alone, *together)
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_does(tmp_path):
    run_python("-c", MIRRORED, tmp_path / "out.npz")
    arrays = saved_arrays(tmp_path / "out.npz")
    half = len(arrays) // 2
    for alone, together in zip(arrays[:half], arrays[half:], strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


# === What is refused ===

Y = np.array([0, 1, 2, 0, 1])
# name: (x, y, error, message)
BAD_TEXTS = {
    "numbers of words": (np.ones((5, 3), "int32"), Y, TypeError, "`x` must hold texts, strings, got dtype int32"),
    "numbers": (np.ones((5, 3)), Y, TypeError, "`x` must hold texts, strings, got dtype float64"),
    "None": ([*TEXTS[:4], None], Y, TypeError, r"got x\[4\] = None \(NoneType\): drop these samples, or write ''"),
    "NaN": (np.array([np.nan, *TEXTS[:4]], object), Y, TypeError, r"got x\[0\] = nan \(float\): drop"),
    "a number among texts": ([*TEXTS[:3], 7, "dog"], Y, TypeError, r"got x\[3\] = 7 \(int\): drop"),
    "lists of words": ([text.split() for text in TEXTS], Y, TypeError, r"got x\[0\] = \['the', .* \(list\)"),
    "two columns": (np.array([TEXTS, TEXTS]).T, Y, ValueError, r"shape \(samples,\), one text each, got \(5, 2\)"),
    "no texts": ([], Y[:0], ValueError, "at least one text"),
    "an empty array": (np.array(TEXTS)[:0], Y[:0], ValueError, r"at least one text, got an array of shape \(0,\)"),
    "one text": ("the dog", Y, TypeError, r"a list or an array of texts, got one text: pass \[x\]"),
    "no array": (np.array("the dog"), Y, ValueError, r"one text each, got \(\)"),
    "a foreign tongue": (
        ["der Hund", "", "beißt"],
        Y[:3],
        ValueError,
        "no word that `vectorization` knows, .*'the', '",
    ),
    "no labels": (TEXTS, None, ValueError, "`y` is missing: give one target for each of the 5 samples"),
    "other labels": (TEXTS, Y + 1, ValueError, "`num_classes` is 3, but the labels `y` hold class 3"),
    "labels of NaN": (TEXTS, np.where(Y == 1, np.nan, Y), ValueError, "`y` must be finite"),
    "lengths": (TEXTS, Y[:3], ValueError, "`x` and `y` must have the same length, got 5 and 3"),
    "one-hot labels": (TEXTS, np.eye(3)[Y], ValueError, r"looks one-hot: pass y\.argmax"),
}


@pytest.mark.parametrize("length", [None, 3])
@pytest.mark.parametrize("case", BAD_TEXTS)
def test_fit_and_evaluate_refuse(models, case, length):
    (x, y, error, message), model = BAD_TEXTS[case], models[length]
    before = model.optimizer.iterations.numpy()
    for method in (model.fit, model.evaluate):
        with pytest.raises(error, match=message):
            method(x, y, verbose=0)
    assert model.optimizer.iterations == before


def test_validation_data_and_weights_are_looked_through(model):
    with pytest.raises(TypeError, match=r"`validation_data\[0\]` must hold texts alone, strings, got .*\[1\] = None"):
        model.fit(TEXTS, Y, validation_data=(["dog", None], Y[:2]), verbose=0)
    with pytest.raises(ValueError, match=r"`validation_data\[0\]` holds no word"):
        model.fit(TEXTS, Y, validation_data=(["Hund"], Y[:1]), verbose=0)
    with pytest.raises(ValueError, match=r"labels `validation_data\[1\]` hold class 8"):
        model.fit(TEXTS, Y, validation_data=(["dog"], Y[:1] + 8), verbose=0)
    with pytest.raises(ValueError, match="`sample_weight` must hold one weight for every sample"):
        model.fit(TEXTS, Y, sample_weight=np.ones((5, 2)), verbose=0)


def test_predict_takes_texts_alone(model):
    with pytest.raises(TypeError, match="`x` must hold texts, strings, got dtype float64"):
        model.predict(np.ones(3), verbose=0)
    assert model.predict(["der Hund"], verbose=0).shape == (1, 3)


def test_the_check_can_be_left_out():
    model = text_classifier(vectorization(), 3, check_data=False, **SMALL)
    model.fit(np.array(["Hund", "Katze"]), np.array([0, 1]), verbose=0)


def test_unknown_words_are_looked_for_in_all_texts(model):
    model.evaluate(["Hund"] * 3000 + ["dog"], np.zeros(3001, int), batch_size=512, verbose=0)


Vectorization = keras.layers.TextVectorization
# name: (vectorization, further arguments, error, message)
BAD_ARGUMENTS = {
    "texts": (TEXTS, {}, TypeError, r"`vectorization` must be an adapted .*, got list: make one with .*adapt\(texts\)"),
    "its class": (Vectorization, {}, TypeError, "`vectorization` must be an adapted .*, got type"),
    "unadapted": (Vectorization(), {}, ValueError, r"must be adapted to texts first.*adapt\(texts\)"),
    "counts": (vectorization(output_mode="count"), {}, ValueError, "output_mode='count': make it with .*'int'"),
    "ragged": (vectorization(ragged=True), {}, ValueError, "ragged=True: make it with ragged=False"),
    "uncut": (vectorization(split=None), {}, ValueError, "got one with split=None: make it with split='whitespace'"),
    "one class": (vectorization(), {"num_classes": 1}, ValueError, "`num_classes` must be an integer of at least 2"),
    "embedding_dim": (vectorization(), {"embedding_dim": 0}, ValueError, "`embedding_dim` must be a positive integer"),
    "trainable_embedding": (
        vectorization(),
        {"trainable_embedding": "no"},
        TypeError,
        "`trainable_embedding` must be True or False, got 'no'",
    ),
    "cell": (vectorization(), {"cell": "lstmm"}, ValueError, "`cell` must be one of .* Did you mean 'lstm'"),
    "units": (vectorization(), {"units": ()}, ValueError, "`units` must hold at least one integer"),
    "dropout": (vectorization(), {"dropout": 1}, ValueError, "`dropout` must be a number of at least 0 and below 1"),
    "word_vectors": (
        vectorization(),
        {"word_vectors": np.ones((7, 3))},
        TypeError,
        r"`word_vectors` must be trained kphys\.WordVectors, got ndarray: train",
    ),
    "check_data": (vectorization(), {"check_data": 1}, ValueError, "`check_data` must be True or False, got 1"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_an_argument_is_refused(case):
    layer, options, error, message = BAD_ARGUMENTS[case]
    with pytest.raises(error, match=message):
        text_classifier(layer, **{"num_classes": 2, **options})


def test_word_vectors_that_do_not_fit_are_refused(vectors):
    with pytest.raises(ValueError, match="`embedding_dim` is 5, but `word_vectors` have 3 components: leave it out"):
        text_classifier(vectorization(), 2, word_vectors=vectors, embedding_dim=5)
    assert text_classifier(vectorization(), 2, word_vectors=vectors, embedding_dim=3, units=4).built
    with pytest.raises(ValueError, match="The vocabulary is empty: call `fit`"):
        text_classifier(vectorization(), 2, word_vectors=word_vectors(5, 3))
    others = keras.layers.TextVectorization(vocabulary=["Hund", "Katze"])
    with pytest.raises(
        ValueError, match="such as 'Hund', 'Katze', got vectors of others, such as 'man', 'muon', 'the'"
    ):
        text_classifier(others, 2, word_vectors=vectors)
