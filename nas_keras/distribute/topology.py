"""`Topology`: which processes a search runs on, and which of them this is.

Read from `TF_CONFIG` or from Slurm's variables and checked at once, before
TensorFlow is loaded. Worker 0 is the chief.
"""

import dataclasses
import json
import re
import socket
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

RESOLVERS = ("auto", "tf_config", "slurm", "none")

# Jobs, and steps of a job, that run at a time on a node have ports of their
# own: a block for each.
_SLURM_FIRST_PORT = 20_000
_SLURM_BLOCK = 64  # Tasks of a step on a node.
_SLURM_NUM_BLOCKS = 150
_ADDRESS = re.compile(r"(?:\[([^\s\[\]]+)\]|([^\s\[\]]+)):(\d{1,5})", re.ASCII)
_MAX_NODES = 100_000
_MAX_SHOWN = 120  # Characters of a received value in an error message.


@dataclasses.dataclass(frozen=True)
class Topology:
    """The workers of a search.

    Attributes:
        addresses: `"host:port"` of each worker; the first is the chief.
        index: Which of them this process is.
        source: Where it was read, for messages.

    Raises:
        ValueError: If an address is malformed or given twice, or `index` is
            out of range.

    Example:

    >>> Topology(("a:2222", "b:2222"), 1).own_address
    'b:2222'
    """

    addresses: tuple[str, ...]
    index: int
    source: str = "topology"

    def __post_init__(self):
        for address in self.addresses:
            split_address(address, self.source)
        twice = sorted(
            {a for a in self.addresses if self.addresses.count(a) > 1}
        )
        if twice:
            raise ValueError(
                f"{self.source}: each worker must have an address of its own. "
                f"Received twice: {', '.join(twice)}."
            )
        if not 0 <= self.index < len(self.addresses):
            raise ValueError(
                f"{self.source}: the index of this worker must be from 0 to "
                f"{len(self.addresses) - 1}, for there are "
                f"{len(self.addresses)} workers. Received: {self.index}."
            )

    @property
    def own_address(self) -> str:
        return self.addresses[self.index]

    def check_port(self) -> None:
        """Makes sure that this worker can listen.

        Raises:
            ValueError: If its port is in use or may not be used.
        """
        listen(self).close()


def split_address(address: str, source: str) -> tuple[str, int]:
    """Returns host and port of `"host:port"`."""
    match = _ADDRESS.fullmatch(address)
    if not match or not address.isprintable() or not 0 < int(match[3]) < 2**16:
        raise ValueError(
            f"{source}: an address must be 'host:port', port from 1 to 65535. "
            f"Received: {address!r:.{_MAX_SHOWN}}."
        )
    return match[1] or match[2], int(match[3])


def listen(topology: Topology) -> socket.socket:
    """Returns a socket that listens on this worker's port.

    Raises:
        ValueError: If the port is in use or may not be used.
    """
    host, port = split_address(topology.own_address, topology.source)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=1024)
    except OSError as error:
        raise ValueError(
            f"{topology.source}: worker {topology.index} cannot listen on port "
            f"{port} of {topology.own_address!r}: {error.strerror}."
        ) from None


def from_environment(
    environ: Mapping[str, str], resolver: str = "auto"
) -> Topology | None:
    """Returns what the environment says, or None: this process is alone.

    Args:
        environ: Such as `os.environ`.
        resolver: `"tf_config"`, `"slurm"`, `"none"`, or `"auto"`: `TF_CONFIG`
            if it is set, else Slurm if this is one of several tasks of a
            step.

    Raises:
        ValueError: If the environment is not as it must be; the message names
            the variable.

    Example:

    >>> config = {"cluster": {"worker": ["a:1", "b:1"]},
    ...           "task": {"type": "worker", "index": 0}}
    >>> from_environment({"TF_CONFIG": json.dumps(config)}).addresses
    ('a:1', 'b:1')
    """
    if resolver not in RESOLVERS:
        raise ValueError(
            f"resolver must be one of {list(RESOLVERS)}. Received: "
            f"resolver={resolver!r}."
        )
    if resolver == "tf_config" or (
        resolver == "auto" and environ.get("TF_CONFIG")
    ):
        return _from_tf_config(environ.get("TF_CONFIG", ""))
    if resolver == "slurm" or (
        resolver == "auto" and environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    ):
        return _from_slurm(environ)
    return None


def _from_tf_config(text: str) -> Topology | None:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"TF_CONFIG must be JSON: {error}. Received: "
            f"{text!r:.{_MAX_SHOWN}}."
        ) from None
    if not isinstance(config, dict):
        raise ValueError(
            f"TF_CONFIG must be an object. Received: {config!r:.{_MAX_SHOWN}}."
        )
    if config.get("cluster", {}) == {}:
        return None
    cluster = _entry(config, "cluster", dict)
    unknown = sorted(set(cluster) - {"chief", "worker"})
    if unknown:
        raise ValueError(
            "TF_CONFIG: the jobs of cluster must be 'chief' and 'worker'. "
            f"Received: {unknown}."
        )
    addresses = {job: _addresses(cluster, job) for job in cluster}
    chiefs = addresses.get("chief", [])
    if len(chiefs) > 1:
        raise ValueError(
            f"TF_CONFIG: there must be at most one chief. Received: {chiefs}."
        )
    kind, index = _task(config, addresses)
    return Topology(
        (*chiefs, *addresses.get("worker", [])),
        index + (len(chiefs) if kind == "worker" else 0),
        "TF_CONFIG",
    )


