"""Tests of `Topology`: what TF_CONFIG and Slurm's variables say."""

import json
import re
import socket

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.search.topology import RESOLVERS
from nas_keras.search.topology import Topology
from nas_keras.search.topology import from_environment
from nas_keras.search.topology import split_address


def _raises(message):
    return pytest.raises(ValueError, match="^" + re.escape(message))


def _config(workers=("a:1", "b:2", "c:3"), kind="worker", index=0, **jobs):
    cluster = {"worker": list(workers), **jobs}
    if not workers:
        del cluster["worker"]
    return {"cluster": cluster, "task": {"type": kind, "index": index}}


def _read(value, resolver="auto"):
    text = value if isinstance(value, str) else json.dumps(value)
    return from_environment({"TF_CONFIG": text}, resolver)


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
    with _raises(message):
        _read(_config(["b:2", address]))
    with _raises(message):
        _read(_config(chief=[address]))
    with _raises(message.replace("TF_CONFIG", "topology")):
        Topology((address,), 0)


def test_a_long_address_is_shown_in_part():
    with _raises("TF_CONFIG: an address must be ") as caught:
        _read(_config(["x" * 10_000]))
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
    with _raises("TF_CONFIG: an address must be 'host:port'"):
        _read(_config([address]))


@pytest.mark.parametrize("index", [-1, 2, 7])
def test_an_index_beyond_the_addresses_is_refused(index):
    message = (
        "here: the index of this worker must be from 0 to 1, for there are 2 "
        f"workers. Received: {index}."
    )
    with _raises(message):
        Topology(("a:1", "b:2"), index, "here")


def test_a_topology_has_at_least_one_worker():
    with _raises("topology: the index of this worker must be from 0 to -1"):
        Topology((), 0)


# TF_CONFIG.


@pytest.mark.parametrize("index", [0, 1, 2])
def test_workers_alone_keep_their_order_and_the_first_is_the_chief(index):
    topology = _read(_config(["c:3", "a:1", "b:2"], index=index))
    assert topology == Topology(("c:3", "a:1", "b:2"), index, "TF_CONFIG")


def test_a_chief_comes_before_the_workers():
    topology = _read(_config(["a:1", "b:2"], "chief", 0, chief=["z:9"]))
    assert topology == Topology(("z:9", "a:1", "b:2"), 0, "TF_CONFIG")


@pytest.mark.parametrize("index", [0, 1])
def test_the_index_of_a_worker_is_moved_on_by_the_chief(index):
    topology = _read(_config(["a:1", "b:2"], "worker", index, chief=["z:9"]))
    assert topology.addresses == ("z:9", "a:1", "b:2")
    assert topology.index == index + 1


@pytest.mark.parametrize(
    "value", [_config(["a:1"]), _config([], "chief", chief=["a:1"])]
)
def test_one_worker_is_a_topology_of_one(value):
    assert _read(value) == Topology(("a:1",), 0, "TF_CONFIG")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"cluster": {}},
        {"cluster": {}, "task": {"type": "worker", "index": 0}},
        # Once: without a cluster TensorFlow's own resolver takes a process
        # for one that is alone; here it is an error.
        {"task": {"type": "worker", "index": 0}},
        {"environment": "cloud"},
    ],
)
@pytest.mark.parametrize("resolver", ["auto", "tf_config"])
def test_without_a_cluster_a_process_is_alone(value, resolver):
    assert _read(value, resolver) is None


def test_what_else_is_in_tf_config_is_not_looked_at():
    value = {**_config(), "environment": "cloud", "rpc_layer": "grpc"}
    value["task"]["trial"] = "1"
    assert _read(value) == _read(_config())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ("cluster", "Expecting value"),
        ("{'cluster': {}}", "Expecting property name"),
        ("{} {}", "Extra data"),
        (" ", "Expecting value"),
    ],
)
def test_what_is_not_json_is_refused(text, problem):
    with _raises(f"TF_CONFIG must be JSON: {problem}") as caught:
        _read(text)
    assert str(caught.value).endswith(f" Received: {text!r}.")


