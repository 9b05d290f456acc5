"""Show what an image model makes of images, epoch by epoch, in TensorBoard."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kphys import _arguments

_COLUMNS = 8


class ImageLogger(keras.callbacks.Callback):
    """Writes images that show how an image model learns, for TensorBoard's "Images" tab.

    One image each, of tiles with a white line between them, for all of these that the model has to offer:

    - `reconstructions`, if `images` are given: rows of these, and below each row the row of what the model makes of
      them, by its `reconstruct(images)` if it has one, else by calling it.
    - `samples`, if the model has a method `sample(n, seed)` that gives images: the same `seed` each time, so that one
      sees the same codes develop.
    - `filters`, if it has a `keras.layers.Conv2D` (the first in the order of `layers` counts): a tile for every filter,
      zero in mid-grey, the largest absolute weight of all filters black or white. Kernels of three channels are shown
      in colour, others as their mean over the channels.

    Values in [0, 1] are shown as they are. If `images` reach beyond, their least value is black and their largest
    white, in reconstructions and samples alike, and what is beyond that is cut off. Samples without `images` are
    scaled by their own least and largest value. What is not a number is black.

    Model and random state stay as they are. Epochs in which nothing is written cost nothing.

    Args:
        log_dir: TensorBoard's folder; the images go to `train` in it, beside what `keras.callbacks.TensorBoard` writes.
        images: Images to reconstruct, `(n, height, width, 1 or 3)`, as the model takes them; held-out ones say most.
            `None` for models that do not reconstruct.
        every: Number of epochs between two writes. The first and the last epoch are always written. When an
            `EarlyStopping` ends training, put it before this callback.
        num_images: Number of images that are reconstructed, the first of `images`, and of samples.
        seed: Seed of the samples.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; in `fit`, before anything is written, a model
            that offers nothing to show, or `images` that are not those of the model.

    Example:
        >>> import pathlib
        >>> import tempfile
        >>> import numpy as np
        >>> from kphys import cnn_classifier
        >>> from kphys.callbacks import ImageLogger
        >>> model = cnn_classifier((8, 8, 1), 2, filters=4, seed=0)
        >>> x, y = np.zeros((32, 8, 8, 1)), np.zeros(32, int)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history = model.fit(x, y, callbacks=[ImageLogger(folder)], verbose=0)
        ...     len(list(pathlib.Path(folder, "train").iterdir()))
        1
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        images: np.ndarray | None = None,
        *,
        every: int = 1,
        num_images: int = 16,
        seed: int = 0,
    ):
        super().__init__()
        if not isinstance(log_dir, (str, os.PathLike)):
            raise TypeError(f"`log_dir` must be the path of a folder, got {log_dir!r}.")
        self.log_dir = os.fspath(log_dir)
        self.every = _arguments.integer("every", every)
        self.num_images = _arguments.integer("num_images", num_images)
        self.seed = _arguments.integer("seed", seed, minimum=0)
        self.images = None if images is None else _checked_images(images)[: self.num_images].astype("float32")
        self._reset()

    def _reset(self) -> None:
        self._drawn: dict[str, Callable[[], np.ndarray]] = {}
        self._writer: tf.summary.SummaryWriter | None = None
        self._last_epoch: int | None = None
        self._last_written: int | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds out what the model has to offer."""
        self._reset()
        with _unmoved(self.model):
            self._drawn = self._offers()
        if not self._drawn:
            raise ValueError(
                f"ImageLogger has nothing to show of the model {self.model.name!r}: it has no method "
                "`sample(n, seed)` that gives images and no layer `Conv2D`, and no `images` to reconstruct were given. "
                "Pass `images` if it reconstructs, else drop the callback."
            )
        self._writer = tf.summary.create_file_writer(os.path.join(self.log_dir, "train"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the images in the first, every `every`-th and the last epoch."""
        first = self._last_epoch is None
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        self._last_epoch = epoch
        if first or last or epoch % self.every == 0:
            self._write(epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the last epoch, if a later callback made it the last, and closes the file."""
        if self._last_epoch is not None and self._last_written != self._last_epoch:
            self._write(self._last_epoch)
        self._writer.close()

    def _offers(self) -> dict[str, Callable[[], np.ndarray]]:
        """Gives the functions that draw what the model has to offer, by the names under which they are shown."""
        offers = {}
        if self.images is not None:
            self._check_reconstruction()
            offers["reconstructions"] = self._draw_reconstructions
        if callable(getattr(self.model, "sample", None)) and _are_images(self._sample(1)):
            offers["samples"] = self._draw_samples
        convolution = _first_convolution(self.model)
        if convolution is not None:
            offers["filters"] = lambda: square(filter_tiles(_array(convolution.kernel)))
        return offers

    def _check_reconstruction(self) -> None:
        shape, expected = self.images.shape[1:], _input_shape(self.model)
        if expected is not None and not _fits(shape, expected):
            raise ValueError(
                f"`images` have the shape {shape}, but the model takes {expected}: pass images like its own."
            )
        given = getattr(self._reconstruct(self.images[:1]), "shape", None)
        if given is None or tuple(given) != (1, *shape):
            what = "no single array" if given is None else f"the shape {tuple(given)[1:]}"
            raise ValueError(
                f"`images` are for models that reconstruct them, and this one makes {what} of images of shape {shape}: "
                "drop `images`."
            )

    def _reconstruct(self, images: np.ndarray) -> Any:
        reconstruct = getattr(self.model, "reconstruct", None)
        return reconstruct(images) if callable(reconstruct) else self.model(images, training=False)

    def _sample(self, number: int) -> np.ndarray:
        return _array(self.model.sample(number, seed=self.seed))

    def _draw_reconstructions(self) -> np.ndarray:
        limits = value_range(self.images)
        made = _array(self._reconstruct(self.images))
        return pairs(scaled(self.images, *limits), scaled(made, *limits), min(len(made), _COLUMNS))

    def _draw_samples(self) -> np.ndarray:
        samples = self._sample(self.num_images)
        return square(scaled(samples, *value_range(samples if self.images is None else self.images)))

    def _write(self, epoch: int) -> None:
        with _unmoved(self.model):
            drawn = {name: draw() for name, draw in self._drawn.items()}
        # A `keras.callbacks.TensorBoard` that writes every few batches switches all summaries off in between.
        with self._writer.as_default(), tf.summary.record_if(True):
            for name, image in drawn.items():
                pixels = np.round(255 * np.nan_to_num(image)).astype("uint8")
                tf.summary.image(name, pixels[None], step=epoch)
        self._last_written = epoch


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Gives one image of all, row by row, with white lines of one pixel between them; what is left over is white.

    `(n, height, width, channels)`, values in [0, 1], in; `(rows (height + 1) − 1, columns (width + 1) − 1, channels)`
    out.
    """
    number, height, width, channels = images.shape
    rows = -(-number // columns)
    tiles = np.ones((rows * columns, height + 1, width + 1, channels), images.dtype)
    tiles[:number, :height, :width] = images
    tiles = tiles.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    return tiles.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]


def square(images: np.ndarray) -> np.ndarray:
    """Gives a grid of about as many rows as columns."""
    return grid(images, int(np.ceil(np.sqrt(len(images)))))


def pairs(inputs: np.ndarray, outputs: np.ndarray, columns: int) -> np.ndarray:
    """Gives a grid of rows of inputs, each with the row of their outputs below it."""
    missing = np.ones((-len(inputs) % columns, *inputs.shape[1:]), inputs.dtype)
    rows = [
        np.concatenate([images, missing]).reshape(-1, 1, columns, *inputs.shape[1:]) for images in (inputs, outputs)
    ]
    return grid(np.concatenate(rows, axis=1).reshape(-1, *inputs.shape[1:]), columns)


def value_range(images: np.ndarray) -> tuple[float, float]:
    """Gives what is black and what is white: 0 and 1 if no value is outside, else the least and the largest value."""
    finite = images[np.isfinite(images)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def scaled(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Gives the images with `low` at 0 and `high` at 1, and what is beyond cut off."""
    return np.clip((images - low) / ((high - low) or 1.0), 0.0, 1.0)


def filter_tiles(kernel: np.ndarray) -> np.ndarray:
    """Gives an image for each filter, with 0 at 0.5 and the largest |weight| of all at 0 or 1.

    The `kernel` of a convolution, `(height, width, channels, filters)`, in; `(filters, height, width, 3)` out if it has
    three channels, else its mean over them, `(filters, height, width, 1)`.
    """
    tiles = np.moveaxis(kernel, -1, 0)
    if tiles.shape[-1] != 3:
        tiles = tiles.mean(axis=-1, keepdims=True)
    return 0.5 + 0.5 * tiles / (np.abs(tiles).max() or 1.0)


@contextlib.contextmanager
def _unmoved(model: keras.Model) -> Iterator[None]:
    """Puts random generators and everything else that is not trained back in the end."""
    saved = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


def _first_convolution(model: keras.Model) -> keras.layers.Conv2D | None:
    for layer in model.layers:
        found = layer if isinstance(layer, keras.layers.Conv2D) else None
        if found is None and isinstance(layer, keras.Model):
            found = _first_convolution(layer)
        if found is not None:
            return found
    return None


def _input_shape(model: keras.Model) -> Any:
    """Gives the shape of one image, `None` for a model that has not said what it takes."""
    try:
        shape = model.input_shape
    except AttributeError:
        return None
    return shape[1:] if isinstance(shape, tuple) else shape


def _fits(shape: tuple[int, ...], expected: Any) -> bool:
    return len(shape) == len(expected) and all(want in (None, size) for size, want in zip(shape, expected, strict=True))


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float32")


def _are_images(array: np.ndarray) -> bool:
    return array.ndim == 4 and array.shape[-1] in (1, 3)


def _checked_images(images: Any) -> np.ndarray:
    if not isinstance(images, np.ndarray):
        raise TypeError(f"`images` must be a NumPy array, got {type(images).__name__}.")
    if not _are_images(images) or len(images) == 0:
        raise ValueError(
            f"`images` must have the shape (n, height, width, 1 or 3), got {images.shape}. "
            "images[..., None] adds a missing axis of channels."
        )
    if images.dtype.kind not in "biuf" or not np.all(np.isfinite(images)):
        raise ValueError("`images` must hold finite numbers only: remove NaN, infinities and what is not a number.")
    return images