def _task(
    config: Mapping[str, Any], addresses: Mapping[str, list[str]]
) -> tuple[str, int]:
    """Returns the job of this process, and its index there."""
    task = _entry(config, "task", dict)
    kind, index = _entry(task, "type", str), _entry(task, "index", int)
    if kind not in addresses:
        raise ValueError(
            f"TF_CONFIG: task.type must be one of {sorted(addresses)}. "
            f"Received: {kind!r}."
        )
    if not 0 <= index < len(addresses[kind]):
        raise ValueError(
            f"TF_CONFIG: task.index must be from 0 to "
            f"{len(addresses[kind]) - 1}, for cluster.{kind} has "
            f"{len(addresses[kind])} addresses. Received: {index}."
        )
    return kind, index


def _entry(value: Any, key: str, kind: type) -> Any:
    entry = value.get(key)
    if type(entry) is not kind:
        names = {dict: "an object", str: "a string", int: "an int"}
        raise ValueError(
            f"TF_CONFIG: {key!r} must be {names[kind]}. Received: "
            f"{entry!r:.{_MAX_SHOWN}}."
        )
    return entry


def _addresses(cluster: Mapping[str, Any], job: str) -> list[str]:
    addresses = cluster[job]
    if (
        not isinstance(addresses, list)
        or not addresses
        or not all(isinstance(address, str) for address in addresses)
    ):
        raise ValueError(
            f"TF_CONFIG: cluster.{job} must be a list of 'host:port'. "
            f"Received: {addresses!r:.{_MAX_SHOWN}}."
        )
    return addresses


def _from_slurm(environ: Mapping[str, str]) -> Topology:
    """Returns the tasks of a Slurm step, as srun numbers them.

    TensorFlow's own resolver sorts host names as text, so that ranks and
    addresses part at ten nodes, and fails on nodes without GPUs.
    """
    num_tasks = _slurm_int(environ, "SLURM_STEP_NUM_TASKS")
    rank = _slurm_int(environ, "SLURM_PROCID")
    job = _slurm_int(environ, "SLURM_JOB_ID")
    step = _slurm_int({"SLURM_STEP_ID": "0", **environ}, "SLURM_STEP_ID")
    hosts = list(_expand_hosts(_slurm(environ, "SLURM_STEP_NODELIST")))
    counts = list(_expand_counts(_slurm(environ, "SLURM_STEP_TASKS_PER_NODE")))
    if len(hosts) != len(counts) or sum(counts) != num_tasks:
        raise ValueError(
            f"SLURM_STEP_TASKS_PER_NODE: {num_tasks} tasks must be spread over "
            f"the {len(hosts)} nodes of SLURM_STEP_NODELIST. Received: "
            f"{environ['SLURM_STEP_TASKS_PER_NODE']!r:.{_MAX_SHOWN}}."
        )
    places = [
        (node, local) for node, num in enumerate(counts) for local in range(num)
    ]
    block = (7 * job + step) % _SLURM_NUM_BLOCKS
    first_port = _SLURM_FIRST_PORT + _SLURM_BLOCK * block
    topology = Topology(
        tuple(f"{hosts[node]}:{first_port + local}" for node, local in places),
        rank,
        "SLURM_PROCID",
    )
    place = tuple(
        _slurm_int(environ, name) for name in ("SLURM_NODEID", "SLURM_LOCALID")
    )
    if place != places[rank]:
        raise ValueError(
            f"SLURM_PROCID {rank} must be task {places[rank][1]} of node "
            f"{places[rank][0]}. Received: task {place[1]} of node {place[0]}. "
            "Start the tasks with srun --distribution=block."
        )
    return topology


def _slurm(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise ValueError(f"{name} must be set: start the workers with srun.")
    return environ[name]


def _slurm_int(environ: Mapping[str, str], name: str) -> int:
    value = _slurm(environ, name)
    if not value.isdecimal():
        raise ValueError(f"{name} must be an int. Received: {value!r}.")
    return int(value)


def _expand_hosts(text: str) -> Iterator[str]:
    """Yields the names in Slurm's `"a1,gpu[01-03,7]-ib"`."""
    pattern = r"(?:[^,\[\]]|\[[^\[\]]*\])+"
    parts = re.findall(pattern, text)
    if ",".join(parts) != text:
        raise ValueError(
            "SLURM_STEP_NODELIST must be a list of hosts such as "
            f"'a1,b[01-03,7]'. Received: {text!r:.{_MAX_SHOWN}}."
        )
    for part in parts:
        yield from _expand_host(part)


def _expand_host(part: str) -> Iterator[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        yield part
        return
    ranges, _, tail = rest.partition("]")
    for item in ranges.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", item, re.ASCII)
        low, high = (match[1], match[2] or match[1]) if match else ("1", "0")
        if not 0 <= int(high) - int(low) < _MAX_NODES:
            raise ValueError(
                "SLURM_STEP_NODELIST: what is in brackets must be numbers and "
                f"ranges. Received: {part!r:.{_MAX_SHOWN}}."
            )
        for number in range(int(low), int(high) + 1):
            for following in _expand_host(tail):
                yield f"{head}{number:0{len(low)}d}{following}"


def _expand_counts(text: str) -> Iterator[int]:
    """Yields the numbers in Slurm's `"2(x3),1"`: 2, 2, 2, 1."""
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise ValueError(
                "SLURM_STEP_TASKS_PER_NODE must be such as '2(x3),1'. "
                f"Received: {text!r:.{_MAX_SHOWN}}."
            )
        yield from [int(match[1])] * int(match[2] or 1)
