"""`ImageLogger`: what is in the event files, pixel by pixel."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kphys import cnn_classifier, cnn_regressor, mlp_classifier
from kphys.callbacks.image_logger import ImageLogger, filter_tiles, grid, pairs, scaled, square, value_range

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(20, 4, 4, 1)).astype("float32")


def read(folder):
    """Gives {tag: {epoch: pixels}} of all that was written."""
    events = EventAccumulator(str(folder / "train"), size_guidance={"tensors": 0}).Reload()
    written = {}
    for tag in events.Tags()["tensors"]:
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "images":
            # Width and height come before the images themselves.
            written[tag] = {
                event.step: [tf.io.decode_png(png).numpy() for png in event.tensor_proto.string_val[2:]]
                for event in events.Tensors(tag)
            }
    assert all(len(images) == 1 for steps in written.values() for images in steps.values())
    return {tag: {step: image for step, (image,) in steps.items()} for tag, steps in written.items()}


def in_bytes(image):
    return np.round(255 * np.asarray(image)).astype("uint8")


def frozen(weight=0.5, bias=0.0, shape=(4, 4, 1)):
    """An autoencoder that gives `weight` times the sum over the channels plus `bias`, and does not learn."""
    convolution = keras.layers.Conv2D(
        shape[-1],
        1,
        kernel_initializer=keras.initializers.Constant(weight),
        bias_initializer=keras.initializers.Constant(bias),
    )
    model = keras.Sequential([keras.Input(shape), convolution])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    return model


def fit(model, *callbacks, x=IMAGES, **arguments):
    return model.fit(x, x, **{"verbose": 0, "batch_size": 10, "shuffle": False, **arguments}, callbacks=[*callbacks])


class Samples(keras.Model):
    """Images from its own random generator, or from a seed; one weight to be trained."""

    def __init__(self, shape=(2, 3, 1), rate=0.0):
        super().__init__()
        self.shape, self.calls = shape, []
        self.brightness = self.add_weight(shape=(), initializer="ones")
        self.generator = keras.random.SeedGenerator(7)
        self.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)

    def call(self, inputs, training=False):
        return inputs * self.brightness * keras.random.uniform((), 0.5, 1.5, seed=self.generator)

    def sample(self, n, seed):
        self.calls.append((n, seed))
        # A careless one: it moves the model's generator, too.
        keras.random.uniform((), seed=self.generator)
        return self.brightness * keras.random.uniform((n, *self.shape), seed=seed)


# === The pictures by hand ===


def test_a_grid():
    first, second, third = ([[[0.1], [0.2]]], [[[0.3], [0.4]]], [[[0.5], [0.6]]])
    # Tiles of 1 × 2 pixels; lines, and the place of the fourth, are white.
    expected = [[0.1, 0.2, 1, 0.3, 0.4], [1, 1, 1, 1, 1], [0.5, 0.6, 1, 1, 1]]
    assert grid(np.array([first, second, third]), 2)[..., 0].tolist() == expected


def test_a_grid_in_colour():
    red, blue = np.zeros((1, 1, 3)), np.zeros((1, 1, 3))
    red[..., 0], blue[..., 2] = 1, 1
    assert grid(np.array([red, blue]), 1).tolist() == [[[1, 0, 0]], [[1, 1, 1]], [[0, 0, 1]]]


@pytest.mark.parametrize(("number", "shape"), [(1, (1, 1)), (2, (1, 3)), (3, (3, 3)), (4, (3, 3)), (5, (3, 5))])
def test_a_square_of_single_pixels(number, shape):
    assert square(np.zeros((number, 1, 1, 1))).shape == (*shape, 1)


def test_outputs_stand_below_their_inputs():
    inputs = np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1, 1)
    picture = pairs(inputs, inputs + 0.5, 2)[..., 0]
    assert picture[::2, ::2].tolist() == [[0.1, 0.2], [0.6, 0.7], [0.3, 1], [0.8, 1]]
    assert picture.shape == (7, 3)


@pytest.mark.parametrize(
    ("values", "limits"),
    [([0.2, 0.4], (0, 1)), ([0, 1], (0, 1)), ([-1, 1], (-1, 1)), ([0.5, 255], (0.5, 255)), ([np.nan, -2, 3], (-2, 3))],
)
def test_what_is_black_and_what_is_white(values, limits):
    assert value_range(np.array(values)) == limits


def test_what_is_beyond_is_cut_off():
    assert scaled(np.array([-3.0, -1.0, 0.0, 1.0, 9.0]), -1, 1).tolist() == [0, 0, 0.5, 1, 1]
    assert scaled(np.array([5.0, 5.0]), 5, 5).tolist() == [0, 0]


def test_filters_are_symmetric_around_zero():
    kernel = np.array([[-2.0, 1.0], [0.0, 0.5]]).reshape(2, 1, 1, 2)
    # One scale for both filters, so that they compare.
    assert filter_tiles(kernel)[..., 0, 0].tolist() == [[0.0, 0.5], [0.75, 0.625]]
    assert filter_tiles(np.zeros((2, 2, 1, 3))).tolist() == np.full((3, 2, 2, 1), 0.5).tolist()


def test_filters_of_three_channels_are_in_colour_and_others_are_means():
    three = np.array([4.0, -2.0, 0.0]).reshape(1, 1, 3, 1)
    assert filter_tiles(three).tolist() == [[[[1.0, 0.25, 0.5]]]]
    two = np.array([[4.0, 1.0], [-2.0, -3.0]]).reshape(1, 1, 2, 2)
    assert filter_tiles(two).tolist() == [[[[1.0]]], [[[0.0]]]]


# === In the event files ===


def test_reconstructions_and_filters_of_an_autoencoder(tmp_path):
    fit(frozen(0.5), ImageLogger(tmp_path, IMAGES, num_images=3), epochs=2)
    written = read(tmp_path)
    assert set(written) == {"reconstructions", "filters"}
    expected = np.ones((9, 14, 1))
    for index in range(3):
        left = 5 * index
        expected[:4, left : left + 4] = IMAGES[index]
        expected[5:, left : left + 4] = IMAGES[index] / 2
    for epoch in (0, 1):
        np.testing.assert_array_equal(written["reconstructions"][epoch], in_bytes(expected))
        # The one weight is the largest.
        np.testing.assert_array_equal(written["filters"][epoch], [[[255]]])


def test_other_values_are_scaled_by_those_of_the_images(tmp_path):
    images = np.array([[-2.0, 0.0], [1.0, 2.0]]).reshape(1, 2, 2, 1)
    fit(frozen(2.0, bias=1.0, shape=(2, 2, 1)), ImageLogger(tmp_path, images), x=images)
    picture = read(tmp_path)["reconstructions"][0][..., 0]
    np.testing.assert_array_equal(picture[:2], in_bytes([[0, 0.5], [0.75, 1]]))
    # −3, 1, 3, 5
    np.testing.assert_array_equal(picture[3:], in_bytes([[0, 0.75], [1, 1]]))


def test_sixteen_images_make_rows_of_eight(tmp_path):
    fit(frozen(), ImageLogger(tmp_path, IMAGES))
    assert read(tmp_path)["reconstructions"][0].shape == (4 * 5 - 1, 8 * 5 - 1, 1)


def test_images_in_colour(tmp_path):
    images = RANDOM.uniform(size=(2, 4, 4, 3))
    fit(frozen(1 / 3, shape=(4, 4, 3)), ImageLogger(tmp_path, images), x=images)
    picture = read(tmp_path)["reconstructions"][0]
    np.testing.assert_array_equal(picture[:4, :4], in_bytes(images[0].astype("float32")))
    mean = images[0].mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(picture[5:, :4], 255 * np.broadcast_to(mean, (4, 4, 3)), atol=0.51)


def test_a_method_that_reconstructs_goes_before_the_call(tmp_path):
    model = frozen(0.5)
    model.reconstruct = lambda images: images / 4
    fit(model, ImageLogger(tmp_path, IMAGES, num_images=1))
    picture = read(tmp_path)["reconstructions"][0]
    np.testing.assert_array_equal(picture[5:], in_bytes(IMAGES[0] / 4))


def test_samples_come_from_the_same_seed_each_time(tmp_path):
    model = Samples()
    fit(model, ImageLogger(tmp_path, num_images=4, seed=3), epochs=2)
    samples = keras.ops.convert_to_numpy(keras.random.uniform((4, 2, 3, 1), seed=3))
    written = read(tmp_path)
    assert set(written) == {"samples"}
    for epoch in (0, 1):
        np.testing.assert_array_equal(written["samples"][epoch], in_bytes(grid(samples, 2)))
    # One to see what they are, then one an epoch.
    assert model.calls == [(1, 3), (4, 3), (4, 3)]


def test_samples_beyond_one_are_scaled_by_themselves_or_by_the_images(tmp_path):
    model = Samples(shape=(4, 4, 1))
    model.brightness.assign(8.0)
    fit(model, ImageLogger(tmp_path / "own", num_images=1), ImageLogger(tmp_path / "images", IMAGES, num_images=1))
    samples = 8 * keras.ops.convert_to_numpy(keras.random.uniform((1, 4, 4, 1), seed=0))[0]
    low, high = samples.min(), samples.max()
    own = read(tmp_path / "own")["samples"][0]
    np.testing.assert_allclose(own, 255 * (samples - low) / (high - low), atol=0.51)
    np.testing.assert_array_equal(read(tmp_path / "images")["samples"][0], in_bytes(np.minimum(samples, 1)))


def test_the_filters_are_those_at_the_end_of_the_epoch(tmp_path):
    model = cnn_classifier((8, 8, 3), 2, filters=5, hidden_units=4, learning_rate=0.1, seed=0)
    x, y = RANDOM.uniform(size=(32, 8, 8, 3)), np.arange(32) % 2
    start = model.get_weights()[0]
    model.fit(x, y, epochs=2, verbose=0, callbacks=[ImageLogger(tmp_path)])
    written, kernel = read(tmp_path), model.get_weights()[0]
    assert set(written) == {"filters"}
    first, last = written["filters"][0], written["filters"][1]
    np.testing.assert_array_equal(last, in_bytes(square(filter_tiles(kernel))))
    assert last.shape == (2 * 4 - 1, 3 * 4 - 1, 3)
    assert not np.array_equal(first, last)
    assert not np.array_equal(first, in_bytes(square(filter_tiles(start))))


def test_a_regressor_has_filters_too(tmp_path):
    model = cnn_regressor((8, 8, 1), filters=2, periodic=True, seed=0)
    model.fit(np.zeros((4, 8, 8, 1)), np.zeros(4), verbose=0, callbacks=[ImageLogger(tmp_path)])
    assert set(read(tmp_path)) == {"filters"}


def test_a_convolution_inside_a_part_is_found(tmp_path):
    layers = keras.layers
    encoder = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Reshape((4, 4, 1)), layers.Conv2D(2, 3)]
    )
    decoder = keras.Sequential([keras.Input((2, 2, 2)), layers.Conv2DTranspose(1, 3)])
    model = keras.Sequential([keras.Input((4, 4, 1)), encoder, decoder])
    model.compile("adam", "mse", jit_compile=False)
    fit(model, ImageLogger(tmp_path, IMAGES))
    written = read(tmp_path)
    expected = in_bytes(square(filter_tiles(encoder.layers[-1].get_weights()[0])))
    np.testing.assert_array_equal(written["filters"][0], expected)
    assert set(written) == {"filters", "reconstructions"}


def test_a_model_that_builds_itself_in_the_first_batch(tmp_path):
    model = keras.Sequential([keras.layers.Conv2D(1, 3, padding="same")])
    model.compile("sgd", "mse", jit_compile=False)
    fit(model, ImageLogger(tmp_path))
    expected = filter_tiles(model.get_weights()[0])[0]
    np.testing.assert_array_equal(read(tmp_path)["filters"][0], in_bytes(expected))


def test_what_is_not_a_number_is_black(tmp_path):
    model = frozen(np.nan)
    fit(model, ImageLogger(tmp_path, IMAGES, num_images=1))
    written = read(tmp_path)
    assert np.all(written["reconstructions"][0][5:] == 0)
    assert np.all(written["filters"][0] == 0)


# === When ===


class Stops(keras.callbacks.Callback):
    """Stops in epoch 4, and in the end puts back other weights, as `EarlyStopping` does."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 4

    def on_train_end(self, logs=None):
        self.model.brightness.assign(0.0)


