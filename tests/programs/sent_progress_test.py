"""Tests of progress that is sent to a supervisor, and received by it."""

import json

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.programs.progress import ReceivedProgress
from nas_keras.programs.progress import SentProgress


def _sent(capsys, *arguments, items=()):
    """Returns the lines that a worker sends of a phase."""
    with SentProgress(*arguments) as progress:
        for item in items:
            progress.advance(*item)
    return capsys.readouterr().out.splitlines()


def test_what_is_sent_is_a_line_of_json_each(capsys):
    lines = _sent(
        capsys, "search", 4, "children", 2,
        items=[(0, 1.5, 0.25), (1, 2.0), (2, 0.0, None, "perplexity 3.1")],
    )  # fmt: skip
    assert list(map(json.loads, lines)) == [
        {"progress": ["search", 4, "children", 2]},
        {"progress": ["search", 0, 1.5, 0.25, None]},
        {"progress": ["search", 1, 2.0, None, None]},
        {"progress": ["search", 2, 0.0, None, "perplexity 3.1"]},
    ]


def test_what_is_sent_is_shown_as_if_it_were_not(capsys):
    lines = _sent(
        capsys, "search", 2, "children",
        items=[(0, 1.0, 0.25), (1, 1.0, 0.5)],
    )  # fmt: skip
    received = ReceivedProgress()
    for line in lines:
        assert received.receive(line)
    received.close()
    assert received.num_items == 2
    assert capsys.readouterr().out.splitlines() == [
        "search 1/2  best 0.25  3,600 children/h  0:00:01 left",
        "search 2/2  best 0.5  3,600 children/h  0:00:00 left",
    ]


def test_items_told_of_by_several_are_counted_once(capsys):
    phase = ("search", 3, "children")
    lines = _sent(capsys, *phase, items=[(k, 1.0, k / 2) for k in range(3)])
    received = ReceivedProgress()
    for line in lines:
        for _ in range(3):  # Workers.
            assert received.receive(line)
    assert received.num_items == 3
    received.close()
    for line in lines:  # All again, after a restart.
        assert received.receive(line)
    assert received.num_items == 3
    output = capsys.readouterr().out
    assert output.count("search 3/3  best 1  ") == 2


def test_late_items_of_a_phase_that_is_over_are_not_shown(capsys):
    first = _sent(capsys, "search", 2, "children", items=[(0, 1.0, 0.5)])
    second = _sent(capsys, "random", 2, "children", items=[(0, 1.0, 0.25)])
    received = ReceivedProgress()
    for line in (*first, second[0], first[1], second[1]):
        assert received.receive(line)
    assert received.num_items == 2
    lines = [line[:10] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["search 1/2", "random 1/2"]


@pytest.mark.parametrize(
    "line",
    ["", "text", "{", "3", "null", "[]", '["progress"]', '"progress"', "{}",
     '{"Progress": ["search", 4, "children", 2]}', '{"progress": 3}',
     '{"progress": null}', '{"progress": []}', '{"progress": {}}'],
)  # fmt: skip
def test_other_lines_are_no_progress(line):
    received = ReceivedProgress()
    assert not received.receive(line)
    assert received.num_items == 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


# Once: what a program prints under the key "progress" with other values
# ends the supervisor with a TypeError.
@given(
    st.lists(
        st.one_of(
            st.text(),
            _JSON.map(json.dumps),
            st.builds(
                lambda values: json.dumps({"progress": values}),
                st.lists(st.just("search") | _JSON, max_size=6),
            ),
        ),
        max_size=4,
    )
)
@example(['{"progress": ["search", 1]}'])
@example(['{"progress": ["search", [1], 1.0, null, null]}'])
@example(['{"progress": ["search", 1, "long", null, null]}'])
@example(['{"progress": "abcd"}'])
def test_no_line_that_a_program_prints_ends_the_supervisor(lines):
    received = ReceivedProgress()
    assert received.receive('{"progress": ["search", 4, "children", 2]}')
    for line in lines:
        assert received.receive(line) in (True, False)
    received.close()
