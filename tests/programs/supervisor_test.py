"""Tests of the supervisor: its status, its restarts, and what it shows."""

import json
import re

import pytest

from tests.supervisor_testing import assert_none_is_left
from tests.supervisor_testing import starts
from tests.supervisor_testing import supervise
from tests.supervisor_testing import supervising


def _restarting(status, restart, max_restarts):
    return (
        f"nas-search: a worker ended with status {status}; starting all again "
        f"(restart {restart} of {max_restarts})."
    )


def _gave_up(max_restarts):
    return (
        f"nas-search: gave up after {max_restarts} restarts with nothing "
        "finished in between."
    )


# Its status, and when it starts all again.


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_status_is_0_when_all_workers_end_with_0(num_workers, tmp_path):
    status, _, errors = supervise(tmp_path, "count()", num_workers)
    assert (status, errors) == (0, "")
    assert starts(tmp_path) == [1] * num_workers


def test_every_worker_finds_its_place_and_its_supervisor(tmp_path):
    worker = """
        (folder / f"{index}.json").write_text(json.dumps([
            config, os.environ["NAS_KERAS_PARENT"], os.getppid(),
            os.getpgid(0) == os.getpid(), sys.stdin.read(),
        ]))
    """
    with supervising(tmp_path, worker) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0
    addresses = None
    for index in range(3):
        config, parent, parent_is, has_own_group, given_input = json.loads(
            (tmp_path / f"{index}.json").read_text()
        )
        assert config["task"] == {"type": "worker", "index": index}
        addresses = addresses or config["cluster"]["worker"]
        assert config["cluster"] == {"worker": addresses}
        assert int(parent) == parent_is == process.pid
        assert has_own_group and given_input == ""
    assert len(set(addresses)) == 3
    for address in addresses:
        assert re.fullmatch(r"localhost:\d+", address)


def test_workers_that_take_longer_are_waited_for(tmp_path):
    worker = """
        if index:
            while not (folder / "slow").exists():
                time.sleep(0.05)
        else:
            time.sleep(1.0)  # More than leave_s.
            (folder / "slow").touch()
    """
    assert supervise(tmp_path, worker)[0] == 0


@pytest.mark.parametrize("status", [1, 2, 74, 127])
def test_a_status_below_128_ends_all_and_is_that_of_the_whole(status, tmp_path):
    worker = f"""
        (folder / f"pid_{{index}}").write_text(str(os.getpid()))
        count()
        if index == 1:
            while len(list(folder.glob("pid_*"))) < 3:
                time.sleep(0.01)
            print("--seed is wrong", file=sys.stderr)
            sys.exit({status})
        signal.pause()
    """
    found, output, errors = supervise(tmp_path, worker)
    assert (found, output) == (status, "")
    assert errors == "[worker 1] --seed is wrong\n"
    assert starts(tmp_path) == [1, 1, 1]
    pids = [int(path.read_text()) for path in tmp_path.glob("pid_*")]
    assert len(pids) == 3
    assert_none_is_left(pids)


def test_a_permanent_status_goes_before_those_of_the_peers_it_ended(tmp_path):
    worker = """
        (folder / f"began_{index}").touch()
        if index == 0:  # As one that has lost a peer.
            while not (folder / "failed").exists():
                time.sleep(0.01)
            sys.exit(144)
        while len(list(folder.glob("began_*"))) < 2:
            time.sleep(0.01)
        (folder / "failed").touch()
        time.sleep(0.3)  # The supervisor sees the peer first.
        sys.exit(2)
    """
    status, _, errors = supervise(tmp_path, worker, 2)
    assert (status, errors) == (2, "")


@pytest.mark.parametrize(
    ("end", "status"),
    [("die()", 137), ("sys.exit(144)", 144), ("sys.exit(128)", 128),
     ("os.abort()", 134)],
)  # fmt: skip
def test_all_are_started_again_when_one_is_lost(end, status, tmp_path):
    worker = f"""
        if count() == 0:
            if index == 1:
                while len(list(folder.glob("starts_*"))) < 3:
                    time.sleep(0.01)
                {end}
            signal.pause()
    """
    found, output, errors = supervise(tmp_path, worker)
    assert (found, output) == (0, "")
    assert errors.splitlines() == [_restarting(status, 1, 3)]
    assert starts(tmp_path) == [2, 2, 2]


@pytest.mark.parametrize("max_restarts", [0, 1, 2])
def test_it_gives_up_after_too_many_restarts(max_restarts, tmp_path):
    worker = """
        count()
        if index == 1:
            die()
    """
    status, output, errors = supervise(tmp_path, worker, 2, max_restarts)
    assert (status, output) == (137, "")
    restarts = range(1, max_restarts + 1)
    assert errors.splitlines() == [
        *(_restarting(137, restart, max_restarts) for restart in restarts),
        _gave_up(max_restarts),
    ]
    assert starts(tmp_path)[1] == max_restarts + 1


