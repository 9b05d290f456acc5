"""The autoencoders against principal components, sums by hand and themselves."""

import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from kphys.callbacks import EarlyStopping, GradientClipping
from kphys.models._codes import CodePenalty
from kphys.models._tied import TiedConvolution
from kphys.models.autoencoders import (
    Autoencoder,
    autoencoder,
    classifier_from_encoder,
    conv_autoencoder,
    pretrain_layerwise,
)


def random(shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype("float32")


def eager(model):
    """The model without its graph: compiling one would cost more than the few steps of these tests."""
    model.run_eagerly = True
    return model


def small(**options):
    return eager(autoencoder(6, 2, **{"hidden_units": (4,), "seed": 0, **options}))


def identity(width, **options):
    """An autoencoder that gives back what it gets."""
    parts = []
    for _ in range(2):
        part = keras.Sequential([keras.Input((width,)), keras.layers.Dense(width)])
        part.set_weights([np.eye(width), np.zeros(width)])
        parts.append(part)
    return Autoencoder(*parts, **options)


def adapted(x, **options):
    layer = keras.layers.Normalization(**options)
    layer.adapt(x)
    return layer


def same_weights(a, b, **tolerance):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


# === Principal components ===


@pytest.mark.cases(1)
@pytest.mark.parametrize(("tied_weights", "hidden_units"), [(False, ()), (True, ()), (True, (5,))])
def test_linear_units_find_the_principal_components(tied_weights, hidden_units):
    generator = np.random.default_rng(0)
    scales = np.array([3.0, 2.0, 1.0, 0.7, 0.5, 0.3])
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    x = (generator.normal(size=(512, 6)) * scales @ rotation + 1.5).astype("float32")
    keras.utils.set_random_seed(0)
    model = autoencoder(
        6,
        2,
        hidden_units=hidden_units,
        activation="linear",
        tied_weights=tied_weights,
        learning_rate=keras.optimizers.schedules.CosineDecay(0.02, 4 * 512),
        seed=0,
    )
    model.fit(np.tile(x, (32, 1)), epochs=4, verbose=0)
    exact = PCA(2).fit(x)
    best = np.mean((exact.inverse_transform(exact.transform(x)) - x) ** 2)
    error = model.evaluate(x, verbose=0, return_dict=True)["mse"]
    assert best * (1 - 1e-4) <= error <= 1.01 * best
    spanned = model.decode(np.eye(2)) - model.decode(np.zeros((2, 2)))
    assert np.degrees(subspace_angles(spanned.T, exact.components_.T)).max() < 2


# === Sizes ===


@pytest.mark.parametrize("hidden_units", [(), (7,), (9, 5)])
def test_weights_of_dense_layers(hidden_units):
    widths = (6, *hidden_units, 3)
    matrices = sum(a * b for a, b in itertools.pairwise(widths))
    biases = sum(widths[1:]) + sum(widths[:-1])
    assert autoencoder(6, 3, hidden_units=hidden_units).count_params() == 2 * matrices + biases
    assert autoencoder(6, 3, hidden_units=hidden_units, tied_weights=True).count_params() == matrices + biases


def test_weights_with_batch_normalization():
    # Four numbers a hidden unit in the place of its bias.
    options = {"hidden_units": (4,), "batch_normalization": True}
    assert autoencoder(6, 2, **options).count_params() == 2 * (6 * 4 + 4 * 4 + 4 * 2) + 2 + 6
    assert autoencoder(6, 2, tied_weights=True, **options).count_params() == (6 * 4 + 4 * 2) + 2 * 4 * 4 + 2 + 6


def test_the_lectures_table():
    model = conv_autoencoder((28, 28, 1))
    shapes = [layer.output.shape[1:] for layer in (*model.encoder.layers, *model.decoder.layers)]
    # Each size once, where it changes.
    path = [shape for before, shape in zip([None, *shapes], shapes, strict=False) if shape != before]
    down = [(28, 28, 1), (28, 28, 16), (14, 14, 16), (14, 14, 8), (7, 7, 8), (4, 4, 8)]
    up = [(8, 8, 8), (16, 16, 8), (14, 14, 16), (28, 28, 16), (28, 28, 1)]
    assert path == [*down, *up]
    kernels = 9 * (16 + 16 * 8 + 8 * 8) + 9 * (8 * 8 + 8 * 8 + 8 * 16 + 16)
    assert model.count_params() == kernels + (16 + 8 + 8) + (8 + 8 + 16 + 1)


def test_tied_convolutions_have_half_the_kernels():
    kernels, biases = 9 * (3 * 16 + 16 * 8 + 8 * 8), (16 + 8 + 8) + (8 + 16 + 3)
    assert conv_autoencoder((28, 28, 3), tied_weights=True).count_params() == kernels + biases
    with_code = conv_autoencoder((28, 28, 3), 5, tied_weights=True)
    assert with_code.count_params() == kernels + biases + 128 * 5 + 5 + 128
    untied = conv_autoencoder((28, 28, 3), 5)
    assert untied.count_params() - conv_autoencoder((28, 28, 3)).count_params() == 2 * 128 * 5 + 5 + 128


@pytest.mark.cases(1)
@pytest.mark.parametrize("options", [{}, {"tied_weights": True}, {"latent_dim": 3, "filters": (4, 2)}])
def test_images_of_any_size_come_back_in_their_shape(options):
    # With widths from 33 down.
    for height in range(8, 21) if not options else (8, 11, 14, 17, 20):
        model = conv_autoencoder((height, 41 - height, 1), **options)
        shape = (1, height, 41 - height, 1)
        assert model.encoder(np.zeros(shape)).shape[1:] == model.decoder.input_shape[1:]
        assert model(np.zeros(shape)).shape == shape
        if not options:
            assert model.decoder.input_shape[1:3] == (math.ceil(height / 8), math.ceil((41 - height) / 8))


@pytest.mark.cases(1)
@pytest.mark.parametrize("tied_weights", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 2, 5])
def test_images_come_back_through_kernels_of_any_size(kernel_size, tied_weights):
    for filters, size in itertools.product([(2,), (2, 3, 4, 2)], [21, 28]):
        model = conv_autoencoder(
            (size, size, 1), 2, filters=filters, kernel_size=kernel_size, tied_weights=tied_weights
        )
        assert model(np.zeros((1, size, size, 1))).shape == (1, size, size, 1)


