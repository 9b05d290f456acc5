"""Cross-validation: the same network trained afresh on every fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import KFold, StratifiedKFold

from kphys import _arguments as check
from kphys.evaluation._inputs import numbers, same_length, weights
from kphys.evaluation._results import CrossValidationResult, Score

Callbacks = Callable[[], Sequence[keras.callbacks.Callback]]


def cross_validate(
    build: Callable[[int], keras.Model],
    x: ArrayLike,
    y: ArrayLike,
    *,
    folds: int = 5,
    epochs: int = 10,
    batch_size: int = 32,
    sample_weight: ArrayLike | None = None,
    stratify: bool | None = None,
    callbacks: Callbacks | None = None,
    seed: int | None = 0,
) -> CrossValidationResult:
    r"""Trains a new model on every fold and gives each metric's mean and standard error over the folds.

    The events are shuffled and cut into `folds` parts. For each part, `build(fold_seed)` gives a new model, which
    trains on the other parts and is evaluated on this one by what it was compiled with. For a metric $m_i$ of fold
    $i$ out of $K$, the mean is $\bar m$ and the error $\sqrt{\sum_i (m_i - \bar m)^2 / (K (K - 1))}$. As the folds
    share training events, the $m_i$ are correlated, and the error is approximate, usually too small.

    Each fold has its own seeds, from `numpy.random.SeedSequence(seed).spawn(folds)`: one for `build`, one for the
    order of the training events. So a fold gives the same result whichever folds ran before it, or in another
    process, and no global random state is read or set here. That holds if `build` seeds its initializers and dropout
    from what it is given, as every builder of kphys does with `seed=`.

    Args:
        build: function of one integer seed, giving a new compiled model: `lambda seed: mlp_classifier((8,), 2,
            seed=seed)`.
        x: inputs, `(n, …)`.
        y: targets, `(n, …)`, as the model takes them.
        folds: number of parts, from 2 to $n$.
        epochs: passes over the training events, positive.
        batch_size: events a step, positive.
        sample_weight: `(n,)`, or `(n, steps)` for sequences, for training and evaluation; `None`: all 1. Metrics heed
            it if the model was compiled with them as `weighted_metrics`.
        stratify: whether each part holds the classes in the same shares. `None` stratifies if `y` holds one
            integer an event and each of its values occurs at least `folds` times.
        callbacks: function without arguments that gives a list of new callbacks for one fold; `None`: none.
        seed: of everything above; `None` takes a new one each time.

    Returns:
        A `CrossValidationResult`: prints as a table; `result["accuracy"].value` and `.error`, `result.per_fold`,
        `result.seeds`, `result.as_dict()`.

    Raises:
        TypeError: if `build` is not a function or gives no Keras model, or an argument is of the wrong kind.
        ValueError: if `folds` does not suit the events, arrays are empty or of different length, `y` holds NaN, or
            `build` gives a model that is not compiled, or one that shares weights with that of an earlier fold.

    Reference:
        Y. Bengio, Y. Grandvalet, 2004, *No unbiased estimator of the variance of K-fold cross-validation*.

    Example:
        >>> import keras, numpy as np
        >>> from kphys.evaluation import cross_validate
        >>> def build(seed):
        ...     start = keras.initializers.GlorotUniform(seed=seed)
        ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer=start)])
        ...     model.compile("sgd", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(60, 2))
        >>> result = cross_validate(build, x, x.sum(axis=1), folds=3, epochs=2)
        >>> result.per_fold["loss"].shape
        (3,)
    """
    x, y = np.asarray(x), numbers("y", y)
    same_length(x, y)
    _check_functions(build, callbacks)
    folds = _check_folds(folds, len(y))
    epochs, batch_size = check.integer("epochs", epochs), check.integer("batch_size", batch_size)
    data = (x, y) if sample_weight is None else (x, y, _check_weight(sample_weight, y))
    root = np.random.SeedSequence(check.seed("seed", seed))
    splits = _splits(y, folds, stratify, int(root.generate_state(1)[0]))
    results, seeds, models = [], [], []
    for rows, sequence in zip(splits, root.spawn(folds), strict=True):
        build_seed, order_seed = (int(state) for state in sequence.generate_state(2))
        models.append(_new_model(build, build_seed, models))
        made = callbacks() if callbacks is not None else None
        results.append(_train_and_evaluate(models[-1], data, rows, order_seed, epochs, batch_size, made))
        seeds.append(build_seed)
    return _summary(results, seeds, len(y))


class _ShuffledRows(keras.utils.PyDataset):
    """Batches of the given rows, in a new order every epoch, from a generator of its own.

    `fit` on arrays would shuffle by TensorFlow's global generator, so that folds would depend on their order.
    """

    def __init__(self, data: tuple[np.ndarray, ...], rows: np.ndarray, batch_size: int, seed: int):
        super().__init__()
        self._data, self._rows, self._batch_size = data, rows, batch_size
        self._generator = np.random.default_rng(seed)
        self._order = self._generator.permutation(rows)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return tuple(array[rows] for array in self._data)

    def on_epoch_end(self) -> None:
        self._order = self._generator.permutation(self._rows)


def _train_and_evaluate(
    model: keras.Model,
    data: tuple[np.ndarray, ...],
    rows: tuple[np.ndarray, np.ndarray],
    order_seed: int,
    epochs: int,
    batch_size: int,
    callbacks: Sequence[keras.callbacks.Callback] | None,
) -> dict[str, float]:
    train, test = rows
    if hasattr(model, "check_arrays"):
        model.check_arrays(*data)  # A model of kphys' builders would look through arrays, not batches.
    batches = _ShuffledRows(data, train, batch_size, order_seed)
    # Without shuffle=False, Keras would shuffle the batches once more, by the global generator.
    model.fit(batches, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0)
    x, y, *weight = (array[test] for array in data)
    return model.evaluate(
        x, y, sample_weight=weight[0] if weight else None, batch_size=batch_size, verbose=0, return_dict=True
    )


def _new_model(build: Callable[[int], keras.Model], seed: int, earlier: list[keras.Model]) -> keras.Model:
    model = build(seed)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`build` must give a Keras model, got {type(model).__name__}: does it end with `return`?")
    if not model.compiled:
        raise ValueError("`build` must give a compiled model: call model.compile(...) in it before `return`.")
    known = {id(weight) for other in earlier for weight in other.weights}
    if any(model is other for other in earlier) or any(id(weight) in known for weight in model.weights):
        raise ValueError(
            f"`build` gave fold {len(earlier)} a model with the weights of an earlier fold, which has seen the "
            "events it would be tested on: make all layers inside `build`."
        )
    return model


def _splits(y: np.ndarray, folds: int, stratify: bool | None, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if stratify is not None:
        stratify = check.flag("stratify", stratify)
    one_a_row = y.size == len(y)
    values, counts = np.unique(y, return_counts=True) if one_a_row else (y, np.zeros(1))
    if stratify is None:
        stratify = one_a_row and y.dtype.kind in "biu" and counts.min() >= folds
    if not stratify:
        return list(KFold(folds, shuffle=True, random_state=seed).split(y))
    if not one_a_row:
        raise ValueError(f"`stratify` takes one class an event in `y`, got shape {y.shape}: pass stratify=False.")
    if counts.min() < folds:
        raise ValueError(
            f"`stratify` takes at least folds={folds} events of every class, but class {values[counts.argmin()]} has "
            f"{counts.min()}: pass fewer folds, or stratify=False."
        )
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y.ravel()))


def _summary(results: list[dict[str, float]], seeds: list[int], num_events: int) -> CrossValidationResult:
    per_fold = {name: np.array([result[name] for result in results]) for name in results[0]}
    scores = {
        name: Score(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
        for name, values in per_fold.items()
    }
    notes = ["the folds share training events: the errors are approximate, usually too small"]
    for name, values in per_fold.items():
        if not np.isfinite(values).all():
            which = ", ".join(map(str, np.flatnonzero(~np.isfinite(values))))
            notes.append(f"{name} is not finite in fold {which}: look at the training there")
    return CrossValidationResult(
        title=f"cross-validation, {num_events:,} events, {len(seeds)} folds",
        num_events=num_events,
        scores=scores,
        notes=tuple(notes),
        per_fold=per_fold,
        seeds=tuple(seeds),
    )


def _check_functions(build: Any, callbacks: Any) -> None:
    if isinstance(build, keras.Model):
        raise TypeError(
            "`build` must be a function that gives a new compiled model, got a model, which would carry its weights "
            "from fold to fold: pass `lambda seed: ...` that makes it."
        )
    if not callable(build):
        raise TypeError(
            f"`build` must be a function of a seed that gives a compiled model, got {type(build).__name__}."
        )
    if callbacks is not None and not callable(callbacks):
        raise TypeError(
            "`callbacks` must be a function that gives a list of new callbacks, as callbacks keep their state from "
            f"fold to fold, got {type(callbacks).__name__}: pass `lambda: [...]`."
        )


def _check_folds(folds: Any, num_events: int) -> int:
    folds = check.integer("folds", folds, 2)
    if folds > num_events:
        raise ValueError(f"`folds` must be at most the number of events, {num_events}, got {folds}.")
    return folds


def _check_weight(sample_weight: Any, y: np.ndarray) -> np.ndarray:
    event_shape = y.shape[:2] if np.ndim(sample_weight) == 2 else y.shape[:1]
    weights(sample_weight, event_shape)
    return np.asarray(sample_weight)
