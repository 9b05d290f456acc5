"""Pulsars among the candidates of a radio survey (HTRU2): eight numbers a candidate, one in eleven is a pulsar."""

import keras
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split

from kphys import evaluate_classifier, mlp_classifier

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def candidates(real_data):
    """Features (17898, 8) and class, 1 for pulsars."""
    table = np.loadtxt(real_data / "htru2.csv", delimiter=",", skiprows=1)  # the class is the last column
    return table[:, :-1].astype("float32"), table[:, -1].astype(int)


def _network(x, y, seed, scale, falling):
    keras.utils.set_random_seed(seed)
    model = mlp_classifier(
        8,
        2,
        hidden_units=(100, 100),
        activation="silu",
        dropout=0.1,
        normalization=scale(x),
        optimizer="adamw",
        learning_rate=falling(2e-3, x, 128, 20),
        seed=seed,
    )
    model.fit(x, y, batch_size=128, epochs=20, verbose=0)
    return model


def test_as_good_as_gradient_boosting(candidates, scale, falling):
    """Stratified 80/20 splits by five seeds, which seed the network too; threshold one half.

    AUC at least 0.974 in each. F1 at least 0.885 in the mean: 328 pulsars in a test give F1 an error of 0.013, and
    the split of seed 2 is an unlucky one for everybody (boosting 0.881, logistic regression 0.857 there). In each,
    F1 within 0.02 of scikit-learn's gradient boosting on the same split, and AUC within 0.004.
    """
    scores = []
    for seed in range(5):
        x, x_test, y, y_test = train_test_split(*candidates, test_size=0.2, stratify=candidates[1], random_state=seed)
        result = evaluate_classifier(_network(x, y, seed, scale, falling), x_test, y_test, num_bootstrap=0)
        auc, f1 = result["roc_auc"].value, result["f1"].value
        boosted = HistGradientBoostingClassifier(random_state=0).fit(x, y).predict_proba(x_test)[:, 1]
        assert auc >= 0.974
        assert auc >= roc_auc_score(y_test, boosted) - 0.004
        assert f1 >= f1_score(y_test, boosted > 0.5) - 0.02
        scores.append(f1)
    assert np.mean(scores) >= 0.885
