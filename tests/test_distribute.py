"""One device, several, several workers: what the environment chooses, and that training comes to the same."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_table import ROWS
from distribute_process import EPOCHS, KILLED_EPOCH, LOGS, VALIDATED, clipping, straight_line, train_rows
from keras.src.backend.tensorflow import trainer as keras_trainer
from new_process import run_python

import kphys
from kphys.distribute import _mends
from kphys.distribute._cluster import Cluster, find_cluster

SCRIPT = Path(__file__).with_name("distribute_process.py")
MOST_SECONDS = 240
# With oneDNN, TensorFlow 2.21 at times frees memory twice where convolutions are trained on several devices.
ON_A_CPU = {"CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}


def _free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start(task, folder, number, *names):
    """Runs a job of `number` workers to its end; gives what each printed and the status it ended with."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(number)]
    workers = []
    deadline = time.monotonic() + MOST_SECONDS
    try:
        for index in range(number):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config), **ON_A_CPU}
            command = [sys.executable, "-W", "error::UserWarning", SCRIPT, task, folder, *names]
            with Path(folder, f"{index}.txt").open("wb") as output:
                workers.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
        status = [worker.wait(max(0.1, deadline - time.monotonic())) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [Path(folder, f"{index}.txt").read_text()[-6000:] for index in range(number)], status


def _run_job(task, folder, number, *names):
    """Runs a job that must end well, and gives what each worker found."""
    said, status = _start(task, folder, number, *names)
    assert status == [0] * number, "\n\n".join(said)
    return [dict(np.load(folder / f"{index}.npz")) for index in range(number)]


# === What the environment chooses ===

PAIR = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def _tf_config(**changes):
    return {"TF_CONFIG": json.dumps({**PAIR, **changes})}


def test_a_cluster_is_read_from_tf_config():
    assert find_cluster(_tf_config()) == Cluster(("a:1", "b:2"), 1)
    with_chief = {"chief": ["c:3"], "worker": ["a:1", "b:2"]}
    assert find_cluster(_tf_config(cluster=with_chief)) == Cluster(("c:3", "a:1", "b:2"), 2)
    chief = {"type": "chief", "index": 0}
    assert find_cluster(_tf_config(cluster=with_chief, task=chief)) == Cluster(("c:3", "a:1", "b:2"), 0)
    spec = find_cluster(_tf_config()).resolver()
    assert (spec.cluster_spec().as_dict(), spec.task_type, spec.task_id) == ({"worker": ["a:1", "b:2"]}, "worker", 1)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        _tf_config(cluster={"worker": ["a:1"]}, task={"type": "worker", "index": 0}),
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"},
        {"SLURM_NTASKS": "1"},
    ],
)
def test_who_is_alone_has_no_cluster(environment):
    assert find_cluster(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TF_CONFIG": "worker 1"}, "be JSON such as .* got 'worker 1'"),
        ({"TF_CONFIG": "[1]"}, "'cluster' is wrong or missing"),
        (_tf_config(cluster=["a:1"]), "'cluster' is wrong or missing"),
        (_tf_config(task=None), "'task' is wrong or missing"),
        (_tf_config(task={"type": "worker"}), "'index' is wrong or missing"),
        (_tf_config(task={"index": 0}), "'type' is wrong or missing"),
        (_tf_config(task={"type": "worker", "index": 2}), r"\(worker 0 to 1\), got worker 2"),
        (_tf_config(task={"type": "worker", "index": -1}), "got worker -1"),
        (_tf_config(task={"type": "evaluator", "index": 0}), "got evaluator 0"),
        (_tf_config(cluster={"ps": ["c:1"], **PAIR["cluster"]}), "without parameter servers"),
        (_tf_config(cluster={"worker": []}), r"'host:port', got \[\]"),
        (_tf_config(cluster={"worker": ["a:1", "b"]}), "'host:port', got 'b'"),
        (_tf_config(cluster={"worker": ["a:1", 2]}), "'host:port', got 2"),
        (_tf_config(cluster={"worker": ["a:1", "a:1"]}), "another address for every worker"),
        (_tf_config(cluster={"chief": ["c:1", "d:1"], **PAIR["cluster"]}), "one chief, got 2"),
    ],
)
def test_a_wrong_tf_config_is_refused(environment, said):
    with pytest.raises(ValueError, match=f"^`TF_CONFIG` must .*{said}"):
        find_cluster(environment)


def _slurm(**changes):
    return {
        "SLURM_JOB_ID": "1000",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "gpu[9-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": "2",
        "SLURM_NODEID": "1",
        "SLURM_LOCALID": "0",
        **changes,
    }


