"""What `evaluate_classifier` says of predictions whose scores are known."""

import keras
import numpy as np
import pytest
from sklearn import metrics

from kphys.evaluation import evaluate_classifier
from kphys.evaluation._inputs import classifier_events
from kphys.evaluation._scores import Classified, bootstrap_errors

KINDS = ("binary", "multiclass", "multilabel")


# === Exact answers ===


def test_ten_events_by_hand(classified):
    y = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    p = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7, 0.6, 0.95, 0.4, 0.05]
    result = classified(p, y)
    np.testing.assert_array_equal(result.confusion_matrix.value, [[3, 1], [2, 4]])
    expected = {"accuracy": 0.7, "selectivity": 3 / 4, "precision": 4 / 5, "recall": 4 / 6, "f1": 8 / 11}
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value), name
    # Of 24 pairs, 16 are in order: 0.8, 0.7 and 0.6 beat three of four, 0.95 all, 0.4 three, 0.05 none.
    assert result["roc_auc"].value == pytest.approx(16 / 24)
    loss = -np.log([0.9, 0.8, 0.7, 0.1, 0.8, 0.7, 0.6, 0.95, 0.4, 0.05]).mean()
    assert result["log_loss"].value == pytest.approx(loss)


def test_three_classes_by_hand(classified):
    y = [0, 0, 1, 1, 2]
    p = np.array([[8, 1, 1], [2, 7, 1], [1, 8, 1], [1, 6, 3], [6, 2, 2]]) / 10
    result = classified(p, y)
    np.testing.assert_array_equal(result.confusion_matrix.value, [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert result["accuracy"].value == pytest.approx(3 / 5)
    np.testing.assert_allclose(result.per_class["selectivity"].value, [2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(result.per_class["recall"].value, [1 / 2, 1, 0])
    # Nothing was given class 2: its precision is undefined, and the mean is that of the other two.
    np.testing.assert_allclose(result.per_class["precision"].value, [1 / 2, 2 / 3, np.nan])
    assert result["precision"].value == pytest.approx(7 / 12)
    assert "precision is undefined for class 2" in str(result)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_sums_equal_sklearn(kind, weighted, sample):
    p, y = sample(kind)
    weight = np.random.default_rng(2).exponential(size=len(y)) if weighted else None
    events = classifier_events(p, np.asarray(y), weight)
    assert events.kind == kind
    arranged = Classified(kind, events.truth, events.prediction, 0.5, 15)
    sums, sklearn = arranged.scores(events.weight), arranged.scores_by_sklearn(events.weight)
    assert sums.keys() == sklearn.keys()
    for name, value in sklearn.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_result_is_what_sklearn_says(kind, classified, sample):
    p, y = sample(kind)
    weight = np.random.default_rng(3).exponential(size=len(y))
    result = classified(p, y, sample_weight=weight, num_bootstrap=0)
    q = p[:, 0] if kind == "binary" else p
    chosen = p.argmax(axis=1) if kind == "multiclass" else q > 0.5
    average = "binary" if kind == "binary" else "macro"
    expected = {
        "precision": metrics.precision_score(y, chosen, average=average, sample_weight=weight),
        "recall": metrics.recall_score(y, chosen, average=average, sample_weight=weight),
        "f1": metrics.f1_score(y, chosen, average=average, sample_weight=weight),
        "roc_auc": metrics.roc_auc_score(y, q, average="macro", multi_class="ovr", sample_weight=weight),
    }
    if kind != "multilabel":
        expected["accuracy"] = metrics.accuracy_score(y, chosen, sample_weight=weight)
        expected["log_loss"] = metrics.log_loss(y, q, sample_weight=weight)
    else:
        expected["accuracy"] = np.average((y == chosen).mean(axis=1), weights=weight)
        expected["log_loss"] = np.mean(
            [metrics.log_loss(y[:, label], p[:, label], sample_weight=weight) for label in range(4)]
        )
    for name, value in expected.items():
        # The log-loss to the 1e-7 that keeps probabilities off 0 and 1.
        assert result[name].value == pytest.approx(value, rel=1e-10, abs=1e-7 if name == "log_loss" else 0), name


def test_calibration_error_of_two_bins_by_hand(classified):
    # Below 0.5: mean 0.2, true 1/4. Above: mean 0.8, true 1/2.
    p, y = [0.1, 0.3, 0.1, 0.3, 0.7, 0.9], [0, 1, 0, 0, 1, 0]
    result = classified(p, y, num_bins=2)
    expected = 4 / 6 * abs(1 / 4 - 0.2) + 2 / 6 * abs(1 / 2 - 0.8)
    assert result["expected_calibration_error"].value == pytest.approx(expected)


def test_calibration_error_of_three_classes_by_hand(classified):
    p = np.array([[0.6, 0.2, 0.2], [0.1, 0.6, 0.3], [0.0, 0.1, 0.9]])
    result = classified(p, [0, 0, 2], num_bins=2)
    assert result["expected_calibration_error"].value == pytest.approx(abs(2 / 3 - 0.7))


def test_calibrated_predictions_have_a_small_calibration_error(classified):
    generator = np.random.default_rng(0)
    p = generator.random(20_000)
    result = classified(p, generator.random(20_000) < p, num_bootstrap=0)
    assert result["expected_calibration_error"].value < 0.02


def test_float32_probabilities_of_zero_and_one_have_a_finite_log_loss(classified):
    result = classified(np.array([[1.0], [0.0]], "float32"), [0, 1])
    assert result["log_loss"].value == pytest.approx(-np.log(1e-7))


def test_threshold(classified):
    y, p = [0, 1, 1], [0.3, 0.6, 0.9]
    assert classified(p, y, threshold=0.7)["recall"].value == pytest.approx(1 / 2)
    assert classified(p, y, threshold=0.2)["selectivity"].value == 0


# === Statistical errors ===


def test_error_of_the_accuracy_is_binomial(classified):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 4000)
    p = np.where(generator.random(4000) < 0.8, y, 1 - y)
    accuracy = classified(p, y, num_bootstrap=1000)["accuracy"]
    assert accuracy.error == pytest.approx(np.sqrt(accuracy.value * (1 - accuracy.value) / 4000), rel=0.1)


def test_errors_of_the_confusion_matrix_are_root_sums_of_squared_weights(classified, sample):
    p, y = sample("binary", 2000)
    weight = np.random.default_rng(4).exponential(size=2000)
    result = classified(p, y, sample_weight=weight, num_bootstrap=1000)
    squares = metrics.confusion_matrix(y, p[:, 0] > 0.5, sample_weight=weight**2)
    np.testing.assert_allclose(result.confusion_matrix.error, np.sqrt(squares), rtol=0.1)


def test_error_of_the_roc_area_is_that_of_hanley_and_mcneil(classified):
    # J. A. Hanley, B. J. McNeil, 1982, for scores of exponential distribution, where the formula is exact.
    generator = np.random.default_rng(0)
    y = np.repeat([0, 1], 1000)
    score = generator.exponential(np.where(y, 3.0, 1.0))
    auc = classified(1 - np.exp(-score), y, num_bootstrap=500)["roc_auc"]
    area = 3 / 4
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + 999 * (q1 - area**2) + 999 * (q2 - area**2)) / 1000**2
    assert auc.value == pytest.approx(area, abs=4 * np.sqrt(variance))
    assert auc.error == pytest.approx(np.sqrt(variance), rel=0.15)


def test_errors_are_of_the_seed(classified, sample):
    p, y = sample("multiclass")
    same = [classified(p, y, num_bootstrap=20, seed=3).as_dict() for _ in range(2)]
    assert same[0] == same[1]
    assert classified(p, y, num_bootstrap=20, seed=4)["f1"].error != same[0]["scores"]["f1"]["error"]


def test_global_random_state_is_left_alone(classified, sample):
    p, y = sample("binary")
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    classified(p, y, num_bootstrap=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_large_values_lose_no_digits_of_their_error():
    weight, group = np.ones(1000), np.arange(1000)
    shift = 1e9 + np.random.default_rng(0).normal(size=1000)
    errors = bootstrap_errors(lambda w: {"mean": (w @ shift) / w.sum()}, weight, group, 400, 0)
    assert errors["mean"] == pytest.approx(1 / np.sqrt(1000), rel=0.15)


def test_no_bootstrap_gives_no_errors(classified):
    result = classified([0.1, 0.9], [0, 1], num_bootstrap=0)
    assert np.isnan(result["accuracy"].error)
    assert "1 ± nan" in str(result)


# === Sequences ===


def test_steps_of_a_sequence_are_flattened_and_resampled_together(classified, sample):
    p, y = sample("multiclass", 300)
    flat = classified(p, y, num_bootstrap=300)
    repeated = classified(np.repeat(p[:, None], 4, axis=1), np.repeat(y[:, None], 4, axis=1), num_bootstrap=300)
    assert repeated.kind == "multiclass"
    assert repeated["f1"].value == pytest.approx(flat["f1"].value)
    # Four equal steps tell as much as one: their error must not shrink by two.
    assert repeated["f1"].error == pytest.approx(flat["f1"].error)
    assert "300 sequences of 1,200 steps" in repeated.title


def test_steps_without_weight_do_not_count(classified, sample):
    p, y = sample("multiclass", 200)
    padded = np.concatenate([p[:, None], np.full((200, 1, 4), 0.25)], axis=1)
    labels = np.stack([y, np.full(200, -1)], axis=1)
    weight = np.tile([1.0, 0.0], (200, 1))
    result = classified(padded, labels, sample_weight=weight, num_bootstrap=10)
    assert result.as_dict()["scores"] == classified(p, y, num_bootstrap=10).as_dict()["scores"]


def test_binary_steps_take_labels_with_and_without_a_last_axis(classified):
    p, y = np.array([[[0.2], [0.8]], [[0.6], [0.4]]]), np.array([[0, 1], [0, 1]])
    assert classified(p, y)["accuracy"].value == classified(p, y[..., None])["accuracy"].value == 0.5
    assert classified(p, y, sample_weight=[1, 0])["accuracy"].value == 1


# === At the border ===


def test_a_single_class_leaves_the_roc_area_undefined(classified):
    result = classified([0.2, 0.7, 0.9], [1, 1, 1])
    assert np.isnan(result["roc_auc"].value)
    assert np.isnan(result["selectivity"].value)
    assert result["recall"].value == pytest.approx(2 / 3)
    assert "roc_auc is undefined: it takes events inside and outside the class" in str(result)
    assert "roc_auc                     undefined" in str(result)
    assert result.plot() is not None


def test_an_absent_class_is_left_out_of_the_means(classified, sample):
    p, y = sample("multiclass")
    p, y = p[y != 2], y[y != 2]
    result = classified(p, y, num_bootstrap=10)
    np.testing.assert_array_equal(np.isnan(result.per_class["recall"].value), [False, False, True, False])
    assert result["recall"].value == pytest.approx(np.nanmean(result.per_class["recall"].value))


def test_negative_weights_subtract_events(classified, sample):
    p, y = sample("binary")
    weight = np.ones(500)
    # An event of weight 1 and its copy of weight −1 are no event.
    doubled = classified(
        np.concatenate([p, p[:50], p[:50]]),
        np.concatenate([y, y[:50], y[:50]]),
        sample_weight=np.concatenate([weight, np.ones(50), -np.ones(50)]),
        num_bootstrap=10,
    )
    plain = classified(p, y, num_bootstrap=10)
    for name in plain.scores:
        assert doubled[name].value == pytest.approx(plain[name].value), name
    assert "50 of 600 weights are negative" in str(doubled)
    assert len(doubled.plot().axes) == 3
    assert plain.notes == ()


def test_one_event(classified):
    result = classified([0.7], [1])
    assert result["accuracy"].value == 1


# === Keras models ===


def test_a_keras_model_is_scored_as_keras_scores_it():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3)).astype("float32")
    y = (x.sum(axis=1) + generator.normal(size=400) > 0).astype(int)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    result = evaluate_classifier(model, x, y, num_bootstrap=5)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert result["accuracy"].value == pytest.approx(logs["accuracy"], abs=1e-6)
    assert result["log_loss"].value == pytest.approx(logs["loss"], rel=1e-5)


# === Bad input ===

FINE = {"x": np.zeros((4, 1)), "y": np.array([0, 1, 0, 1])}
BAD_CLASSIFIERS = {
    "no predict": ({"model": len}, TypeError, "`model` must have a method `predict`"),
    "empty": ({"x": np.zeros((0, 1)), "y": []}, ValueError, "`y` must hold at least one event"),
    "lengths": ({"x": np.zeros((5, 1))}, ValueError, r"`x` and `y` must hold the same events, got shapes \(5, 1\)"),
    "predicted": ({"p": [0.1, 0.2]}, ValueError, "`y` holds 4 events, but the model gave 2 predictions"),
    "words": ({"y": ["a", "b", "a", "b"]}, TypeError, "`y` must hold numbers"),
    "nan": (
        {"p": [0.1, np.nan, 0.2, np.inf]},
        ValueError,
        r"`predictions` must be finite, but 2 of 4 values are NaN or infinite, the first at index \(1,\)",
    ),
    "nan in y": ({"y": [0, 1, 0, np.nan]}, ValueError, r"`y` must be finite.*\(3,\)"),
    "logits": ({"p": [0.1, -3.0, 0.2, 4.0]}, ValueError, "probabilities, got values from -3 to 4: end the model"),
    "no softmax": ({"p": np.full((4, 3), 0.9)}, ValueError, "must sum to 1 over the classes, got 2.7"),
    "one-hot": ({"p": np.eye(2)[[0, 1, 0, 1]], "y": np.eye(2)[[0, 1, 0, 1]]}, ValueError, "looks one-hot.*argmax"),
    "shape": ({"p": np.full((4, 3), 1 / 3), "y": np.zeros((4, 2))}, ValueError, r"`y` must have shape \(4,\)"),
    "binary labels": ({"y": [0, 1, 2, 1]}, ValueError, "class numbers 0 to 1, but 1 of 4 are others, the first 2"),
    "labels": (
        {"p": np.full((4, 3), 1 / 3), "y": [1, 2, 3, 3]},
        ValueError,
        "`y` must hold the class numbers 0 to 2, but 2 of 4 are others, the first 3: shift them",
    ),
    "half labels": ({"y": [0, 0.5, 1, 1]}, ValueError, "the first 0.5"),
    "weights": ({"sample_weight": np.ones(3)}, ValueError, r"`sample_weight` must hold one number.*got shape \(3,\)"),
    "no weight": ({"sample_weight": [1, -1, 0, 0]}, ValueError, "`sample_weight` must have a positive sum, got 0"),
    "nan weight": ({"sample_weight": [1, 1, np.nan, 1]}, ValueError, "`sample_weight` must be finite"),
    "bootstrap": ({"num_bootstrap": -1}, ValueError, "`num_bootstrap` must be an integer of at least 0, got -1"),
    "half bootstrap": ({"num_bootstrap": 2.5}, ValueError, "`num_bootstrap`"),
    "threshold": ({"threshold": 1.0}, ValueError, "`threshold`"),
    "bins": ({"num_bins": 0}, ValueError, "`num_bins` must be a positive integer, got 0"),
    "batch": ({"batch_size": 0}, ValueError, "`batch_size`"),
    "seed": ({"seed": -1}, ValueError, "`seed`"),
}


@pytest.mark.parametrize("case", BAD_CLASSIFIERS)
def test_a_classifier_refuses(case, says):
    changed, error, message = BAD_CLASSIFIERS[case]
    arguments = {**FINE, "model": says(changed.get("p", [0.1, 0.9, 0.2, 0.8])), **changed}
    arguments.pop("p", None)
    with pytest.raises(error, match=message):
        evaluate_classifier(**arguments)