def test_a_long_text_is_shown_in_part():
    with _raises("TF_CONFIG must be JSON: ") as caught:
        _read("x" * 10_000)
    assert len(str(caught.value)) < 250


def test_lists_without_end_are_refused():
    # Once: RecursionError, of the parser.
    with _raises("TF_CONFIG must be JSON"):
        _read("[" * 100_000)


def test_tf_config_must_be_set_where_it_is_asked_for():
    for environ in ({}, {"TF_CONFIG": ""}):
        with _raises("TF_CONFIG must be JSON: ") as caught:
            from_environment(environ, "tf_config")
        assert str(caught.value).endswith("Received: ''.")


@pytest.mark.parametrize("value", [None, 3, True, "a:1", [], ["a:1"]])
def test_the_cluster_must_be_an_object(value):
    message = f"TF_CONFIG: 'cluster' must be an object. Received: {value!r}."
    with _raises(message):
        _read({**_config(), "cluster": value})


@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_tf_config_must_be_an_object(value):
    with _raises(f"TF_CONFIG must be an object. Received: {value!r}."):
        _read(json.dumps(value))


@pytest.mark.parametrize(
    "value", [None, 3, True, "a:1", {}, {"0": "a:1"}, [], [1], ["a:1", None]]
)
@pytest.mark.parametrize("job", ["chief", "worker"])
def test_the_addresses_of_a_job_must_be_a_list_of_strings(job, value):
    config = _config(chief=["z:9"])
    config["cluster"][job] = value
    message = (
        f"TF_CONFIG: cluster.{job} must be a list of 'host:port'. Received: "
        f"{value!r}."
    )
    with _raises(message):
        _read(config)


@pytest.mark.parametrize("value", [None, 3, False, "worker", [], ["worker"]])
def test_the_task_must_be_an_object(value):
    message = f"TF_CONFIG: 'task' must be an object. Received: {value!r}."
    with _raises(message):
        _read({**_config(), "task": value})
    config = _config()
    del config["task"]
    with _raises("TF_CONFIG: 'task' must be an object. Received: None."):
        _read(config)


@pytest.mark.parametrize("value", [None, 0, True, ["worker"], {}])
def test_the_type_of_the_task_must_be_a_string(value):
    message = f"TF_CONFIG: 'type' must be a string. Received: {value!r}."
    with _raises(message):
        _read(_config(kind=value))


@pytest.mark.parametrize("value", [None, "0", "1", True, False, 0.0, 1e0, [0]])
def test_the_index_of_the_task_must_be_an_int(value):
    message = f"TF_CONFIG: 'index' must be an int. Received: {value!r}."
    with _raises(message):
        _read(_config(index=value))


@pytest.mark.parametrize("key", ["type", "index"])
def test_a_task_needs_its_type_and_index(key):
    config = _config()
    del config["task"][key]
    with _raises(f"TF_CONFIG: {key!r} must be "):
        _read(config)


@pytest.mark.parametrize("kind", ["chief", "ps", "evaluator", "Worker", ""])
def test_the_type_of_the_task_must_be_a_job_of_the_cluster(kind):
    message = (
        f"TF_CONFIG: task.type must be one of ['worker']. Received: {kind!r}."
    )
    with _raises(message):
        _read(_config(kind=kind))


@pytest.mark.parametrize("job", ["ps", "evaluator", "master", "Chief", ""])
def test_other_jobs_are_refused(job):
    message = (
        "TF_CONFIG: the jobs of cluster must be 'chief' and 'worker'. "
        f"Received: {[job]}."
    )
    with _raises(message):
        _read(_config(**{job: ["d:4"]}))


def test_all_the_other_jobs_are_named():
    with _raises("TF_CONFIG: the jobs of cluster") as caught:
        _read(_config(ps=["d:4"], evaluator=["e:5"]))
    assert str(caught.value).endswith("Received: ['evaluator', 'ps'].")