def test_flattens_inside_and_gives_the_shape_back():
    model = autoencoder((4, 3), 2, hidden_units=5)
    assert model.encoder.output_shape == (None, 2)
    assert model.decode(np.zeros((7, 2))).shape == (7, 4, 3)


# === Tied weights ===


def test_the_decoder_multiplies_by_the_transposed_matrices():
    model = small(tied_weights=True, activation="tanh")
    matrix, deep = (model.encoder.get_layer(name).kernel.numpy() for name in ("hidden_1", "code"))
    for variable in model.trainable_variables:
        if "bias" in variable.path:
            variable.assign(random(variable.shape, 1))
    biases = [model.decoder.get_layer(f"tied_{name}").bias.numpy() for name in ("code", "hidden_1")]
    codes = random((5, 2))
    expected = np.tanh(codes @ deep.T + biases[0]) @ matrix.T + biases[1]
    np.testing.assert_allclose(model.decode(codes), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_tied_convolution_is_the_adjoint(kernel_size):
    source = keras.layers.Conv2D(4, kernel_size, padding="same", use_bias=False)
    image, features = random((1, 7, 6, 2)), random((1, 7, 6, 4), 1)
    forth = source(image)
    back = TiedConvolution(2, kernel_size, source)(features)
    assert np.vdot(forth, features) == pytest.approx(np.vdot(image, back), rel=1e-5)


@pytest.mark.parametrize("build", [small, lambda **options: eager(conv_autoencoder((8, 8, 1), 3, **options))])
def test_tied_weights_stay_tied(build, tmp_path):
    model = build(tied_weights=True)
    model.train_on_batch(random((4, *model.encoder.input_shape[1:])))
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras")):
        own = {id(variable) for variable in one.encoder.weights}
        kernels = [variable for variable in one.decoder.weights if "kernel" in variable.path]
        assert kernels
        assert all(id(variable) in own for variable in kernels)


def test_a_tied_decoder_is_saved_whole_without_its_encoder(tmp_path):
    model = small(tied_weights=True)
    model.decoder.save(tmp_path / "decoder.keras")
    alone = keras.models.load_model(tmp_path / "decoder.keras")
    np.testing.assert_allclose(alone(random((3, 2))), model.decoder(random((3, 2))), rtol=1e-6)


# === Sparse codes ===


def test_the_sparsity_penalty_by_hand():
    codes = np.array([[0.1, 0.5], [0.3, 0.7]], "float32")  # Mean activities 0.2 and 0.6.
    layer = CodePenalty(l1=0.5, sparsity=0.1, sparsity_weight=2.0)
    np.testing.assert_array_equal(layer(codes), codes)

    def divergence(activity):
        return 0.1 * math.log(0.1 / activity) + 0.9 * math.log(0.9 / (1 - activity))

    l1, kl = (float(loss) for loss in layer.losses)
    assert l1 == pytest.approx(0.5 * (0.2 + 0.6), rel=1e-5)
    assert kl == pytest.approx(2 * (divergence(0.2) + divergence(0.6)), rel=1e-5)


def test_the_sparsity_penalty_is_zero_where_it_wants_to_be_and_finite_at_the_ends():
    layer = CodePenalty(sparsity=0.25, sparsity_weight=1.0)
    layer(np.full((4, 3), 0.25, "float32"))
    assert float(layer.losses[0]) == pytest.approx(0, abs=1e-6)
    for end in (0.0, 1.0):
        layer = CodePenalty(sparsity=0.25, sparsity_weight=1.0)
        layer(np.full((4, 3), end, "float32"))
        assert 0 < float(layer.losses[0]) < 100


@pytest.mark.parametrize("build", [small, lambda **options: eager(conv_autoencoder((8, 8, 1), **options))])
def test_the_penalty_is_added_to_the_loss(build):
    model = build(sparsity=0.1, sparsity_weight=0.5)
    x = random((8, *model.encoder.input_shape[1:]))
    codes = model.encode(x)
    assert (codes > 0).all()
    assert (codes < 1).all()
    activity = codes.mean(axis=0)
    divergence = 0.1 * np.log(0.1 / activity) + 0.9 * np.log(0.9 / (1 - activity))
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["loss"] - logs["mse"] == pytest.approx(0.5 * divergence.sum(), rel=1e-4)


def test_training_brings_the_mean_activity_near_the_target():
    model = autoencoder(6, 8, hidden_units=(), sparsity=0.1, sparsity_weight=1.0, learning_rate=0.05, seed=0)
    x = random((256, 6))
    model.fit(np.tile(x, (20, 1)), verbose=0)
    np.testing.assert_allclose(model.encode(x).mean(axis=0), 0.1, atol=0.03)


# === Denoising ===


def test_noise_is_added_in_training_only():
    model = identity(10, noise=0.5, seed=0)
    x = random((2000, 10))
    np.testing.assert_allclose(model(x), x, atol=1e-6)
    np.testing.assert_allclose(model(x, training=False), x, atol=1e-6)
    noise = model(x, training=True) - x
    assert np.std(noise) == pytest.approx(0.5, rel=0.02)
    assert np.mean(noise) == pytest.approx(0, abs=0.02)


def test_inputs_are_left_out_in_training_only():
    model = identity(10, input_dropout=0.25, seed=0)
    x = 1 + random((2000, 10))
    np.testing.assert_allclose(model(x), x, rtol=1e-6)
    left = model(x, training=True).numpy()
    gone = left == 0
    assert gone.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(left[~gone], x[~gone] / 0.75, rtol=1e-5)


def test_the_target_is_the_input_without_noise():
    model = identity(10, noise=0.5, seed=0)
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    x = random((2000, 10))
    assert float(model.train_on_batch(x)) == pytest.approx(0.25, rel=0.03)
    assert float(model.test_on_batch(x)) == pytest.approx(0, abs=1e-9)


def test_codes_and_scores_are_without_noise():
    quiet, noisy = small(), small(noise=3.0, input_dropout=0.5)
    noisy.set_weights(quiet.get_weights())
    x = random((9, 6))
    np.testing.assert_array_equal(noisy.encode(x), quiet.encode(x))
    np.testing.assert_array_equal(noisy.anomaly_score(x), quiet.anomaly_score(x))


# === What goes into fit ===


def test_every_way_to_give_the_data_trains_alike():
    x = random((10, 6))

    def data_set(*parts):
        return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(4)

    ways = {
        "x": ((x,), x),
        "x, x": ((x, x), (x, x)),
        "data set": ((data_set(x),), data_set(x)),
        "data set of 1-tuples": ((data_set(x).map(lambda x: (x,)),), (x,)),
        "data set of pairs": ((data_set(x, x),), (x, None)),
    }
    reference, results = None, []
    for arguments, validation in ways.values():
        model = small()
        history = model.fit(
            *arguments,
            batch_size=4 if len(arguments) == 2 or arguments[0] is x else None,
            validation_data=validation,
            shuffle=False,
            verbose=0,
        ).history
        assert set(history) == {"loss", "mse", "val_loss", "val_mse"}
        results.append(history["loss"] + history["val_loss"])
        reference = reference or model
        same_weights(model, reference)
    np.testing.assert_allclose(results, [results[0]] * len(results), rtol=1e-4)


def test_targets_given_are_used():
    model = identity(3)
    model.compile("sgd", "mse", run_eagerly=True)
    x = random((5, 3))
    assert float(model.test_on_batch(x, x + 2)) == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("build", [small, lambda: eager(conv_autoencoder((28, 28, 1), 2, filters=2))])
def test_weights_count_samples(build):
    model = build()
    # As many samples as an image has columns: a weight a column would go unnoticed.
    x = random((28, *model.encoder.input_shape[1:]))
    weights = np.arange(28.0)
    errors = np.mean((model.predict(x, verbose=0) - x).reshape(28, -1) ** 2, axis=1)
    expected = {"loss": np.mean(weights * errors), "mse": np.average(errors, weights=weights)}
    # Without y Keras would pass over weights of arrays.
    assert model.evaluate(x, sample_weight=weights, batch_size=28, verbose=0, return_dict=True) == pytest.approx(
        expected, rel=1e-5
    )
    assert model.test_on_batch(x, sample_weight=weights, return_dict=True) == pytest.approx(expected, rel=1e-5)
    model.optimizer.learning_rate = 0.0
    history = model.fit(
        x, sample_weight=weights, validation_data=(x, None, weights), batch_size=28, shuffle=False, verbose=0
    ).history
    assert {name: values[0] for name, values in history.items()} == pytest.approx(
        {**expected, **{f"val_{name}": value for name, value in expected.items()}}, rel=1e-5
    )


def test_cross_entropy_by_hand():
    model = small(loss="binary_crossentropy")
    x = random((8, 6))
    p = model.predict(x, verbose=0)
    assert ((p > 0) & (p < 1)).all()
    expected = -np.mean(x * np.log(p) + (1 - x) * np.log(1 - p))
    assert model.evaluate(x, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-4)


def test_integers_are_taken():
    x = np.random.default_rng(0).integers(0, 255, (8, 6)).astype("uint8")
    model = small(noise=1.0)
    model.fit(x, verbose=0)
    expected = np.mean((model.predict(x.astype("float32"), verbose=0) - x) ** 2, axis=1)
    np.testing.assert_allclose(model.anomaly_score(x), expected, rtol=1e-5)


# === Normalization ===


def test_normalization_is_inverted_and_errors_are_in_standard_deviations():
    x = random((200, 6)) * [1, 10, 100, 1e3, 1e4, 0] + [5, 0, 0, 0, 0, 7]
    model = small(normalization=adapted(x))
    np.testing.assert_allclose(model.predict(x, verbose=0)[:, 5], 7, rtol=1e-5)
    difference = (model.predict(x, verbose=0) - x)[:, :5] / x.std(axis=0)[:5]
    expected = (difference**2).sum(axis=1) / 6
    np.testing.assert_allclose(model.anomaly_score(x), expected, rtol=1e-3)
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert [logs["loss"], logs["mse"]] == pytest.approx([expected.mean()] * 2, rel=1e-3)


def test_normalization_and_cross_entropy():
    x = random((50, 6))
    model = small(loss="binary_crossentropy", normalization=adapted(x))
    p = model.predict(x, verbose=0)
    assert ((p > 0) & (p < 1)).all()
    np.testing.assert_allclose(model.anomaly_score(x), np.mean((p - x) ** 2, axis=1), rtol=1e-5)


@pytest.mark.cases(1)
@pytest.mark.parametrize("axis", [-1, None, (1, 2, 3)])
def test_normalization_of_images(axis, tmp_path):
    x = 3 + 2 * random((20, 8, 8, 2))
    layer = adapted(x, axis=axis)
    model = eager(conv_autoencoder((8, 8, 2), 3, normalization=layer))
    plain = model.decoder.layers[-2]
    inside = keras.Model(model.decoder.input, plain.output)(model.encode(x)).numpy()
    mean, deviation = (np.asarray(value) for value in (layer.mean, np.sqrt(layer.variance)))
    np.testing.assert_allclose(model.predict(x, verbose=0), inside * deviation + mean, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.anomaly_score(x), model.anomaly_score(x))


# === Scores ===


def test_scores_are_errors_of_samples_many_or_few():
    model = identity(3)
    matrix = np.diag([1.0, 1.0, 0.0])
    model.decoder.set_weights([matrix, np.zeros(3)])
    x = random((5000, 3))
    np.testing.assert_allclose(model.anomaly_score(x), x[:, 2] ** 2 / 3, rtol=1e-5)
    np.testing.assert_allclose(model.anomaly_score(x[:1]), x[:1, 2] ** 2 / 3, rtol=1e-5)


# === Files, seeds, callbacks ===

KINDS = {
    "tied": lambda seed=5: small(
        tied_weights=True, noise=0.1, input_dropout=0.2, dropout=0.2, sparsity=0.1, l2=0.01, seed=seed
    ),
    "normalized": lambda seed=5: small(
        normalization=adapted(random((30, 6))), batch_normalization=True, code_l1=0.1, seed=seed
    ),
    "images": lambda seed=5: eager(conv_autoencoder((9, 8, 1), filters=(4, 2), noise=0.1, dropout=0.1, seed=seed)),
    "tied_images": lambda seed=5: eager(
        conv_autoencoder((9, 8, 1), 3, filters=(4, 2), tied_weights=True, loss="binary_crossentropy", seed=seed)
    ),
}
ELSEWHERE = """
import sys
import keras
import numpy as np
import kphys.models.autoencoders

for name in sys.argv[1:]:
    x = np.load(name + "_x.npy")
    model = keras.models.load_model(name + ".keras", safe_mode=True)
    predicted = model(x)
    model.run_eagerly = True
    for _ in range(2):
        model.train_on_batch(x)
    np.savez(name + "_after.npz", predicted, *model.get_weights())
    seeded = type(model).__module__
    assert seeded.startswith("kphys")
model = kphys.models.autoencoders.autoencoder(6, 2, hidden_units=(4,), noise=0.1, dropout=0.2, seed=11)
x = np.load("seeded_x.npy")
np.savez("seeded.npz", model(x, training=True), *model.get_weights())
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder, the models after two steps, one before and one after saving, and predictions at saving."""
    folder, models = tmp_path_factory.mktemp("files"), {}
    for name, build in KINDS.items():
        model = build()
        x = random((12, *model.encoder.input_shape[1:]))
        model.train_on_batch(x)
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}_x.npy", x)
        models[name] = model, x
    np.save(folder / "seeded_x.npy", random((4, 6)))
    command = [sys.executable, "-c", ELSEWHERE, *models]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return folder, models


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_goes_on_in_a_new_process_as_if_nothing_had_happened(name, elsewhere):
    folder, models = elsewhere
    model, x = models[name]
    with np.load(folder / f"{name}_after.npz") as saved:
        predicted, *weights = saved.values()
    np.testing.assert_allclose(predicted, model(x), rtol=1e-5, atol=1e-6)
    for _ in range(2):
        model.train_on_batch(x)
    for here, there in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_noise_also_in_a_new_process(elsewhere):
    folder, _ = elsewhere
    x = random((4, 6))
    with np.load(folder / "seeded.npz") as saved:
        corrupted, *weights = saved.values()
    for _ in range(2):
        model = autoencoder(6, 2, hidden_units=(4,), noise=0.1, dropout=0.2, seed=11)
        np.testing.assert_allclose(model(x, training=True), corrupted, rtol=1e-5, atol=1e-6)
        for a, b in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", KINDS)
