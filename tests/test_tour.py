"""`python -m kphys`: what it prints, writes and returns."""

import dataclasses

import pytest

from kphys import __main__ as tour
from kphys.callbacks import GradientClipping


def test_one_family_end_to_end(tmp_path, capsys):
    out = tmp_path / "folder" / "tour"
    assert tour.main(["--quick", "--only", "mlp_classifier", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "[1/1] mlp_classifier: handwritten digits" in printed
    assert "family          data" in printed
    assert "logistic regression" in printed
    assert "MISSED" not in printed
    assert f"-m tensorboard.main --logdir {out / 'logs'}" in printed
    assert (out / "mlp_classifier.png").stat().st_size > 10_000
    assert list(out.glob("logs/mlp_classifier/*/train/events*"))


@pytest.mark.slow
def test_a_family_that_learns_without_targets(tmp_path, monkeypatch):
    stop = dataclasses.replace(tour.STOPS["vae"], threshold=30.0, epochs=3)
    monkeypatch.setitem(tour.STOPS, "vae", stop)
    assert tour.main(["--quick", "--only", "vae", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "vae.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_family_that_learns_from_a_text(tmp_path, capsys):
    assert tour.main(["--quick", "--only", "word_vectors", "--out", str(tmp_path)]) == 0
    assert "counts a word" in capsys.readouterr().out
    assert (tmp_path / "word_vectors.png").stat().st_size > 10_000
    for part in ("train", "validation"):
        assert list(tmp_path.glob(f"logs/word_vectors/*/{part}/events*"))


@pytest.mark.parametrize(
    ("family", "batches", "clips"),
    [("mlp_classifier", {"batch_size": 32}, True), ("char_rnn", {}, True), ("word_vectors", {}, False)],
)
def test_fit_takes_batches_and_clipping_where_a_family_has_them(family, batches, clips):
    settings = tour.STOPS[family].settings(["logs"])
    *clipping, last = settings.pop("callbacks")
    assert last == "logs"
    assert [type(callback) for callback in clipping] == [GradientClipping] * clips
    assert settings == {"epochs": tour.STOPS[family].epochs, "verbose": 0, **batches}


@pytest.mark.slow
def test_a_missed_threshold_is_said_and_is_the_exit_code(tmp_path, capsys, monkeypatch):
    stop = dataclasses.replace(tour.STOPS["mlp_classifier"], threshold=1.01, epochs=1)
    monkeypatch.setitem(tour.STOPS, "mlp_classifier", stop)
    assert tour.main(["--quick", "--only", "mlp_classifier", "--out", str(tmp_path)]) == 1
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.slow
def test_every_family_reaches_its_threshold_quickly(tmp_path):
    assert tour.main(["--quick", "--out", str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.glob("*.png")} == set(tour.STOPS)


def test_list_says_every_family_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tour.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(tour.STOPS)
    assert not list(tmp_path.iterdir())


def test_an_unknown_family_lists_the_known_ones(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        tour.main(["--only", "mlp_clasifier"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(family in message for family in tour.STOPS)
    assert "Did you mean 'mlp_classifier'?" in message
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SystemExit):
        tour.main(["--out", str(tmp_path / "file" / "tour")])
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize(("higher_is_better", "expected"), [(True, [False, True, True]), (False, [True, True, False])])
def test_thresholds_know_their_direction(higher_is_better, expected):
    stop = dataclasses.replace(tour.STOPS["mlp_classifier"], threshold=0.5, higher_is_better=higher_is_better)
    assert [stop.passes(value) for value in (0.4, 0.5, 0.6)] == expected