def test_there_is_one_chief():
    message = (
        "TF_CONFIG: there must be at most one chief. Received: ['y:1', 'z:9']."
    )
    with _raises(message):
        _read(_config(chief=["y:1", "z:9"]))


@pytest.mark.parametrize("index", [-1, 3, 4, 10**12])
def test_the_index_must_be_that_of_an_address_of_its_job(index):
    message = (
        "TF_CONFIG: task.index must be from 0 to 2, for cluster.worker has 3 "
        f"addresses. Received: {index}."
    )
    for jobs in ({}, {"chief": ["z:9"]}):
        with _raises(message):
            _read(_config(index=index, **jobs))


def test_the_chief_has_index_0():
    message = (
        "TF_CONFIG: task.index must be from 0 to 0, for cluster.chief has 1 "
        "addresses. Received: 1."
    )
    with _raises(message):
        _read(_config(kind="chief", index=1, chief=["z:9"]))


@pytest.mark.parametrize(
    ("workers", "chief", "twice"),
    [
        (["a:1", "b:2", "a:1"], [], "a:1"),
        (["a:1", "b:2"], ["b:2"], "b:2"),
        (["b:2", "a:1", "b:2", "a:1"], ["b:2"], "a:1, b:2"),
    ],
)
def test_an_address_given_twice_is_refused(workers, chief, twice):
    message = (
        "TF_CONFIG: each worker must have an address of its own. Received "
        f"twice: {twice}."
    )
    with _raises(message):
        _read(_config(workers, **({"chief": chief} if chief else {})))


def test_one_host_may_have_several_workers():
    topology = _read(_config(["a:1", "a:2"], index=1))
    assert topology.own_address == "a:2"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_ADDRESS = st.sampled_from(["a:1", "b:2", "c:3", "[::1]:4"]) | st.text()
_JOB = st.sampled_from(["chief", "worker"] * 4 + ["ps"]) | st.text(max_size=3)


def _nearly(strategy):
    """A value as it must be, more often than not."""
    return strategy | strategy | strategy | _JSON


# What has each part as it must be, more often than not.
_NEARLY_TF_CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "cluster": _nearly(
            st.dictionaries(_JOB, _nearly(st.lists(_ADDRESS, max_size=4)))
        ),
        "task": _nearly(
            st.fixed_dictionaries(
                {
                    "type": _nearly(_JOB),
                    "index": _nearly(st.integers(-1, 4)),
                }
            )
        ),
    },
)


@settings(max_examples=500)
@given(_JSON | _NEARLY_TF_CONFIG)
@example(_config())
@example(_config(chief=["z:9"], kind="chief"))
def test_any_json_is_a_topology_or_alone_or_an_error_that_names_tf_config(
    value,
):
    try:
        topology = _read(value, "tf_config")
    except ValueError as error:
        assert re.match("TF_CONFIG(:| must be )", str(error))
        assert "\n" not in str(error)
    else:
        if topology is not None:
            cluster, task = value["cluster"], value["task"]
            want = cluster[task["type"]][task["index"]]
            assert topology.own_address == want
            assert len(topology.addresses) == sum(map(len, cluster.values()))
        else:
            assert not value.get("cluster")


@given(st.text())
def test_any_text_is_alone_or_an_error_that_names_tf_config(text):
    with pytest.raises(ValueError, match="^TF_CONFIG"):
        _read("x" + text, "tf_config")


# The port.


def test_a_port_in_use_is_refused_with_variable_port_and_reason():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        topology = _read(_config(["a:1", f"localhost:{port}"], index=1))
        message = (
            f"TF_CONFIG: worker 1 cannot listen on port {port} of "
            f"'localhost:{port}': Address already in use"
        )
        with _raises(message):
            topology.check_port()
    topology.check_port()  # It is free now, and checking does not take it.
    topology.check_port()


