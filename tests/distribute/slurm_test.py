"""Tests of what Slurm's variables say: hosts, tasks, ports, and errors."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.distribute.topology import from_environment
from tests.raising import raises_first as raises
from tests.topology_testing import slurm


def _hosts(text, num):
    environ = slurm(text, f"1(x{num})", num_tasks=num)
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
        topology = from_environment(slurm(text, rank=rank))
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
    environ = slurm(text, f"1(x{len(hosts)})", num_tasks=len(hosts))
    if len(set(hosts)) < len(hosts):
        with raises("SLURM_PROCID: each worker must have an address of its"):
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
    with raises(message):
        from_environment(slurm(text))


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
    with raises(message):
        from_environment(slurm(f"a1,{part}"))


def test_a_range_that_runs_backwards_is_refused_as_such():
    # Once: it counts as no host, and SLURM_STEP_TASKS_PER_NODE is blamed.
    with raises("SLURM_STEP_NODELIST: what is in brackets must be numbers"):
        from_environment(slurm("n[3-2]"))


def test_every_task_of_a_node_has_a_port_of_its_own():
    environ = slurm("a,b,c,d", "2(x3),1", 5, (2, 1), num_tasks=7)
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
    environ = slurm("a[1-4]", counts, num_tasks=7)
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
    with raises(message):
        from_environment(slurm(counts=counts))


@pytest.mark.parametrize(
    ("counts", "num_tasks"),
    [("1(x2)", 3), ("1(x2)", 1), ("1", 2), ("2", 2), ("1(x3)", 3), ("2,1", 2)],
)
def test_tasks_that_do_not_fit_the_nodes_are_refused(counts, num_tasks):
    message = (
        f"SLURM_STEP_TASKS_PER_NODE: {num_tasks} tasks must be spread over the "
        f"2 nodes of SLURM_STEP_NODELIST. Received: {counts!r}."
    )
    with raises(message):
        from_environment(slurm(counts=counts, num_tasks=num_tasks), "slurm")


def test_jobs_with_other_ids_have_other_ports():
    def addresses(job):
        environ = slurm("a,b", "4,4", num_tasks=8, job=job, place=(0, 0))
        return set(from_environment(environ).addresses)

    assert not addresses(123_400) & addresses(123_500)
    # Once: jobs that follow one another, as those on one node mostly do,
    # share all ports but one.
    assert not addresses(123_400) & addresses(123_401)


@pytest.mark.parametrize("job", [0, 1, 9_999, 10_000, 4_294_967_295])
def test_ports_are_below_those_the_system_gives_to_connections(job):
    environ = slurm("a", "16", num_tasks=16, job=job, place=(0, 0))
    for address in from_environment(environ).addresses:
        port = int(address.rpartition(":")[2])
        assert 20_000 <= port < 32_768


_SLURM_VARIABLES = list(slurm())


@pytest.mark.parametrize("name", _SLURM_VARIABLES)
@pytest.mark.parametrize("value", [None, ""])
def test_each_missing_variable_of_slurm_is_named(name, value):
    environ = slurm()
    if value is None:
        del environ[name]
    else:
        environ[name] = value
    with raises(f"{name} must be set: start the workers with srun."):
        from_environment(environ, "slurm")


@pytest.mark.parametrize(
    "name",
    [name for name in _SLURM_VARIABLES if "NODELIST" not in name
     and "TASKS_PER_NODE" not in name],
)  # fmt: skip
@pytest.mark.parametrize("value", ["x", "-1", "1.0", " 1", "1(x2)"])
def test_each_number_of_slurm_must_be_an_int(name, value):
    with raises(f"{name} must be an int. Received: {value!r}."):
        from_environment(slurm(**{name: value}), "slurm")


@pytest.mark.parametrize("rank", [2, 99])
def test_a_rank_beyond_the_tasks_is_refused(rank):
    message = (
        "SLURM_PROCID: the index of this worker must be from 0 to 1, for there "
        f"are 2 workers. Received: {rank}."
    )
    with raises(message):
        from_environment(slurm(rank=rank))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 1), (7, 7)])
def test_tasks_that_are_not_in_blocks_are_refused_with_the_way_out(place):
    message = (
        "SLURM_PROCID 2 must be task 0 of node 1. Received: task "
        f"{place[1]} of node {place[0]}. Start the tasks with srun "
        "--distribution=block."
    )
    with raises(message):
        from_environment(slurm(counts="2(x2)", num_tasks=4, rank=2,
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
        topology = from_environment({**slurm(), **changes}, "slurm")
    except ValueError as error:
        assert re.match("SLURM_[A-Z_]+( [0-9]+)?(:| must be )", str(error))
    else:
        assert topology.addresses
