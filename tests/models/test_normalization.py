"""Batch normalization as one kernel in a builder's `fit`: the numbers of Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

import kphys
from kphys.models._normalization import fused_normalization

Normalization = keras.layers.BatchNormalization


class Mine(Normalization):
    """A class of a user's."""


SHAPES = {"signals": (5, 3), "images": (4, 5, 3), "volumes": (2, 3, 4, 3), "one pixel": (1, 1, 3)}
FUSED = {
    "usual": Normalization,
    "last axis by number": lambda: Normalization(axis=3),
    "own numbers": lambda: Normalization(momentum=0.5, epsilon=1e-7),
    "no scale": lambda: Normalization(scale=False),
    "no center": lambda: Normalization(center=False),
    "penalized": lambda: Normalization(gamma_regularizer="l2", beta_constraint="non_neg"),
    "features of half the bits": lambda: Normalization(dtype="mixed_bfloat16"),
    "half the bits": lambda: Normalization(dtype="bfloat16"),
    "half the bits, in another way": lambda: Normalization(dtype="float16"),
    "weights of twice the bits": lambda: Normalization(dtype="float64", autocast=False),
}
OTHERS = {
    "first axis": lambda: Normalization(axis=1),
    "frozen": lambda: Normalization(trainable=False),
    "renormalized": lambda: Normalization(renorm=True),
    "twice the bits": lambda: Normalization(dtype="float64"),
    "a class of its own": Mine,
}


@pytest.fixture
def kernels(monkeypatch):
    """What the features of each traced kernel are."""
    found, kernel = [], tf.raw_ops.FusedBatchNormV3

    def noted(**arguments):
        found.append(arguments["x"])
        return kernel(**arguments)

    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", noted)
    return found


def network(shape, layer):
    """The layer between others, so that gradients of what comes in and of what it learns count."""
    inputs = keras.Input(shape)
    scaled = keras.layers.Dense(shape[-1], kernel_initializer=keras.initializers.GlorotUniform(0))(inputs)
    outputs = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(1))(layer(scaled))
    model = keras.Model(inputs, keras.layers.Flatten()(outputs))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def trained(shape, layer, fused, batch_size=4):
    x = np.random.default_rng(0).normal(2, 3, (12, *shape)).astype("float32")
    y = np.random.default_rng(1).normal(size=(12, int(np.prod(shape[:-1]))))
    model = network(shape, layer)
    with fused_normalization(model, xla=not fused):
        losses = model.fit(x, y, batch_size=batch_size, epochs=3, shuffle=False, verbose=0).history["loss"]
    return [*model.get_weights(), np.array(losses), model.predict(x, verbose=0)]


def assert_trains_as_keras(shape, make, batch_size=4, **tolerances):
    theirs = trained(shape, make(), False, batch_size)
    ours = trained(shape, make(), True, batch_size)
    for our, their in zip(ours, theirs, strict=True):
        assert_allclose(our, their, **{"rtol": 1e-4, "atol": 1e-5, **tolerances})


@pytest.mark.parametrize("shape", SHAPES)
def test_features_of_every_rank(shape, kernels):
    assert_trains_as_keras(SHAPES[shape], Normalization)
    assert len(kernels) == 1


@pytest.mark.parametrize("name", FUSED)
def test_every_setting(name, kernels):
    assert_trains_as_keras(SHAPES["images"], FUSED[name], **({"rtol": 0.02, "atol": 0.02} if "half" in name else {}))
    assert len(kernels) == 1


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_the_plain_formula_is_left_to_keras(name, kernels):
    assert_trains_as_keras(SHAPES["images"], OTHERS[name])
    assert not kernels


def test_vectors_are_left_to_keras(kernels):
    assert_trains_as_keras((3,), Normalization)
    assert not kernels


def test_a_batch_of_one_value_a_channel(kernels):
    assert_trains_as_keras(SHAPES["one pixel"], Normalization, batch_size=1)
    assert len(kernels) == 1


def test_a_hand_calculation():
    layer = Normalization(momentum=0.9, epsilon=1.0)
    model = keras.Sequential([keras.Input((2, 1, 1)), layer])
    layer.gamma.assign([3.0])
    layer.beta.assign([10.0])
    x = tf.reshape([1.0, 3.0, 5.0, 7.0], (2, 2, 1, 1))  # Mean 4, variance 5.
    with fused_normalization(model, xla=False):
        outputs = model(x, training=True)
    assert_allclose(np.ravel(outputs), 10 + 3 * np.array([-3, -1, 1, 3]) / np.sqrt(6), rtol=1e-6)
    assert_allclose(layer.moving_mean, [0.1 * 4], rtol=1e-6)
    assert_allclose(layer.moving_variance, [0.9 * 1 + 0.1 * 5], rtol=1e-6)


def test_values_far_from_zero():
    layer = Normalization()
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    x = np.random.default_rng(0).normal(1e4, 1, (16, 8, 8, 2)).astype("float32")
    with fused_normalization(model, xla=False):
        outputs = model(x, training=True)
    exact = (x.astype("float64") - x.mean((0, 1, 2), dtype="float64")) / x.std((0, 1, 2), dtype="float64")
    assert_allclose(outputs, exact, atol=2e-6 * 1e4)  # Some ten units in the last place of the mean.


def test_masked_steps_are_left_to_keras(kernels):
    layer = Normalization()
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Masking(), layer])
    x = np.array([[[1.0, 2.0], [3.0, 6.0], [0.0, 0.0]]], "float32")
    with fused_normalization(model, xla=False):
        model(x, training=True)
    assert_allclose(layer.moving_mean, [0.01 * 2, 0.01 * 4], rtol=1e-5)
    assert not kernels


def test_it_is_as_it_was_afterwards_and_xla_makes_its_own_kernel(kernels):
    model = network(SHAPES["images"], Normalization())
    layers = [dict(vars(layer)).keys() for layer in model.layers]
    with fused_normalization(model, xla=False), fused_normalization(model, xla=False):
        model(np.zeros((1, *SHAPES["images"]), "float32"), training=True)
    assert len(kernels) == 1
    assert [vars(layer).keys() for layer in model.layers] == layers
    with fused_normalization(model, xla=True):
        model(np.zeros((1, *SHAPES["images"]), "float32"), training=True)
    assert len(kernels) == 1


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_builders_have_it(method, kernels):
    model = kphys.cnn_classifier((8, 8, 1), 2, filters=(2, 2), batch_normalization=True, seed=0)
    normalizations = sum(type(layer) is Normalization and len(layer.input.shape) == 4 for layer in model.layers)
    x, y = np.random.default_rng(0).normal(size=(8, 8, 8, 1)), np.zeros(8)
    getattr(model, method)(x, y, **({"verbose": 0} if method == "fit" else {}))
    assert len(kernels) == normalizations > 0


def test_both_networks_of_a_dcgan_have_it(kernels):
    model = kphys.dcgan((8, 8, 1), 2, filters=(4, 4), seed=0)
    model.fit(np.random.default_rng(0).uniform(size=(8, 8, 8, 1)), verbose=0)
    assert {tensor.shape[-1] for tensor in kernels} == {4}