def test_the_port_of_another_worker_is_not_looked_at():
    with socket.create_server(("localhost", 0)) as server:
        taken = f"localhost:{server.getsockname()[1]}"
        with socket.create_server(("localhost", 0)) as other:
            free = f"localhost:{other.getsockname()[1]}"
        _read(_config([taken, free], index=1)).check_port()


# Slurm.


def _slurm(
    hosts="a1,a2",
    counts="1(x2)",
    rank=0,
    place=None,
    num_tasks=2,
    job=123_456,
    **variables,
):
    node, local = (rank, 0) if place is None else place
    environ = {
        "SLURM_STEP_NUM_TASKS": num_tasks,
        "SLURM_STEP_NODELIST": hosts,
        "SLURM_STEP_TASKS_PER_NODE": counts,
        "SLURM_PROCID": rank,
        "SLURM_NODEID": node,
        "SLURM_LOCALID": local,
        "SLURM_JOB_ID": job,
        **variables,
    }
    return {name: str(value) for name, value in environ.items()}


def _hosts(text, num):
    environ = _slurm(text, f"1(x{num})", num_tasks=num)
    addresses = from_environment(environ, "slurm").addresses
    return [address.rpartition(":")[0] for address in addresses]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a1", ["a1"]),
        ("a1,b7", ["a1", "b7"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("n[5]", ["n5"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("n[008-011]-ib,gpu2",
         ["n008-ib", "n009-ib", "n010-ib", "n011-ib", "gpu2"]),
        ("r[1-2]n[08-09]", ["r1n08", "r1n09", "r2n08", "r2n09"]),
        ("r[1,3]n[2]-x,login,[7-8]",
         ["r1n2-x", "r3n2-x", "login", "7", "8"]),
        ("node-a.example.org,10.0.0.1", ["node-a.example.org", "10.0.0.1"]),
    ],
)  # fmt: skip
def test_a_host_list_is_expanded(text, hosts):
    assert _hosts(text, len(hosts)) == hosts


@pytest.mark.parametrize("text", ["n9,n10", "n[9-10]", "n10,n9", "b,a"])
def test_ranks_follow_the_list_and_not_the_alphabet(text):
    hosts = _hosts(text, 2)
    first = text.split(",")[0]
    assert hosts[0] == ("n9" if "[" in text else first)
    for rank in (0, 1):
        topology = from_environment(_slurm(text, rank=rank))
        assert topology.index == rank
        assert topology.own_address.startswith(hosts[rank] + ":")


@st.composite
def _compressed(draw):
    """Draws a host list as Slurm writes it, and the hosts that it means."""
    texts, hosts = [], []
    for prefix in draw(
        st.lists(st.sampled_from("abc"), min_size=1, unique=True)
    ):
        width = draw(st.integers(1, 3))
        tail = draw(st.sampled_from(["", "-ib", ".example.org"]))
        starts = draw(
            st.lists(st.integers(0, 80), min_size=1, max_size=3, unique=True)
        )
        items = []
        for start in starts:
            end = start + draw(st.integers(0, 3))
            items.append(
                f"{start:0{width}d}-{end:0{width}d}"
                if end > start
                else f"{start:0{width}d}"
            )
            hosts += [
                f"{prefix}{number:0{width}d}{tail}"
                for number in range(start, end + 1)
            ]
        texts.append(f"{prefix}[{','.join(items)}]{tail}")
    return ",".join(texts), hosts


@given(_compressed())
def test_expanding_a_compressed_list_gives_the_list(drawn):
    text, hosts = drawn
    environ = _slurm(text, f"1(x{len(hosts)})", num_tasks=len(hosts))
    if len(set(hosts)) < len(hosts):
        with _raises("SLURM_PROCID: each worker must have an address of its"):
            from_environment(environ, "slurm")
        return
    assert _hosts(text, len(hosts)) == hosts


@pytest.mark.parametrize(
    "text",
    ["a,", ",a", "a,,b", ",", "n[1-3", "n1-3]", "n[[1]]", "n[1],[", "n]1["],
)
def test_an_ill_formed_host_list_is_refused(text):
    message = (
        "SLURM_STEP_NODELIST must be a list of hosts such as 'a1,b[01-03,7]'. "
        f"Received: {text!r}."
    )
    with _raises(message):
        from_environment(_slurm(text))


@pytest.mark.parametrize(
    "part",
    ["n[]", "n[a]", "n[-1]", "n[1--2]", "n[1,,2]", "n[1-2-3]"]
    # Once: taken for n[1].
    + ["n[1-]"],
)
def test_ill_formed_brackets_are_refused(part):
    message = (
        "SLURM_STEP_NODELIST: what is in brackets must be numbers and ranges. "
        f"Received: {part!r}."
    )
    with _raises(message):
        from_environment(_slurm(f"a1,{part}"))


def test_a_range_that_runs_backwards_is_refused_as_such():
    # Once: it counts as no host, and SLURM_STEP_TASKS_PER_NODE is blamed.
    with _raises("SLURM_STEP_NODELIST: what is in brackets must be numbers"):
        from_environment(_slurm("n[3-2]"))


def test_every_task_of_a_node_has_a_port_of_its_own():
    environ = _slurm("a,b,c,d", "2(x3),1", 5, (2, 1), num_tasks=7)
    topology = from_environment(environ)
    assert topology.addresses == (
        "a:22688", "a:22689", "b:22688", "b:22689", "c:22688", "c:22689",
        "d:22688",
    )  # fmt: skip
    assert topology.index == 5
    assert topology.own_address == "c:22689"
    assert topology.source == "SLURM_PROCID"


@pytest.mark.parametrize("counts", ["2(x3),1", "2,2,2,1", "2,2(x2),1(x1)"])
def test_counts_are_expanded(counts):
    environ = _slurm("a[1-4]", counts, num_tasks=7)
    hosts = [a[:2] for a in from_environment(environ).addresses]
    assert hosts == ["a1", "a1", "a2", "a2", "a3", "a3", "a4"]


@pytest.mark.parametrize(
    "counts", ["x", "2(x3", "2(3)", "2(x)", "-1", "1,", ",1", "1 1", "2x3"]
)
def test_ill_formed_counts_are_refused(counts):
    message = (
        "SLURM_STEP_TASKS_PER_NODE must be such as '2(x3),1'. Received: "
        f"{counts!r}."
    )
    with _raises(message):
        from_environment(_slurm(counts=counts))


@pytest.mark.parametrize(
    ("counts", "num_tasks"),
    [("1(x2)", 3), ("1(x2)", 1), ("1", 2), ("2", 2), ("1(x3)", 3), ("2,1", 2)],
)
def test_tasks_that_do_not_fit_the_nodes_are_refused(counts, num_tasks):
    message = (
        f"SLURM_STEP_TASKS_PER_NODE: {num_tasks} tasks must be spread over the "
        f"2 nodes of SLURM_STEP_NODELIST. Received: {counts!r}."
    )
    with _raises(message):
        from_environment(_slurm(counts=counts, num_tasks=num_tasks), "slurm")


def test_jobs_with_other_ids_have_other_ports():
    def addresses(job):
        environ = _slurm("a,b", "4,4", num_tasks=8, job=job, place=(0, 0))
        return set(from_environment(environ).addresses)

    assert not addresses(123_400) & addresses(123_500)
    # Once: jobs that follow one another, as those on one node mostly do,
    # share all ports but one.
    assert not addresses(123_400) & addresses(123_401)


@pytest.mark.parametrize("job", [0, 1, 9_999, 10_000, 4_294_967_295])
def test_ports_are_below_those_the_system_gives_to_connections(job):
    environ = _slurm("a", "16", num_tasks=16, job=job, place=(0, 0))
    for address in from_environment(environ).addresses:
        port = int(address.rpartition(":")[2])
        assert 20_000 <= port < 32_768


_SLURM_VARIABLES = list(_slurm())


@pytest.mark.parametrize("name", _SLURM_VARIABLES)
@pytest.mark.parametrize("value", [None, ""])
def test_each_missing_variable_of_slurm_is_named(name, value):
    environ = _slurm()
    if value is None:
        del environ[name]
    else:
        environ[name] = value
    with _raises(f"{name} must be set: start the workers with srun."):
        from_environment(environ, "slurm")


@pytest.mark.parametrize(
    "name",
    [name for name in _SLURM_VARIABLES if "NODELIST" not in name
     and "TASKS_PER_NODE" not in name],
)  # fmt: skip
@pytest.mark.parametrize("value", ["x", "-1", "1.0", " 1", "1(x2)"])
def test_each_number_of_slurm_must_be_an_int(name, value):
    with _raises(f"{name} must be an int. Received: {value!r}."):
        from_environment(_slurm(**{name: value}), "slurm")


@pytest.mark.parametrize("rank", [2, 99])
def test_a_rank_beyond_the_tasks_is_refused(rank):
    message = (
        "SLURM_PROCID: the index of this worker must be from 0 to 1, for there "
        f"are 2 workers. Received: {rank}."
    )
    with _raises(message):
        from_environment(_slurm(rank=rank))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 1), (7, 7)])
