"""Adversarial networks: architecture, one step worked out by hand, guards and measures, then the house's promises."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from new_process import run_python, saved_arrays

from kphys.callbacks import EarlyStopping, GradientClipping, ImageLogger
from kphys.models._gan_parts import discriminator_loss, generator_loss
from kphys.models._guards import ReplayBuffer
from kphys.models.adversarial import (
    DCGAN,
    MinibatchStddev,
    ModeCoverage,
    dcgan,
    gaussian_mode_coverage,
    mode_coverage,
)

layers = keras.layers
GUARDS = (None, "minibatch_stddev")  # Of the longer tests everybody runs the row of "replay", the one with a state.
LOGS = {"generator_loss", "discriminator_loss", "real_accuracy", "fake_accuracy"}


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def pixels(shape=(24, 8, 8, 1), seed=0):
    return np.random.default_rng(seed).random(shape).astype("float32")


def small(**settings):
    return dcgan((8, 8, 1), 3, **{"filters": (2, 3), "kernel_size": 3, "seed": 3, **settings})


def linear(weights, units=1, **settings):
    """A linear network with given kernel and bias."""
    kernel, bias = (np.asarray(values, "float32") for values in weights)
    inputs = keras.Input((len(kernel),))
    layer = layers.Dense(units, **settings)
    network = keras.Model(inputs, layer(inputs))
    layer.set_weights([kernel, bias])
    return network


def dense_gan(guard=None, dropout=0.0, seed=0, **settings):
    """A GAN of vectors of two numbers."""
    spread = [MinibatchStddev()] if guard == "minibatch_stddev" else []

    def dense(units, activation=None, salt=0):
        return layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(seed + salt))

    generator = keras.Sequential([keras.Input((3,)), dense(6, "relu"), dense(2, salt=1)])
    drop = [layers.Dropout(dropout, seed=7)] if dropout else []
    discriminator = keras.Sequential([keras.Input((2,)), dense(6, "relu", 2), *drop, *spread, dense(1, salt=3)])
    model = DCGAN(generator, discriminator, mode_collapse_guard=guard, scale_pixels=False, seed=seed, **settings)
    model.compile()
    return model


def same(arrays, others, **tolerance):
    for a, b in zip(arrays, others, strict=True):
        np.testing.assert_allclose(b, a, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


def state(model):
    """All that the next step depends on."""
    optimizers = [variable.numpy() for variable in model.optimizer.variables]
    random = [variable.numpy() for variable in model.non_trainable_variables if "seed" in variable.path]
    return [*model.get_weights(), *optimizers, *random]


# === Architecture ===


@pytest.mark.parametrize(
    ("shape", "filters"),
    [
        ((28, 28, 1), (64, 128, 256)),
        ((32, 32, 3), (64, 128, 256)),
        ((64, 64, 3), (64, 128, 256, 512)),
        ((12, 20, 1), (64,)),
        ((7, 7, 1), (64,)),
        ((28, 30, 1), (64,)),  # Halved again, an even kernel would not come back to (14, 15).
    ],
    ids=str,
)
def test_keeps_to_the_guidelines(shape, filters):
    model = dcgan(shape, 5, seed=0)
    kinds = layers.Conv2DTranspose, layers.Conv2D, layers.BatchNormalization, layers.ReLU, layers.LeakyReLU
    made = {
        network.name: [layer for layer in network.layers if isinstance(layer, kinds)]
        for network in (model.generator, model.discriminator)
    }
    stages = len(filters)
    norm, relu, leaky = layers.BatchNormalization, layers.ReLU, layers.LeakyReLU
    expected = [norm, relu, *[layers.Conv2DTranspose, norm, relu] * (stages - 1), layers.Conv2DTranspose]
    assert [type(layer) for layer in made["generator"]] == expected
    expected = [layers.Conv2D, leaky, *[layers.Conv2D, norm, leaky] * (stages - 1)]
    assert [type(layer) for layer in made["discriminator"]] == expected
    assert [type(layer).__name__ for layer in model.generator.layers[:3]] == ["InputLayer", "Dense", "Reshape"]
    assert [type(layer).__name__ for layer in model.discriminator.layers[-2:]] == ["Flatten", "Dense"]

    convolutions = {name: [layer for layer in found if isinstance(layer, kinds[:2])] for name, found in made.items()}
    assert [layer.filters for layer in convolutions["discriminator"]] == list(filters)
    assert [layer.filters for layer in convolutions["generator"]] == [*filters[-2::-1], shape[-1]]
    for layer in [*convolutions["generator"], *convolutions["discriminator"]]:
        assert (layer.kernel_size, layer.strides, layer.padding) == ((4, 4), (2, 2), "same")
    assert all(layer.negative_slope == pytest.approx(0.2) for layer in made["discriminator"] if type(layer) is leaky)
    assert model.generator.layers[-1].activation is keras.activations.tanh
    assert model.discriminator.layers[-1].activation is keras.activations.linear
    # A normalization has a shift of its own.
    assert [layer.use_bias for layer in convolutions["discriminator"]] == [True] + [False] * (stages - 1)
    assert [layer.use_bias for layer in convolutions["generator"]] == [False] * (stages - 1) + [True]
    assert (model.generator.output_shape, model.discriminator.input_shape) == ((None, *shape), (None, *shape))


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("size", "kernel_size", "maps"),
    [
        ((28, 28), 4, [(14, 14), (7, 7), (4, 4)]),
        ((28, 28), 5, [(14, 14), (7, 7), (4, 4)]),
        ((27, 11), 4, [(14, 6), (7, 3), (4, 2)]),
        ((27, 28), 3, [(14, 14), (7, 7), (4, 4)]),
        ((7, 10), 5, [(4, 5), (2, 3), (1, 2)]),
    ],
    ids=str,
)
def test_the_generator_comes_back_to_odd_sizes(size, kernel_size, maps):
    model = dcgan((*size, 1), 2, filters=(2, 3, 4), kernel_size=kernel_size, seed=0)
    made = {
        kind: [layer.output.shape[1:3] for layer in network.layers if type(layer) is kind]
        for network, kind in ((model.discriminator, layers.Conv2D), (model.generator, layers.Conv2DTranspose))
    }
    assert made == {layers.Conv2D: maps, layers.Conv2DTranspose: [*maps[-2::-1], size]}
    x = np.random.default_rng(0).integers(0, 256, (4, *size, 1), "uint8")
    history = model.fit(x, verbose=0).history
    assert np.isfinite(history["generator_loss"]).all()


def test_weights_start_with_the_spread_of_the_guidelines():
    model = dcgan((32, 32, 1), 100, seed=0)
    kernels = [weight.numpy() for weight in model.trainable_weights if "kernel" in weight.path]
    scales = [weight.numpy() for weight in model.trainable_weights if "gamma" in weight.path]
    assert (len(kernels), len(scales)) == (8, 5)
    for values, mean in [(kernel, 0.0) for kernel in kernels] + [(scale, 1.0) for scale in scales]:
        # Five standard errors.
        assert values.mean() == pytest.approx(mean, abs=5 * 0.02 / math.sqrt(values.size))
        assert values.std() == pytest.approx(0.02, rel=5 / math.sqrt(2 * values.size))
    others = [weight.numpy() for weight in model.trainable_weights if not weight.path.endswith(("kernel", "gamma"))]
    assert all((values == 0).all() for values in others)


def test_has_the_weights_of_its_layers():
    generator = 3 * 2 * 2 * 3 + 4 * 3 + 9 * 3 * 2 + 4 * 2 + (9 * 2 + 1)
    discriminator = (9 + 1) * 2 + 9 * 2 * 3 + 4 * 3 + (12 + 1)
    model = small()
    assert (model.generator.count_params(), model.discriminator.count_params()) == (generator, discriminator)
    assert model.count_params() == generator + discriminator
    assert small(mode_collapse_guard="minibatch_stddev").count_params() == generator + discriminator + 4
    buffer = 1024 * 64 + 1
    assert small(mode_collapse_guard="replay").count_params() == generator + discriminator + buffer


def test_learns_by_the_optimizers_of_the_guidelines_unless_told_otherwise():
    model = small()
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert type(optimizer) is keras.optimizers.Adam
        assert (float(optimizer.learning_rate), optimizer.beta_1) == (pytest.approx(2e-4), 0.5)
    assert (model.jit_compile, model.steps_per_execution, model.label_smoothing) == (False, 32, 0)
    model = small(generator_optimizer="sgd", discriminator_optimizer=keras.optimizers.Adam(1e-3), label_smoothing=0.1)
    assert type(model.generator_optimizer) is keras.optimizers.SGD
    assert float(model.discriminator_optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.label_smoothing == 0.1
    assert (model.name, small(name="digits").name) == ("dcgan", "digits")


def test_a_step_moves_every_weight():
    model = small()
    start = [weight.numpy() for weight in model.trainable_weights]
    model.train_on_batch(pixels())
    for before, weight in zip(start, model.trainable_weights, strict=True):
        assert (before != weight.numpy()).any(), weight.path


# === Losses, and a step by hand ===


def test_the_losses_are_cross_entropies():
    real, fake = 3 * normal((7, 1)), 3 * normal((5, 1), 1)
    by_real, by_fake = (1 / (1 + np.exp(-logits.astype(float))) for logits in (real, fake))
    expected = -(0.9 * np.log(by_real) + 0.1 * np.log(1 - by_real)).mean() - np.log(1 - by_fake).mean()
    assert float(discriminator_loss(real, fake, 0.1)) == pytest.approx(expected, rel=1e-5)
    assert float(generator_loss(fake)) == pytest.approx(-np.log(by_fake).mean(), rel=1e-5)


def test_the_losses_stand_large_logits():
    large = np.array([[1e4], [-1e4]], "float32")
    assert float(discriminator_loss(large, large)) == pytest.approx(1e4)
    assert float(generator_loss(large)) == pytest.approx(5e3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_step_is_the_two_phases_worked_out_by_hand(smoothing, jit_compile):
    """G(z) = a z + b and D(x) = w x + c: all gradients in closed form, D's step before G's, on the same codes."""
    a, b, w, c, rate = 0.7, -0.4, 0.5, 0.1, 0.2
    model = DCGAN(linear([[[a]], [b]]), linear([[[w]], [c]]), scale_pixels=False, seed=11)
    model.compile(*(keras.optimizers.SGD(rate) for _ in range(2)), smoothing, jit_compile=jit_compile)
    x = normal((6, 1)) + 1
    logs = model.train_on_batch(x, return_dict=True)

    # XLA has a random generator of its own.
    draw = tf.function(tf.random.stateless_normal, jit_compile=jit_compile)
    z = np.asarray(draw((6, 1), (11, 0)), float)
    fake = a * z + b
    on_real, on_fake = w * x.astype(float) + c, w * fake + c
    by_real, by_fake = sigmoid(on_real) - 1 + smoothing, sigmoid(on_fake)  # dL/dlogit
    loss = np.mean(np.log1p(np.exp(-on_real)) + smoothing * on_real) + np.log1p(np.exp(on_fake)).mean()
    w, c = w - rate * ((by_real * x).mean() + (by_fake * fake).mean()), c - rate * (by_real.mean() + by_fake.mean())
    logits = w * fake + c
    by_logit = sigmoid(logits) - 1
    assert logs["discriminator_loss"] == pytest.approx(loss, rel=1e-5)
    assert logs["generator_loss"] == pytest.approx(np.log1p(np.exp(-logits)).mean(), rel=1e-5)
    assert logs["real_accuracy"] == pytest.approx((on_real > 0).mean())
    assert logs["fake_accuracy"] == pytest.approx((on_fake < 0).mean())
    assert 0 < logs["fake_accuracy"] < 1
    assert 0 < logs["real_accuracy"] <= 1
    same(model.discriminator.get_weights(), [[[w]], [c]])
    a, b = a - rate * (by_logit * w * z).mean(), b - rate * (by_logit * w).mean()
    same(model.generator.get_weights(), [[[a]], [b]])


def test_penalties_on_weights_count():
    def penalized(strength):
        penalty = keras.regularizers.L2(strength)
        model = DCGAN(
            linear([[[2.0]], [0.0]], kernel_regularizer=penalty),
            linear([[[3.0]], [0.0]], kernel_regularizer=penalty),
            scale_pixels=False,
            seed=0,
        )
        model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        model.train_on_batch(np.ones((4, 1)))
        return [network.get_weights()[0].item() for network in (model.discriminator, model.generator)]

    plain, penalized = penalized(0.0), penalized(0.01)
    # The gradient of λ w² is 2 λ w; D's own moves G's a little.
    assert penalized[0] == pytest.approx(plain[0] - 0.1 * 2 * 0.01 * 3, rel=1e-5)
    assert penalized[1] == pytest.approx(plain[1] - 0.1 * 2 * 0.01 * 2, abs=2e-3)


def test_real_and_fake_images_are_normalized_apart():
    """What batch normalization sees is each batch alone: its moving mean moves towards one, then the other, twice."""
    inputs = keras.Input((1,))
    normalized = layers.BatchNormalization(momentum=0.5)(inputs)
    discriminator = keras.Model(inputs, layers.Dense(1)(normalized))
    model = DCGAN(linear([[[0.0]], [8.0]]), discriminator, scale_pixels=False, seed=0)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    model.train_on_batch(np.full((4, 1), 2.0))
    mean = 0.0
    for seen in (2.0, 8.0, 8.0):
        mean = 0.5 * mean + 0.5 * seen
    np.testing.assert_allclose(discriminator.layers[1].moving_mean, [mean])


# === Units ===


def one_pixel(white_at=0.5):
    """A GAN of images of one pixel: D's logit is the pixel as it sees it, G's pixel is always the same."""
    inputs = keras.Input((2,))
    dense = layers.Dense(1, "tanh", kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(white_at))
    generator = keras.Model(inputs, layers.Reshape((1, 1, 1))(dense(inputs)))
    images = keras.Input((1, 1, 1))
    logit = layers.Dense(1, kernel_initializer="ones")(layers.Flatten()(images))
    model = DCGAN(generator, keras.Model(images, logit), seed=0)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    return model


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_images_go_in_and_come_out_the_same_way(dtype):
    values = np.array([0, 51, 127, 128, 255], dtype).reshape(-1, 1, 1, 1)
    values = values if dtype == "uint8" else values / 255
    model = one_pixel()
    logs = model.fit(values, batch_size=5, verbose=0).history
    seen = values.astype(float).ravel() * (2 / 255 if dtype == "uint8" else 2) - 1
    assert logs["real_accuracy"] == [pytest.approx(0.4)]
    expected = np.log1p(np.exp(-seen)).mean() + np.log1p(np.exp(np.tanh(0.5)))
    assert logs["discriminator_loss"] == [pytest.approx(expected, rel=1e-5)]
    assert model.evaluate(values, verbose=0, return_dict=True)["discriminator_loss"] == pytest.approx(expected)
    pixel = (np.tanh(0.5) + 1) / 2
    for images in (model.sample(3), model.predict(normal((3, 2)), verbose=0)):
        assert images.shape == (3, 1, 1, 1)
        assert images.dtype == ("uint8" if dtype == "uint8" else "float32")
        np.testing.assert_allclose(images.ravel(), round(255 * pixel) if dtype == "uint8" else pixel, rtol=1e-6)
    np.testing.assert_allclose(np.ravel(model(normal((3, 2)))), pixel, rtol=1e-6)


def test_the_last_training_says_what_comes_out(tmp_path):
    model, images = one_pixel(5.0), np.full((4, 1, 1, 1), 100, "uint8")
    assert model.sample(1).dtype == np.float32
    model.fit(tf.data.Dataset.from_tensor_slices(images).batch(2), shuffle=False, verbose=0)
    assert model.sample(1).dtype == np.uint8
    assert model.sample(1).item() == 255
    model.evaluate(images / 255, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").sample(1).dtype == np.uint8
    model.fit(images / 255, verbose=0)
    assert model.sample(1).dtype == np.float32


def test_other_data_stay_as_they_are():
    model = DCGAN(linear([[[0.0]], [70.0]]), linear([[[1.0]], [0.0]]), scale_pixels=False, seed=0)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    x = np.array([[-3.0], [400.0]])
    expected = (np.log1p(np.exp(3.0)) + 0) / 2 + 70
    for values in (x, np.array([[-3], [400]])):
        assert model.fit(values, verbose=0).history["discriminator_loss"] == [pytest.approx(expected, rel=1e-5)]
    np.testing.assert_allclose(model.sample(2), [[70], [70]])
    assert DCGAN(*model.layers[:2], scale_pixels=False).get_config()["scale_pixels"] is False


# === Guards ===


def test_the_spread_of_a_batch_is_numpys():
    x = normal((5, 4, 3, 2))
    given = np.asarray(MinibatchStddev()(x))
    assert given.shape == (5, 4, 3, 3)
    np.testing.assert_array_equal(given[..., :2], x)
    np.testing.assert_allclose(given[..., 2], np.full((5, 4, 3), x.std(axis=0).mean()), rtol=1e-5)
    assert MinibatchStddev().compute_output_shape((None, 4, 3, 2)) == (None, 4, 3, 3)


def test_the_spread_of_equal_samples_has_a_finite_gradient():
    x = tf.ones((4, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        given = MinibatchStddev()(x)
    np.testing.assert_allclose(given[:, 2], 1e-4, rtol=1e-3)
    assert np.isfinite(tape.gradient(given, x)).all()


def test_the_discriminator_sees_the_spread_before_its_last_layers():
    kinds = [type(layer).__name__ for layer in small(mode_collapse_guard="minibatch_stddev").discriminator.layers]
    assert kinds[-4:] == ["LeakyReLU", "MinibatchStddev", "Flatten", "Dense"]
    assert "MinibatchStddev" not in {type(layer).__name__ for layer in small().discriminator.layers}


def replay(capacity):
    buffer = ReplayBuffer(capacity)
    buffer.build((None, 1))
    return buffer, keras.random.SeedGenerator(0)


def test_the_buffer_keeps_one_fake_a_step_in_the_place_of_the_oldest():
    buffer, seed = replay(3)
    held = []
    for step in range(5):
        fakes = 10 * step + np.arange(4, dtype="float32")[:, None]
        shown = np.asarray(buffer.exchange(fakes, seed)).ravel()
        assert shown[:2].tolist() == fakes[2:].ravel().tolist()
        # Drawn from what is held before this step; at first nothing is, and all are new.
        assert set(shown[2:]) <= set(held or fakes[:2].ravel())
        held = [*held, 10 * step + 2][-3:]
        assert set(held) <= set(np.ravel(buffer.fakes))
        assert int(buffer.num_seen) == step + 1
    np.testing.assert_array_equal(np.ravel(buffer.fakes), [32, 42, 22])


def test_the_buffer_draws_all_that_it_holds_alike():
    buffer, seed = replay(5)
    for step in range(5):
        buffer.exchange(np.full((1, 1), step, "float32"), seed)
    shown = np.asarray(buffer.exchange(np.full((10_000, 1), 9, "float32"), seed)).ravel()
    assert (shown[:5000] == 9).all()
    counts = np.bincount(shown[5000:].astype(int), minlength=10)
    # Five standard errors.
    np.testing.assert_allclose(counts, [1000] * 5 + [0] * 5, atol=5 * math.sqrt(1000))


@pytest.mark.parametrize("number", [1, 3])
def test_the_buffer_takes_odd_batches(number):
    buffer, seed = replay(2)
    buffer.exchange(np.zeros((2, 1), "float32"), seed)
    shown = np.asarray(buffer.exchange(np.ones((number, 1), "float32"), seed)).ravel()
    assert shown.tolist() == [1.0] * (number - number // 2) + [0.0] * (number // 2)


def test_the_discriminator_is_shown_earlier_fakes_and_the_generator_learns_from_new_ones():
    """G(z) = b, always above D's border at 0; the buffer holds −5 from a step before."""
    model = DCGAN(
        linear([[[0.0]], [-5.0]]), linear([[[1.0]], [0.0]]), mode_collapse_guard="replay", replay_capacity=1,
        scale_pixels=False, seed=0,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    x = np.ones((4, 1))
    first = model.train_on_batch(x, return_dict=True)
    assert first["fake_accuracy"] == 1
    model.generator.layers[-1].set_weights([np.zeros((1, 1)), np.full(1, 3.0)])
    second = model.train_on_batch(x, return_dict=True)
    assert second["fake_accuracy"] == 0.5
    real = np.log1p(np.exp(-1.0))
    expected = real + (np.log1p(np.exp(3.0)) + np.log1p(np.exp(-5.0))) / 2
    assert second["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
    assert second["generator_loss"] == pytest.approx(np.log1p(np.exp(-3.0)), rel=1e-5)
    np.testing.assert_array_equal(np.ravel(model.replay.fakes), [3])


# === Measures ===


def test_coverage_counts_good_samples_of_every_class():
    probabilities = np.array([[0.95, 0.05, 0], [0.9, 0.1, 0], [0.05, 0.95, 0], [0.6, 0.4, 0], [0, 0.2, 0.8]])
    found = mode_coverage(np.arange(5.0)[:, None], lambda x: probabilities[x.ravel().astype(int)])
    assert found == ModeCoverage((2, 1, 0), 5)
    assert (found.num_modes, found.share_good) == (2, 0.6)
    assert found.entropy == pytest.approx(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))
    everything = mode_coverage(np.arange(5.0)[:, None], lambda x: probabilities, threshold=0)
    assert everything.counts == (3, 1, 1)
    assert str(found) == "2 of 3 modes, entropy 0.64 of 1.10 nats, 60.0% good samples"


def test_equal_classes_have_the_entropy_of_their_number():
    found = mode_coverage(np.arange(20)[:, None], lambda x: np.eye(10)[x.ravel() % 10])
    assert (found.num_modes, found.share_good, found.entropy) == (10, 1, pytest.approx(math.log(10)))


def test_no_good_sample_is_no_mode():
    found = mode_coverage(np.zeros((4, 1)), lambda x: np.full((4, 2), 0.5))
    assert (found.num_modes, found.share_good, found.entropy) == (0, 0, 0)


def test_coverage_asks_a_keras_classifier_of_two_classes():
    classifier = linear([[[50.0]], [0.0]], activation="sigmoid")
    found = mode_coverage(np.array([[-1.0], [1.0], [2.0], [0.0]]), classifier, batch_size=3)
    assert found == ModeCoverage((1, 2), 4)


def test_coverage_of_a_ring_counts_what_is_near_a_centre():
    centres = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    # At 2.9 and 3.1 widths, one exactly at a centre, one far from all.
    samples = np.array([[1.29, 0], [1, 0.31], [-1, 0], [-1, -0.29], [5, 5]])
    assert gaussian_mode_coverage(samples, centres, 0.1) == ModeCoverage((1, 2, 0), 5)
    assert gaussian_mode_coverage(samples, centres, 0.1, num_widths=4).counts == (2, 2, 0)


def test_the_mixture_itself_is_covered():
    angles = np.arange(8) * np.pi / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    generator = np.random.default_rng(0)
    samples = centres[generator.integers(8, size=20_000)] + 0.1 * generator.normal(size=(20_000, 2))
    found = gaussian_mode_coverage(samples, centres, 0.1)
    assert (found.num_modes, found.entropy) == (8, pytest.approx(math.log(8), abs=0.01))
    assert found.share_good == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # The radius is a Rayleigh variable.


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: mode_coverage(np.zeros((0, 2)), len), "`samples` must hold at least one sample"),
        (lambda: mode_coverage(np.full((2, 1), np.nan), len), "`samples` must be finite"),
        (lambda: mode_coverage(np.zeros((2, 1)), "cnn"), "`classifier` must be a Keras model or a function, got str"),
        (lambda: mode_coverage(np.zeros((2, 1)), lambda x: x[:, 0]), r"shape \(samples, classes\) for 2 .* got \(2,\)"),
        (lambda: mode_coverage(np.zeros((2, 1)), lambda x: np.ones((2, 3))), "must give probabilities.* sums 3 to 3"),
        (lambda: mode_coverage(np.zeros((2, 1)), lambda x: np.array([[2.0, -1]] * 2)), "must give probabilities"),
        (lambda: mode_coverage(np.zeros((2, 1)), lambda x: np.full((2, 2), np.nan)), "must give probabilities"),
        (lambda: mode_coverage(np.zeros((2, 1)), len, threshold=1.5), "`threshold` must be a probability"),
        (lambda: gaussian_mode_coverage(np.zeros((2, 3)), np.zeros((8, 2)), 0.1), r"got \(2, 3\) and \(8, 2\)"),
        (lambda: gaussian_mode_coverage(np.zeros((2, 2)), np.zeros((8, 2)), 0), "`width` must be a positive number"),
        (lambda: gaussian_mode_coverage(np.full((2, 2), np.inf), np.zeros((8, 2)), 1), "`samples` must be finite"),
    ],
)
def test_measures_refuse(ask, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ask()


# === Keras' promises ===


def test_fits_arrays_and_data_sets_with_and_without_validation():
    x = normal((24, 2))
    results = []
    for data, validation in (
        ({"x": x, "batch_size": 8}, x),
        ({"x": tf.data.Dataset.from_tensor_slices(x).batch(8)}, tf.data.Dataset.from_tensor_slices(x).batch(8)),
        ({"x": tf.data.Dataset.from_tensor_slices((x,)).batch(8)}, (x,)),
    ):
        model = dense_gan()
        settings = {"validation_batch_size": 8} if validation is x or isinstance(validation, tuple) else {}
        history = model.fit(**data, shuffle=False, validation_data=validation, epochs=2, verbose=0, **settings).history
        assert set(history) == LOGS | {f"val_{name}" for name in LOGS}
        results.append([history[key] for key in sorted(history)])
    same(results[0], results[1], rtol=1e-4)
    same(results[0], results[2], rtol=1e-4)
    split = dense_gan().fit(x, validation_split=0.25, verbose=0).history
    assert set(split) == LOGS | {f"val_{name}" for name in LOGS}


def test_logs_are_means_over_the_images_of_an_epoch_with_a_partial_last_batch():
    model = DCGAN(linear([[[0.0]], [0.0]]), linear([[[1.0]], [0.0]]), scale_pixels=False, seed=0)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    x = np.array([[1.0], [2.0], [3.0], [4.0], [-5.0]])
    expected = np.log1p(np.exp(-x)).mean() + np.log(2)
    logs = model.fit(x, batch_size=2, verbose=0).history
    assert logs["discriminator_loss"] == [pytest.approx(expected, rel=1e-5)]
    assert logs["real_accuracy"] == [pytest.approx(0.8)]
    assert model.evaluate(x, batch_size=2, verbose=0, return_dict=True)["discriminator_loss"] == pytest.approx(expected)


@pytest.mark.cases(1)
@pytest.mark.parametrize("guard", [None, "replay", "minibatch_stddev"])
def test_evaluate_gives_the_same_each_time_and_moves_nothing(guard):
    # One with batch normalization, which evaluation must not move either.
    model, x = (dense_gan(guard), normal((24, 2))) if guard else (small(), pixels())
    model.fit(x, batch_size=8, verbose=0)
    before = state(model)
    one, two = (model.evaluate(x, batch_size=8, verbose=0, return_dict=True) for _ in range(2))
    assert one == two
    assert set(one) == LOGS
    model.sample(3), model.predict(normal((4, 3)), verbose=0)
    for a, b in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluate_draws_other_codes_for_every_batch_and_smooths_as_in_training():
    model = DCGAN(linear([[[1.0]], [0.0]]), linear([[[1.0]], [0.5]]), scale_pixels=False, seed=0)
    model.compile("sgd", "sgd", 0.2)
    x = np.ones((8, 1))
    first, both = (model.evaluate(x[:n], batch_size=4, verbose=0, return_dict=True) for n in (4, 8))
    assert first["generator_loss"] != pytest.approx(both["generator_loss"], rel=1e-6)
    codes = np.asarray(tf.random.stateless_normal((4, 1), [0, 0]), float)
    expected = np.log1p(np.exp(-1.5)) + 0.2 * 1.5 + np.log1p(np.exp(codes + 0.5)).mean()
    assert first["discriminator_loss"] == pytest.approx(expected, rel=1e-5)
    assert first["generator_loss"] == pytest.approx(np.log1p(np.exp(-codes - 0.5)).mean(), rel=1e-5)


def test_samples_are_what_predict_makes_of_standard_normal_codes():
    model = DCGAN(linear([np.eye(2), [0.0, 0]], 2), linear([np.ones((2, 1)), [0.0]]), scale_pixels=False, seed=0)
    model.compile()
    images = model.sample(5000, seed=0)
    np.testing.assert_allclose([images.mean(axis=0), images.std(axis=0)], [[0, 0], [1, 1]], atol=0.07)
    np.testing.assert_array_equal(images, model.sample(5000, seed=0))
    assert (images[0] != model.sample(1)[0]).all()
    codes = normal((3, 2))
    np.testing.assert_allclose(model.predict(codes, verbose=0), codes, rtol=1e-6)
    assert (model.input_shape, model.latent_dim) == ((None, 2), 2)


def test_the_same_seed_builds_alike_and_another_does_not():
    one, again, other = (small(seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(*(model.trainable_weights for model in (one, again, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert "kernel" not in a.path or (a.numpy() != c.numpy()).all()
    assert one.seed == again.seed != other.seed


@pytest.mark.slow
def test_the_same_seed_trains_alike_and_another_does_not():
    x, models = normal((24, 2)), [dense_gan("replay", seed=seed) for seed in (1, 1, 2)]
    start = models[0].get_weights()
    for model in models:
        model.set_weights(start)
        model.fit(x, batch_size=8, shuffle=False, verbose=0)
    one, again, other = models
    same(state(one), state(again))
    assert all((a.numpy() != b.numpy()).any() for a, b in zip(one.weights[:4], other.weights[:4], strict=True))


@pytest.mark.slow
def test_works_with_the_callbacks(tmp_path):
    model, x = small(mode_collapse_guard="replay"), pixels()
    callbacks = [
        GradientClipping(global_norm=1e-3),
        EarlyStopping("val_generator_loss", patience=5, restore_best_weights=True),
        keras.callbacks.EarlyStopping("val_discriminator_loss", mode="min", patience=5),
        keras.callbacks.TensorBoard(tmp_path, write_graph=False, write_steps_per_second=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        keras.callbacks.ReduceLROnPlateau("generator_loss", mode="min"),
        ImageLogger(tmp_path / "images"),
    ]
    history = model.fit(x, batch_size=8, validation_data=x, epochs=2, callbacks=callbacks, verbose=0).history
    for name in ("generator", "discriminator"):
        assert np.isfinite(history[f"{name}_gradient_norm"]).all()
        assert history[f"{name}_clipped_fraction"] == [1.0, 1.0]
        assert history[f"{name}_skipped_steps"] == [0, 0]
    assert "gradient_norm" not in history
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert float(optimizer.learning_rate) == pytest.approx(2e-4 / 4)
    assert list(tmp_path.glob("train/events*"))
    assert list(tmp_path.glob("images/train/events*"))
    model.compile("sgd", "sgd")
    assert np.isfinite(model.fit(x, verbose=0).history["generator_loss"][0])


def test_clipping_bounds_the_step_of_each_network():
    models = [dense_gan() for _ in range(2)]
    x = 5 * normal((16, 2))
    for model, callbacks in zip(models, ([], [GradientClipping(global_norm=1e-3)]), strict=True):
        model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
        start = [network.get_weights() for network in (model.generator, model.discriminator)]
        model.fit(x, batch_size=16, callbacks=callbacks, verbose=0)
        steps = [
            math.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(network.get_weights(), before, strict=True)))
            for network, before in zip((model.generator, model.discriminator), start, strict=True)
        ]
        assert steps == [pytest.approx(1e-3, rel=1e-3)] * 2 if callbacks else min(steps) > 1e-2


def test_one_batch_a_call_where_a_callback_acts_on_batches():
    seen = []
    counting = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    small().fit(pixels(), batch_size=8, callbacks=[counting], verbose=0)
    assert seen == [0, 1, 2]


@pytest.mark.slow
def test_half_precision_stays_finite_and_scales_both_losses():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(mode_collapse_guard="minibatch_stddev")
    finally:
        keras.config.set_dtype_policy("float32")
    x = pixels()
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert type(optimizer) is keras.optimizers.LossScaleOptimizer
    start = [weight.numpy() for weight in model.trainable_weights]
    logs = model.fit(x, batch_size=8, epochs=8, verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
    assert any((a != b.numpy()).any() for a, b in zip(start, model.trainable_weights, strict=True))
    assert model.sample(2).dtype == np.float32
    assert model.discriminator.compute_dtype == "float16"


# === Files, processes, devices ===


def going_on_is_resuming(model, loaded, x):
    for going_on in (model, loaded):
        going_on.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    same(state(model), state(loaded))


@pytest.mark.cases(1)
@pytest.mark.parametrize("guard", ["replay", *(pytest.param(guard, marks=pytest.mark.slow) for guard in GUARDS)])
def test_a_file_keeps_settings_both_optimizers_buffer_and_noise(tmp_path, guard):
    x = np.round(255 * pixels()).astype("uint8")
    model = small(mode_collapse_guard=guard, label_smoothing=0.1, discriminator_optimizer="rmsprop", check_data=False)
    model.fit(x, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is DCGAN
    assert type(loaded.discriminator_optimizer) is keras.optimizers.RMSprop
    assert (loaded.mode_collapse_guard, loaded.label_smoothing, loaded.check_data) == (guard, 0.1, False)
    assert (loaded.name, loaded.jit_compile) == ("dcgan", False)
    for a, b in zip(state(model), state(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(optimizer.iterations == 3 for optimizer in loaded.optimizer.optimizers)
    assert guard != "replay" or int(loaded.replay.num_seen) == 3
    np.testing.assert_array_equal(loaded.sample(3, seed=0), model.sample(3, seed=0))
    assert loaded.evaluate(x, verbose=0) == pytest.approx(model.evaluate(x, verbose=0), rel=1e-5)
    going_on_is_resuming(model, loaded, x)


def test_a_file_of_weights_keeps_them_and_the_state_of_dropout(tmp_path):
    x = normal((32, 2))
    one, other = (dense_gan("replay", dropout=0.4, seed=seed, replay_capacity=2) for seed in (0, 1))
    one.fit(x, batch_size=8, shuffle=False, verbose=0)
    one.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(one._all_seed_generators()) == 2
    going_on_is_resuming(one, other, x)


@pytest.mark.slow
def test_a_killed_fit_goes_on_from_its_backup_as_if_nothing_had_happened(tmp_path):
    x = normal((32, 2))

    class Killed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def fit(folder, *callbacks):
        model = dense_gan("replay", dropout=0.4)
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path / folder), *callbacks]
        return model, model.fit(x, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        fit("killed", Killed())
    resumed, history = fit("killed")
    uninterrupted, _ = fit("another")
    assert history.epoch == [1, 2]
    same(state(uninterrupted), state(resumed))


def test_the_best_checkpoint_is_the_model_of_its_epoch(tmp_path):
    model, x = dense_gan(), normal((24, 2))
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_generator_loss", mode="min", save_best_only=True
    )
    losses = model.fit(x, batch_size=8, epochs=3, validation_data=x, verbose=0, callbacks=[checkpoint]).history
    best = keras.models.load_model(tmp_path / "best.keras").evaluate(x, batch_size=8, verbose=0, return_dict=True)
    assert best["generator_loss"] == pytest.approx(min(losses["val_generator_loss"]), rel=1e-4)


def new_process(code, *arguments, **environment):
    lines = [
        "import sys, keras, numpy as np, tensorflow as tf",
        "from kphys.models.adversarial import dcgan",
        "settings = dict(filters=(2, 3), kernel_size=3, seed=3, mode_collapse_guard='replay')",
        "x = np.random.default_rng(0).random((24, 8, 8, 1)).astype('float32')",
        *code,
    ]
    run_python("-c", "\n".join(lines), *arguments, **environment)


@pytest.mark.slow
def test_a_new_process_builds_the_same_and_goes_on_as_if_nothing_had_happened(tmp_path):
    x = pixels()
    model = small(mode_collapse_guard="replay")
    start = model.get_weights()
    model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    new_process(
        [
            "folder = sys.argv[1]",
            "np.savez(folder + '/built.npz', *dcgan((8, 8, 1), 3, **settings).get_weights())",
            "model = keras.models.load_model(folder + '/model.keras')",
            "np.savez(folder + '/answers.npz', model.sample(4, seed=0), model.evaluate(x, verbose=0))",
            "model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)",
            "np.savez(folder + '/resumed.npz', *model.get_weights())",
        ],
        tmp_path,
    )
    for a, b in zip(start, saved_arrays(tmp_path / "built.npz"), strict=True):
        np.testing.assert_array_equal(a, b)
    same([model.sample(4, seed=0), model.evaluate(x, verbose=0)], saved_arrays(tmp_path / "answers.npz"))
    model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    same(model.get_weights(), saved_arrays(tmp_path / "resumed.npz"))


@pytest.mark.slow
def test_trains_on_two_devices(tmp_path):
    new_process(
        [
            "device = tf.config.list_physical_devices('CPU')[0]",
            "tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)",
            "with tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']).scope():",
            "    model = dcgan((8, 8, 1), 3, **settings)",
            "start = model.get_weights()",
            "history = model.fit(x, batch_size=8, validation_data=x, verbose=0).history",
            "assert all(np.isfinite(value).all() for value in history.values())",
            "assert int(model.replay.num_seen.numpy()) == 3",
            "kept = [values.numpy() for values in model.replay.fakes.value.values]",
            "assert len(kept) == 2 and (kept[0][:3] != kept[1][:3]).mean() > 0.5",
            "model.save(sys.argv[1] + '/model.keras')",
            "np.savez(sys.argv[1] + '/samples.npz', model.sample(4, seed=0))",
            "for variable, before in zip(model.weights, start):",
            "    assert not variable.trainable or (before != variable.numpy()).any(), variable.path",
        ],
        tmp_path,
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    loaded = keras.models.load_model(tmp_path / "model.keras")
    same([loaded.sample(4, seed=0)], saved_arrays(tmp_path / "samples.npz"))


# === Bad input ===


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: dcgan((28, 28), 3), r"`image_shape` must be a tuple without the batch axis, \(height"),
        (lambda: dcgan((28, 0, 1), 3), r"`image_shape\[1\]` must be a positive integer, got 0"),
        (lambda: dcgan((27, 28, 1), 3), r"maps of \(27, 28\) pixels, .* an odd `kernel_size`, got 4: give 5, fewer"),
        (lambda: dcgan((1, 28, 1), 3, filters=2), "cannot be halved 1 times.*: after 0 a side has one pixel; .* pad"),
        (lambda: dcgan((6, 28, 1), 3), "cannot be halved once: height and width must be at least 7"),
        (lambda: dcgan((28, 28, 1), 3, filters=[8] * 6), "cannot be halved 6 times.*: after 5 a side has one pixel"),
        (lambda: dcgan((28, 28, 1), 0), "`latent_dim` must be a positive integer, got 0"),
        (lambda: small(kernel_size=1), "`kernel_size` must be an integer of at least 2, got 1"),
        (lambda: small(mode_collapse_guard="reply"), "`mode_collapse_guard` must be one of .* Did you mean 'replay'?"),
        (lambda: small(label_smoothing=1.0), "`label_smoothing` must be a number of at least 0 and below 1, got 1"),
        (lambda: small(label_smoothing=-0.1), "`label_smoothing` must be a number of at least 0 and below 1"),
        (lambda: small(seed=-1), "`seed` must be None or an integer"),
        (lambda: small(generator_optimizer=1e-3), "`generator_optimizer` must be None, a Keras optimizer or its name"),
        (lambda: small(discriminator_optimizer="adamm"), "`discriminator_optimizer` must be one of .* mean 'adam'"),
        (lambda: small(generator_optimizer=keras.optimizers.Adam(use_ema=True)), "set its ema_overwrite_frequency"),
        (lambda: small().compile(*[keras.optimizers.Adam()] * 2), "must be two.*make a second one"),
        (lambda: dense_gan(replay_capacity=5), "`replay_capacity` must be None with mode_collapse_guard=None, got 5"),
        (lambda: dense_gan("replay", replay_capacity=0), "`replay_capacity` must be a positive integer, got 0"),
    ],
)
def test_builders_refuse(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


CODE, SAMPLE = keras.Input((3,)), keras.Input((2,))
GENERATOR = keras.Model(CODE, layers.Dense(2)(CODE))
DISCRIMINATOR = keras.Model(SAMPLE, layers.Dense(1)(SAMPLE))
SQUASHED = keras.Model(CODE, layers.Dense(2, "sigmoid")(CODE))
SURE = keras.Model(SAMPLE, layers.Dense(1, "sigmoid")(SAMPLE))
TWO = keras.Model(SAMPLE, layers.Dense(2)(SAMPLE))


@pytest.mark.parametrize(
    ("networks", "settings", "error", "message"),
    [
        (("g", DISCRIMINATOR), {}, TypeError, "`generator` must be a Keras model, got str"),
        ((GENERATOR, keras.Sequential()), {}, ValueError, "`discriminator` must be a functional or Sequential model"),
        ((DISCRIMINATOR, DISCRIMINATOR), {}, ValueError, r"must take what `generator` gives, \(None, 1\), got .* 2\)"),
        ((GENERATOR, TWO), {}, ValueError, r"must give one logit a sample, \(None, 1\), got \(None, 2\)"),
        ((GENERATOR, SURE), {}, ValueError, "`discriminator` must give a logit.* leave out the last activation"),
        ((SQUASHED, DISCRIMINATOR), {}, ValueError, "`generator` must give pixels from −1 to 1.* end in tanh"),
        ((GENERATOR, DISCRIMINATOR), {"mode_collapse_guard": "minibatch_stddev"}, ValueError, "has no MinibatchStddev"),
        ((GENERATOR, DISCRIMINATOR), {"mode_collapse_guard": True}, TypeError, "`mode_collapse_guard` must be one of"),
        ((GENERATOR, DISCRIMINATOR), {"scale_pixels": 255}, ValueError, "`scale_pixels` must be True or False"),
    ],
)
def test_networks_that_do_not_fit_are_refused(networks, settings, error, message):
    with pytest.raises(error, match=message):
        DCGAN(*networks, **settings)


X = pixels((8, 8, 8, 1))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X * 255, ValueError, r"`x` must lie in \[0, 1\] for pixels that are not uint8.*Divide by 255"),
        (
            2 * X - 1,
            ValueError,
            r"`x` must lie in \[0, 1\] .*Rescale it, or build with DCGAN\(..., scale_pixels=False\)",
        ),
        (np.where(X > 0.5, np.nan, X), ValueError, "`x` must be finite in float32"),
        ((X > 0.5).astype("uint8"), ValueError, "`x` is uint8, whose white is 255, but holds nothing above 1"),
        (X[:0], ValueError, "`x` must hold at least one sample"),
        (X[0], ValueError, r"`x` must have the shape \(samples, 8, 8, 1\), got \(8, 8, 1\): one sample needs"),
        (X[..., 0], ValueError, r"`x` must have the shape .* got \(8, 8, 8\): add the last axis"),
        (X.astype(str), TypeError, "`x` must hold real numbers"),
    ],
    ids=["bytes", "tanh", "nan", "binary", "empty", "one image", "flat", "text"],
)
def test_bad_images_are_refused_before_anything_is_trained(x, error, message):
    model = small()
    start = model.get_weights()
    for ask in (model.fit, model.evaluate):
        with pytest.raises(error, match=message):
            ask(x)
    with pytest.raises(error, match=message.replace("`x`", "`validation_data`")):
        model.fit(X, validation_data=x, verbose=0)
    for a, b in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def data_set(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(4)


@pytest.mark.parametrize("check_data", [True, False])
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.fit(X, X), "A GAN learns from samples alone: give `x` without `y`"),
        (lambda m: m.fit(X, validation_data=(X, X)), r"give `validation_data\[0\]` without `validation_data\[1\]`"),
        (lambda m: m.fit(data_set(X, X), shuffle=False), "A GAN learns from samples alone"),
        (lambda m: m.fit(data_set(X, X, X[:, 0, 0]), shuffle=False), "A GAN learns from samples alone"),
        (lambda m: m.fit(X, sample_weight=np.ones(8)), "A GAN counts every sample once.* without `sample_weight`"),
        (lambda m: m.evaluate(X, sample_weight=np.ones(8)), "A GAN counts every sample once"),
        (lambda m: m.fit(X, validation_data=(X, None, np.ones(8))), r"without `validation_data\[2\]`"),
        (lambda m: m.fit(X, class_weight={0: 1.0}), "`class_weight` needs labels"),
        (lambda m: m.sample(0), "`n` must be a positive integer, got 0"),
        (lambda m: m.sample(2, seed=-1), "`seed` must be None or an integer"),
        (lambda m: m.predict(X, verbose=0), "incompatible"),
    ],
)
def test_the_model_refuses(ask, message, check_data):
    with pytest.raises(ValueError, match=message):
        ask(small(check_data=check_data))


def test_without_check_data_arrays_are_not_looked_through():
    assert np.isfinite(small(check_data=False).fit(X * 2, verbose=0).history["generator_loss"][0])