@pytest.mark.parametrize(
    ("every", "epochs", "written"),
    [
        (1, {"epochs": 3}, [0, 1, 2]),
        (2, {"epochs": 5}, [0, 2, 4]),
        (3, {"epochs": 6}, [0, 3, 5]),
        (9, {"epochs": 1}, [0]),
        (3, {"initial_epoch": 4, "epochs": 8}, [4, 6, 7]),
    ],
)
def test_the_epochs_that_are_written(tmp_path, every, epochs, written):
    model = Samples()
    fit(model, ImageLogger(tmp_path, every=every), **epochs)
    assert list(read(tmp_path)["samples"]) == written
    # Nothing is drawn that is not written.
    assert len(model.calls) == 1 + len(written)


@pytest.mark.parametrize("before", [True, False])
def test_the_last_epoch_of_a_training_that_was_stopped(tmp_path, before):
    callbacks = [Stops(), ImageLogger(tmp_path, every=3)]
    fit(Samples(), *(callbacks if before else reversed(callbacks)), epochs=9)
    written = read(tmp_path)["samples"]
    assert list(written) == [0, 3, 4]
    np.testing.assert_array_equal(written[4], written[0])
    assert written[0].max() > 0


def test_every_epoch_can_be_read_at_once_and_the_file_is_closed_in_the_end(tmp_path):
    class Reads(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert max(read(tmp_path)["samples"]) == epoch

    logger = ImageLogger(tmp_path)
    fit(Samples(), logger, Reads(), epochs=2)
    with pytest.raises(RuntimeError, match=r"SummaryWriter .* is already closed"), logger._writer.as_default():
        pass


def test_beside_tensorboard_whatever_its_frequency(tmp_path):
    for frequency in ("epoch", 1000):
        folder = tmp_path / str(frequency)
        tensorboard = keras.callbacks.TensorBoard(folder, update_freq=frequency, write_graph=False)
        fit(Samples(), tensorboard, ImageLogger(folder), epochs=2)
        assert list(read(folder)["samples"]) == [0, 1]


def test_an_instance_serves_twice(tmp_path):
    logger = ImageLogger(tmp_path)
    fit(Samples(), logger)
    fit(Samples(), logger, initial_epoch=1, epochs=3)
    assert list(read(tmp_path)["samples"]) == [0, 1, 2]


# === What it leaves ===


def test_the_model_and_its_random_state_stay_as_they_are(tmp_path):
    weights = []
    for logged in (False, True):
        model = Samples(shape=(4, 4, 1), rate=0.1)
        fit(model, *([ImageLogger(tmp_path, IMAGES)] if logged else []), epochs=3)
        weights.append([variable.numpy().tolist() for variable in model.variables])
    assert weights[0] == weights[1]


def test_it_has_no_hooks_on_batches():
    for hook in ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end"):
        assert getattr(ImageLogger, hook) is getattr(keras.callbacks.Callback, hook)


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"log_dir": 3}, TypeError, "`log_dir` must be the path of a folder, got 3"),
        ({"images": [[0.0]]}, TypeError, "`images` must be a NumPy array, got list"),
        ({"images": np.zeros((5, 4, 4))}, ValueError, r"got \(5, 4, 4\)\. images\[\.\.\., None\] adds a missing axis"),
        ({"images": np.zeros((5, 4, 4, 2))}, ValueError, r"\(n, height, width, 1 or 3\), got \(5, 4, 4, 2\)"),
        ({"images": np.zeros((0, 4, 4, 1))}, ValueError, r"\(n, height, width, 1 or 3\), got \(0, 4, 4, 1\)"),
        ({"images": np.full((1, 4, 4, 1), np.inf)}, ValueError, "`images` must hold finite numbers only"),
        ({"images": np.full((1, 4, 4, 1), "a")}, ValueError, "`images` must hold finite numbers only"),
        ({"every": 0}, ValueError, "`every` must be a positive integer, got 0"),
        ({"num_images": 2.5}, ValueError, r"`num_images` must be a positive integer, got 2\.5"),
        ({"seed": -1}, ValueError, "`seed` must be an integer of at least 0, got -1"),
        ({"seed": None}, TypeError, "`seed` must be an integer of at least 0, got None"),
    ],
)
def test_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        ImageLogger(**{"log_dir": "never", **arguments})


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: cnn_classifier((16, 1), 2, filters=2), (16, 1)),
        (lambda: cnn_classifier((8, 8, 8, 1), 2, filters=2), (8, 8, 8, 1)),
        (lambda: mlp_classifier((4, 4, 1), 2), (4, 4, 1)),
    ],
)
def test_a_model_with_nothing_to_show_is_refused(tmp_path, model, shape):
    model = model()
    with pytest.raises(ValueError, match=r"nothing to show of the model '\w+_classifier': .* Pass `images` if"):
        model.fit(np.zeros((4, *shape)), np.zeros(4), verbose=0, callbacks=[ImageLogger(tmp_path / "logs")])
    assert not (tmp_path / "logs").exists()


