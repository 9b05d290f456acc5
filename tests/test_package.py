"""What is installed, what an import costs, and what it says when it cannot be."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, as setuptools builds beside the sources; --no-isolation, as no test needs the network.
    sources = folder / "sources"
    leave_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, sources, ignore=leave_out)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(sources)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_holds_the_package_and_nothing_else_at_top_level(wheel):
    assert {name.split("/")[0] for name in wheel} == {"kphys", "kphys-0.1.0.dist-info"}


def test_the_wheel_holds_every_module(wheel):
    folders = {"kphys": "kphys", "callbacks": "kphys/callbacks", "datasets": "kphys/datasets"}
    modules = {
        f"{target}/{path.relative_to(ROOT / source).as_posix()}"
        for source, target in folders.items()
        for path in (ROOT / source).rglob("*.py")
    }
    assert modules == {name for name in wheel if name.endswith(".py")}
    assert "kphys/py.typed" in wheel
    assert any(name.endswith("LICENSE") for name in wheel)


def test_the_installed_package_has_nothing_beside_it():
    code = """
import importlib.util, json
import kphys.callbacks, kphys.datasets
print(json.dumps([importlib.util.find_spec(name) is not None for name in ("callbacks", "datasets")]))
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True)
    assert json.loads(finished.stdout) == [False, False]


def test_the_import_brings_nothing_heavy_beside_keras():
    code = """
import json, sys
import keras
before = set(sys.modules)
import kphys
heavy = ("tensorflow_probability", "gymnasium", "sklearn", "matplotlib", "scipy", "tf_keras")
print(json.dumps([name for name in heavy if name in set(sys.modules) - before]))
"""
    finished = _python(code)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == []


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused_in_one_sentence(backend):
    finished = _python("import kphys", KERAS_BACKEND=backend)
    assert finished.returncode != 0
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: kphys trains with TensorFlow")
    assert repr(backend) in last
    assert "set KERAS_BACKEND=tensorflow" in last


def test_every_public_name_is_there_and_documented():
    import kphys

    for name in set(kphys.__all__) - {"__version__"}:
        assert getattr(kphys, name).__doc__, name
        assert name in dir(kphys)
    with pytest.raises(AttributeError, match="no attribute 'mlp'"):
        kphys.mlp  # noqa: B018
