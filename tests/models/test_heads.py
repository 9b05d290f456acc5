"""Losses, metrics and output layers against formulas in NumPy, SciPy and scikit-learn."""

import keras
import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

from kphys import mlp_regressor, rnn_classifier, rnn_regressor
from kphys.models._heads import GaussianHead, GaussianNLL, classifier_head, regressor_head

MASK = -9.0
GENERATOR_SEED = 5


def random():
    return np.random.default_rng(GENERATOR_SEED)


def head_of(task, outputs=1, *, sequences=False, delta=1.0):
    if task in ("binary", "multilabel", "multiclass"):
        return classifier_head(2 if task == "binary" else outputs, multilabel=task == "multilabel", sequences=sequences)
    return regressor_head(outputs, task, delta, None, sequences=sequences)


def on_the_threshold_grid(probability):
    """Keras' AUC looks at 200 thresholds only: what lies between two of them is a tie."""
    return np.ceil(np.asarray(probability, "float32") * np.float32(199))


def huber(residual, delta):
    size = np.abs(residual)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


# === Losses ===


def classifier_sample(task, classes=4, number=300):
    generator = random()
    logits = generator.normal(size=(number, classes)).astype("float32")
    if task == "binary":
        return generator.integers(0, 2, number), special.expit(logits[:, :1])
    if task == "multilabel":
        return generator.integers(0, 2, (number, classes)), special.expit(logits)
    return generator.integers(0, classes, number), special.softmax(logits, axis=1)


def regression_sample(outputs=3, number=300):
    generator = random()
    y, mean = generator.normal(size=(2, number, outputs)).astype("float32") * 2
    return y, mean, generator.uniform(0.2, 4.0, (number, outputs)).astype("float32")


CROSS_ENTROPIES = {
    "binary": lambda y, p: -np.log(np.where(y == 1, p[:, 0], 1 - p[:, 0])),
    "multilabel": lambda y, p: -np.log(np.where(y == 1, p, 1 - p)).mean(axis=1),
    "multiclass": lambda y, p: -np.log(p[np.arange(len(y)), y]),
}
REGRESSION_LOSSES = {
    "mse": lambda y, mean: ((y - mean) ** 2).mean(axis=1),
    "mae": lambda y, mean: np.abs(y - mean).mean(axis=1),
    "huber": lambda y, mean: huber(y - mean, 0.7).mean(axis=1),
}


@pytest.mark.parametrize("task", CROSS_ENTROPIES)
def test_the_loss_of_a_classifier_is_the_mean_cross_entropy(task):
    y, p = classifier_sample(task)
    weight = random().exponential(size=len(y))
    each = CROSS_ENTROPIES[task](y, p.astype(float))
    loss = head_of(task, 4).loss()
    assert float(loss(y, p)) == pytest.approx(each.mean(), rel=1e-5)
    # Keras divides by the number of events, not by the sum of weights.
    assert float(loss(y, p, sample_weight=weight)) == pytest.approx((weight * each).mean(), rel=1e-5)


@pytest.mark.parametrize("task", REGRESSION_LOSSES)
def test_the_loss_of_a_regressor_is_its_formula(task):
    y, mean, _ = regression_sample()
    weight = random().exponential(size=len(y))
    each = REGRESSION_LOSSES[task](y.astype(float), mean.astype(float))
    loss = head_of(task, 3, delta=0.7).loss()
    assert float(loss(y, mean)) == pytest.approx(each.mean(), rel=1e-5)
    assert float(loss(y, mean, sample_weight=weight)) == pytest.approx((weight * each).mean(), rel=1e-5)


def test_the_gaussian_loss_is_minus_the_log_density():
    y, mean, variance = regression_sample()
    weight = random().exponential(size=len(y))
    each = -stats.norm.logpdf(y, mean, np.sqrt(variance)).mean(axis=1)
    loss, predicted = head_of("gaussian_nll", 3).loss(), np.stack([mean, variance], axis=-1)
    assert float(loss(y, predicted)) == pytest.approx(each.mean(), rel=1e-5)
    assert float(loss(y, predicted, sample_weight=weight)) == pytest.approx((weight * each).mean(), rel=1e-5)


