"""Tests of train/search.py as a user runs it: a process and its workdir."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "search.py"
_FILES = (
    "config.json",
    "trials.jsonl",
    "trials.csv",
    "retrained.jsonl",
    "best_cell.json",
    "report.html",
    "random/trials.jsonl",
)


def _environment():
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


def _python(code, *arguments, cwd):
    result = forked.run("-c", textwrap.dedent(code), *arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _table(output):
    """Returns what the program prints when all is done."""
    lines = output.splitlines()
    return [line for line in lines if not re.match(r"\w[\w ]* \d+/\d+ ", line)]


def _journal(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record.pop("elapsed_s")
        # What a record says of its folder is not compared.
        record.get("spec", {}).get("provenance", {}).pop("run", None)
    return records


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    # The whole path, four models traced: about 12 s.
    cwd = tmp_path_factory.mktemp("finished")
    result = subprocess.run(
        [sys.executable, str(_PROGRAM), "--preset=tiny", "--workdir=run"],
        capture_output=True, text=True, env=_environment(), cwd=cwd,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return cwd / "run", result


def test_a_search_leaves_its_files_and_prints_its_table(finished):
    workdir, result = finished
    for name in _FILES:
        assert (workdir / name).stat().st_size > 0, name
    assert "Traceback" not in result.stderr
    assert "lstm" in result.stdout
    assert "Best cell: run/best_cell.json" in result.stdout
    assert "Report: run/report.html" in result.stdout
    assert len(_journal(workdir / "trials.jsonl")) == 6
    assert len(_journal(workdir / "random" / "trials.jsonl")) == 6
    retrained = _journal(workdir / "retrained.jsonl")
    origins = sorted(record["origin"] for record in retrained)
    assert origins == ["controller", "published", "random"]
    assert all(record["size"]["parameters"] <= 4_000 for record in retrained)


def test_the_same_command_again_prints_the_result_and_evaluates_nothing(
    finished, program
):
    workdir, first = finished
    before = _tree(workdir)
    result = program.run("--preset=tiny", "--workdir=run", cwd=workdir.parent)
    assert (result.returncode, result.stderr) == (0, "")
    assert _table(result.stdout) == _table(first.stdout)
    after = _tree(workdir)
    for name in _FILES:
        if name != "report.html":  # It says when it was made.
            assert after[name] == before[name], name


def _await(process, condition):
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def _children_of(pid):
    """Returns the process ids below a process."""
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return list(map(int, path.read_text().split()))


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").exists(), reason="needs Linux's /proc"
)
def test_a_search_that_is_interrupted_and_killed_ends_as_if_it_were_not(
    finished, program, tmp_path
):
    """Interrupted alone; one of two local workers killed after that."""
    want, _ = finished
    arguments = ["--preset=tiny", "--workdir=run", "--noreport"]
    run = tmp_path / "run"
    journal = run / "trials.jsonl"
    process = forked.start(_PROGRAM, *arguments, cwd=tmp_path)
    _await(
        process,
        lambda: journal.exists() and journal.read_bytes().count(b"\n") > 1,
    )
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    lines = [line for line in errors.splitlines() if "nas-search" in line]
    assert lines == [
        "nas-search: interrupted; what is finished is kept, and the same "
        "command goes on from here."
    ]
    assert "Traceback" not in errors
    begun = _journal(journal)
    assert 2 <= len(begun) < 6

    # As in an allocation of Slurm's, or where TF_CONFIG is not for this.
    process = subprocess.Popen(
        [sys.executable, str(_PROGRAM), *arguments, "--local_workers=2",
         "--cluster=none"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=_environment(),
    )  # fmt: skip
    _await(process, (run / "workers.jsonl").exists)
    os.kill(_children_of(process.pid)[1], signal.SIGKILL)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "starting all again (restart 1 of 10)" in errors
    for name in ("trials.jsonl", "random/trials.jsonl", "retrained.jsonl"):
        assert _journal(run / name) == _journal(want / name)
    for folder in ("", "random"):
        names = ["steps.jsonl", f"checkpoints/{_last_snapshot(want / folder)}"]
        for name in names:
            got, wanted = (f / folder / name for f in (run, want))
            assert got.read_bytes() == wanted.read_bytes()
    best, want_best = (f / "best_cell.json" for f in (run, want))
    assert best.read_bytes() == want_best.read_bytes()
    assert _journal(journal)[: len(begun)] == begun
    # The command to repeat is what was given, not that of a worker.
    config = json.loads((run / "random" / "config.json").read_text())
    assert config["command"].endswith(" --local_workers=2 --cluster=none")
    assert re.search("(?m)^search 6/6 ", output)  # One display of both.
    assert re.search(r"(?m)^2 workers were busy .* waited .* s for", output)
    # Once more: nothing is to be done, nor any TensorFlow to be loaded.
    again = program.run(*arguments, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[0].startswith("cell ")


def _last_snapshot(folder):
    (*_, path) = sorted((folder / "checkpoints").glob("*.npz"))
    return path.name


def test_the_best_cell_runs_in_a_keras_model_in_a_fresh_process(
    finished, tmp_path
):
    # Two processes, as the cell's user would start them.
    workdir, _ = finished
    _python(
        """
        import sys
        import keras
        import numpy as np
        from nas_keras import NASCell

        model = keras.Sequential([
            keras.layers.Embedding(100, 32),
            keras.layers.RNN(NASCell(64, sys.argv[1]), return_sequences=True),
            keras.layers.Dense(100),
        ])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        x = np.arange(4 * 7).reshape(4, 7) % 100
        model.fit(x, x, epochs=1, verbose=0)
        model.save("model.keras")
        np.save("outputs.npy", model.predict(x, verbose=0))
        """,
        str(workdir / "best_cell.json"),
        cwd=tmp_path,
    )
    _python(
        """
        import keras
        import numpy as np
        import nas_keras

        model = keras.models.load_model("model.keras")
        x = np.arange(4 * 7).reshape(4, 7) % 100
        np.save("again.npy", model.predict(x, verbose=0))
        """,
        cwd=tmp_path,
    )
    want = np.load(tmp_path / "outputs.npy")
    assert want.shape == (4, 7, 100)
    np.testing.assert_allclose(
        np.load(tmp_path / "again.npy"), want, rtol=1e-6, atol=1e-6
    )


@pytest.fixture(scope="module")
def program():
    yield from forked.program("search")


def _refused(program, cwd, arguments, patterns):
    """Runs a command that must fail in one line and change nothing."""
    before = _tree(cwd)
    result = program.run(*arguments, cwd=cwd)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("nas-search: ")
    assert "Traceback" not in result.stderr + result.stdout
    for pattern in patterns:
        assert re.search(pattern, lines[0]), lines[0]
    assert _tree(cwd) == before


_TINY = ("--preset=tiny", "--workdir=new")


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"", "is empty or only white space"),
        (b" \n\t\n", "is empty or only white space"),
        (b"caf\xe9 au lait\n" * 500, "bad byte 0xe9 at byte offset 3"),
        (b"a\0b" * 500, "is binary: a NUL at byte offset 1"),
        (b"too short", "text"),
        (b"short " * 30, r"has \d+ tokens; one batch takes .* = 36"),
    ],
)
def test_a_bad_text_file_is_refused(program, data, pattern, tmp_path):
    (tmp_path / "bad.txt").write_bytes(data)
    _refused(program, tmp_path, [*_TINY, "--text_file=bad.txt"], [pattern])


@pytest.mark.parametrize(
    ("arguments", "patterns"),
    [
        ([*_TINY, "--text_file=none.txt"], ["none.txt", "No such file"]),
        (["--workdir=new", "--preset=huge"], ["preset", "huge", "demo"]),
        (["--workdir=new", "--preset=zoph2016_ptb"],
         ["data_dir must be given with dataset='ptb'"]),
        ([*_TINY, "--finals.published=lstm,nope"], ["nope", "lstm"]),
        ([*_TINY, "--no_such_flag=1"], ["no_such_flag"]),
        ([*_TINY, "--trials=0"], ["trials", "0"]),
        ([*_TINY, "--trials=many"], ["trials", "many"]),
        ([*_TINY, "--seed=-1"], ["seed", "-1"]),
        ([*_TINY, "--space.base=1"],
         [r"--space.base must be an int in \[2, 64\]", "space.base=1"]),
        ([*_TINY, "--level=byte"], ["level", "byte"]),
        ([*_TINY, "--controller=ppo2"], ["controller", "ppo2", "evolution"]),
        ([*_TINY, "--space=dag"], ["space", "dag", "enas_recurrent"]),
        ([*_TINY, "--evaluator=none"], ["evaluator", "none", "shared"]),
        ([*_TINY, "--space=enas_recurrent", "--space.average=last"],
         ["average", "last", "loose_ends"]),
        ([*_TINY, "--space=enas_recurrent", "--space.nodes=0"],
         ["--space.nodes must be", "nodes=0"]),
        ([*_TINY, "--space=enas_recurrent", "--space.nodes=65"],
         ["nodes=65"]),
        ([*_TINY, "--space=enas_recurrent", "--space.base=2"],
         ["--space.base must be left out where space is 'enas_recurrent', "
          r"whose settings are \['nodes', 'average'\]. Received: "
          "--space.base=2."]),
        ([*_TINY, "--space.nodes=3"],
         ["--space.nodes must be left out where space is 'tree'"]),
        ([*_TINY, "--evaluator.num_phases=3"],
         ["num_phases must be left out where evaluator is 'scratch'"]),
        ([*_TINY, "--controller=evolution", "--controller.clip=0.2"],
         ["clip must be left out where controller is 'evolution'"]),
        ([*_TINY, "--growth.first=2"],
         ["first must be left out where growth is 'none'"]),
        ([*_TINY, "--reward=accuracy"], ["reward must be one of", "c/ppl"]),
        ([*_TINY, "--space.combines=add,div"],
         ["combines", "div", "max"]),
        ([*_TINY, "--space.activations=cos"],
         ["activations", "cos", "sin"]),
        ([*_TINY, "--space.activations=tanh,tanh"],
         ["activations must be .*, none given twice"]),
        (["--preset=enas2018_ptb", "--workdir=new"],
         ["data_dir must be given with dataset='ptb'"]),
        ([*_TINY, "--max_vocabulary=1"], ["max_vocabulary", "1"]),
        ([*_TINY, "--finals.seeds=0"], ["finals.seeds", "0"]),
        ([*_TINY, "--controller.learning_rate=-1"],
         ["controller.learning_rate must be positive", "-1"]),
        (["--preset=tiny"], ["--workdir must be given"]),
        (["--preset=tiny", "--workdir="], ["--workdir must be given"]),
        ([*_TINY, "stray"], ["Unexpected arguments", "stray"]),
        ([*_TINY, "--text_file=a.txt", "--dataset=ptb"],
         ["dataset must be left out with text_file='a.txt'", "'ptb'"]),
        ([*_TINY, "--controller.learning_rate=inf"],
         ["controller.learning_rate must be .* finite", "inf"]),
        ([*_TINY, "--seed=99999999999999999999"], ["seed", "2\\*\\*63"]),
        ([*_TINY, "--finals.parameters=9"], ["one unit", "9 parameters"]),
        ([*_TINY, "--finals.parameters=300", "--finals.published="],
         ["one unit of cell 'tree2_", "300 parameters"]),
        ([*_TINY, "--wait_s=nan"], ["--wait_s must be finite", "nan"]),
        ([*_TINY, "--finals.published=lstm,lstm"], ["different names", "lstm"]),
        ([*_TINY, "--text_file=pipe"], ["pipe", "not a file"]),
        (["--preset=tiny", "--workdir=a\nb"], ["--workdir must be printable"]),
        (["--preset=tiny", "--workdir=file"], ["'file' is not a folder"]),
        (["--preset=tiny", "--workdir=file/new"], ["'file' is not a folder"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)  # fmt: skip
def test_bad_arguments_are_refused(program, arguments, patterns, tmp_path):
    (tmp_path / "file").write_text("mine")
    if "--text_file=pipe" in arguments:
        os.mkfifo(tmp_path / "pipe")
    _refused(program, tmp_path, arguments, patterns)


@pytest.mark.parametrize(
    ("flag", "patterns"),
    [
        ("--seed=1", [r"seed was 0, is 1"]),
        ("--space.base=3", [r"space.base was 2, is 3"]),
        ("--level=word", [r"data.level was 'char', is 'word'"]),
    ],
)
def test_the_workdir_of_another_configuration_is_refused(
    program, flag, patterns, finished
):
    workdir, _ = finished
    arguments = ["--preset=tiny", "--workdir=run", flag]
    _refused(
        program, workdir.parent, arguments, [*patterns, "nothing was changed"]
    )


def _shared(*more):
    return [
        "--preset=tiny", "--workdir=run", "--space=enas_recurrent",
        "--space.nodes=3", "--controller=ppo", "--finals.published=lstm",
        "--evaluator=shared", "--evaluator.num_phases=3",
        "--evaluator.steps_per_phase=2", "--evaluator.derive_trials=4", *more,
    ]  # fmt: skip


def test_a_search_with_shared_weights_derives_retrains_and_goes_on(
    program, tmp_path
):
    first = forked.run(_PROGRAM, *_shared(), cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    line = (
        "Only 2 of num_phases=3 are trained: 6 children are 3 batches, of "
        "which a phase has 2."
    )
    assert first.stderr.count(line) == 1
    run = tmp_path / "run"
    for folder, num in (
        ("", 6), ("derived", 4), ("random", 6), ("random/derived", 4),
    ):  # fmt: skip
        lines = (run / folder / "trials.jsonl").read_text().splitlines()
        assert len(lines) == num
    best = json.loads((run / "best_cell.json").read_text())
    assert best["provenance"]["space"] == "enas_recurrent(nodes=3)"
    lines = (run / "retrained.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["origin"] for record in records] == [
        "controller", "random", "published",
    ]  # fmt: skip
    # It was chosen by the whole validation text, after the search.
    derived = [
        json.loads(line)["reward"]
        for line in (run / "derived" / "trials.jsonl").read_text().splitlines()
    ]
    assert records[0]["reward"] == max(derived)
    before = _tree(run)
    again = program.run(*_shared(), cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert _table(again.stdout) == _table(first.stdout)
    after = _tree(run)
    assert before.keys() == after.keys()
    longer = ["--trials=8"]
    _refused(program, tmp_path, _shared(*longer), ["num_trials was 6, is 8"])


def test_workers_must_divide_the_batch_of_shared_weights(program, tmp_path):
    arguments = [
        "--preset=enas_demo", "--workdir=new", "--local_workers=3",
    ]  # fmt: skip
    _refused(program, tmp_path, arguments, ["must divide", "32", "3 workers"])
