"""The door of `kphys.evaluation`: from a model's predictions and the truth to arrays of single events."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Events(NamedTuple):
    """Events as rows: what is true, what the model said, and what each row counts."""

    kind: str
    truth: np.ndarray  # (rows, columns)
    prediction: np.ndarray  # (rows, columns), or (rows, columns, 2) with variances
    weight: np.ndarray  # (rows,)
    group: np.ndarray  # (rows,), 0, 0, 1, 1, ...: rows of one group are resampled together


def predictions(model: Any, x: Any, y: Any, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives the model's predictions for `x`, and `y`, both as finite numbers for the same events."""
    if not callable(getattr(model, "predict", None)):
        raise TypeError(
            f"`model` must have a method `predict`, as Keras models do, got {type(model).__name__}: "
            "if this is a function that builds the model, call it first."
        )
    y = numbers("y", y)
    same_length(x, y)
    predicted = np.asarray(model.predict(x, batch_size=batch_size, verbose=0))
    if len(predicted) != len(y):
        raise ValueError(f"`y` holds {len(y)} events, but the model gave {len(predicted)} predictions for `x`.")
    return numbers("predictions", predicted).astype(float), y


def numbers(name: str, value: Any) -> np.ndarray:
    """Gives `value` back as a non-empty array of finite numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" and not _is_bfloat16(array):
        raise TypeError(f"`{name}` must hold numbers, got an array of {array.dtype}.")
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"`{name}` must hold at least one event, got an array of shape {array.shape}.")
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise ValueError(
            f"`{name}` must be finite, but {bad.sum()} of {array.size} values are NaN or infinite, "
            f"the first at index {first}: clean the data, or look at the training's loss."
        )
    return array


def _is_bfloat16(array: np.ndarray) -> bool:
    return array.dtype.name == "bfloat16"


def same_length(x: Any, y: np.ndarray) -> None:
    """Refuses an array `x` that does not hold as many events as `y`."""
    shape = getattr(x, "shape", None)
    if shape is not None and (len(shape) == 0 or shape[0] != len(y)):
        raise ValueError(f"`x` and `y` must hold the same events, got shapes {tuple(shape)} and {y.shape}.")


def weights(sample_weight: Any, event_shape: tuple[int, ...]) -> np.ndarray:
    """Gives one finite weight an event of `event_shape`, ones for `None`; a sequence's weight is its steps'."""
    if sample_weight is None:
        return np.ones(event_shape)
    weight = numbers("sample_weight", sample_weight).astype(float)
    if weight.shape not in (event_shape, event_shape[:1]):
        raise ValueError(
            f"`sample_weight` must hold one number an event, shape {event_shape[:1]}"
            + (f" or {event_shape}" if len(event_shape) > 1 else "")
            + f", got shape {weight.shape}."
        )
    if not weight.sum() > 0:
        raise ValueError(f"`sample_weight` must have a positive sum, got {weight.sum():g}.")
    weight = weight.reshape(weight.shape + (1,) * (len(event_shape) - weight.ndim))
    return np.broadcast_to(weight, event_shape).copy()


def _rows(
    kind: str, truth: np.ndarray, prediction: np.ndarray, weight: np.ndarray, event_shape: tuple[int, ...]
) -> Events:
    """Flattens steps and pixels to rows and drops those without weight, such as padded steps."""
    group = np.repeat(np.arange(event_shape[0]), int(np.prod(event_shape[1:])))
    counted = weight.ravel() != 0
    flat = [array.reshape(len(group), *array.shape[len(event_shape) :])[counted] for array in (truth, prediction)]
    _, group = np.unique(group[counted], return_inverse=True)
    return Events(kind, *flat, weight.ravel()[counted], group)


def classifier_events(probability: np.ndarray, y: np.ndarray, sample_weight: Any) -> Events:
    """Tells binary, multiclass and multilabel apart by the shapes; gives boolean truth `(rows, classes)`."""
    probability = probability[:, None] if probability.ndim == 1 else probability
    event_shape, width = probability.shape[:-1], probability.shape[-1]
    kind = _classifier_kind(y.shape, event_shape, width)
    _refuse_no_probabilities(probability, y, kind)
    labels = y if kind == "multilabel" else y.reshape(event_shape)
    events = _rows(kind, labels, probability, weights(sample_weight, event_shape), event_shape)
    labels = _class_numbers(events.truth, width if kind == "multiclass" else 2, kind)
    if kind == "multiclass":
        return events._replace(truth=labels[:, None] == np.arange(width))
    return events._replace(truth=labels.reshape(-1, width) == 1)


def _classifier_kind(y_shape: tuple[int, ...], event_shape: tuple[int, ...], width: int) -> str:
    if y_shape in (event_shape, (*event_shape, 1)):
        return "binary" if width == 1 else "multiclass"
    if y_shape == (*event_shape, width):
        return "multilabel"
    raise ValueError(
        f"`y` must have shape {event_shape} (a class number an event)"
        + (f" or {(*event_shape, width)} (0 or 1 a label)" if width > 1 else " (0 or 1)")
        + f" for predictions of shape {(*event_shape, width)}, got {y_shape}."
    )


def _refuse_no_probabilities(probability: np.ndarray, y: np.ndarray, kind: str) -> None:
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError(
            f"the predictions must be probabilities, got values from {probability.min():.4g} to "
            f"{probability.max():.4g}: end the model with a sigmoid or softmax layer."
        )
    # Half precision sums to 1 within about 1e-2.
    sums_to_one = np.abs(probability.sum(axis=-1) - 1) < 0.02
    if kind == "multiclass" and not sums_to_one.all():
        raise ValueError(
            "the predictions for class numbers must sum to 1 over the classes, got "
            f"{probability.sum(axis=-1)[~sums_to_one][0]:.4g}: end the model with a softmax layer, "
            f"or, if an event may have several labels, pass `y` of shape {probability.shape} holding 0 and 1."
        )
    if kind == "multilabel" and sums_to_one.all() and (y.sum(axis=-1) == 1).all():
        raise ValueError(
            f"`y` of shape {y.shape} looks one-hot and the predictions a softmax: pass class numbers, "
            "y.argmax(axis=-1)."
        )


def _class_numbers(labels: np.ndarray, num_classes: int, kind: str) -> np.ndarray:
    known = np.isin(labels, np.arange(num_classes))
    if not known.all():
        mend = (
            "shift them to start at 0, or build the model with more classes"
            if kind == "multiclass"
            else (f"a {kind} model takes 0 and 1")
        )
        raise ValueError(
            f"`y` must hold the class numbers 0 to {num_classes - 1}, but {(~known).sum()} of {labels.size} "
            f"are others, the first {labels[~known][0]}: {mend}."
        )
    return labels.astype(int)


def regressor_events(prediction: np.ndarray, y: np.ndarray, sample_weight: Any) -> Events:
    """Tells plain predictions and (mean, variance) apart by the shapes; gives columns, one an output."""
    y = y.astype(float)
    if prediction.ndim == 1:
        prediction = prediction[:, None]
    if y.ndim == 1 or prediction.shape in ((*y.shape, 1), (*y.shape, 1, 2)):
        y = y[..., None]  # (events, ..., outputs)
    if prediction.shape == y.shape:
        kind = "plain"
    elif prediction.shape == (*y.shape, 2):
        kind = "gaussian"
        variance = prediction[..., 1]
        if variance.min() <= 0:
            raise ValueError(
                f"the predicted variances, predictions[..., 1], must be positive, got {variance.min():.4g}."
            )
    else:
        raise ValueError(
            f"`y` of shape {y.shape} fits predictions of that shape, or of shape {(*y.shape, 2)} "
            f"holding mean and variance, but the model gave {prediction.shape}."
        )
    return _rows(kind, y, prediction, weights(sample_weight, y.shape[:-1]), y.shape[:-1])
