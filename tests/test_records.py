"""Records that are written by hand, read back and compared; every mean and error worked out on paper."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from kphys import records

NAN = float("nan")


def write(folder, history, *, fingerprint="a", seed=0, status="finished", **setting):
    """Writes a run: column to values, one an epoch, "" for none; `status=None` for one that was killed."""
    folder.mkdir(parents=True)
    setting = {name.replace("__", "."): value for name, value in setting.items()}
    config = {"fingerprint": fingerprint, "seeds": {"seed": seed, "global": 77}, "setting": setting}
    (folder / "config.json").write_text(json.dumps(config))
    columns = {"epoch": range(len(next(iter(history.values()), ()))), **history}
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (folder / "history.csv").write_text("\n".join([",".join(columns), *rows]) + "\n")
    if status:
        final = {name: values[-1] for name, values in history.items() if values[-1] != ""}
        (folder / "result.json").write_text(json.dumps({"status": status, "final": final}))
    return folder


# Finals 1, 2 and 6: mean 3, variance (4 + 1 + 9) / 2 = 7, error √(7 / 3). Finals 4 and 5: 4.5 ± 0.5.
@pytest.fixture
def runs(tmp_path):
    """Two settings, of three and two seeds."""
    for seed, loss in enumerate([(8, 1.0), (9, 2.0), (10, 6.0)]):
        values = {"loss": loss, "val_loss": (1.0, loss[1])}
        write(tmp_path / f"wide_seed{seed}", values, seed=seed, model__layers__1__units=32, fit__x=7)
    for seed, loss in enumerate([(8, 4.0), (8, 5.0)]):
        values = {"loss": loss, "val_loss": (1.0, loss[1])}
        arguments = {"fingerprint": "b", "model__layers__1__units": 4, "fit__x": 7}
        write(tmp_path / f"narrow_seed{seed}", values, seed=seed, **arguments)
    return tmp_path


# === Reading ===


def test_a_record_reads_back(tmp_path):
    folder = write(tmp_path / "run", {"loss": [2.0, 0.1], "val_loss": ["", "inf"]}, seed=3)
    run = records.read(str(folder))
    assert (run.folder, run.status, run.seed, run.metrics) == (folder, "finished", 3, ("loss", "val_loss"))
    assert run.history["epoch"].tolist() == [0, 1]
    assert run.history["epoch"].dtype.kind == "i"
    assert run.history["loss"].tolist() == [2.0, 0.1]
    np.testing.assert_array_equal(run.history["val_loss"], [NAN, math.inf])
    assert run.result["final"] == {"loss": 0.1, "val_loss": math.inf}
    assert repr(run) == f"Record({str(folder)!r}, finished, epochs=2, seed=3)"


def test_the_seed_is_the_runs_own_or_that_of_all(tmp_path):
    assert records.read(write(tmp_path / "own", {"loss": [1.0]}, seed=0)).seed == 0
    assert records.read(write(tmp_path / "global", {"loss": [1.0]}, seed=None)).seed == 77


def test_a_run_that_was_killed_is_unfinished(tmp_path):
    killed = records.read(write(tmp_path / "killed", {"loss": [1.0]}, status=None))
    assert (killed.status, killed.result, killed.history["loss"].tolist()) == ("unfinished", None, [1.0])
    folder = write(tmp_path / "at_once", {}, status=None)
    (folder / "history.csv").unlink()
    assert records.read(folder).history == {}


def test_a_run_that_was_stopped_says_so(tmp_path):
    assert records.read(write(tmp_path / "run", {"loss": [1.0]}, status="stopped")).status == "stopped"


def test_reading_brings_nothing_heavy(runs):
    package = os.path.dirname(records.__file__)
    code = f"""
import sys, types
kphys = types.ModuleType("kphys")  # The package itself imports Keras.
kphys.__path__ = [{package!r}]
sys.modules["kphys"] = kphys
from kphys import records
records.read({str(runs / "wide_seed0")!r})
print([name for name in ("keras", "tensorflow", "matplotlib", "sklearn", "scipy") if name in sys.modules])
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


# === Comparing ===


def test_runs_of_one_setting_are_averaged(runs):
    comparison = records.compare(runs)
    assert comparison.metric == "val_loss"
    wide, narrow = comparison["wide"], comparison["narrow"]
    assert wide.scores["loss"] == pytest.approx((3.0, math.sqrt(7 / 3)), rel=1e-12)
    assert narrow.scores["val_loss"] == pytest.approx((4.5, 0.5), rel=1e-12)
    assert (wide.seeds, narrow.seeds) == ((0, 1, 2), (0, 1))
    assert comparison.settings == {"model.layers.1.units": (4, 32)}
    assert comparison.notes == ()


