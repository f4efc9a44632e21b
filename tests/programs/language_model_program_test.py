"""Tests of train/language_model.py as a user runs it: a process, a workdir."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "language_model.py"
_LINES = [
    "a cell that reads, writes and forgets;",
    "in that order, not in another.",
    "it has a gate for each.",
]


def _write_text(folder):
    lines = [_LINES[k % 3][k % 5 :] for k in range(150)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")


_ARGUMENTS = ["--preset=tiny", "--text_file=text.txt", "--workdir=run"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    # TensorFlow, two epochs, a sample, a file: about 15 s.
    cwd = tmp_path_factory.mktemp("finished")
    _write_text(cwd)
    result = subprocess.run(
        [sys.executable, str(_PROGRAM), *_ARGUMENTS, "--num_epochs=2",
         "--tensorboard", "--generate=30", "--prompt=a cell",
         "--export=model.keras"],
        capture_output=True, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return cwd, result


def test_a_training_leaves_its_files_and_says_what_it_came_to(finished):
    cwd, result = finished
    assert "Traceback" not in result.stderr
    metrics = json.loads((cwd / "run" / "result.json").read_text())["metrics"]
    bits = metrics["test_bits_per_char"]
    assert f"test: {bits:.4f} bits per character" in result.stdout
    assert "epoch 2  training" in result.stdout
    assert "lstm, 8 units, " in result.stdout
    assert "lstm 2/2" in result.stdout
    assert (cwd / "run" / "learning_curve.png").read_bytes()[1:4] == b"PNG"
    with open(cwd / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["validation_loss_nats"]) == pytest.approx(
        metrics["validation_loss_nats"], abs=0.2
    )
    config = json.loads((cwd / "run" / "config.json").read_text())
    assert config["run"]["settings"]["preset"] == "tiny"
    assert {"keras", "python", "git"} <= config["environment"].keys()
    sample = result.stdout.split("Model: model.keras\n")[1].rstrip("\n")
    assert sample.startswith("a cell")
    assert 30 <= len(sample) + sample.count("\n") <= 50


def test_events_of_tensorboard_hold_the_epochs(finished):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    cwd, _ = finished
    events = accumulator.EventAccumulator(str(cwd / "run" / "tensorboard"))
    events.Reload()
    with open(cwd / "run" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = events.Scalars("validation_loss_nats")
    assert [event.step for event in found] == [1, 2]
    for event, row in zip(found, rows, strict=True):
        want = float(row["validation_loss_nats"])
        assert event.value == pytest.approx(want, rel=1e-5)


def test_the_exported_model_loads_in_another_process(finished):
    cwd, _ = finished
    code = """
        import sys
        import nas_keras
        import keras
        import numpy as np

        model = keras.models.load_model("model.keras")
        logits = model.predict(np.array([[1, 2, 3, 4, 5]]), verbose=0)
        assert logits.shape[:2] == (1, 5), logits.shape
        assert "nas_keras.tasks" not in sys.modules
        np.save("logits.npy", logits)
    """
    result = forked.run("-c", textwrap.dedent(code), cwd=cwd)
    assert result.returncode == 0, result.stderr
    assert np.isfinite(np.load(cwd / "logits.npy")).all()


def test_the_same_command_again_prints_the_result(finished, program):
    cwd, first = finished
    before = (cwd / "run" / "result.json").read_bytes()
    # Nothing is to be done, nor any TensorFlow to be loaded.
    result = program.run(*_ARGUMENTS, "--num_epochs=2", cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout in first.stdout
    assert "test: " in result.stdout
    assert (cwd / "run" / "result.json").read_bytes() == before


def test_a_stopped_training_is_completed_by_the_same_command(
    finished, tmp_path
):
    whole, _ = finished
    _write_text(tmp_path)
    arguments = [*_ARGUMENTS, "--num_epochs=2"]
    status, errors = _stopped(signal.SIGTERM, 20, arguments, tmp_path)
    assert status == 143
    lines = [line for line in errors.splitlines() if "nas-lang" in line]
    assert lines == [
        "nas-language-model: stopped by SIGTERM; what is finished is kept, and "
        "the same command goes on from here."
    ]
    status, _ = _stopped(signal.SIGKILL, 100, arguments, tmp_path)
    assert status == -signal.SIGKILL
    result = forked.run(_PROGRAM, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    metrics = [
        json.loads((cwd / "run" / "result.json").read_text())["metrics"]
        for cwd in (whole, tmp_path)
    ]
    assert metrics[0] == metrics[1]


def _stopped(number, updates, arguments, cwd):
    """Returns status and errors of a training that is sent a signal.

    It is sent once the snapshot after so many updates is there.
    """
    process = forked.start(_PROGRAM, *arguments, cwd=cwd)
    path = cwd / "run" / "checkpoints" / f"step_{updates:08d}.npz"
    deadline = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate()
    assert not (cwd / "run" / "result.json").exists()
    return process.returncode, errors


def test_a_training_that_diverges_ends_with_status_1(tmp_path):
    _write_text(tmp_path)
    result = forked.run(
        _PROGRAM, *_ARGUMENTS, "--optimizer=sgd", "--learning_rate=1e30",
        "--clip_norm=1e30", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("nas-language-model: diverged in epoch 1, at update")
    assert result.stderr.count("with half the rate: time") == 3


@pytest.fixture(scope="module")
def program():
    yield from forked.program("language_model")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--workdir must be given"]),
        (["--workdir=run", "more"], ["Unexpected arguments: ['more']"]),
        (["--workdir=run", "--preset=none"], ["preset", "zaremba_small"]),
        (["--workdir=run", "--preset=zaremba_small"],
         ["data_dir must be given with dataset='ptb'"]),
        (["--workdir=run", "--preset=zaremba_small", "--data_dir=nowhere"],
         ["ptb.train.txt cannot be read: No such file or directory"]),
        (["--workdir=run", "--preset=zaremba_small", "--data_dir=html"],
         ["html/ptb.train.txt must be the file of Penn Treebank",
          "a web page", "dataset='folder'"]),
        (["--workdir=run", "--dataset=folder", "--data_dir=html"],
         ["is a web page: it begins as HTML does"]),
        (["--workdir=run", "--text_file=latin.txt"],
         ["has bad byte 0xe9 at byte offset 3"]),
        (["--workdir=run", "--text_file=blank.txt"],
         ["is empty or only white space"]),
        (["--workdir=run", "--text_file=short.txt"],
         ["part of the text 'short.txt' has", "tokens; one batch takes"]),
        (["--workdir=run", "--cell=no_cell"], ["No cell is named 'no_cell'"]),
        (["--workdir=run", "--parameters=10"],
         ["A model of one unit of cell 'lstm' has"]),
        (["--workdir=run", "--parameters=-5"],
         ["--parameters must be an int of at least 0"]),
        (["--workdir=run", "--units=0"], ["units must be an int of at least"]),
        (["--workdir=run", "--output_dropout=1.5"],
         ["output_dropout must be in [0, 1)"]),
        (["--workdir=run", "--num_epochs=x"], ["num_epochs"]),
        (["--workdir=run", "--export=model.h5"],
         ["--export must be a file that ends in '.keras'"]),
        (["--workdir=run", "--generate=5", "--temperature=-1"],
         ["temperature"]),
        (["--workdir=run", "--export=.keras"],
         ["--export must be a file that ends in '.keras'"]),
        (["--workdir=run", f"--evaluation_batch_size={2**50}"],
         ["evaluation_batch_size must be at most", "of the validation text"]),
        (["--workdir=run", "--prompt=the"],
         ["--prompt must be left out without --generate. Received: --prompt"]),
        (["--workdir=run", "--generate=5", "--temperature=inf"],
         ["--temperature must be finite. Received: --temperature=inf."]),
        (["--workdir=run", "--export=nowhere/model.keras"],
         ["--export must be in a folder that is there"]),
        (["--workdir=run", "--units=8", "--parameters=5e3"],
         ["--units and --parameters exclude one another"]),
        (["--workdir=text.txt"], ["'text.txt' is not a folder"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    program, arguments, parts, tmp_path
):
    _write_text(tmp_path)
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "ptb.train.txt").write_text("<!DOCTYPE html><html>")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1") * 99)
    (tmp_path / "blank.txt").write_text("\n" * 500)
    (tmp_path / "short.txt").write_text("a short text " * 5)
    line = program.refusal(*arguments, cwd=tmp_path)
    for part in parts:
        assert part in line
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_and_changes_nothing(
    program, finished
):
    cwd, _ = finished
    before = forked.contents(cwd / "run")
    line = program.refusal(*_ARGUMENTS, "--num_epochs=3", cwd=cwd)
    assert "settings.model.num_epochs was 2, is 3" in line
    assert before == forked.contents(cwd / "run")


def test_help_shows_the_examples_and_every_attribute(program):
    shown = program.help()
    for text in (
        "nas-language-model --preset=zaremba_small",
        "--slowness_penalty",
        "--average_patience",
        "--[no]vary_steps",
        "Weight of the mean square of the last layer's change",
    ):
        assert text in shown