def test_the_gaussian_loss_takes_targets_with_and_without_a_last_axis():
    y, mean, variance = regression_sample(outputs=1)
    predicted = np.stack([mean, variance], axis=-1)
    loss = GaussianNLL()
    assert float(loss(y, predicted)) == float(loss(y[:, 0], predicted))


def test_delta_belongs_to_huber_alone():
    assert head_of("huber", delta=0.3).delta == 0.3
    assert head_of("mse", delta=0.3).delta is None


# === The Gaussian output ===


@pytest.mark.parametrize("raw", [(1e2, 1e6), (-1e2, -1e6), (1e2, -1e6), (0.0, 1e6), (0.0, -1e6), (0.0, 0.0)])
@pytest.mark.parametrize("variance", [1e-12, 1e-6, 1.0, 1e12])
def test_the_gaussian_output_cannot_overflow(raw, variance):
    layer, loss = GaussianHead([2.0], [variance]), GaussianNLL()
    inputs = keras.Variable(np.array([raw], "float32"))
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        # A hundred of the target's standard deviations from its mean.
        value = loss(np.array([[2.0 + 100 * variance**0.5]], "float32"), outputs)
    gradient = tape.gradient(value, inputs.value)
    for name, array in {"outputs": outputs, "loss": value, "gradient": gradient}.items():
        assert np.isfinite(array).all(), name
    assert outputs[0, 0, 1] > 0


def test_the_log_variance_is_bounded_smoothly():
    raw = np.array([[0.0, -100.0], [0.0, -1.0], [0.0, 0.5], [0.0, 30.0]], "float32")
    variance = GaussianHead([0.0], [1.0])(raw)[:, 0, 1]
    np.testing.assert_allclose(np.log(variance), 20 * np.tanh(raw[:, 1] / 20), rtol=1e-5)


def test_the_gaussian_output_takes_the_first_half_as_means():
    raw = np.array([[1.0, 2.0, 0.0, 0.1]], "float32")
    outputs = GaussianHead([10.0, 20.0], [4.0, 9.0])(raw)
    assert outputs.shape == (1, 2, 2)
    np.testing.assert_allclose(outputs[0, :, 0], [10 + 1 * 2, 20 + 2 * 3])
    np.testing.assert_allclose(outputs[0, :, 1], [4.0, 9.0 * np.exp(20 * np.tanh(0.1 / 20))], rtol=1e-6)


def test_the_gaussian_output_comes_back_from_its_config():
    layer = GaussianHead([1.0, 2.0], [3.0, 4.0], name="outputs")
    again = GaussianHead.from_config(layer.get_config())
    assert (again.mean, again.variance, again.name) == ([1.0, 2.0], [3.0, 4.0], "outputs")
    raw = random().normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(again(raw), layer(raw))
    assert layer.compute_output_shape((None, 7, 4)) == (None, 7, 2, 2)


# === Units of the target ===


@pytest.fixture(scope="module")
def adapted():
    y = random().normal([91.2, -3e4], [2.5, 700.0], (500, 2))
    layer = keras.layers.Normalization()
    layer.adapt(y)
    return layer, y.mean(axis=0), y.std(axis=0)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "gaussian_nll"])
def test_target_normalization_is_inverted_at_the_output(loss, adapted):
    layer, mean, deviation = adapted
    arguments = {"hidden_units": (5,), "loss": loss, "seed": 0}
    plain = mlp_regressor(3, 2, **arguments)
    scaled = mlp_regressor(3, 2, target_normalization=layer, **arguments)
    x = random().normal(size=(20, 3)).astype("float32")
    before, after = np.asarray(plain(x)), np.asarray(scaled(x))
    if loss == "gaussian_nll":
        np.testing.assert_allclose(after[..., 1], before[..., 1] * deviation**2, rtol=1e-5)
        before, after = before[..., 0], after[..., 0]
    np.testing.assert_allclose(after, before * deviation + mean, rtol=1e-5)