def test_another_seed_gives_other_kernels(name):
    one, other = (KINDS[name](seed).trainable_variables for seed in (1, 2))
    kernels = [(a, b) for a, b in zip(one, other, strict=True) if "kernel" in a.path]
    assert kernels
    assert all((a.numpy() != b.numpy()).all() for a, b in kernels)


def test_every_layer_starts_differently():
    kernels = [v.numpy() for v in conv_autoencoder((8, 8, 1), 4, seed=0).trainable_variables if "kernel" in v.path]
    starts = {kernel.ravel()[0].item() for kernel in kernels}
    assert len(starts) == len(kernels) == 9


def test_loaded_weights_bring_the_random_layers_along(tmp_path):
    x = random((12, 6))
    first = KINDS["tied"]()
    first.train_on_batch(x)
    first.save_weights(tmp_path / "model.weights.h5")
    second = KINDS["tied"](seed=8)
    second.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(first(x, training=True), second(x, training=True))


@pytest.mark.parametrize("name", KINDS)
def test_a_step_moves_every_weight(name):
    model = KINDS[name]()
    start = [variable.numpy() for variable in model.trainable_variables]
    model.train_on_batch(random((12, *model.encoder.input_shape[1:])))
    for before, variable in zip(start, model.trainable_variables, strict=True):
        assert (before != variable.numpy()).any(), variable.path


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda: autoencoder(6, 2, hidden_units=4, noise=0.1, sparsity=0.1, tied_weights=True),
        lambda: conv_autoencoder((8, 8, 1), filters=(2, 2), noise=0.1),
    ],
)
def test_fits_in_its_graph_under_callbacks_many_steps_a_call(build, tmp_path):
    model = build()
    assert (model.steps_per_execution, model.jit_compile) == (32, False)
    x = random((70, *model.encoder.input_shape[1:]))
    callbacks = [
        GradientClipping(global_norm=1.0),
        EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        keras.callbacks.TensorBoard(tmp_path),
    ]
    history = model.fit(x, batch_size=2, epochs=2, validation_data=x, callbacks=callbacks, verbose=0).history
    assert model.optimizer.iterations == 70
    assert {"loss", "mse", "val_loss", "val_mse", "gradient_norm"} <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    assert list(tmp_path.glob("train/events*"))


