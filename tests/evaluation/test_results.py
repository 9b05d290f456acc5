"""How a result of `kphys.evaluation` prints, is kept and is drawn."""

import doctest
import json

import numpy as np
import pytest

import kphys.evaluation
from kphys.evaluation import Score, _folds, _results

KINDS = ("binary", "multiclass", "multilabel")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.98123, 0.0031, "0.981 ± 0.003"),
        (0.98123, 0.00131, "0.9812 ± 0.0013"),
        (91187.6, 2.1, "91188 ± 2"),
        (91187.6, 140.0, "91188 ± 140"),
        (1.0, 0.0, "1 ± 0"),
        (0.0099, 0.00096, "0.0099 ± 0.0010"),
        (3.1e-12, 2e-13, "3.1e-12 ± 2e-13"),
        (np.nan, np.nan, "undefined"),
    ],
)
def test_a_score_prints_by_its_error(value, error, text):
    assert str(Score(value, error)) == text


def test_the_table_of_a_classifier(classified, sample):
    p, y = sample("binary", 2000)
    result = classified(p, y)
    lines = str(result).splitlines()
    assert lines[0] == "binary classifier, 2,000 events, errors from 200 bootstrap samples"
    names = "accuracy selectivity precision recall f1 roc_auc log_loss expected_calibration_error"
    assert [line.split()[0] for line in lines[1:]] == names.split()
    assert all(" ± " in line for line in lines[1:])
    assert lines[1] == f"accuracy                    {result['accuracy']}"


def test_the_table_has_a_column_a_class(classified, sample):
    table = str(classified(*sample("multiclass")))
    assert table.splitlines()[1].split() == ["all", "class", "0", "class", "1", "class", "2", "class", "3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_ready_for_json(kind, classified, sample):
    result = classified(*sample(kind), num_bootstrap=5)
    back = json.loads(json.dumps(result.as_dict()))
    assert back["scores"]["accuracy"]["value"] == result["accuracy"].value
    np.testing.assert_array_equal(back["confusion_matrix"]["value"], result.confusion_matrix.value)


def test_an_unknown_score_lists_the_known(classified):
    with pytest.raises(KeyError, match=r"no score 'acuracy'; there are accuracy.*Did you mean 'accuracy'"):
        classified([0.1, 0.9], [0, 1], num_bootstrap=0)["acuracy"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_is_drawn(kind, tmp_path, classified, sample):
    path = tmp_path / "new" / "result.png"
    assert classified(*sample(kind, 200, classes=12), num_bootstrap=0).plot() is not None
    figure = classified(*sample(kind), num_bootstrap=5).plot(path)
    assert len(figure.axes) == 3
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(("gaussian", "number"), [(False, 200), (True, 3000)])
def test_a_regressor_is_drawn(gaussian, number, tmp_path, regressed):
    y = np.random.default_rng(0).normal(size=(number, 2))
    predictions = np.stack([y + 0.1, np.ones(y.shape)], axis=-1) if gaussian else y + y[::-1]
    result = regressed(predictions, y, num_bootstrap=5)
    figure = result.plot(tmp_path / "result.png", output=1)
    assert len(figure.axes) == (3 if gaussian else 2)
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`output` must be below the number of outputs, 2, got 2"):
        result.plot(output=2)


# === Bad input ===


def test_every_public_name_is_there():
    assert all(hasattr(kphys.evaluation, name) for name in kphys.evaluation.__all__)


@pytest.mark.parametrize("module", [kphys.evaluation, _folds, _results])
def test_the_examples_in_the_docstrings(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
