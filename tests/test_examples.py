"""Every example runs, quickly and with little data, finds about the right answer, and saves its figure."""

import importlib.util
import os
from pathlib import Path

import matplotlib
import pytest

FOLDER = Path(__file__).parents[1] / "examples"
DOWNLOADS = ("sunspots", "z_mass")


@pytest.fixture
def run(tmp_path, capsys):
    """A function that runs one example quickly and gives what it returned, and what it printed."""
    matplotlib.use("agg")

    def run(name):
        if name in DOWNLOADS and not os.environ.get("KPHYS_DATA"):
            pytest.skip("KPHYS_DATA is not set")
        spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        plot = tmp_path / f"{name}.png"
        result = example.main(plot, quick=True)
        assert plot.stat().st_size > 10_000
        return result, capsys.readouterr().out

    return run


@pytest.mark.slow
def test_ising_phase_transition(run):
    found, printed = run("ising_phase_transition")
    assert 2.1 < found < 2.5
    assert "Onsager: 2.269" in printed


@pytest.mark.slow
def test_gaussian_errors(run):
    (mean, width), printed = run("gaussian_errors")
    assert abs(mean) < 0.2
    assert 0.8 < width < 1.2
    assert "pull_width" in printed


@pytest.mark.slow
def test_ising_vae(run):
    (correlation, peak, energies), printed = run("ising_vae")
    assert correlation >= 0.9
    assert 2.2 <= peak <= 2.6
    data, drawn = energies[1.8]
    assert drawn == pytest.approx(data, rel=0.1)
    # Above the critical temperature spins agree without order, which independent spins cannot.
    data, drawn = energies[3.0]
    assert data < 2 * drawn < 0
    assert "correlation" in printed


@pytest.mark.slow
def test_cross_validation(run):
    accuracies, printed = run("cross_validation")
    assert min(accuracies.values()) > 0.6
    assert "in the same folds" in printed


@pytest.mark.slow
def test_lorenz_seeds(run):
    losses, printed = run("lorenz_seeds")
    assert 5 * losses["last-20"] < losses["last-1"]
    assert "learning rate" in printed


@pytest.mark.slow
def test_lorenz_forecast(run):
    valid, printed = run("lorenz_forecast")
    assert valid > 2
    assert "Lyapunov times, from 20 starts" in printed


@pytest.mark.slow
def test_spin_chain(run):
    reached, printed = run("spin_chain")
    assert (reached > 0.98).all()
    assert "enumeration:  fidelity 0.99778 by +x, -y, none, -y, +x" in printed


@pytest.mark.slow
def test_text_abstracts(run):
    accuracy, printed = run("text_abstracts")
    assert accuracy["words in order"] > 0.95
    assert accuracy["words counted"] < 0.6
    assert "new abstracts" in printed


@pytest.mark.slow
@pytest.mark.real_data
def test_sunspots(run):
    error, printed = run("sunspots")
    assert error < 21
    assert "autoregression over 24 months:  RMSE 18.2" in printed


@pytest.mark.slow
@pytest.mark.real_data
def test_z_mass(run):
    error, printed = run("z_mass")
    assert error < 6
    assert "sigma_nmad" in printed


def test_every_example_is_run_here_and_short():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    examples = sorted(FOLDER.glob("*.py"))
    assert examples
    for path in examples:
        assert path.stem in tested
        assert len(path.read_text().splitlines()) < 100