def test_samples_that_are_no_images_are_nothing_to_show(tmp_path):
    with pytest.raises(ValueError, match="nothing to show"):
        fit(Samples(shape=(3,)), ImageLogger(tmp_path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: cnn_classifier((4, 4, 1), 3, filters=2), r"this one makes the shape \(3,\) of .*: drop `images`"),
        (lambda: cnn_classifier((8, 8, 1), 3, filters=2), r"shape \(4, 4, 1\), but the model takes \(8, 8, 1\)"),
        (lambda: keras.Model(*two_outputs()), r"this one makes no single array of"),
    ],
)
def test_images_that_the_model_cannot_reconstruct_are_refused(tmp_path, model, message):
    model = model()
    model.compile("sgd", "mse", jit_compile=False)
    callback = ImageLogger(tmp_path / "logs", IMAGES)
    callback.set_model(model)
    with pytest.raises(ValueError, match=message):
        callback.on_train_begin()
    assert not (tmp_path / "logs").exists()


def two_outputs():
    inputs = keras.Input((4, 4, 1))
    return inputs, [inputs + 1, inputs + 2]


def test_images_of_any_size_go_into_a_model_of_any_size(tmp_path):
    fit(frozen(shape=(None, None, 1)), ImageLogger(tmp_path, IMAGES, num_images=1))
    assert read(tmp_path)["reconstructions"][0].shape == (9, 4, 1)
