"""What every data set promises: seeds, refusals, documentation, and imports on first use."""

import doctest
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

import kphys.datasets
from kphys.datasets import countdown, digits, double_pendulum, ising, lorenz, mackey_glass, recall, toy

DOWNLOADED = {"cms_zmumu", "sunspots", "tinyshakespeare"}

SMALL = {
    "countdown": {"num_samples": 50},
    "digits": {},
    "double_pendulum": {"num_steps": 200},
    "ising": {"temperatures": [2.0, 3.0], "size": 5, "num_samples": 50},
    "lorenz": {"num_steps": 100, "timesteps": 10},
    "mackey_glass": {"num_steps": 100, "timesteps": 10},
    "recall": {"num_samples": 50},
    "toy": {"num_samples": 50},
}


def load(name, **keywords):
    train, test = getattr(kphys.datasets, name).load_data(**SMALL[name], **keywords)
    return [*train, *test]


def same(arrays, others):
    return all(np.array_equal(array, other) for array, other in zip(arrays, others, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_everything(name):
    state = np.random.get_state()[1].copy()
    first = load(name, seed=3)
    assert same(first, load(name, seed=3))
    assert not same(first, load(name, seed=4))
    assert not same(load(name, seed=None), load(name, seed=None))
    assert np.array_equal(np.random.get_state()[1], state), "the global generator is left alone"


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_float32_and_both_parts_have_samples(name):
    x_train, y_train, x_test, y_test = load(name)
    assert x_train.dtype == x_test.dtype == np.float32
    assert len(x_train) == len(y_train) > len(x_test) == len(y_test) > 0
    assert np.isfinite(x_train).all()


REFUSED = [
    (ising.load_data, {"temperatures": 0.0}, ValueError, "`temperatures` must be a positive number, got 0"),
    (ising.load_data, {"temperatures": [2.0, -1.0]}, ValueError, r"`temperatures\[1\]` must be a positive"),
    (ising.load_data, {"temperatures": [float("nan")]}, ValueError, r"`temperatures\[0\]` .* got nan"),
    (ising.load_data, {"temperatures": float("inf")}, ValueError, "`temperatures` .* got inf"),
    (ising.load_data, {"temperatures": []}, ValueError, "`temperatures` must hold at least one"),
    (ising.load_data, {"temperatures": "cold"}, TypeError, "`temperatures` must be a positive number"),
    (ising.load_data, {"temperatures": None}, TypeError, "`temperatures` must be a positive number"),
    (ising.load_data, {"size": 1}, ValueError, "`size` must be an integer of at least 2, got 1"),
    (ising.load_data, {"size": 4.5}, ValueError, "`size` must be"),
    (ising.load_data, {"num_samples": 0}, ValueError, "`num_samples` must be a positive integer, got 0"),
    (ising.load_data, {"num_samples": 25}, ValueError, "`num_samples` is 25, but there are 26 temperatures"),
    (ising.load_data, {"test_fraction": 0.0}, ValueError, "`test_fraction` must be above 0 and below 1"),
    (ising.load_data, {"test_fraction": float("nan")}, ValueError, "`test_fraction`"),
    (ising.load_data, {"return_temperatures": "yes"}, TypeError, "`return_temperatures` must be True or"),
    (ising.load_data, {"seed": -1}, ValueError, "`seed` must be None or an integer"),
    (ising.sample, {"temperatures": 2.0, "sweeps": 0}, ValueError, "`sweeps` must be a positive integer"),
    (lorenz.load_data, {"num_steps": 1}, ValueError, "`num_steps` must be an integer of at least 2"),
    (lorenz.load_data, {"num_steps": 100, "timesteps": 80}, ValueError, "`timesteps` is 80 with `horizon` 1"),
    (lorenz.load_data, {"num_steps": 100, "timesteps": 0}, ValueError, "`timesteps` must be a positive"),
    (lorenz.load_data, {"num_steps": 100, "horizon": 0}, ValueError, "`horizon` must be a positive integer"),
    (lorenz.load_data, {"step": 0.0}, ValueError, "`step` must be a positive number, got 0"),
    (lorenz.load_data, {"sigma": -1.0}, ValueError, "`sigma` must be a positive number"),
    (lorenz.load_data, {"num_steps": 100, "test_fraction": 1}, ValueError, "`test_fraction` must be above 0"),
    (lorenz.trajectory, {"initial_state": [1.0, 2.0]}, ValueError, "`initial_state` must hold 3 finite"),
    (lorenz.trajectory, {"initial_state": "abc"}, ValueError, "`initial_state` must hold 3 finite numbers"),
    (lorenz.trajectory, {"tolerance": 0.0}, ValueError, "`tolerance` must be a positive number"),
    (double_pendulum.load_data, {"lengths": (1.0,)}, ValueError, "`lengths` must be a pair of positive"),
    (double_pendulum.load_data, {"masses": (1.0, 0.0)}, ValueError, r"`masses\[1\]` must be a positive"),
    (double_pendulum.load_data, {"gravity": -9.81}, ValueError, "`gravity` must be a positive number"),
    (mackey_glass.load_data, {"delay": 0.0}, ValueError, "`delay` must be a positive number, got 0"),
    (mackey_glass.trajectory, {"exponent": -1.0}, ValueError, "`exponent` must be a number that is not neg"),
    (mackey_glass.trajectory, {"initial_value": -0.5}, ValueError, "`initial_value` must be a positive"),
    (recall.load_data, {"timesteps": 1}, ValueError, "`timesteps` must be an integer of at least 2"),
    (recall.load_data, {"num_symbols": 0}, ValueError, "`num_symbols` must be a positive integer"),
    (recall.load_data, {"num_samples": 2}, ValueError, "of 2 samples that leaves 2 to train on and 0"),
    (countdown.load_data, {"timesteps": 1}, ValueError, "`timesteps` must be an integer of at least 2"),
    (countdown.load_data, {"num_samples": -3}, ValueError, "`num_samples` must be a positive integer"),
    (toy.load_data, {"kind": "moon"}, ValueError, "'moons', 'circles', 'blobs', got 'moon'.* mean 'moons'"),
    (toy.load_data, {"kind": 3}, TypeError, "`kind` must be one of"),
    (toy.load_data, {"noise": -0.1}, ValueError, "`noise` must be a number that is not negative"),
    (toy.load_data, {"num_samples": 4}, ValueError, "fewer than the 2 classes"),
    (toy.load_data, {"num_samples": 1}, ValueError, "of 1 samples"),
    (digits.load_data, {"test_fraction": 0.005}, ValueError, "9 to test on, fewer than the 10 classes"),
    (digits.load_data, {"test_fraction": "a fifth"}, TypeError, "`test_fraction` must be"),
    (digits.load_data, {"seed": 1.5}, ValueError, "`seed` must be"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "message"), REFUSED)
def test_refuses_bad_input(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize("name", kphys.datasets.__all__)
def test_the_documentation_is_whole_and_its_examples_run(name):
    if name in DOWNLOADED and not os.environ.get("KPHYS_DATA"):
        pytest.skip("KPHYS_DATA is not set")
    module = getattr(kphys.datasets, name)
    text = inspect.getdoc(module.load_data)
    for section in ("Args:", "Returns:", "Raises:", "Licence:", "Reference:", "Example:"):
        assert section in text
    assert all(f"{argument}:" in text for argument in inspect.signature(module.load_data).parameters)
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0


@pytest.mark.slow
def test_a_module_is_imported_on_first_use():
    script = (
        "import sys, kphys; before = set(sys.modules); import kphys.datasets as d; assert 'toy' in dir(d); "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "assert not new & {'scipy', 'sklearn', 'matplotlib', 'tensorflow', 'keras'}, new; "
        "d.toy; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_an_unknown_module_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no attribute 'isng'; it has abstracts, arithmetic"):
        kphys.datasets.isng  # noqa: B018
