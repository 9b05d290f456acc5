"""What `evaluate_regressor` says of predictions whose scores are known."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from kphys.evaluation import evaluate_regressor
from kphys.evaluation._scores import weighted_median


def test_residuals_by_hand(regressed):
    result = regressed([1.0, 2.0, 4.0, 8.0, 110.0], [1.0, 1.0, 5.0, 6.0, 10.0])
    residual = np.array([0, 1, -1, 2, 100])
    assert result["bias"].value == pytest.approx(residual.mean())
    assert result["rmse"].value == pytest.approx(np.sqrt((residual**2).mean()))
    assert result["mae"].value == pytest.approx(np.abs(residual).mean())
    # The median is 1, the distances from it 1, 0, 2, 1, 99, and theirs is 1.
    assert result["sigma_nmad"].value == pytest.approx(1.4826)
    assert result["outlier_fraction"].value == pytest.approx(1 / 5)
    cut = regressed([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], outlier_cut=0.9)
    assert cut["outlier_fraction"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regressor_agrees_with_sklearn_and_scipy(outputs, regressed):
    generator = np.random.default_rng(0)
    y, p = generator.normal(size=(2, 301, outputs))
    weight = generator.exponential(size=301)
    result = regressed(p, y, sample_weight=weight, num_bootstrap=0)
    given = {"sample_weight": weight, "multioutput": "raw_values"}
    np.testing.assert_allclose(result.per_output["mae"].value, metrics.mean_absolute_error(y, p, **given))
    np.testing.assert_allclose(result.per_output["rmse"].value, metrics.root_mean_squared_error(y, p, **given))
    assert result["mae"].value == pytest.approx(metrics.mean_absolute_error(y, p, sample_weight=weight))
    plain = regressed(p, y, num_bootstrap=0)
    expected = 1.4826 * stats.median_abs_deviation(p - y, axis=0)
    np.testing.assert_allclose(plain.per_output["sigma_nmad"].value, expected)
    sums = plain.residuals.scores(weight)
    for name, value in plain.residuals.scores_by_sklearn(weight).items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("number", [1, 2, 9, 10])
def test_weighted_median_is_the_median_of_repeated_values(number):
    generator = np.random.default_rng(number)
    values = generator.normal(size=number)
    counts = generator.integers(1, 4, number)
    assert weighted_median(values, np.ones(number)) == pytest.approx(np.median(values))
    assert weighted_median(values, counts) == pytest.approx(np.median(np.repeat(values, counts)))


def test_errors_of_a_gaussian_sample(regressed):
    generator = np.random.default_rng(0)
    y = generator.normal(size=4000)
    result = regressed(y + generator.normal(0.0, 2.0, 4000), y, num_bootstrap=500)
    assert result["bias"].error == pytest.approx(2 / np.sqrt(4000), rel=0.1)
    assert result["rmse"].error == pytest.approx(2 / np.sqrt(2 * 4000), rel=0.15)
    assert result["sigma_nmad"].value == pytest.approx(2.0, abs=4 * result["sigma_nmad"].error)
    # The efficiency of the median absolute deviation is 37 % for a Gaussian.
    assert result["sigma_nmad"].error == pytest.approx(2 / np.sqrt(2 * 4000 * 0.368), rel=0.2)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_pulls_of_right_and_of_too_small_errors(factor, regressed):
    generator = np.random.default_rng(0)
    y, sigma = generator.normal(size=(3000, 2)), generator.uniform(0.5, 2.0, (3000, 2))
    mean = y + sigma * generator.normal(size=(3000, 2))
    result = regressed(np.stack([mean, (factor * sigma) ** 2], axis=-1), y)
    assert result["pull_mean"].value == pytest.approx(0, abs=4 * result["pull_mean"].error)
    assert result["pull_width"].value == pytest.approx(1 / factor, abs=4 * result["pull_width"].error)
    assert result["pull_mean"].error == pytest.approx(1 / factor / np.sqrt(6000), rel=0.2)
    assert result.per_output["pull_width"].value.shape == (2,)


def test_one_output_takes_truth_with_and_without_its_axis(regressed):
    y = np.arange(1.0, 5.0)
    for predictions in (y + 1, (y + 1)[:, None], np.stack([y + 1, y], axis=-1)[:, None]):
        for truth in (y, y[:, None]):
            assert regressed(predictions, truth, num_bootstrap=2)["bias"].value == pytest.approx(1)


def test_sequences_of_outputs(regressed):
    y = np.random.default_rng(0).normal(size=(50, 7, 2))
    result = regressed(y + np.array([1.0, 3.0]), y, num_bootstrap=5)
    np.testing.assert_allclose(result.per_output["bias"].value, [1, 3])
    assert result.num_events == 50
    gaussian = np.stack([y + 2.0, np.full(y.shape, 4.0)], axis=-1)
    assert regressed(gaussian, y, num_bootstrap=5)["pull_mean"].value == pytest.approx(1)


def test_relative_and_redshift_residuals(regressed):
    p, y = [2.2, -1.8], [2.0, -2.0]
    assert regressed(p, y, residual="relative")["bias"].value == pytest.approx(0.1)
    assert regressed([1.2, 3.4], [1.0, 3.0], residual="redshift")["bias"].value == pytest.approx(0.1)


def test_negative_weights_of_a_regressor(regressed):
    p, y = [1.0, 2.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]
    result = regressed(p, y, sample_weight=[1, 1, 1, -1])
    assert result["bias"].value == pytest.approx(1.5)
    assert "1 of 4 weights are negative" in str(result)


# === Bad input ===


FINE = {"x": np.zeros((4, 1)), "y": np.array([0, 1, 0, 1])}
BAD_REGRESSORS = {
    "shape": ({"p": np.zeros((4, 3))}, ValueError, r"`y` of shape \(4, 1\) fits .*\(4, 1, 2\).*gave \(4, 3\)"),
    "pair without an axis": ({"p": np.ones((4, 2))}, ValueError, r"gave \(4, 2\)"),
    "variance": ({"p": np.zeros((4, 1, 2))}, ValueError, "variances.*must be positive, got 0"),
    "residual": ({"residual": "relativ"}, ValueError, "`residual` must be one of.*Did you mean 'relative'"),
    "relative to 0": ({"residual": "relative"}, ValueError, "truths different from 0, but 2 of 4.*the first 0"),
    "redshift": ({"residual": "redshift", "y": [-1.0, 1, 1, 1]}, ValueError, "truths above -1, but 1 of 4"),
    "sigmas": ({"outlier_sigmas": 0}, ValueError, "`outlier_sigmas` must be a positive number, got 0"),
    "cut": ({"outlier_cut": -0.15}, ValueError, "`outlier_cut` must be a positive number"),
    "nan": ({"p": [0, 1, 2, np.nan]}, ValueError, "`predictions` must be finite, but 1 of 4"),
    "bootstrap": ({"num_bootstrap": -5}, ValueError, "`num_bootstrap`"),
}


@pytest.mark.parametrize("case", BAD_REGRESSORS)
def test_a_regressor_refuses(case, says):
    changed, error, message = BAD_REGRESSORS[case]
    arguments = {**FINE, "model": says(changed.get("p", [0.1, 0.9, 0.2, 0.8])), **changed}
    arguments.pop("p", None)
    with pytest.raises(error, match=message):
        evaluate_regressor(**arguments)