def test_the_table(runs):
    assert repr(records.compare(runs)).splitlines() == [
        "5 runs of 2 settings: last epoch, mean ± error of the mean",
        "        runs  seeds    layers.1.units  val_loss   loss",
        "narrow  2     0, 1     4               4.5 ± 0.5  4.5 ± 0.5",
        "wide    3     0, 1, 2  32              3.0 ± 1.5  3.0 ± 1.5",
    ]


def test_one_run_has_a_value_without_error(tmp_path):
    write(tmp_path / "only", {"loss": [2.0, 0.12345]}, seed=4)
    comparison = records.compare(tmp_path)
    score = comparison["only"].scores["loss"]
    assert score.value == 0.12345
    assert math.isnan(score.error)
    assert repr(comparison).splitlines() == [
        "1 run of 1 setting: last epoch, mean ± error of the mean",
        "      runs  seeds  loss",
        "only  1     4      0.1235",
    ]


def test_folders_may_be_named_one_by_one(runs):
    comparison = records.compare([runs / "wide_seed1", str(runs / "narrow_seed0"), runs / "wide_seed0"], "loss")
    assert [group.label for group in comparison.groups] == ["wide", "narrow_seed0"]
    assert comparison["wide"].scores["loss"] == pytest.approx((1.5, 0.5))
    assert (comparison.metric, comparison["wide"].seeds) == ("loss", (1, 0))
    alone = records.compare(runs / "wide_seed2")
    assert [record.folder.name for record in alone.groups[0].records] == ["wide_seed2"]


def test_what_has_not_ended_is_noted_and_not_in_the_table(runs):
    write(runs / "wide_seed3", {"loss": [1e6], "val_loss": [1e6]}, seed=3, status=None)
    comparison = records.compare(runs)
    assert comparison["wide"].scores["loss"].value == 3.0
    assert len(comparison["wide"].records) == 4
    assert comparison.notes == ("wide_seed3 is unfinished after 1 epoch: not in the table",)
    assert repr(comparison).endswith("\nnote: wide_seed3 is unfinished after 1 epoch: not in the table")


def test_a_group_in_which_nothing_ended_has_no_values(tmp_path):
    write(tmp_path / "run", {"loss": [1.0, 2.0]}, status=None)
    comparison = records.compare(tmp_path)
    assert comparison["run"].scores == {}
    assert repr(comparison).splitlines()[2].split() == ["run", "1", "0", "–"]


def test_a_run_that_diverged_is_not_hidden(runs):
    write(runs / "wide_seed3", {"loss": [1.0, NAN], "val_loss": [1.0, 2.0]}, seed=3)
    comparison = records.compare(runs)
    assert math.isnan(comparison["wide"].scores["loss"].value)
    assert comparison["wide"].scores["val_loss"].value == 11 / 4
    assert comparison.notes == ("wide_seed3 ended with loss not finite",)
    assert "undefined" in repr(comparison)


def test_a_seed_that_was_used_twice_is_noted(runs):
    write(runs / "wide_seed9", {"loss": [1.0, 1.0], "val_loss": [1.0, 1.0]}, seed=1)
    assert records.compare(runs).notes == ("wide: seed 1 occurs twice: equal runs make the error too small",)


def test_settings_that_some_have_come_after_those_that_all_have(tmp_path):
    shared = {"fit__epochs": 1, "model__layers__0__inbound_nodes": "[]"}
    write(tmp_path / "a", {"loss": [1.0]}, model__layers__3="Dropout", optimizer__rate=0.1, **shared)
    changed = {**shared, "model__layers__0__inbound_nodes": "[0]"}
    write(tmp_path / "b", {"loss": [1.0]}, fingerprint="b", optimizer__rate=1 / 3, **changed)
    comparison = records.compare(tmp_path)
    assert list(comparison.settings.items()) == [
        ("optimizer.rate", (0.1, 1 / 3)),
        ("model.layers.3", ("Dropout", None)),
        ("model.layers.0.inbound_nodes", ("[]", "[0]")),
    ]
    assert repr(comparison).splitlines()[1:] == [
        "   runs  seeds  optimizer.rate  layers.3  layers.0.inbound_nodes  loss",
        "a  1     0      0.1             Dropout   []                      1",
        "b  1     0      0.333333        –         [0]                     1",
    ]


