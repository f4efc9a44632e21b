"""Tests of the report on workers."""

import json

import pytest

from nas_keras import report
from nas_keras.report.run_files import ShareRecord
from nas_keras.report.workers import describe_workers
from nas_keras.report.workers import summarise_workers


def _run(folder, lines):
    trial = {"id": 0, "reward": 0.5, "infeasible": None}
    (folder / "trials.jsonl").write_text(json.dumps(trial) + "\n")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "workers.jsonl").write_text(text)
    return report.read_run(folder)


def _line(num_items, busy_s, waiting_s):
    return {"step": 0, "num_items": num_items, "busy_s": busy_s,
            "waiting_s": waiting_s}  # fmt: skip


def test_a_worker_slowed_three_times_shows():
    shares = [
        # The first step has the compilation in it.
        ShareRecord((4, 4), (12.0, 20.0), (8.0, 0.0)),
        ShareRecord((4, 4), (4.0, 12.0), (8.0, 0.0)),
        ShareRecord((4, 4), (4.4, 12.8), (8.4, 0.0)),
    ]
    fast, slow = summarise_workers(shares)
    assert (fast.num_children, slow.num_children) == (12, 12)
    assert fast.busy_s == pytest.approx(20.4)
    assert fast.waiting_s == pytest.approx(24.4)
    assert (fast.child_s, slow.child_s) == (pytest.approx(1.1), 3.2)
    assert slow.slowness == pytest.approx(3.2 / 1.1)
    assert describe_workers([fast, slow]) == [
        "2 workers were busy 65.2 s and waited 24.4 s for one another, 27 % of "
        "their time.",
        "Worker 1 is slow: 3.20 s a child, 2.9 times the median worker's.",
    ]


def test_the_number_of_workers_may_change():
    shares = [
        ShareRecord((2, 2, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
        ShareRecord((3, 3), (3.0, 3.3), (0.3, 0.0)),
    ]
    rows = summarise_workers(shares)
    assert [row.num_children for row in rows] == [5, 5, 2]
    assert len(describe_workers(rows)) == 1  # Nobody is slow.


def test_a_worker_without_children_is_left_out():
    # After a restart few children of a step may be left.
    rows = summarise_workers([ShareRecord((0, 1), (0.0, 2.0), (2.0, 0.0))])
    assert [row.worker for row in rows] == [1]
    assert describe_workers(rows) == []
    assert summarise_workers([]) == []


def test_a_run_of_several_workers_has_a_row_of_each(tmp_path):
    pytest.importorskip("matplotlib")
    lines = [_line([4, 4], [4.0, 12.0], [8.0, 0.0])]
    run = _run(tmp_path, lines)
    assert run.shares == (ShareRecord((4, 4), (4.0, 12.0), (8.0, 0.0)),)
    page = report.write_report(tmp_path).read_text()
    assert "<h2>Time</h2>" in page
    assert ">worker</th>" in page
    assert "Worker 1 is slow: 3.00 s a child, 3.0 times" in page
    _run(tmp_path, [])
    assert "Worker 1" not in report.write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line([], [], []), "num_items must be a list of numbers"),
        (_line([1, True], [1, 1], [1, 1]), "num_items must be a list of"),
        (_line([1, 1], [1, "1"], [1, 1]), "busy_s must be a list of numbers"),
        (_line([1, 1], [1, 1], [1]), "must be equally long"),
    ],
)
def test_a_damaged_line_is_named(line, message, tmp_path):
    with pytest.raises(ValueError, match=f"workers.jsonl line 1.*{message}"):
        _run(tmp_path, [line])


def test_shares_of_the_random_search_count(tmp_path):
    (tmp_path / "random").mkdir()
    line = json.dumps(_line([1, 1], [1.0, 1.0], [0.0, 0.0]))
    (tmp_path / "random" / "workers.jsonl").write_text(line + "\n")
    run = _run(tmp_path, [_line([2, 2], [2.0, 2.0], [0.0, 0.0])])
    assert [row.num_children for row in summarise_workers(run.shares)] == [3, 3]
