"""What networks are worth on tables, beside scikit-learn: quality on unseen events, and the seconds to fit.

    python benchmarks/tabular.py [--repeats 3] [--htru2-epochs 10] [--cms-epochs 60]

HTRU2, 17,898 pulsar candidates × 8 features, stratified 80/20: `kphys.mlp_classifier` with some dropout, its network in
scikit-learn, gradient boosting, logistic regression. All standardize the features; F1 is at probability 0.5. Without
`htru2.csv` in the folder that `KPHYS_DATA` names, a made-up table of the same shape.

CMS, 10,851 Z → μμ candidates × 8 components of two four-vectors, 80/20, their invariant mass: `kphys.mlp_regressor`
with scaling in and out of the model, gradient boosting, ridge regression. Without the file and without a network,
made-up muons.

Repeats are splits with seeds 0, 1, 2, the same for all. The ratio is how many times sooner kphys has learnt than the
row, with tracing and compilation, without imports. Aims: AUC at least 0.974 and F1 at least 0.885; RMSE at most 2 GeV.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

from _compare import Figures, arguments, compare

SECONDS = "fit [s]"
BATCH_SIZE = 64


def pulsars(seed: int) -> list[Any]:
    """Gives `[x_train, x_test, y_train, y_test]` of HTRU2."""
    import numpy as np
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split

    file = pathlib.Path(os.environ.get("KPHYS_DATA", "")) / "htru2.csv"
    if file.exists():
        table = np.loadtxt(file, delimiter=",", skiprows=1)
        x, y = table[:, :-1], table[:, -1]
    else:
        x, y = make_classification(17_898, 8, weights=[0.908], random_state=0)
    return train_test_split(x.astype("float32"), y.astype(int), test_size=0.2, stratify=y, random_state=seed)


def muons(seed: int) -> Any:
    """Gives `(x_train, y_train), (x_test, y_test)` of the CMS candidates."""
    import numpy as np

    from kphys.datasets import cms_zmumu

    try:
        return cms_zmumu.load_data(seed=seed)
    except OSError:
        momenta = np.random.default_rng(seed).normal(0, 30, (10_851, 2, 3)).astype("float32")
    vectors = np.concatenate([np.linalg.norm(momenta, axis=-1, keepdims=True), momenta], axis=-1)
    total = vectors.sum(axis=1)
    mass = np.sqrt(total[:, :1] ** 2 - (total[:, 1:] ** 2).sum(axis=1, keepdims=True))
    return (vectors[2170:].reshape(-1, 8), mass[2170:]), (vectors[:2170].reshape(-1, 8), mass[:2170])


def normalization(values: Any) -> Any:
    """Gives a Keras layer adapted to `values`."""
    import keras

    layer = keras.layers.Normalization()
    layer.adapt(values)
    return layer


def timed(fit: Callable[..., Any], *data: Any, **settings: Any) -> Figures:
    """Calls `fit` and gives its seconds."""
    start = time.perf_counter()
    fit(*data, **settings)
    return {SECONDS: time.perf_counter() - start}


def classified(y: Any, probability: Any) -> Figures:
    """Gives the quality of a classifier."""
    from sklearn.metrics import f1_score, roc_auc_score

    return {"AUC": roc_auc_score(y, probability), "F1": f1_score(y, probability > 0.5)}


def kphys_classifier(given: argparse.Namespace) -> Figures:
    """Trains `mlp_classifier`."""
    from kphys import mlp_classifier

    x, x_test, y, y_test = pulsars(given.repeat)
    model = mlp_classifier(8, 2, normalization=normalization(x), dropout=0.1, seed=given.repeat)
    seconds = timed(model.fit, x, y, batch_size=BATCH_SIZE, epochs=given.htru2_epochs, verbose=0)
    return {**seconds, **classified(y_test, model.predict(x_test, verbose=0)[:, 0])}


def sklearn_classifier(name: str, given: argparse.Namespace) -> Figures:
    """Trains one of scikit-learn's classifiers."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    epochs = given.htru2_epochs
    last = {
        # As many epochs as kphys has.
        "MLP": MLPClassifier((100, 100), batch_size=BATCH_SIZE, max_iter=epochs, n_iter_no_change=epochs),
        "boosting": HistGradientBoostingClassifier(),
        "logistic": LogisticRegression(max_iter=1000),
    }[name].set_params(random_state=given.repeat)
    x, x_test, y, y_test = pulsars(given.repeat)
    model = make_pipeline(StandardScaler(), last)
    seconds = timed(model.fit, x, y)
    return {**seconds, **classified(y_test, model.predict_proba(x_test)[:, 1])}


def kphys_regressor(given: argparse.Namespace) -> Figures:
    """Trains `mlp_regressor`."""
    import keras
    from sklearn.metrics import root_mean_squared_error

    from kphys import mlp_regressor

    (x, y), (x_test, y_test) = muons(given.repeat)
    steps = given.cms_epochs * -(-len(x) // BATCH_SIZE)
    model = mlp_regressor(
        8,
        hidden_units=(128, 128, 128),
        activation="silu",
        normalization=normalization(x),
        target_normalization=normalization(y),
        optimizer="adamw",
        learning_rate=keras.optimizers.schedules.CosineDecay(2e-3, steps),
        seed=given.repeat,
    )
    seconds = timed(model.fit, x, y, batch_size=BATCH_SIZE, epochs=given.cms_epochs, verbose=0)
    return {**seconds, "RMSE [GeV]": root_mean_squared_error(y_test, model.predict(x_test, verbose=0))}


def sklearn_regressor(name: str, given: argparse.Namespace) -> Figures:
    """Trains one of scikit-learn's regressors."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.metrics import root_mean_squared_error
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (x, y), (x_test, y_test) = muons(given.repeat)
    last = {"boosting": HistGradientBoostingRegressor(random_state=given.repeat), "ridge": Ridge()}[name]
    model = make_pipeline(StandardScaler(), last)
    seconds = timed(model.fit, x, y.ravel())
    return {**seconds, "RMSE [GeV]": root_mean_squared_error(y_test, model.predict(x_test))}


if __name__ == "__main__":
    classifiers = {name: functools.partial(sklearn_classifier, name) for name in ("MLP", "boosting", "logistic")}
    regressors = {name: functools.partial(sklearn_regressor, name) for name in ("boosting", "ridge")}
    groups = {
        "HTRU2": {"kphys": kphys_classifier, **classifiers},
        "CMS mass": {"kphys": kphys_regressor, **regressors},
    }
    given = arguments(__doc__, htru2_epochs=10, cms_epochs=60)
    compare(groups, given, ("AUC", "F1", "RMSE [GeV]", SECONDS), ratio_of=SECONDS)
