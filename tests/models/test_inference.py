"""Calls of microseconds: what they answer, of which weights, and what they refuse."""

import keras
import numpy as np
import pytest

import kphys
from kphys.models._forward import in_numpy
from kphys.models.inference import fast_call

SCALE = {"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 0.25]}


def scaled():
    into = keras.layers.Normalization(**SCALE)
    out = keras.layers.Normalization(mean=[7.0], variance=[9.0])
    return kphys.mlp_regressor(3, hidden_units=4, normalization=into, target_normalization=out, seed=0)


# name: (model, whether NumPy can do it)
MODELS = {
    "mlp": (lambda: kphys.mlp_classifier(3, 4, hidden_units=(5, 4), dropout=0.5, seed=0), True),
    "images": (lambda: kphys.mlp_classifier((4, 5), 2, hidden_units=5, batch_normalization=True, seed=0), True),
    "tanh": (lambda: kphys.mlp_classifier(3, 2, hidden_units=5, activation="tanh", seed=0), True),
    "selu": (lambda: kphys.mlp_classifier(3, 2, hidden_units=5, activation="selu", seed=0), False),
    "units": (scaled, True),
    "variances": (lambda: kphys.mlp_regressor(3, loss="gaussian_nll", hidden_units=4, seed=0), False),
    "cnn": (lambda: kphys.cnn_classifier((12, 12, 1), 3, filters=(2,), hidden_units=4, seed=0), False),
    "periodic": (lambda: kphys.cnn_regressor((8, 8, 1), filters=(2,), periodic=True, seed=0), False),
    "lstm": (lambda: kphys.rnn_classifier((5, 2), 2, units=3, seed=0), False),
    "any length": (lambda: kphys.rnn_regressor((None, 2), units=3, return_sequences=True, seed=0), False),
    "autoencoder": (lambda: kphys.autoencoder((4, 4), 2, hidden_units=(6,), noise=0.5, seed=0), False),
    "encoder": (lambda: kphys.autoencoder(6, 2, hidden_units=(5,), seed=0).encoder, True),
    "decoder": (lambda: kphys.vae((4, 4), 2, hidden_units=(6,), seed=0).decoder, False),
    "dcgan": (lambda: kphys.dcgan((28, 28, 1), 3, filters=(4, 2), seed=0), False),
    "dqn": (lambda: kphys.dqn(3, 2, hidden_units=5, seed=0).q_network, True),
}


def shifted(model):
    """Moves every weight away from its start: biases and moving means would be 0."""
    generator = np.random.default_rng(1)
    numbers = [variable for variable in model.variables if variable.dtype == "float32"]
    for variable in numbers:
        variable.assign(variable.numpy() + generator.uniform(0.1, 0.3, variable.shape))
    return model


def samples(model, number=5):
    shape = model.input_shape if hasattr(model, "input_shape") else model.encoder.input_shape
    return np.random.default_rng(0).normal(size=(number, *(size or 6 for size in shape[1:]))).astype("float32")


def dense_chain(middle, shape=(4, 3), **settings):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Dense(2, "sigmoid")(keras.layers.Flatten(**settings)(middle(inputs))))


def two_outputs(form):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, "tanh")(inputs)
    return keras.Model(inputs, form(hidden, keras.layers.Dense(2)(hidden)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: two_outputs(lambda hidden, last: [hidden, last]),
        lambda: two_outputs(lambda hidden, last: {"last": last}),
        lambda: two_outputs(lambda hidden, last: hidden),
        lambda: dense_chain(keras.layers.BatchNormalization(axis=1), (3, 3)),
        lambda: dense_chain(keras.layers.BatchNormalization()),
        lambda: dense_chain(keras.layers.Activation("relu"), data_format="channels_first"),
    ],
    ids=["list", "dict", "inner", "first-axis", "last-axis", "channels-first"],
)
def test_chains_that_are_not_plain_are_answered_too(build):
    model = shifted(build())
    x = samples(model)
    expected, found = model.predict(x, verbose=0), fast_call(model)(x)
    keras.tree.assert_same_structure(expected, found)
    for a, b in zip(keras.tree.flatten(expected), keras.tree.flatten(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_small_probabilities_are_not_zero():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")])
    x = np.array([[-80.0], [-20.0], [0.0], [20.0], [80.0]], "float32")
    np.testing.assert_allclose(fast_call(model)(x), 1 / (1 + np.exp(-x.astype("float64"))), rtol=1e-5)


def test_a_quantized_network_is_answered_as_it_predicts():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.layers[0].quantize("int8")
    x = samples(model)
    np.testing.assert_allclose(fast_call(model)(x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", MODELS)
def test_answers_as_predict_does(name):
    build, numpy_can = MODELS[name]
    model = shifted(build())
    x = samples(model)
    answer = fast_call(model)
    expected = model.predict(x, verbose=0)
    kept = x.copy()
    for found, wanted in zip(keras.tree.flatten(answer(x)), keras.tree.flatten(expected), strict=True):
        assert isinstance(found, np.ndarray)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(keras.tree.flatten(answer(x[2])), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(found, wanted[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(x, kept)
    assert (in_numpy(model) is not None) == numpy_can


@pytest.mark.parametrize("name", ["images", "cnn"])
def test_the_weights_are_those_of_the_moment(name):
    model = MODELS[name][0]()
    x = samples(model)
    before, answer = model.predict(x, verbose=0), fast_call(model)
    shifted(model)
    np.testing.assert_allclose(answer(x), before, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast_call(model)(x), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_answers_to_texts_and_to_lists():
    words = keras.layers.TextVectorization(output_sequence_length=4)
    words.adapt(["a muon", "an electron"])
    model = kphys.text_classifier(words, 2, embedding_dim=3, units=2, seed=0)
    texts = np.array(["a muon", "nothing"], dtype=object)
    answer = fast_call(model)
    np.testing.assert_allclose(
        answer(["a muon", "nothing"]), model(texts[:, None] if len(model.input_shape) > 1 else texts), rtol=1e-5
    )
    assert answer("a muon").shape == (1,)
    assert fast_call(MODELS["mlp"][0]())([1, 2, 3]).shape == (4,)


def test_half_precision_is_not_left_for_numpy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = MODELS["mlp"][0]()
    finally:
        keras.config.set_dtype_policy("float32")
    assert in_numpy(model) is None
    np.testing.assert_allclose(fast_call(model)(samples(model)), model.predict(samples(model), verbose=0), rtol=0.02)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_refuses_samples_of_another_shape(name):
    model = MODELS[name][0]()
    answer = fast_call(model)
    wanted = r"\(3\)" if name == "mlp" else r"\(12, 12, 1\)"
    for wrong in (
        1.0,
        np.zeros((2, 2)),
        np.zeros((0, *model.input_shape[1:])),
        np.zeros((1, 1, *model.input_shape[1:])),
    ):
        with pytest.raises(ValueError, match=rf"`samples` must have the shape {wanted}.* first axis, got"):
            answer(wrong)


def test_refuses_what_has_no_one_input():
    with pytest.raises(TypeError, match="`model` must be a Keras model, got int"):
        fast_call(5)
    inputs = [keras.Input((2,)), keras.Input((2,))]
    two = keras.Model(inputs, keras.layers.Add()(inputs))
    for model in (two, keras.Sequential([keras.layers.Dense(2)]), kphys.seq2seq(5, 5, units=2)):
        with pytest.raises(ValueError, match="`model` must be built and have one input of known shape, got"):
            fast_call(model)