def test_tasks_that_are_not_in_blocks_are_refused_with_the_way_out(place):
    message = (
        "SLURM_PROCID 2 must be task 0 of node 1. Received: task "
        f"{place[1]} of node {place[0]}. Start the tasks with srun "
        "--distribution=block."
    )
    with _raises(message):
        from_environment(_slurm(counts="2(x2)", num_tasks=4, rank=2,
                                place=place))  # fmt: skip


_SHORT = st.text(alphabet="abn0123[](x),-", max_size=7)


@given(
    st.dictionaries(
        st.sampled_from(_SLURM_VARIABLES), _SHORT | st.text(max_size=7)
    )
)
def test_any_variables_of_slurm_are_a_topology_or_an_error_that_names_one(
    changes,
):
    try:
        topology = from_environment({**_slurm(), **changes}, "slurm")
    except ValueError as error:
        assert re.match("SLURM_[A-Z_]+( [0-9]+)?(:| must be )", str(error))
    else:
        assert topology.addresses


# Which of them.


def test_the_resolver_must_be_known():
    message = (
        "resolver must be one of ['auto', 'tf_config', 'slurm', 'none']. "
        "Received: resolver='k8s'."
    )
    with _raises(message):
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
    environ = {**_slurm(), "TF_CONFIG": json.dumps(_config())}
    topology = from_environment(environ, resolver)
    assert (topology and topology.source) == source


def test_without_tf_config_the_step_of_slurm_is_taken():
    for environ in (_slurm(), {**_slurm(), "TF_CONFIG": ""}):
        assert from_environment(environ).source == "SLURM_PROCID"


@pytest.mark.parametrize("value", [{}, {"cluster": {}}])
def test_a_tf_config_of_nobody_hides_the_step_of_slurm(value):
    environ = {**_slurm(), "TF_CONFIG": json.dumps(value)}
    assert from_environment(environ) is None


def test_a_bad_tf_config_is_not_passed_over_for_slurm():
    with _raises("TF_CONFIG must be JSON"):
        from_environment({**_slurm(), "TF_CONFIG": "{"})


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
    with _raises("SLURM_STEP_NUM_TASKS must be set: start the workers with "):
        from_environment(environ, "slurm")


def test_a_step_of_one_task_is_alone_unless_slurm_is_asked_for():
    environ = _slurm("a1", "1", num_tasks=1)
    assert from_environment(environ) is None
    topology = from_environment(environ, "slurm")
    assert topology == Topology(("a1:22688",), 0, "SLURM_PROCID")
