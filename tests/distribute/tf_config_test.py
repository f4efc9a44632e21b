"""Tests of what TF_CONFIG says of the workers, and of what it must not say."""

import json
import re

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.distribute.topology import Topology
from nas_keras.distribute.topology import from_environment
from tests.raising import raises_first as raises
from tests.topology_testing import read
from tests.topology_testing import tf_config


@pytest.mark.parametrize("index", [0, 1, 2])
def test_workers_alone_keep_their_order_and_the_first_is_the_chief(index):
    topology = read(tf_config(["c:3", "a:1", "b:2"], index=index))
    assert topology == Topology(("c:3", "a:1", "b:2"), index, "TF_CONFIG")


def test_a_chief_comes_before_the_workers():
    topology = read(tf_config(["a:1", "b:2"], "chief", 0, chief=["z:9"]))
    assert topology == Topology(("z:9", "a:1", "b:2"), 0, "TF_CONFIG")


@pytest.mark.parametrize("index", [0, 1])
def test_the_index_of_a_worker_is_moved_on_by_the_chief(index):
    topology = read(tf_config(["a:1", "b:2"], "worker", index, chief=["z:9"]))
    assert topology.addresses == ("z:9", "a:1", "b:2")
    assert topology.index == index + 1


@pytest.mark.parametrize(
    "value", [tf_config(["a:1"]), tf_config([], "chief", chief=["a:1"])]
)
def test_one_worker_is_a_topology_of_one(value):
    assert read(value) == Topology(("a:1",), 0, "TF_CONFIG")


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
    assert read(value, resolver) is None


def test_what_else_is_in_tf_config_is_not_looked_at():
    value = {**tf_config(), "environment": "cloud", "rpc_layer": "grpc"}
    value["task"]["trial"] = "1"
    assert read(value) == read(tf_config())


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
    with raises(f"TF_CONFIG must be JSON: {problem}") as caught:
        read(text)
    assert str(caught.value).endswith(f" Received: {text!r}.")


def test_a_long_text_is_shown_in_part():
    with raises("TF_CONFIG must be JSON: ") as caught:
        read("x" * 10_000)
    assert len(str(caught.value)) < 250


def test_lists_without_end_are_refused():
    # Once: RecursionError, of the parser.
    with raises("TF_CONFIG must be JSON"):
        read("[" * 100_000)


def test_tf_config_must_be_set_where_it_is_asked_for():
    for environ in ({}, {"TF_CONFIG": ""}):
        with raises("TF_CONFIG must be JSON: ") as caught:
            from_environment(environ, "tf_config")
        assert str(caught.value).endswith("Received: ''.")


@pytest.mark.parametrize("value", [None, 3, True, "a:1", [], ["a:1"]])
def test_the_cluster_must_be_an_object(value):
    message = f"TF_CONFIG: 'cluster' must be an object. Received: {value!r}."
    with raises(message):
        read({**tf_config(), "cluster": value})


@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_tf_config_must_be_an_object(value):
    with raises(f"TF_CONFIG must be an object. Received: {value!r}."):
        read(json.dumps(value))


@pytest.mark.parametrize(
    "value", [None, 3, True, "a:1", {}, {"0": "a:1"}, [], [1], ["a:1", None]]
)
@pytest.mark.parametrize("job", ["chief", "worker"])
def test_the_addresses_of_a_job_must_be_a_list_of_strings(job, value):
    config = tf_config(chief=["z:9"])
    config["cluster"][job] = value
    message = (
        f"TF_CONFIG: cluster.{job} must be a list of 'host:port'. Received: "
        f"{value!r}."
    )
    with raises(message):
        read(config)


@pytest.mark.parametrize("value", [None, 3, False, "worker", [], ["worker"]])
def test_the_task_must_be_an_object(value):
    message = f"TF_CONFIG: 'task' must be an object. Received: {value!r}."
    with raises(message):
        read({**tf_config(), "task": value})
    config = tf_config()
    del config["task"]
    with raises("TF_CONFIG: 'task' must be an object. Received: None."):
        read(config)


@pytest.mark.parametrize("value", [None, 0, True, ["worker"], {}])
def test_the_type_of_the_task_must_be_a_string(value):
    message = f"TF_CONFIG: 'type' must be a string. Received: {value!r}."
    with raises(message):
        read(tf_config(kind=value))


@pytest.mark.parametrize("value", [None, "0", "1", True, False, 0.0, 1e0, [0]])
def test_the_index_of_the_task_must_be_an_int(value):
    message = f"TF_CONFIG: 'index' must be an int. Received: {value!r}."
    with raises(message):
        read(tf_config(index=value))


@pytest.mark.parametrize("key", ["type", "index"])
def test_a_task_needs_its_type_and_index(key):
    config = tf_config()
    del config["task"][key]
    with raises(f"TF_CONFIG: {key!r} must be "):
        read(config)


@pytest.mark.parametrize("kind", ["chief", "ps", "evaluator", "Worker", ""])
def test_the_type_of_the_task_must_be_a_job_of_the_cluster(kind):
    message = (
        f"TF_CONFIG: task.type must be one of ['worker']. Received: {kind!r}."
    )
    with raises(message):
        read(tf_config(kind=kind))


@pytest.mark.parametrize("job", ["ps", "evaluator", "master", "Chief", ""])
def test_other_jobs_are_refused(job):
    message = (
        "TF_CONFIG: the jobs of cluster must be 'chief' and 'worker'. "
        f"Received: {[job]}."
    )
    with raises(message):
        read(tf_config(**{job: ["d:4"]}))


def test_all_the_other_jobs_are_named():
    with raises("TF_CONFIG: the jobs of cluster") as caught:
        read(tf_config(ps=["d:4"], evaluator=["e:5"]))
    assert str(caught.value).endswith("Received: ['evaluator', 'ps'].")


def test_there_is_one_chief():
    message = (
        "TF_CONFIG: there must be at most one chief. Received: ['y:1', 'z:9']."
    )
    with raises(message):
        read(tf_config(chief=["y:1", "z:9"]))


@pytest.mark.parametrize("index", [-1, 3, 4, 10**12])
def test_the_index_must_be_that_of_an_address_of_its_job(index):
    message = (
        "TF_CONFIG: task.index must be from 0 to 2, for cluster.worker has 3 "
        f"addresses. Received: {index}."
    )
    for jobs in ({}, {"chief": ["z:9"]}):
        with raises(message):
            read(tf_config(index=index, **jobs))


def test_the_chief_has_index_0():
    message = (
        "TF_CONFIG: task.index must be from 0 to 0, for cluster.chief has 1 "
        "addresses. Received: 1."
    )
    with raises(message):
        read(tf_config(kind="chief", index=1, chief=["z:9"]))


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
    with raises(message):
        read(tf_config(workers, **({"chief": chief} if chief else {})))


def test_one_host_may_have_several_workers():
    topology = read(tf_config(["a:1", "a:2"], index=1))
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
@example(tf_config())
@example(tf_config(chief=["z:9"], kind="chief"))
def test_any_json_is_a_topology_or_alone_or_an_error_that_names_tf_config(
    value,
):
    try:
        topology = read(value, "tf_config")
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
        read("x" + text, "tf_config")