def test_compile_may_be_called_again():
    model = small()
    model.compile("sgd", "mae", metrics=["mse"], run_eagerly=True)
    x = random((8, 6))
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(np.abs(model.predict(x, verbose=0) - x)), rel=1e-5)


# === Pretraining ===


@pytest.mark.cases(1)
@pytest.mark.parametrize("tied_weights", [False, True])
def test_later_layers_leave_the_first_as_it_is(tied_weights):
    x = random((64, 6))
    options = {"activation": "linear", "tied_weights": tied_weights, "seed": 0}
    deep, shallow = autoencoder(6, 2, hidden_units=(4,), **options), autoencoder(6, 4, hidden_units=(), **options)
    pairs = {"hidden_1": "code"} if tied_weights else {"hidden_1": "code", "reconstruction": "reconstruction"}
    for one, other in pairs.items():
        target = shallow.encoder if other == "code" else shallow.decoder
        source = deep.encoder if one == "hidden_1" else deep.decoder
        target.get_layer(other).set_weights(source.get_layer(one).get_weights())
    start = deep.encoder.get_layer("code").kernel.numpy()
    keras.utils.set_random_seed(0)
    histories = pretrain_layerwise(deep, x, epochs=3, batch_size=16)
    keras.utils.set_random_seed(0)
    alone = shallow.fit(x, epochs=3, batch_size=16, verbose=0)
    assert len(histories) == 2
    np.testing.assert_allclose(histories[0].history["loss"], alone.history["loss"], rtol=1e-4)
    for one, other in zip(
        deep.encoder.get_layer("hidden_1").get_weights(), shallow.encoder.get_layer("code").get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert (deep.encoder.get_layer("code").kernel.numpy() != start).all()
    assert deep.optimizer.iterations == 0


def test_what_was_pretrained_is_saved_and_trained_on(tmp_path):
    x = random((64, 2)) @ random((2, 6), seed=1)  # Two codes can tell all of it.
    model = small(normalization=adapted(x), batch_normalization=True, sparsity=0.2)
    before = model.evaluate(x, verbose=0, return_dict=True)["mse"]
    pretrain_layerwise(model, x, epochs=10, learning_rate=0.02)
    assert model.evaluate(x, verbose=0, return_dict=True)["mse"] < before
    model.save(tmp_path / "model.keras")
    loaded = eager(keras.models.load_model(tmp_path / "model.keras"))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    model.fit(x, verbose=0)


def test_layer_by_layer_takes_dense_mirrors_only():
    x = random((4, 8, 8, 1))
    with pytest.raises(ValueError, match="`model` must have an encoder and a decoder of dense layers"):
        pretrain_layerwise(conv_autoencoder((8, 8, 1), 2), x)
    with pytest.raises(TypeError, match="`model` must be an Autoencoder, got Functional"):
        pretrain_layerwise(small().encoder, x)
    with pytest.raises(TypeError, match="`optimizer` must be a name"):
        pretrain_layerwise(small(), x, optimizer=keras.optimizers.Adam())
    with pytest.raises(ValueError, match="`x` must have the shape"):
        pretrain_layerwise(small(), x)
    with pytest.raises(ValueError, match="`epochs`"):
        pretrain_layerwise(small(), random((4, 6)), epochs=0)
    with pytest.raises(ValueError, match="`model` must be compiled"):
        pretrain_layerwise(identity(3), random((4, 3)))


@pytest.mark.parametrize("trainable", [True, False])
def test_a_classifier_starts_from_the_codes(trainable):
    x = 5 + random((32, 6))
    model = small(normalization=adapted(x), sparsity=0.1, noise=0.1)
    kept = model.get_weights()
    classifier = eager(classifier_from_encoder(model, 3, trainable=trainable, seed=0))
    features = keras.Model(classifier.input, classifier.layers[-2].output)
    np.testing.assert_allclose(features(x), model.encode(x), rtol=1e-5)
    assert classifier.losses == []
    encoders = [v.numpy() for v in classifier.weights if "outputs" not in v.path]
    history = classifier.fit(x, np.arange(32) % 3, verbose=0).history
    assert set(history) == {"loss", "accuracy", "auc"}
    after = [v.numpy() for v in classifier.weights if "outputs" not in v.path]
    moved = [(a != b).any() for a, b in zip(encoders, after, strict=True)]
    assert any(moved) is trainable
    for a, b in zip(kept, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="`num_classes` is 3"):
        classifier.fit(x, np.full(32, 7), verbose=0)


def test_a_classifier_of_images_has_its_map_flattened():
    model = conv_autoencoder((8, 8, 1), filters=(4, 2), seed=0)
    classifier = classifier_from_encoder(model, 2)
    assert classifier.count_params() == model.encoder.count_params() + (2 * 2 * 2) + 1
    assert classifier.output_shape == (None, 1)
    with pytest.raises(TypeError, match="`model` must be an Autoencoder"):
        classifier_from_encoder(classifier, 2)
    with pytest.raises(TypeError, match="`trainable` must be True or False, got 'no'"):
        classifier_from_encoder(model, 2, trainable="no")
    with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2, got 1"):
        classifier_from_encoder(model, 1)


# === Bad input ===

BAD = {
    "latent_dim": [(0, ValueError, "a positive integer, got 0"), (2.5, ValueError, "got 2.5")],
    "loss": [("bce", ValueError, "one of 'mse', 'binary_crossentropy', got 'bce'")],
    "noise": [(-0.1, ValueError, "not negative, got -0.1"), (float("nan"), ValueError, "got nan")],
    "input_dropout": [(1.0, ValueError, "below 1, got 1.0"), (-0.1, ValueError, "got -0.1")],
    "dropout": [(1.0, ValueError, "below 1, got 1.0")],
    "sparsity": [
        (0, ValueError, "above 0 and below 1, got 0"),
        (1.0, ValueError, "below 1, got 1.0"),
        (-0.5, ValueError, "got -0.5"),
        ("much", TypeError, "got 'much'"),
    ],
    "sparsity_weight": [(-1, ValueError, "not negative, got -1")],
    "code_l1": [(-1, ValueError, "not negative, got -1")],
    "l2": [(-1, ValueError, "not negative, got -1")],
    "tied_weights": [("yes", TypeError, "True or False, got 'yes'")],
    "batch_normalization": [("yes", TypeError, "True or False, got 'yes'")],
    "activation": [("rleu", ValueError, "Did you mean 'relu'")],
    "optimizer": [("adamm", ValueError, "Did you mean 'adam'")],
    "learning_rate": [(-1.0, ValueError, "a positive number, got -1.0")],
    "check_data": [("no", TypeError, "True or False, got 'no'")],
    "seed": [(-1, ValueError, "got -1")],
    "normalization": [(keras.layers.Normalization(), ValueError, "adapted to data first")],
    "name": [(3, TypeError, "None or a string, got 3")],
}
CASES = [(name, *case) for name, cases in BAD.items() for case in cases]


@pytest.mark.parametrize(("builder", "shape"), [(autoencoder, (6,)), (conv_autoencoder, (8, 8, 1))])
@pytest.mark.parametrize(("argument", "value", "error", "message"), CASES)
def test_refuses(builder, shape, argument, value, error, message):
    with pytest.raises(error, match=rf"`{argument}`.*{message}"):
        builder(shape, **{"latent_dim": 2, argument: value})


def test_refuses_shapes():
    with pytest.raises(ValueError, match=r"`image_shape` \(7, 28, 1\) is too small for 3 poolings.*at least 8 pixels"):
        conv_autoencoder((7, 28, 1))
    with pytest.raises(ValueError, match=r"`image_shape` must be a tuple .*, got \(28, 28\)"):
        conv_autoencoder((28, 28))
    with pytest.raises(ValueError, match=r"`input_shape\[0\]` must be a positive integer, got 0"):
        autoencoder(0, 2)
    with pytest.raises(ValueError, match=r"`hidden_units\[0\]` must be a positive integer, got 0"):
        autoencoder(6, 2, hidden_units=(0,))


def test_refuses_parts_that_do_not_fit():
    encoder, decoder = small().encoder, small().decoder
    with pytest.raises(ValueError, match=r"`decoder` must take what `encoder` gives, codes of shape \(2,\)"):
        Autoencoder(encoder, encoder)
    with pytest.raises(ValueError, match=r"`decoder` must give what `encoder` takes, samples of shape \(6,\)"):
        Autoencoder(encoder, keras.Sequential([keras.Input((2,)), keras.layers.Dense(5)]))
    with pytest.raises(TypeError, match=r"`encoder` must be a keras\.Model, got 3"):
        Autoencoder(3, decoder)
    with pytest.raises(ValueError, match="`encoder` must know its input shape"):
        Autoencoder(keras.Sequential([keras.layers.Dense(2)]), decoder)


def test_warns_of_a_code_that_may_copy():
    with pytest.warns(UserWarning, match="The code has 7 numbers and the input 6"):
        autoencoder(6, 7)
    with pytest.warns(UserWarning, match="The code has 128 numbers and the input 64"):
        conv_autoencoder((8, 8, 1), 128)


@pytest.mark.parametrize("restraint", ["noise", "input_dropout", "sparsity", "code_l1", "dropout", "l1", "l2"])
def test_a_large_code_with_a_restraint_is_no_warning(restraint):
    autoencoder(6, 7, **{restraint: 0.1})


def _with(value, index):
    x = random((10, 6))
    x[index] = value
    return x


ARRAYS = [
    (_with(np.nan, (3, 2)), r"`x` must be finite.*: 1 of its 60 values .* first is x\[3, 2\] = nan"),
    (np.zeros((0, 6)), r"`x` must hold at least one sample"),
    (np.zeros((4, 5)), r"`x` must have the shape \(samples, 6\), got \(4, 5\)"),
    (_with(1.5, slice(7, 8)), r"`x` must lie in \[0, 1\] .*: 6 of its 60 values do not, the first is x\[7, 0\] = 1.5"),
    (_with(-0.5, (0, 1)), r"`x` must lie in \[0, 1\] .*: 1 of its 60 values do not, the first is x\[0, 1\] = -0.5"),
]


@pytest.mark.parametrize(("x", "message"), ARRAYS)
def test_refuses_arrays_before_training(x, message):
    model = small(loss="binary_crossentropy")
    start = model.get_weights()
    good = random((10, 6))
    for call in (
        lambda: model.fit(x, verbose=0),
        lambda: model.evaluate(x, verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for validation, name in ((x, "validation_data"), ((x,), "validation_data[0]")):
        escaped = message.replace("`x`", f"`{name}`").replace("x\\[", f"{name}\\[")
        with pytest.raises(ValueError, match=escaped.replace("data[0]", r"data\[0\]")):
            model.fit(good, validation_data=validation, verbose=0)
    for a, b in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_refuses_what_goes_with_the_arrays():
    model, x = small(), random((10, 6))
    with pytest.raises(ValueError, match=r"`y` must have the shape of `x`, \(10, 6\), got \(10, 5\)"):
        model.fit(x, x[:, :5], verbose=0)
    with pytest.raises(ValueError, match=r"`y` must have the shape of `x`, \(10, 6\), got \(9, 6\)"):
        model.fit(x, x[:9], verbose=0)
    with pytest.raises(ValueError, match=r"`sample_weight` must hold one weight for every sample, shape \(10,\)"):
        model.fit(x, sample_weight=np.ones((10, 6)), verbose=0)
    with pytest.raises(ValueError, match="`class_weight` needs labels"):
        model.fit(x, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match=r"`validation_data` must be x, \(x,\), .* got 4 entries"):
        model.fit(x, validation_data=(x, x, x, x), verbose=0)
    with pytest.raises(TypeError, match="`x` must be an array, got list"):
        model.anomaly_score([1.0])
    with pytest.raises(ValueError, match="`x` must be finite"):
        model.anomaly_score(_with(np.inf, (0, 0)))


def test_numbers_beyond_one_are_fine_for_another_loss_and_without_checks():
    small(loss="mse").fit(10 * random((10, 6)), verbose=0)
    small(loss="binary_crossentropy", check_data=False).fit(1.5 * random((10, 6)), verbose=0)
    model = small(loss="binary_crossentropy")
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(10 * random((10, 6)), verbose=0)