def test_a_scalar_target_normalization_serves_every_output():
    layer = keras.layers.Normalization(axis=None, mean=5.0, variance=4.0)
    plain, scaled = (mlp_regressor(3, 2, hidden_units=5, target_normalization=n, seed=0) for n in (None, layer))
    x = random().normal(size=(20, 3)).astype("float32")
    np.testing.assert_allclose(scaled(x), 5 + 2 * np.asarray(plain(x)), rtol=1e-5)


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll"])
def test_outputs_are_float32_under_mixed_precision(loss, adapted):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = mlp_regressor(3, 2, hidden_units=5, loss=loss, target_normalization=adapted[0])
        assert model.get_layer("hidden_1").compute_dtype == "float16"
        outputs = model(np.zeros((1, 3), "float32"))
    finally:
        keras.config.set_dtype_policy(policy)
    assert outputs.dtype == "float32"
    assert np.isfinite(outputs).all()


# === Metrics ===


def measured(head, y, predictions, weight=None):
    values = {}
    for metric in head.metrics():
        # In two batches, as in a fit.
        for rows in (slice(None, 100), slice(100, None)):
            metric.update_state(y[rows], predictions[rows], None if weight is None else weight[rows])
        values[metric.name] = float(metric.result())
    return values


def expected_of_classifier(task, y, p, weight=None):
    chosen = p.argmax(axis=-1) if task == "multiclass" else p > 0.5
    grid = on_the_threshold_grid(p)
    if task == "multilabel":
        accuracy = np.average((chosen == y).mean(axis=1), weights=weight)
    else:
        accuracy = metrics.accuracy_score(y, chosen.reshape(y.shape), sample_weight=weight)
    truth = y[:, None] == np.arange(p.shape[1]) if task == "multiclass" else np.reshape(y, p.shape)
    areas = [
        metrics.roc_auc_score(truth[:, column], grid[:, column], sample_weight=weight)
        for column in range(p.shape[1])
        if 0 < truth[:, column].sum() < len(y)
    ]
    return {"accuracy": accuracy, "auc": np.mean(areas)}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_the_metrics_of_a_classifier_are_those_of_sklearn(task, weighted):
    y, p = classifier_sample(task)
    weight = random().exponential(size=len(y)) if weighted else None
    got = measured(head_of(task, 4), y, p, weight)
    assert got == pytest.approx(expected_of_classifier(task, y, p, weight), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_the_area_under_the_curve_is_close_to_the_undiscretized_one(task):
    y, p = classifier_sample(task)
    truth = np.eye(4)[y] if task == "multiclass" else y
    exact = metrics.roc_auc_score(truth, p if p.shape[1] > 1 else p[:, 0], average="macro")
    assert measured(head_of(task, 4), y, p)["auc"] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_absent_class_is_left_out_of_the_mean_area(weighted):
    y, p = classifier_sample("multiclass")
    y = np.where(y == 2, 0, y)
    weight = random().exponential(size=len(y)) if weighted else None
    got = measured(head_of("multiclass", 4), y, p, weight)
    assert got == pytest.approx(expected_of_classifier("multiclass", y, p, weight), rel=1e-5)


def test_labels_may_have_a_last_axis():
    y, p = classifier_sample("multiclass")
    head = head_of("multiclass", 4)
    assert measured(head, y[:, None], p) == measured(head, y, p)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["mse", "mae", "huber", "gaussian_nll"])
def test_the_metrics_of_a_regressor_are_those_of_sklearn(task, weighted):
    y, mean, variance = regression_sample()
    weight = random().exponential(size=len(y)) if weighted else None
    predictions = np.stack([mean, variance], axis=-1) if task == "gaussian_nll" else mean
    expected = {
        "mae": metrics.mean_absolute_error(y, mean, sample_weight=weight),
        # The root of the mean over all outputs, as the loss is the mean over all outputs.
        "rmse": np.sqrt(metrics.mean_squared_error(y, mean, sample_weight=weight)),
    }
    assert measured(head_of(task, 3), y, predictions, weight) == pytest.approx(expected, rel=1e-5)


