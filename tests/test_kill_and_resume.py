"""Trainings that are killed, or whose disk is full, and go on: what they come to, bit by bit, and what is left of them.

All families, ten kills each: `benchmarks/kill_and_resume.py`.
"""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys

import keras
import kill_process as process
import numpy as np
import pytest

from kphys import mlp_regressor
from kphys.callbacks import BackupAndRestore, ModelCheckpoint

SEED = "64"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp_classifier[dropout]", "dcgan[replay]", "dqn[prioritized]"])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(name, tmp_path):
    command = [sys.executable, process.__file__, str(tmp_path), "2", SEED, name]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]
    outcome = json.loads(finished.stdout.splitlines()[-1])
    assert outcome["failures"] == [], finished.stderr[-4000:]
    assert (outcome["row"], outcome["kills"]) == (name, 2)
    assert outcome["while_writing"] > 0


def test_moments_are_those_of_the_seed():
    moments = [process.random_moment(random.Random(3), calls=1000, seconds=2.0) for _ in range(2)]
    assert moments[0] == moments[1]
    generator = random.Random(0)
    kinds = [process.random_moment(generator, calls=1000, seconds=2.0).partition(":")[0] for _ in range(100)]
    assert 50 < kinds.count("calls") < 90
    assert kinds.count("calls") + kinds.count("seconds") == 100


# === Full disks ===


class Fills(keras.callbacks.Callback):
    """Enters `full` when the third epoch ends."""

    def __init__(self, full):
        super().__init__()
        self.full = full

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            self.full()


class SmallDisk:
    """A file system of a megabyte."""

    def __init__(self, folder):
        self.folder = folder

    def fill(self):
        with contextlib.suppress(OSError), (self.folder / "other").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1000))

    def make_room(self):
        (self.folder / "other").unlink()


class SmallFiles:
    """A limit to the size of files, which any user may set."""

    def __init__(self, folder):
        self.folder, self.usual = folder, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, self.usual[1]))

    def make_room(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.usual)


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request, tmp_path):
    if request.param is SmallFiles:
        disk = SmallFiles(tmp_path)
        yield disk
        disk.make_room()
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("File systems cannot be mounted here.")
    yield SmallDisk(tmp_path)
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def build():
    keras.utils.set_random_seed(3)
    model = mlp_regressor(2, hidden_units=(60, 60), seed=0)
    model.jit_compile = False
    return model


def fit(model, *callbacks):
    x = np.linspace(-1, 1, 32, dtype="float32").reshape(-1, 2)
    settings = {"epochs": 5, "batch_size": 4, "shuffle": False, "verbose": 0, "callbacks": list(callbacks)}
    return model.fit(x, x[:, :1], **settings).epoch


# h5py cannot flush the file that is given up, and says so once more.
@pytest.mark.cases(1)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("who", ["BackupAndRestore", "ModelCheckpoint"])
def test_a_full_disk_is_named_and_keeps_what_is_there(disk, who):
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # As Python sets it: an error instead of the end.
    file = {"BackupAndRestore": "latest.weights.h5", "ModelCheckpoint": "last.keras"}[who]

    def callbacks():
        checkpoint = ModelCheckpoint(disk.folder / "last.keras")
        return [*([checkpoint] if who == "ModelCheckpoint" else []), BackupAndRestore(disk.folder / "backup")]

    with pytest.raises(OSError, match=rf"{who} could not write {file} in '.*': .*; free space there, or choose"):
        fit(build(), Fills(disk.fill), *callbacks())
    disk.make_room()
    process.check_files(disk.folder, build())
    assert not list(disk.folder.rglob(process.UNFINISHED))
    model, undisturbed = build(), build()
    assert fit(model, *callbacks()) == [2, 3, 4]
    fit(undisturbed)
    for a, b in zip(model.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