def test_a_cluster_is_read_from_slurm_in_its_own_order():
    port = 12000 + 64 * (1000 % 312)
    expected = (f"gpu9:{port}", f"gpu9:{port + 1}", f"gpu10:{port}")
    assert find_cluster(_slurm()) == Cluster(expected, 2)
    assert find_cluster(_slurm(SLURM_PROCID="1", SLURM_NODEID="0", SLURM_LOCALID="1")) == Cluster(expected, 1)
    assert find_cluster({**_slurm(), **_tf_config()}) == Cluster(("a:1", "b:2"), 1)


def test_other_jobs_on_a_node_have_other_ports():
    def ports(job):
        return {address.split(":")[1] for address in find_cluster(_slurm(SLURM_JOB_ID=str(job))).addresses}

    assert not ports(1000) & ports(1001)


def test_tasks_that_slurm_deals_out_in_turn_are_refused():
    with pytest.raises(ValueError, match="srun --distribution=block"):
        find_cluster(_slurm(SLURM_PROCID="1", SLURM_NODEID="1", SLURM_LOCALID="0"))


def test_a_job_without_srun_is_warned_that_it_trains_alone():
    with pytest.warns(UserWarning, match="Slurm has 4 tasks .* start Python with `srun python"):
        assert find_cluster({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None


@pytest.fixture
def alone(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def test_one_device_is_left_as_it_is(alone):
    before = keras_trainer.reduce_per_replica, keras.Model.save
    with kphys.distribute.strategy() as strategy:
        assert not tf.distribute.has_strategy()
        assert strategy.num_replicas_in_sync == 1
        assert kphys.distribute.is_chief()
        assert kphys.mlp_regressor(1, hidden_units=2).steps_per_execution > 1
        assert (keras_trainer.reduce_per_replica, keras.Model.save) == before


class _Fake(tf.distribute.OneDeviceStrategy):
    def __init__(self):
        super().__init__("CPU:0")


def test_several_gpus_are_mirrored(alone, monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", _Fake)

    def current():
        return keras_trainer.TensorFlowTrainer._maybe_symbolic_build, keras_trainer.reduce_per_replica

    before = current()
    with contextlib.suppress(ArithmeticError), kphys.distribute.strategy() as outer:
        assert isinstance(outer, _Fake)
        assert tf.distribute.get_strategy() is outer
        inside = current()
        assert inside[0] is not before[0]
        assert inside[1] is not before[1]
        with kphys.distribute.strategy() as inner:
            assert inner is outer
        assert current() == inside
        raise ArithmeticError
    assert current() == before
    assert not tf.distribute.has_strategy()


def test_the_scope_of_another_strategy_is_refused():
    with _Fake().scope(), pytest.raises(RuntimeError, match="leave that scope out"), kphys.distribute.strategy():
        pass


def test_workers_must_begin_before_tensorflow_does(monkeypatch):
    tf.zeros(1)
    monkeypatch.setenv("TF_CONFIG", _tf_config()["TF_CONFIG"])
    assert not kphys.distribute.is_chief()
    with pytest.raises(RuntimeError, match="must come before TensorFlow computes"), kphys.distribute.strategy():
        pass


# === Keras' defects ===


def test_the_installed_keras_has_the_defects():
    assert _mends.reduces_batches()
    assert _mends.reduces_scalars_by_rows()
    assert _mends.keeps_statistics_apart()


def test_a_keras_that_does_right_is_left_alone(monkeypatch):
    def build(self, iterator=None, data_batch=None):
        self._symbolic_build(data_batch=data_batch)

    def reduce(values, strategy, reduction):
        return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)

    monkeypatch.setattr(keras_trainer.TensorFlowTrainer, "_maybe_symbolic_build", build)
    monkeypatch.setattr(keras_trainer, "reduce_per_replica", reduce)
    assert not _mends.reduces_batches()
    assert not _mends.reduces_scalars_by_rows()
    with _mends.mended_keras():
        assert keras_trainer.reduce_per_replica is reduce
        assert keras_trainer.TensorFlowTrainer._maybe_symbolic_build.__wrapped__ is build
    assert keras_trainer.TensorFlowTrainer._maybe_symbolic_build is build


def test_defects_are_mended_inside_only():
    with _mends.mended_keras():
        assert not _mends.reduces_batches()
        assert not _mends.reduces_scalars_by_rows()
        assert not _mends.keeps_statistics_apart()
    assert "add_weight" not in vars(keras.layers.BatchNormalization)
    assert _mends.reduces_batches()


@pytest.mark.parametrize(
    ("samples", "batch_size", "said"),
    [
        (9, 4, "`batch_size` is 4, which leaves 1 sample for the last batch, too few for 2 replicas"),
        (4, 1, "`batch_size` must be at least 2, .* got 1"),
    ],
)
def test_batches_that_leave_a_replica_without_samples_are_refused(samples, batch_size, said):
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    x = np.zeros((samples, 1))
    adapter = keras.src.trainers.data_adapters.get_data_adapter(x, x, batch_size=batch_size)
    model = types.SimpleNamespace(_distribute_strategy=strategy)
    iterator = types.SimpleNamespace(data_adapter=adapter)
    with _mends.mended_keras(), pytest.raises(ValueError, match=said):
        keras_trainer.TensorFlowTrainer._maybe_symbolic_build(model, iterator=iterator)


# === Two workers and three ===


def _hold(found, expected, names, rtol=1e-5):
    """Holds what a worker found against what was expected, for the rows `names`."""
    for key, value in expected.items():
        if key.split("/")[0] in names:
            np.testing.assert_allclose(found[key], value, rtol=rtol, atol=1e-5, err_msg=key)


@pytest.mark.slow
def test_two_workers_train_one_model_and_the_chief_alone_writes(tmp_path):
    chief, worker = _run_job("files", tmp_path, 2)
    assert (chief["chief"], worker["chief"]) == (True, False)
    for found in (chief, worker):
        np.testing.assert_array_equal(found["mean"], [4095 / 12] * 2)
        assert len(found["stopped"]) == 1
        assert (list(found["ended"]), str(found["reason"])) == ([1, 1], "batch_system")
        np.testing.assert_array_equal(found["weights"], chief["weights"])
        assert found["same"]
        assert list(found["paths"]) == [str(tmp_path / "shared" / name) for name in ("record", "best.keras")]
    model, history = straight_line(2, clipping())
    assert 0 < history.history["clipped_fraction"][0] < 1
    for found in (chief, worker):
        np.testing.assert_allclose(found["logs"], [history.history[name] for name in LOGS], rtol=1e-5)
        np.testing.assert_allclose(found["weights"], model.get_weights()[0], rtol=1e-5, atol=1e-6)
    shared = tmp_path / "shared"
    assert sorted(path.name for path in shared.iterdir()) == [
        "1.weights.h5", "2.weights.h5", "backup", "best.keras", "board", "images", "job.keras", "keras-backup",
        "log.csv", "model.keras", "norms", "record",
    ]  # fmt: skip
    assert len((shared / "log.csv").read_text().splitlines()) == 3
    assert len(list((shared / "board" / "train").glob("*.v2"))) == 1
    assert [len(list((shared / folder / "train").iterdir())) for folder in ("images", "norms")] == [1, 1]
    assert kphys.records.read(shared / "record").status == "stopped"


# One of each family. The last ones draw noise or mix the samples of a batch.
ROW_NAMES = [
    VALIDATED,
    "mlp_regressor[gaussian_nll-normalized]",
    "cnn_classifier[plain]",
    "rnn_classifier[masked-sequences]",
    "autoencoder[dense]",
    "conv_autoencoder[images]",
    "char_rnn[lstm]",
    "seq2seq[lstm]",
    "text_classifier[lstm]",
    "vae[bernoulli]",
    "dcgan[no-guard]",
    "cnn_classifier[resnet]",
]


@pytest.mark.slow
def test_two_workers_come_to_what_one_process_comes_to(tmp_path):
    chief, worker = _run_job("rows", tmp_path, 2, *ROW_NAMES)
    assert chief.keys() == worker.keys()
    for key, value in chief.items():
        np.testing.assert_array_equal(worker[key], value, err_msg=key)
    alone = [name for name in ROW_NAMES if not ROWS[name].stochastic]
    _hold(chief, train_rows(alone, contextlib.nullcontext()), alone)
    # Each part of a batch has its own noise and is normalized by itself: as on two devices of one process.
    drawing = [name for name in ROW_NAMES if ROWS[name].stochastic]
    run_python(SCRIPT, "mirror", tmp_path, *drawing, **ON_A_CPU)
    _hold(chief, dict(np.load(tmp_path / "mirror.npz")), drawing, rtol=1e-4)


@pytest.mark.slow
def test_a_job_of_three_whose_worker_is_killed_ends_and_goes_on_where_it_was(tmp_path):
    said, status = _start("job", tmp_path, 3, "1")
    assert status == [1, -9, 1], "\n\n".join(said)
    for index in (0, 2):
        assert f"RuntimeError: Another worker has ended or cannot be reached, and worker {index} of 3" in said[index]
    found = _run_job("job", tmp_path, 3)
    model, _ = straight_line(EPOCHS)
    for worker in found:
        epochs, *weights = worker.values()
        np.testing.assert_array_equal(epochs, np.arange(KILLED_EPOCH, EPOCHS))
        for resumed, uninterrupted in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(resumed, uninterrupted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_workers_that_do_not_fit_together_are_refused(tmp_path):
    for found in _run_job("refused", tmp_path, 2):
        seeds, batches = found["said"]
        assert "`keras.utils.set_random_seed` must have the same seed on all workers, got [0, 1]" in seeds
        assert "`fit` must get the same data on all workers, got [2, 3] batches" in batches