def test_a_table_stays_narrow(tmp_path):
    metrics = {f"metric_{number}": [1.0] for number in range(8)}
    write(tmp_path / "a", metrics, **{f"setting_{number}": 0 for number in range(6)})
    write(tmp_path / "b", metrics, fingerprint="b", **{f"setting_{number}": "x" * 30 for number in range(6)})
    lines = repr(records.compare(tmp_path, "metric_6")).splitlines()
    names = "metric_6  metric_0  metric_1  metric_2  metric_3"
    assert lines[1].split()[2:6] == [f"setting_{number}" for number in range(4)]
    assert lines[1].endswith(names)
    assert "x" * 23 + "…" in lines[3]
    assert lines[4:] == [
        "note: 2 more in .settings: setting_4, setting_5",
        "note: 3 more in .groups[…].scores: metric_4, metric_5, metric_7",
    ]


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["adam_seed0", "adam_seed1"], "adam"),
        (["adam-seed-0", "adam-seed-1"], "adam"),
        (["n_10", "n_11"], "n"),
        (["n_10_0", "n_10_1"], "n_10"),
        (["rate0.1/seed0", "rate0.1/seed1"], "rate0.1"),
        (["seed0", "seed1"], "seed0, …"),
        (["a", "b"], "a, …"),
        (["run", "run_again"], "run"),
    ],
)
def test_a_group_is_called_by_what_its_folders_have_in_common(tmp_path, names, label):
    other = write(tmp_path / "z_other", {"loss": [1.0]}, fingerprint="b")
    folders = [write(tmp_path / name, {"loss": [1.0]}, seed=seed) for seed, name in enumerate(names)]
    assert [group.label for group in records.compare([*folders, other]).groups] == [label, "z_other"]


def test_groups_of_one_name_are_told_apart(tmp_path):
    for number in range(4):
        write(tmp_path / f"run_{number}", {"loss": [1.0]}, fingerprint="ab"[number % 2], seed=number)
    assert [group.label for group in records.compare(tmp_path).groups] == ["run_0, …", "run_1, …"]


def test_as_dict_is_strict_json(runs):
    write(runs / "single", {"loss": [1.0, NAN], "val_loss": [1.0, 2.0]}, fingerprint="c", fit__x=8)
    told = json.loads(json.dumps(records.compare(runs).as_dict(), allow_nan=False))
    narrow, single, wide = told["groups"]
    assert told["metric"] == "val_loss"
    assert wide["scores"]["loss"] == pytest.approx({"value": 3.0, "error": math.sqrt(7 / 3)})
    assert wide["settings"] == {"fit.x": 7, "model.layers.1.units": 32}
    assert (narrow["seeds"], narrow["status"]) == ([0, 1], ["finished"] * 2)
    assert narrow["folders"] == [str(runs / f"narrow_seed{seed}") for seed in (0, 1)]
    assert single["scores"] == {"loss": {"value": None, "error": None}, "val_loss": {"value": 2.0, "error": None}}
    assert told["notes"] == ["single ended with loss not finite"]


# === Curves ===


def test_a_curve_is_the_mean_over_the_runs_that_have_the_epoch(tmp_path):
    for seed, loss in enumerate(([4.0, 3.0, 1.0], [2.0, 5.0])):
        write(tmp_path / f"run_{seed}", {"loss": loss}, seed=seed)
    epoch, mean, error = records.compare(tmp_path)["run"].curve("loss")
    assert epoch.tolist() == [0, 1, 2]
    assert mean.tolist() == [3.0, 4.0, 1.0]
    np.testing.assert_allclose(error, [1.0, 1.0, NAN], rtol=1e-12)


def test_epochs_without_validation_are_left_out_and_a_divergence_is_not(tmp_path):
    for seed, loss in enumerate((["", 3.0, "", 1.0], ["", 5.0, "", "nan"])):
        write(tmp_path / f"run_{seed}", {"val_loss": loss}, seed=seed)
    epoch, mean, error = records.compare(tmp_path)["run"].curve("val_loss")
    assert epoch.tolist() == [1, 3]
    np.testing.assert_array_equal(mean, [4.0, NAN])
    np.testing.assert_allclose(error, [1.0, NAN], rtol=1e-12)