# === Sequences: padding never counts ===

SEQUENCE_TASKS = ["binary", "multilabel", "multiclass", "mse", "mae", "gaussian_nll"]
# The padded ones with every kind of target, and some where every step counts.
SEQUENCES = [*((task, True) for task in SEQUENCE_TASKS), ("binary", False), ("mse", False)]


def sequence_model(task, mask_value):
    arguments = {"cell": "simple", "units": 3, "return_sequences": True, "mask_value": mask_value, "seed": 1}
    if task not in CROSS_ENTROPIES:
        return rnn_regressor((7, 2), 1 if task == "mae" else 2, loss=task, **arguments)
    return rnn_classifier((7, 2), 2 if task == "binary" else 3, multilabel=task == "multilabel", **arguments)


def sequence_targets(task):
    """Targets of 12 sequences of 7 steps; one value a step has an axis of its own."""
    generator = random()
    if task == "multilabel":
        return generator.integers(0, 2, (12, 7, 3))
    if task in CROSS_ENTROPIES:
        return generator.integers(0, 2, (12, 7, 1)) if task == "binary" else generator.integers(0, 3, (12, 7))
    return generator.normal(size=(12, 7, 1) if task == "mae" else (12, 7, 2)).astype("float32")


@pytest.fixture(scope="module", params=SEQUENCES, ids=lambda param: f"{param[0]}, {'padded' if param[1] else 'full'}")
def sequences(request):
    """A many-to-many model, sequences with targets, which steps are real, and the predictions of the model."""
    task, padded = request.param
    model = sequence_model(task, MASK if padded else None)
    x = random().normal(size=(12, 7, 2)).astype("float32")
    lengths = random().integers(1, 8, 12) if padded else np.full(12, 7)
    real = np.arange(7) < lengths[:, None]
    x[~real] = MASK
    return task, model, x, sequence_targets(task), real, np.asarray(model(x))


def expected_of_steps(task, y, p, weight):
    """Loss and metrics of the real steps, one a row."""
    if task in CROSS_ENTROPIES:
        each = CROSS_ENTROPIES[task](y.reshape(-1) if task == "binary" else y, p.astype(float))
        return {**expected_of_classifier(task, y, p, weight), "loss": (weight * each).mean()}
    mean = p[..., 0] if task == "gaussian_nll" else p
    y = y.reshape(mean.shape)
    if task == "gaussian_nll":
        each = -stats.norm.logpdf(y, mean, np.sqrt(p[..., 1])).mean(axis=1)
    else:
        each = REGRESSION_LOSSES[task](y, mean)
    return {
        "mae": metrics.mean_absolute_error(y, mean, sample_weight=weight),
        "rmse": np.sqrt(metrics.mean_squared_error(y, mean, sample_weight=weight)),
        "loss": (weight * each).mean(),
    }


@pytest.mark.cases(3)
@pytest.mark.parametrize("weighted", [False, True])
def test_padded_steps_count_in_no_metric_and_not_in_the_loss(sequences, weighted):
    task, model, x, y, real, predictions = sequences
    weight = random().exponential(size=(12, 7)) if weighted else np.ones((12, 7))
    given = {"sample_weight": weight} if weighted else {}
    logs = model.evaluate(x, y, **given, batch_size=12, verbose=0, return_dict=True)
    assert logs == pytest.approx(expected_of_steps(task, y[real], predictions[real], weight[real]), rel=2e-5)


def test_what_stands_in_the_padding_does_not_matter(sequences):
    _, model, x, y, real, _ = sequences
    other = np.where(real.reshape(*real.shape, *(1,) * (y.ndim - 2)), y, y.max() - y)
    given = {"batch_size": 12, "verbose": 0, "return_dict": True}
    assert model.evaluate(x, other, **given) == model.evaluate(x, y, **given)
