"""The convolutional networks: correlations by hand, shapes and sizes, and what a shift of a periodic image changes."""

import functools

import keras
import numpy as np
import pytest
from keras import layers
from scipy import signal

from kphys import cnn_classifier, cnn_regressor
from kphys.models._blocks import ARCHITECTURES, Space, _squeeze_and_excite
from kphys.models._parts import Regularization, Seeds
from kphys.models._periodic import PeriodicPadding, PeriodicPooling

SIZES = {1: (16, 1), 2: (16, 16, 1), 3: (16, 16, 16, 1)}
# Two stages each, as narrow as they go.
NARROW = {name: {"architecture": name, "filters": (3, 4)} for name in ARCHITECTURES}


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def shake(model):
    """Moves everything but the kernels off its start: zero biases and moments of 0 and 1 would hide mistakes."""
    generator = np.random.default_rng(1)
    for variable in model.weights:
        if "kernel" not in variable.name:
            value = generator.normal(size=variable.shape) * 0.3
            variable.assign(np.exp(value) if variable.name in ("moving_variance", "gamma") else value)
    return model


def correlation(image, kernel, bias, **padding):
    """Sums over the channels the correlations with a kernel `(*size, channels, filters)`: `(*space, filters)`."""
    if padding:
        widths = [(((size - 1) // 2), size // 2) for size in kernel.shape[:-2]]
        image = np.pad(image, [*widths, (0, 0)], **padding)
    maps = [
        sum(
            signal.correlate(image[..., channel], kernel[..., channel, filter], mode="valid")
            for channel in range(image.shape[-1])
        )
        for filter in range(kernel.shape[-1])
    ]
    return np.stack(maps, axis=-1) + bias


def pooled(features):
    """Takes the largest of every 2 pixels along each axis of space."""
    for axis in range(features.ndim - 1):
        even = features.take(range(0, features.shape[axis] // 2 * 2), axis)
        features = np.maximum(
            even.take(range(0, even.shape[axis], 2), axis), even.take(range(1, even.shape[axis], 2), axis)
        )
    return features


def relu(values):
    return np.maximum(values, 0)


# === Sizes and shapes ===


def test_lenet5_has_the_weights_of_the_paper_with_full_connections():
    model = cnn_classifier((28, 28, 1), 10, architecture="lenet5")
    assert model.count_params() == 61_706
    shapes = [layer.output.shape[1:] for layer in model.layers if "conv" in layer.name or "pooling" in layer.name]
    assert shapes == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16)]


@pytest.mark.parametrize("axes", SIZES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_signals_images_and_volumes(architecture, axes):
    arguments = {"kernel_size": 3, **NARROW[architecture]}
    if (architecture, axes) == ("xception", 3):
        with pytest.raises(ValueError, match=r"`architecture` 'xception' .*\(16, 16, 16, 1\).*take 'resnet'"):
            cnn_classifier(SIZES[axes], 5, **arguments)
        return
    predicted = np.asarray(cnn_classifier(SIZES[axes], 5, **arguments)(random((2, *SIZES[axes]))))
    assert predicted.shape == (2, 5)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("plain", [(16, 16, 32), (8, 8, 64), (4, 4, 64)]),
        ("vgg", [(16, 16, 32), (8, 8, 64), (4, 4, 128), (2, 2, 128)]),
        ("resnet", [(16, 16, 16), (8, 8, 32), (4, 4, 64)]),
        ("xception", [(8, 8, 32), (4, 4, 64), (2, 2, 128)]),
    ],
)
def test_every_stage_has_half_the_resolution(architecture, expected):
    model = cnn_classifier((16, 16, 1), 3, architecture=architecture)
    maps = [layer.output.shape[1:] for layer in model.layers if len(layer.output.shape) == 4]
    assert set(expected) <= set(maps)
    assert maps[-1] == expected[-1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_odd_images_get_through(architecture):
    model = cnn_regressor((15, 13, 2), 3, kernel_size=3, **NARROW[architecture])
    assert model(random((2, 15, 13, 2))).shape == (2, 3)


@pytest.mark.parametrize(
    ("architecture", "kernel_size", "filters", "smallest"),
    [
        ("plain", 3, (2,), 2),
        ("plain", 3, (2, 2, 2), 8),
        ("plain", 4, (2, 2), 4),
        ("vgg", 3, (2, 2), 4),
        ("lenet5", 5, (2, 2), 12),
        ("lenet5", 3, (2, 2), 8),
        ("lenet5", 3, (2, 2, 2), 20),
        ("resnet", 3, (2, 2, 2), 4),
    ],
)
def test_the_smallest_image_is_taken_and_one_pixel_less_refused(architecture, kernel_size, filters, smallest):
    build = functools.partial(
        cnn_regressor, architecture=architecture, kernel_size=kernel_size, filters=filters, hidden_units=2
    )
    assert build((smallest, smallest + 1, 1))(random((1, smallest, smallest + 1, 1))).shape == (1, 1)
    with pytest.raises(
        ValueError, match=rf"`input_shape` .* too small .* at least {smallest} pixels .* fewer `filters`"
    ):
        build((smallest + 5, smallest - 1, 1))


def test_a_periodic_image_may_be_as_small_as_it_likes():
    model = cnn_regressor((1, 2, 1), filters=(2, 2, 2), kernel_size=5, hidden_units=2, periodic=True)
    assert model(random((1, 1, 2, 1))).shape == (1, 1)


# === Predictions by hand ===


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("shape", "kernel_size"), [((9, 2), 3), ((6, 7, 2), 3), ((8, 6, 1), 4), ((4, 5, 4, 1), 3)])
def test_a_plain_network_is_correlation_pooling_and_matrices(shape, kernel_size, periodic):
    model = shake(
        cnn_regressor(shape, 2, filters=(3,), kernel_size=kernel_size, hidden_units=4, periodic=periodic, seed=0)
    )
    kernel, bias, hidden, hidden_bias, outputs, outputs_bias = model.get_weights()
    image = random(shape)
    edge = {"mode": "wrap"} if periodic else {"mode": "constant"}
    features = relu(correlation(image, kernel, bias, **edge))
    if periodic:
        space = tuple(range(features.ndim - 1))
        for axis in space:
            features = np.maximum(features, np.roll(features, -1, axis))
        features = features.mean(axis=space)
    else:
        features = pooled(features).ravel()
    expected = relu(features @ hidden + hidden_bias) @ outputs + outputs_bias
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-4, atol=1e-5)


def space(axes=2, **changed):
    settings = {"kernel_size": 3, "activation": "relu", "batch_normalization": False, "periodic": False, **changed}
    return Space(axes=axes, regularization=Regularization(0, 0, 0), seeds=Seeds(0), **settings)


@pytest.mark.parametrize("axes", SIZES)
def test_squeeze_and_excitation_weighs_channels_by_their_means(axes):
    inputs = keras.Input((4,) * axes + (32,))
    model = shake(keras.Model(inputs, _squeeze_and_excite(space(axes), inputs, 32)))
    down, down_bias, up, up_bias = model.get_weights()
    assert down.shape == (32, 4)
    image = random((2, *(4,) * axes, 32))
    squeezed = image.mean(axis=tuple(range(1, axes + 1)))
    weights = 1 / (1 + np.exp(-(relu(squeezed @ down + down_bias) @ up + up_bias)))
    expected = image * weights.reshape(2, *(1,) * axes, 32)
    np.testing.assert_allclose(model(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["resnet", "se_resnet"])
def test_a_residual_block_of_zero_weights_is_the_identity(architecture):
    model = cnn_regressor((8, 8, 1), architecture=architecture, filters=(4,), seed=0)
    stem, *blocks = (layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    assert len(blocks) == 4
    for layer in blocks:
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    image = random((8, 8, 1))
    # A new batch normalization divides by √(1 + ε).
    features = relu(correlation(image, stem.kernel.numpy(), 0, mode="constant") / np.sqrt(1.001))
    outputs = model.get_layer("outputs")
    expected = features.mean(axis=(0, 1)) @ outputs.kernel.numpy()
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-4)


def test_a_shortcut_halves_the_image_with_its_block():
    model = cnn_regressor((8, 8, 1), architecture="resnet", filters=(3, 5))
    strided = [layer for layer in model.layers if isinstance(layer, layers.Conv2D) and layer.strides == (2, 2)]
    assert [layer.kernel_size for layer in strided] == [(3, 3), (1, 1)]


# === Options ===


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_penalty_is_that_of_the_kernels(architecture):
    model = cnn_classifier((16, 16, 1), 3, kernel_size=3, l1=0.01, l2=0.02, **NARROW[architecture])
    kernels = [
        getattr(layer, name).numpy()
        for layer in model.layers
        for name in ("kernel", "depthwise_kernel", "pointwise_kernel")
        if isinstance(getattr(layer, name, None), keras.Variable) and layer.name != "outputs"
    ]
    if architecture == "se_resnet":
        kernels = [kernel for kernel in kernels if kernel.ndim == 4]
    expected = sum(0.01 * np.abs(w).sum() + 0.02 * (w**2).sum() for w in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "usual"), [("plain", False), ("vgg", False), ("resnet", True), ("xception", True)]
)
def test_batch_normalization_is_the_papers_unless_given(architecture, usual):
    for given, expected in ((None, usual), (True, True), (False, False)):
        model = cnn_classifier((16, 16, 1), 3, batch_normalization=given, **NARROW[architecture])
        assert any(isinstance(layer, layers.BatchNormalization) for layer in model.layers) is expected


def test_activation_and_dropout_stand_after_every_convolution():
    model = cnn_classifier((16, 16, 1), 3, filters=(3, 4), hidden_units=5, activation="selu", dropout=0.1)
    assert sum(isinstance(layer, layers.AlphaDropout) for layer in model.layers) == 3
    assert {layer.activation.__name__ for layer in model.layers if isinstance(layer, layers.Activation)} == {"selu"}
    initializers = {type(layer.kernel_initializer).__name__ for layer in model.layers[:-1] if hasattr(layer, "kernel")}
    assert initializers == {"LecunNormal"}


def test_normalization_by_channel_stands_first():
    raw = random((50, 8, 8, 2)) * np.array([100, 0.1], "float32") + np.array([1000, 0], "float32")
    normalization = layers.Normalization()
    normalization.adapt(raw)
    scaled = (raw - raw.mean(axis=(0, 1, 2), dtype=float)) / raw.std(axis=(0, 1, 2), dtype=float)
    plain, normalizing = (
        cnn_regressor((8, 8, 2), filters=3, hidden_units=4, normalization=n, seed=0) for n in (None, normalization)
    )
    np.testing.assert_allclose(normalizing(raw), plain(scaled.astype("float32")), rtol=1e-3, atol=1e-3)


# === Periodic space ===


@pytest.mark.parametrize("padding", [(1, 1), (0, 2), (3, 0), (7, 9)])
@pytest.mark.parametrize("shape", [(5, 2), (4, 3, 2), (2, 3, 4, 1), (1, 6, 1)])
def test_periodic_padding_wraps(shape, padding):
    image = random((2, *shape))
    expected = np.pad(image, [(0, 0), *[padding] * (len(shape) - 1), (0, 0)], mode="wrap")
    layer = PeriodicPadding(padding)
    np.testing.assert_array_equal(layer(image), expected)
    assert layer.compute_output_shape((None, *shape)) == (None, *expected.shape[1:])


@pytest.mark.parametrize("dilation", [1, 2, 4, 16])
@pytest.mark.parametrize("shape", [(6, 2), (5, 4, 2), (3, 4, 2, 1)])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_periodic_pooling_looks_ahead_along_every_axis(shape, dilation, mode):
    image = expected = random((2, *shape))
    for axis in range(1, len(shape)):
        ahead = np.roll(expected, -dilation, axis)
        expected = np.maximum(expected, ahead) if mode == "max" else (expected + ahead) / 2
    np.testing.assert_allclose(PeriodicPooling(dilation, mode)(image), expected, rtol=1e-6)


@pytest.mark.parametrize(("mode", "stock"), [("max", layers.MaxPooling2D), ("average", layers.AveragePooling2D)])
def test_periodic_pooling_holds_the_strided_one(mode, stock):
    image = random((2, 6, 8, 3))
    np.testing.assert_allclose(PeriodicPooling(1, mode)(image)[:, ::2, ::2], stock(2)(image), rtol=1e-6)


def test_a_periodic_network_holds_the_strided_one_in_every_phase():
    model = shake(cnn_regressor((8, 12, 2), filters=(3, 4), periodic=True, seed=0))
    last = next(layer for layer in reversed(model.layers) if isinstance(layer, PeriodicPooling))
    kernels = model.get_weights()[:4]
    image = random((8, 12, 2))
    maps = np.asarray(keras.Model(model.input, last.output)(image[None]))[0]
    for row, column in ((0, 0), (1, 0), (3, 2)):
        strided = np.roll(image, (-row, -column), axis=(0, 1))
        for kernel, bias in (kernels[:2], kernels[2:]):
            strided = pooled(relu(correlation(strided, kernel, bias, mode="wrap")))
        np.testing.assert_allclose(maps[row::4, column::4], strided, rtol=1e-3, atol=1e-4)


def shifts(image):
    """Gives the image shifted by every number of pixels along every axis."""
    axes = tuple(range(image.ndim - 1))
    return np.stack([np.roll(image, shift, axes) for shift in np.ndindex(image.shape[:-1])])


@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_shift_of_a_periodic_image_changes_the_prediction(architecture, kernel_size):
    model = shake(cnn_regressor((9, 7, 1), 3, kernel_size=kernel_size, periodic=True, seed=0, **NARROW[architecture]))
    predictions = np.asarray(model(shifts(random((9, 7, 1)))))
    assert len(predictions) == 63
    np.testing.assert_allclose(predictions, np.broadcast_to(predictions[0], predictions.shape), atol=1e-5)
    assert not np.allclose(model(random((1, 9, 7, 1), seed=2)), predictions[0], atol=1e-3)


@pytest.mark.parametrize("shape", [(11, 2), (3, 4, 5, 1)])
def test_no_shift_of_a_periodic_signal_or_volume_changes_the_prediction(shape):
    model = shake(cnn_regressor(shape, filters=(3, 4), hidden_units=5, periodic=True, seed=0))
    predictions = np.asarray(model(shifts(random(shape))))
    np.testing.assert_allclose(predictions, np.broadcast_to(predictions[0], predictions.shape), atol=1e-5)


def test_a_shift_changes_the_prediction_where_space_has_edges():
    model = shake(cnn_regressor((8, 8, 1), filters=(3, 4), hidden_units=5, seed=0))
    assert np.ptp(np.asarray(model(shifts(random((8, 8, 1)))))) > 1e-3


@pytest.mark.parametrize("architecture", ["lenet5", "resnet"])
def test_a_periodic_network_comes_back_from_its_file(architecture, tmp_path):
    model = cnn_classifier((8, 8, 1), 3, kernel_size=4, periodic=True, **NARROW[architecture])
    # Keras warns of an optimizer that was saved before it had variables.
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "periodic.keras")
    loaded = keras.models.load_model(tmp_path / "periodic.keras")
    image = random((3, 8, 8, 1))
    np.testing.assert_array_equal(loaded(image), model(image))
    kinds = {type(layer) for layer in loaded.layers}
    assert PeriodicPadding in kinds
    assert (PeriodicPooling in kinds) is (architecture == "lenet5")