def test_the_plot(runs, tmp_path):
    figure = records.compare(runs).plot(tmp_path / "figures" / "runs.png")
    (panel,) = figure.axes
    lines = {line.get_label(): line for line in panel.lines}
    assert list(lines) == ["narrow (2 runs)", "wide (3 runs)"]
    np.testing.assert_allclose(lines["wide (3 runs)"].get_xydata(), [[0, 1], [1, 3]])
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((1.0, 5.0))
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("epoch", "val_loss")
    assert panel.get_title() == "mean ± error of the mean"
    assert (tmp_path / "figures" / "runs.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_draws_what_was_killed_and_skips_what_was_not_logged(tmp_path):
    write(tmp_path / "a", {"loss": [1.0, 2.0]}, status=None)
    write(tmp_path / "b", {"acc": [1.0, 2.0]}, fingerprint="b")
    (panel,) = records.compare(tmp_path).plot().axes
    assert [line.get_label() for line in panel.lines] == ["a (1 run)"]
    assert panel.get_title() == ""


# === Bad input ===


def test_a_folder_without_a_record_is_refused(runs, tmp_path):
    with pytest.raises(ValueError, match=r"`folder` '.*nothing' holds no record: there is no such folder"):
        records.read(tmp_path / "nothing")
    write(tmp_path / "wide_seed7", {"loss": [1.0]})
    with pytest.raises(ValueError, match=r"no config\.json\. Records are in its sub-folders: narrow_seed0, .*, …\."):
        records.read(runs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"`folder` '.*empty' holds no record: there is no config\.json\.$"):
        records.compare([runs / "wide_seed0", tmp_path / "empty"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", r"config\.json' is damaged: Expecting"),
        ("config.json", "[]", r"config\.json' is damaged: it holds a list"),
        ("config.json", '{"model_type": "bert"}', r"config\.json' was not written by TrainingRecord: it has no 'fing"),
        ("result.json", "", r"result\.json' is damaged: Expecting"),
        ("history.csv", "epoch,loss\n0,1.0\n1", r"history\.csv' is damaged: line 3"),
        ("history.csv", "epoch,loss\n0,1.0,2.0\n", r"history\.csv' is damaged: line 2"),
        ("history.csv", "loss\n1.0\n", r"history\.csv' is damaged: line 2"),
        ("history.csv", "epoch,loss\n0,low\n", r"history\.csv' is damaged: line 2"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    folder = write(tmp_path / "run", {"loss": [1.0]})
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        records.read(folder)


@pytest.mark.parametrize(
    ("folders", "error", "message"),
    [
        ([], ValueError, "`folders` must name at least one folder, got none"),
        (3, TypeError, r"`folders` must be a list of paths or one path, got 3 \(int\)"),
        (["wide_seed0", 3], TypeError, r"`folders\[1\]` must be a path, got 3 \(int\)"),
        (
            ["wide_seed0", "empty/../wide_seed0"],
            ValueError,
            r"`folders` names '.*/wide_seed0' twice: a run counts once",
        ),
        ("empty", ValueError, "`folders` 'empty' holds no record, and neither do its sub-folders"),
    ],
)
def test_folders_that_cannot_be_compared_are_refused(runs, monkeypatch, folders, error, message):
    monkeypatch.chdir(runs)
    (runs / "empty").mkdir()
    with pytest.raises(error, match=message):
        records.compare(folders)


def test_an_unknown_metric_is_refused_with_the_nearest(runs):
    expected = r"`metric` must be one of 'loss', 'val_loss', got 'val_los'\. Did you mean 'val_loss'\?"
    with pytest.raises(ValueError, match=expected):
        records.compare(runs, "val_los")
    with pytest.raises(KeyError, match=r"no group 'wde'; there are narrow, wide\. Did you mean 'wide'\?"):
        records.compare(runs)["wde"]


def test_the_metric_is_the_loss_or_what_was_logged_first(tmp_path):
    write(tmp_path / "a", {"acc": [1.0], "loss": [1.0]})
    assert records.compare(tmp_path).metric == "loss"
    write(tmp_path / "b" / "run", {"episode_return": [1.0], "acc": [1.0]})
    assert records.compare(tmp_path / "b").metric == "episode_return"


def test_runs_without_an_epoch_cannot_be_compared(tmp_path):
    write(tmp_path / "a", {"loss": []}, status=None)
    with pytest.raises(ValueError, match="`folders` hold no epoch yet"):
        records.compare(tmp_path)
