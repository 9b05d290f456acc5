"""How the optimizers of builders' models change weights: Adam in one kernel, and each row of a table once."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python
from numpy.testing import assert_allclose

import kphys
from kphys.models._calls import calls_of
from kphys.models._updates import _update_as_adam

optimizers = keras.optimizers
ADAMS = {
    "Adam": lambda: optimizers.Adam(0.01),
    "own numbers": lambda: optimizers.Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-2),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)),
    "moving averages": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "accumulated": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "clipped": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=8.0),
}
OTHERS = {
    "writes otherwise": lambda: Held(0.01),
    "AMSGrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "a class of its own": lambda: MyAdam(0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "SGD": lambda: optimizers.SGD(0.01),
}


class MyAdam(optimizers.Adam):
    """Half of Adam's steps."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


class Held(optimizers.Adam):
    """Adam that never writes."""

    def assign_sub(self, variable, value):
        super().assign_sub(variable, 0 * value)


@pytest.fixture
def kernels(monkeypatch):
    """The variables that TensorFlow's kernel is traced for."""
    found, kernel = [], tf.raw_ops.ResourceApplyAdam

    def noted(**arguments):
        found.append(arguments["var"])
        return kernel(**arguments)

    monkeypatch.setattr(tf.raw_ops, "ResourceApplyAdam", noted)
    return found


def perceptron(optimizer):
    return kphys.mlp_classifier(3, 2, hidden_units=4, optimizer=optimizer, seed=0)


def fitted(model, x, y):
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]


def stock(model):
    """The same model and optimizer without anything of the house, and without XLA."""
    found = keras.Model.from_config(model.get_config())
    found.set_weights(model.get_weights())
    optimizer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model.optimizer), custom_objects={"MyAdam": MyAdam, "Held": Held}
    )
    found.compile(optimizer, keras.losses.BinaryCrossentropy(), jit_compile=False)
    return found


@pytest.mark.cases(2)
@pytest.mark.parametrize("name", [*ADAMS, *OTHERS])
def test_steps_are_those_of_keras(name, kernels):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 3)).astype("float32"), generator.integers(0, 2, (40, 1))
    model = perceptron({**ADAMS, **OTHERS}[name]())
    theirs = fitted(stock(model), x, y)
    assert not kernels
    ours = fitted(model, x, y)
    assert len(set(map(id, kernels))) == (4 if name in ADAMS else 0)
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert_allclose(our, their, rtol=2e-4, atol=2e-6)


def test_the_optimizer_is_as_it_was_afterwards_and_xla_makes_its_own_kernel(kernels):
    x, y = np.zeros((8, 3), "float32"), np.zeros(8)
    model = perceptron("adam")
    before = dict(vars(model.optimizer))
    calls_of(model).steps_worth_xla = 1
    model.fit(x, y, verbose=0)
    assert not kernels
    broken = perceptron("adam")
    with pytest.raises(ZeroDivisionError):
        broken.fit(x, y, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: 1 // 0)])
    assert len(kernels) == 4
    for each in (model, broken):
        assert vars(each.optimizer).keys() == before.keys()


# === Tables of vectors ===

CHARACTERS = np.array([[1, 1, 1, 2], [1, 2, 0, 1]])


def writer(optimizer):
    return kphys.char_rnn(4, units=3, embedding_dim=2, optimizer=optimizer, seed=0)


@pytest.mark.cases(1)
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(
    ("optimizer", "step"),
    [
        # The first step of each: with g the gradient of a row, all that its characters give together,
        (optimizers.Adam(0.01, epsilon=1e-12), 0.01),  # g / |g|,
        (optimizers.RMSprop(0.01, rho=0.99, epsilon=1e-24), 0.1),  # g / √((1 − ρ) g²),
        (optimizers.Adagrad(0.01, initial_accumulator_value=0.0, epsilon=1e-24), 0.01),  # g / √g².
    ],
)
def test_a_row_that_occurs_several_times_takes_one_step(optimizer, step, xla):
    model = writer(type(optimizer).from_config(optimizer.get_config()))
    calls_of(model).steps_worth_xla = None if xla else 100
    before = model.network.layers[1].get_weights()[0]
    model.fit(CHARACTERS, CHARACTERS, verbose=0)
    moved = np.abs(model.network.layers[1].get_weights()[0] - before)
    assert_allclose(moved, np.repeat([[step], [step], [step], [0]], 2, axis=1), rtol=1e-3)


def test_train_on_batch_takes_the_step_of_fit():
    fits, trains = (writer(optimizers.Adam(0.01)) for _ in range(2))
    fits.fit(CHARACTERS, CHARACTERS, verbose=0)
    trains.train_on_batch(CHARACTERS, CHARACTERS)
    for a, b in zip(fits.get_weights(), trains.get_weights(), strict=True):
        assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("clips", "size"),
    [({"clipnorm": 1e-3}, np.linalg.norm), ({"clipvalue": 1e-3}, lambda moved: np.abs(moved).max())],
)
def test_the_optimizers_own_clipping_sees_the_sum(clips, size):
    model = writer(optimizers.SGD(1.0, **clips))
    before = model.network.layers[1].get_weights()[0]
    x = np.ones((8, 16), int)  # 128 parts of one row.
    model.fit(x, x, verbose=0)
    assert size(model.network.layers[1].get_weights()[0] - before) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.cases(1)
@pytest.mark.parametrize("clips", [{}, {"clipnorm": 1.0}])
def test_simple_descent_writes_the_rows_that_occur(clips, monkeypatch):
    kinds, update = set(), optimizers.SGD.update_step

    def noted(self, gradient, variable, learning_rate):
        kinds.add(type(gradient))
        update(self, gradient, variable, learning_rate)

    monkeypatch.setattr(optimizers.SGD, "update_step", noted)
    writer(optimizers.SGD(0.1, **clips)).fit(CHARACTERS, CHARACTERS, verbose=0)
    assert (tf.IndexedSlices in kinds) == (not clips)


def test_numbers_of_64_bits_are_not_rounded():
    with_kernel, by_hand = np.zeros(3), np.zeros(3)
    gradient, m, v = np.array([1.0, -2.0, 1e-3]), 0, 0
    weights = keras.Variable(with_kernel, dtype="float64")
    optimizer = optimizers.Adam(0.0625)  # Exact in 32 bits, in which Keras keeps the rate.
    optimizer.build([weights])
    for step in range(1, 6):
        _update_as_adam(optimizer, tf.constant(gradient), weights.value, optimizer.learning_rate)
        optimizer.iterations.assign(step)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        by_hand -= 0.0625 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)
    assert_allclose(weights.numpy(), by_hand, rtol=1e-12)


REPLICAS = """
import keras, numpy as np, tensorflow as tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
import kphys

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = kphys.char_rnn(4, units=3, embedding_dim=2, optimizer=keras.optimizers.Adam(0.01, epsilon=1e-12), seed=0)
before = model.network.layers[1].get_weights()[0]
x = np.array([[1, 1, 1, 2], [1, 2, 0, 1]])
model.fit(x, x, verbose=0)
moved = np.abs(model.network.layers[1].get_weights()[0] - before)
np.testing.assert_allclose(moved, np.repeat([[0.01], [0.01], [0.01], [0]], 2, axis=1), rtol=1e-3)
"""


@pytest.mark.slow
def test_so_it_is_on_several_replicas():
    run_python("-c", REPLICAS)
