"""Tests of `Topology`: addresses, the port, and which variables are read."""

import json
import socket

import pytest

from nas_keras.distribute.topology import RESOLVERS
from nas_keras.distribute.topology import Topology
from nas_keras.distribute.topology import from_environment
from nas_keras.distribute.topology import split_address
from tests.raising import raises_first as raises
from tests.topology_testing import read
from tests.topology_testing import slurm
from tests.topology_testing import tf_config

# The value itself.


def test_a_topology_knows_its_own_address():
    topology = Topology(("a:1", "b:2"), 1)
    assert topology.own_address == "b:2"
    assert topology == Topology(("a:1", "b:2"), 1, "topology")


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("a:1", "a", 1),
        ("node-3.example.org:65535", "node-3.example.org", 65535),
        ("10.0.0.1:2222", "10.0.0.1", 2222),
        ("[::1]:2222", "::1", 2222),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_an_address_is_split_into_host_and_port(address, host, port):
    assert split_address(address, "here") == (host, port)
    assert Topology((address,), 0).own_address == address


_MALFORMED = [
    "", "a", ":", ":1", "a:", "a:b", "a:-1", "a:+1", "a: 1", "a:1 ", "a:1.0",
    "a:0", "a:65536", "a:99999999", "a:0x10", "a:²", "a:1:", "http://a",
]  # fmt: skip


@pytest.mark.parametrize("address", _MALFORMED)
def test_a_malformed_address_is_refused(address):
    message = (
        "TF_CONFIG: an address must be 'host:port', port from 1 to 65535. "
        f"Received: {address!r}."
    )
    with raises(message):
        read(tf_config(["b:2", address]))
    with raises(message):
        read(tf_config(chief=[address]))
    with raises(message.replace("TF_CONFIG", "topology")):
        Topology((address,), 0)


def test_a_long_address_is_shown_in_part():
    with raises("TF_CONFIG: an address must be ") as caught:
        read(tf_config(["x" * 10_000]))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "address",
    [
        # Once: int() refuses such a number with a message of its own.
        pytest.param("a:" + "1" * 5_000, id="port of 5,000 digits"),
        # Once: no host is left when the brackets are taken off.
        "[]:1",
    ],
)
def test_an_address_without_a_host_or_with_an_endless_port_is_refused(address):
    with raises("TF_CONFIG: an address must be 'host:port'"):
        read(tf_config([address]))


@pytest.mark.parametrize("index", [-1, 2, 7])
def test_an_index_beyond_the_addresses_is_refused(index):
    message = (
        "here: the index of this worker must be from 0 to 1, for there are 2 "
        f"workers. Received: {index}."
    )
    with raises(message):
        Topology(("a:1", "b:2"), index, "here")


def test_a_topology_has_at_least_one_worker():
    with raises("topology: the index of this worker must be from 0 to -1"):
        Topology((), 0)


# The port.


def test_a_port_in_use_is_refused_with_variable_port_and_reason():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        topology = read(tf_config(["a:1", f"localhost:{port}"], index=1))
        message = (
            f"TF_CONFIG: worker 1 cannot listen on port {port} of "
            f"'localhost:{port}': Address already in use"
        )
        with raises(message):
            topology.check_port()
    topology.check_port()  # It is free now, and checking does not take it.
    topology.check_port()


def test_the_port_of_another_worker_is_not_looked_at():
    with socket.create_server(("localhost", 0)) as server:
        taken = f"localhost:{server.getsockname()[1]}"
        with socket.create_server(("localhost", 0)) as other:
            free = f"localhost:{other.getsockname()[1]}"
        read(tf_config([taken, free], index=1)).check_port()


# Which of them.


def test_the_resolver_must_be_known():
    message = (
        "resolver must be one of ['auto', 'tf_config', 'slurm', 'none']. "
        "Received: resolver='k8s'."
    )
    with raises(message):
        from_environment({}, "k8s")
    assert RESOLVERS == ("auto", "tf_config", "slurm", "none")


@pytest.mark.parametrize(
    ("resolver", "source"),
    [
        ("auto", "TF_CONFIG"),
        ("tf_config", "TF_CONFIG"),
        ("slurm", "SLURM_PROCID"),
        ("none", None),
    ],
)
def test_tf_config_goes_before_slurm_and_each_can_be_asked_for(
    resolver, source
):
    environ = {**slurm(), "TF_CONFIG": json.dumps(tf_config())}
    topology = from_environment(environ, resolver)
    assert (topology and topology.source) == source


def test_without_tf_config_the_step_of_slurm_is_taken():
    for environ in (slurm(), {**slurm(), "TF_CONFIG": ""}):
        assert from_environment(environ).source == "SLURM_PROCID"


@pytest.mark.parametrize("value", [{}, {"cluster": {}}])
def test_a_tf_config_of_nobody_hides_the_step_of_slurm(value):
    environ = {**slurm(), "TF_CONFIG": json.dumps(value)}
    assert from_environment(environ) is None


def test_a_bad_tf_config_is_not_passed_over_for_slurm():
    with raises("TF_CONFIG must be JSON"):
        from_environment({**slurm(), "TF_CONFIG": "{"})


def test_nothing_is_read_where_none_is_asked_for():
    environ = {"TF_CONFIG": "{", "SLURM_STEP_NUM_TASKS": "many"}
    assert from_environment(environ, "none") is None


@pytest.mark.parametrize("environ", [{}, {"PATH": "/bin"}])
def test_an_environment_without_either_is_alone(environ):
    assert from_environment(environ) is None


def test_the_body_of_an_sbatch_script_without_srun_is_alone():
    environ = {
        "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4",
        "SLURM_JOB_NODELIST": "a[1-4]", "SLURM_TASKS_PER_NODE": "1(x4)",
    }  # fmt: skip
    assert from_environment(environ) is None
    with raises("SLURM_STEP_NUM_TASKS must be set: start the workers with "):
        from_environment(environ, "slurm")


def test_a_step_of_one_task_is_alone_unless_slurm_is_asked_for():
    environ = slurm("a1", "1", num_tasks=1)
    assert from_environment(environ) is None
    topology = from_environment(environ, "slurm")
    assert topology == Topology(("a1:22688",), 0, "SLURM_PROCID")
