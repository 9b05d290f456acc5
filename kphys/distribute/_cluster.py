"""Who trains together: the workers that `TF_CONFIG` or Slurm names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.distribute.cluster_resolver.slurm_cluster_resolver import expand_hostlist, expand_tasks_per_node

_EXAMPLE = '{"cluster": {"worker": ["node1:12345", "node2:12345"]}, "task": {"type": "worker", "index": 0}}'
# Beneath the ports that systems hand out themselves. Jobs on one node get 64 each, by their number.
_FIRST_PORT, _PORTS_A_JOB, _JOBS = 12000, 64, 312


class Cluster(NamedTuple):
    """The addresses of the workers, `host:port`, the chief's first, and which of them this process is."""

    addresses: tuple[str, ...]
    index: int

    def resolver(self) -> tf.distribute.cluster_resolver.ClusterResolver:
        """Gives what TensorFlow asks about the cluster."""
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(self.addresses)}),
            task_type="worker",
            task_id=self.index,
            num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
            rpc_layer="grpc",
        )


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Gives the cluster that the environment names; `None` if this process trains alone."""
    found = _from_tf_config(environment["TF_CONFIG"]) if environment.get("TF_CONFIG") else _from_slurm(environment)
    return None if found is None or len(found.addresses) == 1 else found


# === TF_CONFIG ===


def _from_tf_config(text: str) -> Cluster | None:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"`TF_CONFIG` must be JSON such as {_EXAMPLE}, got {text!r}: {error}.") from error
    jobs = _field(config, text, "cluster", dict, missing={})
    if not jobs:
        return None
    for job in jobs:
        if job not in ("chief", "worker"):
            raise ValueError(
                f"`TF_CONFIG` must have the jobs 'worker' and perhaps 'chief' alone, got {job!r}: Keras 3 trains "
                "without parameter servers, and evaluates on all workers."
            )
        _check_addresses(job, jobs[job])
    task = _field(config, text, "task", dict)
    job, index = _field(task, text, "type", str), _field(task, text, "index", (int, str))
    if job not in jobs or str(index) not in map(str, range(len(jobs[job]))):
        tasks = ", ".join(f"{name} 0 to {len(addresses) - 1}" for name, addresses in jobs.items())
        raise ValueError(f"`TF_CONFIG` must have a task of its cluster ({tasks}), got {job} {index}.")
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1:
        raise ValueError(f"`TF_CONFIG` must have one chief, got {len(chiefs)}: make the others workers.")
    addresses = (*chiefs, *workers)
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"`TF_CONFIG` must have another address for every worker, got {', '.join(addresses)}.")
    return Cluster(addresses, int(index) + (len(chiefs) if job == "worker" else 0))


def _field(config: Any, text: str, name: str, kind: Any, missing: Any = None) -> Any:
    value = config.get(name, missing) if isinstance(config, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"`TF_CONFIG` must be JSON such as {_EXAMPLE}, got {text!r}: its {name!r} is wrong or missing."
        )
    return value


def _check_addresses(job: str, addresses: Any) -> None:
    wanted = f"`TF_CONFIG` must list the addresses of {job!r} as 'host:port'"
    if not isinstance(addresses, list) or not addresses:
        raise ValueError(f"{wanted}, got {addresses!r}.")
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not port.isdigit():
            raise ValueError(f"{wanted}, got {address!r}.")


# === Slurm ===


def _from_slurm(environment: Mapping[str, str]) -> Cluster | None:
    if "SLURM_STEP_NUM_TASKS" not in environment:
        if int(environment.get("SLURM_NTASKS") or 1) > 1:
            warnings.warn(
                f"Slurm has {environment['SLURM_NTASKS']} tasks for this job, but this process was started without "
                "srun and trains alone: start Python with `srun python …`.",
                stacklevel=4,
            )
        return None
    if int(environment["SLURM_STEP_NUM_TASKS"]) == 1:
        return None
    hosts = expand_hostlist(environment["SLURM_STEP_NODELIST"])
    tasks = expand_tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    port = _FIRST_PORT + _PORTS_A_JOB * (int(environment["SLURM_JOB_ID"]) % _JOBS)
    # TensorFlow's own SlurmClusterResolver sorts the hosts as texts, node10 before node9, which Slurm does not, and
    # fails on nodes without GPUs.
    addresses = tuple(
        f"{host}:{port + local}" for host, number in zip(hosts, tasks, strict=True) for local in range(number)
    )
    index = int(environment["SLURM_PROCID"])
    own = f"{hosts[int(environment['SLURM_NODEID'])]}:{port + int(environment['SLURM_LOCALID'])}"
    if addresses[index] != own:
        raise ValueError(
            "Slurm must fill the nodes one after the other, but has put this task elsewhere: start with "
            "`srun --distribution=block`."
        )
    return Cluster(addresses, index)