_SENDING = """
    from nas_keras.programs.progress import SentProgress

    number = count()
    with SentProgress("search", 4, "children") as progress:
        progress.advance({item}, 0.5, reward=0.25)
    if number < 3:
        die()
"""


def test_what_was_finished_in_between_begins_the_count_of_restarts_anew(
    tmp_path,
):
    worker = _SENDING.format(item="number")
    status, output, errors = supervise(tmp_path, worker, 1, 1)
    assert status == 0
    assert errors.splitlines() == [_restarting(137, 1, 1)] * 3
    assert starts(tmp_path) == [4]
    assert "search 1/4  best 0.25  " in output


def test_what_is_told_again_is_nothing_finished(tmp_path):
    worker = _SENDING.format(item="0")
    status, _, errors = supervise(tmp_path, worker, 1, 1)
    assert status == 137
    # The first start finished something, the second nothing.
    assert errors.splitlines() == [_restarting(137, 1, 1), _gave_up(1)]
    assert starts(tmp_path) == [2]


# What it shows of its workers.


def test_progress_of_several_workers_is_one_display_and_counted_once(tmp_path):
    worker = """
        from nas_keras.programs.progress import SentProgress

        with SentProgress("search", 4, "children", 3) as progress:
            for item in range(4):
                progress.advance(item, 1.5, reward=item / 4)
    """
    status, output, errors = supervise(tmp_path, worker)
    assert (status, errors) == (0, "")
    first, last = output.splitlines()
    assert first.startswith("search 1/4  best 0  7,200 children/h  ")
    assert last == "search 4/4  best 0.75  7,200 children/h  0:00:00 left"


def test_phases_follow_one_another(tmp_path):
    worker = """
        from nas_keras.programs.progress import SentProgress

        for label in ("search", "random", "retrain"):
            with SentProgress(label, 2, "children") as progress:
                for item in range(2):
                    progress.advance(item, 1.0, reward=0.5)
    """
    _, output, _ = supervise(tmp_path, worker, 1)
    assert [line.split("  ")[0] for line in output.splitlines()] == [
        f"{label} {num}/2"
        for label in ("search", "random", "retrain")
        for num in (1, 2)
    ]


def test_what_else_a_worker_prints_passes_through(tmp_path):
    lines = ["a table", "", '{"reward": 1}', "[1, 2]", "3", "ä {", "\\x1b[1m"]
    worker = f"""
        for line in {lines!r}:
            print(line, flush=True)
        print("last words", end="")
    """
    status, output, errors = supervise(tmp_path, worker, 1)
    assert (status, errors) == (0, "")
    assert output.splitlines() == [*lines, "last words"]


def test_nothing_that_was_printed_is_lost(tmp_path):
    worker = """
        for number in range(5_000):
            print(index, number)
            print(index, number, file=sys.stderr)
        sys.exit(2)
    """
    status, output, errors = supervise(tmp_path, worker, 2, leave_s=15.0)
    assert status == 2
    for index in (0, 1):
        numbers = [
            int(line.split()[1])
            for line in output.splitlines()
            if line.startswith(f"{index} ")
        ]
        assert numbers == list(range(5_000))
        begin = f"[worker {index}] {index} "
        assert errors.count(begin) == 5_000


def test_bytes_that_are_no_text_are_shown_somehow(tmp_path):
    worker = """
        for stream in (sys.stdout, sys.stderr):
            stream.buffer.write(b"caf\\xe9\\n")
    """
    status, output, errors = supervise(tmp_path, worker, 1)
    assert (status, output) == (0, "caf\ufffd\n")
    assert errors == "[worker 0] caf\ufffd\n"


def test_the_chatter_of_tensorflow_is_dropped(tmp_path):
    worker = """
        for line in (
            "WARNING: All log messages before absl::InitializeLog() is called "
            "are written to STDERR",
            "I0000 00:00:1700000000.123456   12 cpu_feature_guard.cc:210] This",
            "W0000 00:00:1700000000.123456   12 gpu_device.cc:2341] No GPU",
            "E0927 12:00:00.123456   12 search.py:1] lost",
            "Indeed",
        ):
            print(line, file=sys.stderr)
        print("I0000 00:00 of standard output")
    """
    _, output, errors = supervise(tmp_path, worker, 1)
    assert output == "I0000 00:00 of standard output\n"
    begins = [line[:17] for line in errors.splitlines()]
    assert begins == [
        "[worker 0] W0000 ", "[worker 0] E0927 ", "[worker 0] Indeed",
    ]  # fmt: skip
