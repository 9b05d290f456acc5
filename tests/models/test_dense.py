"""The multilayer perceptrons: weights, layers and predictions against what can be worked out by hand."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from kphys import mlp_classifier, mlp_regressor


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def dense_layers(model):
    return [layer for layer in model.layers if isinstance(layer, layers.Dense)]


# === Size and order ===


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("hidden_units", [(7,), (100, 100), (5, 4, 3, 2, 1), (2,) * 8])
def test_the_number_of_weights_is_that_of_the_matrices_and_biases(hidden_units, outputs):
    widths = (6, *hidden_units, outputs)
    expected = sum((before + 1) * after for before, after in itertools.pairwise(widths))
    assert mlp_regressor(6, outputs, hidden_units=hidden_units).count_params() == expected


@pytest.mark.parametrize(
    ("num_classes", "multilabel", "activation", "width"),
    [(2, False, "sigmoid", 1), (3, False, "softmax", 3), (2, True, "sigmoid", 2), (1, True, "sigmoid", 1)],
)
def test_the_output_layer_belongs_to_the_task(num_classes, multilabel, activation, width):
    model = mlp_classifier(4, num_classes, multilabel=multilabel, hidden_units=3)
    assert model.output_shape == (None, width)
    assert model.layers[-1].activation.__name__ == activation


def test_a_hidden_layer_is_dense_normalization_activation_dropout():
    model = mlp_classifier(4, 3, hidden_units=(5, 6), activation="elu", batch_normalization=True, dropout=0.1)
    block = ["Dense", "BatchNormalization", "Activation", "Dropout"]
    assert kinds(model) == ["InputLayer", *block, *block, "Dense"]
    # The shift of the normalization takes the place of the bias.
    assert [layer.use_bias for layer in dense_layers(model)] == [False, False, True]
    assert model.count_params() == (4 * 5 + 4 * 5) + (5 * 6 + 4 * 6) + (6 * 3 + 3)


def test_nothing_is_added_that_was_not_asked_for():
    assert kinds(mlp_regressor(4, hidden_units=(5,))) == ["InputLayer", "Dense", "Activation", "Dense"]


@pytest.mark.parametrize("shape", [4, (4,), [4], np.int64(4)])
def test_one_axis_may_be_an_integer(shape):
    assert mlp_regressor(shape, hidden_units=2).input_shape == (None, 4)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 1, 3, 2, 2)])
def test_several_axes_are_flattened_in_order(shape):
    size = int(np.prod(shape))
    image, table = mlp_regressor(shape, hidden_units=5, seed=3), mlp_regressor(size, hidden_units=5, seed=3)
    x = random((6, *shape))
    np.testing.assert_allclose(image(x), table(x.reshape(6, size)), rtol=1e-6)


def test_the_name_is_the_builders_unless_given():
    assert mlp_classifier(2, 2, hidden_units=1).name == "mlp_classifier"
    assert mlp_regressor(2, hidden_units=1).name == "mlp_regressor"
    assert mlp_regressor(2, hidden_units=1, name="mass").name == "mass"


# === Predictions by hand ===

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.2 * z),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_prediction_is_the_chain_of_matrices_and_activations(activation):
    model = mlp_classifier(4, 3, hidden_units=(6, 5), activation=activation, seed=0)
    model.set_weights([random(w.shape, index) for index, w in enumerate(model.get_weights())])
    *hidden, (w, b) = np.array(model.get_weights(), dtype=object).reshape(3, 2)
    h = x = random((10, 4))
    for matrix, bias in hidden:
        h = ACTIVATIONS[activation](h @ matrix + bias)
    expected = np.exp(h @ w + b)
    np.testing.assert_allclose(model(x), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_an_activation_may_be_the_function():
    by_name, by_function = (mlp_regressor(3, activation=a, seed=0) for a in ("gelu", keras.activations.gelu))
    np.testing.assert_array_equal(by_name(random((5, 3))), by_function(random((5, 3))))
    assert by_function.get_layer("hidden_1").kernel_initializer.__class__ is keras.initializers.HeNormal


# === Where the weights start ===


@pytest.mark.parametrize(
    ("activation", "initializer", "variance"),
    [
        ("relu", "HeNormal", 2 / 200),
        ("leaky_relu", "HeNormal", 2 / 200),
        ("elu", "HeNormal", 2 / 200),
        ("gelu", "HeNormal", 2 / 200),
        ("silu", "HeNormal", 2 / 200),
        ("selu", "LecunNormal", 1 / 200),
        ("tanh", "GlorotUniform", 2 / (200 + 1000)),
        ("sigmoid", "GlorotUniform", 2 / (200 + 1000)),
        ("softplus", "GlorotUniform", 2 / (200 + 1000)),
    ],
)
def test_the_initializer_belongs_to_the_activation(activation, initializer, variance):
    hidden = mlp_regressor(200, hidden_units=1000, activation=activation, seed=0).get_layer("hidden_1")
    assert type(hidden.kernel_initializer).__name__ == initializer
    # 200,000 weights: their standard deviation is known to 0.16 %.
    assert np.std(hidden.kernel) == pytest.approx(np.sqrt(variance), rel=0.01)
    assert not np.any(hidden.bias)


def test_the_output_layer_starts_as_glorot_has_it():
    outputs = mlp_classifier(3, 500, hidden_units=400, seed=0).get_layer("outputs")
    assert np.std(outputs.kernel) == pytest.approx(np.sqrt(2 / 900), rel=0.01)


def test_layers_do_not_start_alike():
    first, second, third = (layer.kernel.numpy() for layer in dense_layers(mlp_regressor(4, 4, hidden_units=(4, 4))))
    assert not np.allclose(first, second)
    assert not np.allclose(second / second.std(), third / third.std())


@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.int64(7)])
def test_the_same_seed_starts_alike_and_another_does_not(seed):
    one, same, other = (mlp_regressor(4, dropout=0.1, seed=s).get_weights() for s in (seed, seed, 3))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_a_seed_leaves_the_global_random_state_alone():
    keras.utils.set_random_seed(1)
    before = np.random.get_state()[1].copy()
    free = [mlp_regressor(4, hidden_units=3).get_weights()[0] for _ in range(2)]
    mlp_regressor(4, hidden_units=3, seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert not np.array_equal(*free)


# === Regularization ===


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_the_penalty_is_that_of_the_hidden_matrices(l1, l2):
    model = mlp_classifier(4, 3, hidden_units=(6, 5), l1=l1, l2=l2, seed=0)
    model.set_weights([random(w.shape, index) for index, w in enumerate(model.get_weights())])
    matrices = [layer.kernel.numpy() for layer in dense_layers(model)[:-1]]
    expected = sum(l1 * np.abs(w).sum() + l2 * (w**2).sum() for w in matrices)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_without_a_penalty_there_is_none():
    assert mlp_regressor(4).losses == []


@pytest.mark.parametrize(("activation", "kind"), [("relu", layers.Dropout), ("selu", layers.AlphaDropout)])
def test_dropout_keeps_what_belongs_to_the_activation_and_rests_in_prediction(activation, kind):
    arguments = {"hidden_units": (50, 50), "activation": activation, "seed": 0}
    plain, dropping = mlp_regressor(4, **arguments), mlp_regressor(4, dropout=0.5, **arguments)
    drops = [layer for layer in dropping.layers if type(layer) is kind]
    assert [layer.rate for layer in drops] == [0.5, 0.5]
    assert drops[0].seed != drops[1].seed
    dropping.set_weights(plain.get_weights())
    x = random((8, 4))
    np.testing.assert_array_equal(dropping(x), plain(x))
    assert not np.allclose(dropping(x, training=True), plain(x))


def test_alpha_dropout_keeps_mean_and_variance():
    layer = layers.AlphaDropout(0.2, seed=0)
    dropped = np.asarray(layer(random((1000, 200)), training=True))
    assert dropped.mean() == pytest.approx(0, abs=0.01)
    assert dropped.std() == pytest.approx(1, abs=0.01)


def test_batch_normalization_normalizes_the_batch_before_the_activation():
    model = mlp_regressor(4, hidden_units=5, batch_normalization=True, activation="linear", seed=0)
    normalize = model.get_layer("hidden_1_normalization")
    x = random((64, 4))
    z = x @ model.get_layer("hidden_1").kernel.numpy()
    expected = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + normalize.epsilon)
    seen = keras.Model(model.input, normalize.output)(x, training=True)
    np.testing.assert_allclose(seen, expected, rtol=1e-3, atol=1e-4)


# === Normalization in ===


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_normalization_scales_the_features_inside_the_model(shape):
    raw = random((200, *shape)) * np.array([1e3, 1e-2, 5.0], "float32") + np.array([1e4, 0, -7], "float32")
    normalization = layers.Normalization()
    normalization.adapt(raw)
    axes = tuple(range(len(shape)))
    scaled = (raw - raw.mean(axis=axes, dtype=float)) / raw.std(axis=axes, dtype=float)
    plain = mlp_regressor(shape, hidden_units=5, seed=0)
    normalizing = mlp_regressor(shape, hidden_units=5, normalization=normalization, seed=0)
    np.testing.assert_allclose(normalizing(raw), plain(scaled.astype("float32")), rtol=1e-3, atol=1e-4)


def test_normalization_by_given_moments():
    normalization = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])
    plain = mlp_regressor(2, hidden_units=5, seed=0)
    normalizing = mlp_regressor(2, hidden_units=5, normalization=normalization, seed=0)
    x = random((10, 2))
    expected = plain((x - np.array([1, 2], "float32")) / np.array([2, 3], "float32"))
    np.testing.assert_allclose(normalizing(x), expected, rtol=1e-5)


# === Optimizers ===


def learning_rate(**arguments):
    return float(mlp_regressor(2, hidden_units=1, **arguments).optimizer.learning_rate)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", "Adam"), ("SGD", "SGD"), ("RMSprop", "RMSprop"), ("adamw", "AdamW"), ("lion", "Lion")]
)
def test_an_optimizer_is_taken_by_its_name(name, kind):
    optimizer = mlp_regressor(2, hidden_units=1, optimizer=name).optimizer
    assert type(optimizer) is getattr(keras.optimizers, kind)
    # Its own learning rate where none is given.
    assert float(optimizer.learning_rate) == pytest.approx(
        float(getattr(keras.optimizers, kind)().learning_rate), rel=1e-6
    )


def test_a_learning_rate_is_given_to_the_named_optimizer():
    assert learning_rate(learning_rate=0.25) == 0.25
    assert learning_rate(optimizer="sgd", learning_rate=3) == 3.0


def test_a_schedule_is_given_to_the_named_optimizer():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=1, decay_rate=0.5)
    model = mlp_regressor(1, hidden_units=1, optimizer="sgd", learning_rate=schedule)
    assert float(model.optimizer.learning_rate) == 0.5
    model.optimizer.iterations.assign(2)
    assert float(model.optimizer.learning_rate) == 0.125


def test_an_optimizer_object_is_the_models_own():
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    assert mlp_regressor(2, hidden_units=1, optimizer=optimizer).optimizer is optimizer


def test_an_optimizer_object_keeps_its_own_learning_rate():
    with pytest.raises(ValueError, match=r"`learning_rate` must be None with an optimizer .* got 0\.1"):
        mlp_regressor(2, optimizer=keras.optimizers.Adam(), learning_rate=0.1)
