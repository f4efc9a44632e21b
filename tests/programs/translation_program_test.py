"""Tests of train/translation.py as a user runs it: a process, a workdir."""

import csv
import gzip
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "translation.py"
_WORDS = {"one": "eins", "two": "zwei", "red": "rot", "cat": "Katze"}


def _write_pairs(folder):
    """Writes 40, 12 and 12 pairs; those for training compressed."""
    folder.mkdir(exist_ok=True)
    phrases = [(a, b, c) for a in _WORDS for b in _WORDS for c in _WORDS]
    order = np.random.default_rng(0).permutation(len(phrases))
    parts = {
        "train": order[:40],
        "val": order[40:52],
        "test_2016": order[52:],
    }
    for stem, places in parts.items():
        for language in ("en", "de"):
            lines = [
                " ".join(w if language == "en" else _WORDS[w] for w in words)
                for words in (phrases[k] for k in places)
            ]
            data = "".join(f"{line}\n" for line in lines).encode()
            if stem == "train":
                name, data = f"{stem}.{language}.gz", gzip.compress(data)
            else:
                name = f"{stem}.{language}"
            (folder / name).write_bytes(data)


_ARGUMENTS = [
    "--preset=tiny",
    "--dataset=files",
    "--data_dir=pairs",
    "--workdir=run",
    "--vocabulary_size=40",
    "--batch_tokens=80",
    "--num_layers=1",
    "--num_epochs=2",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    # TensorFlow, and the traces of a training, its scores and searches: 15 s.
    cwd = tmp_path_factory.mktemp("finished")
    _write_pairs(cwd / "pairs")
    result = subprocess.run(
        [sys.executable, str(_PROGRAM), *_ARGUMENTS],
        capture_output=True, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return cwd, result


def test_a_training_leaves_its_files_and_says_what_it_came_to(finished):
    cwd, result = finished
    assert "Traceback" not in result.stderr
    run = cwd / "run"
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert f"beam {metrics['test_beam_bleu']:.2f}" in result.stdout
    assert "epoch 2  training" in result.stdout
    assert "lstm 2/2" in result.stdout
    assert "BLEU: nrefs:1|case:mixed|eff:no|tok:13a" in result.stdout
    assert (run / "learning_curve.png").read_bytes()[1:4] == b"PNG"
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    config = json.loads((run / "config.json").read_text())
    assert config["run"]["settings"]["corpus"]["name"] == "pairs"
    assert {path.name for path in (run / "model").iterdir()} == {
        "config.json",
        "metrics.json",
        "model.keras",
        "source.subwords",
        "target.subwords",
    }


def test_the_same_command_again_prints_the_result(finished, program):
    cwd, first = finished
    result = program.run(*_ARGUMENTS, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout in first.stdout


def test_a_file_is_translated_line_by_line(finished):
    cwd, _ = finished
    arguments = ["--model=run/model", "--translate=pairs/test_2016.en"]
    result = forked.run(_PROGRAM, *arguments, "--alignment=first.png", cwd=cwd)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (cwd / "run" / "test.beam.de").read_text()
    assert (cwd / "first.png").read_bytes()[1:4] == b"PNG"


def test_workers_train_together(finished, tmp_path):
    # Two processes that trace a training: 15 s.
    cwd, _ = finished
    _write_pairs(tmp_path / "pairs")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = []
    for index in range(2):
        config = {
            "cluster": cluster,
            "task": {"type": "worker", "index": index},
        }
        processes.append(
            forked.start(
                _PROGRAM,
                *_ARGUMENTS,
                cwd=tmp_path,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
            )
        )
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3_000:]
    assert "epoch 2  training" in outputs[0][0]
    assert outputs[1][0] == ""
    metrics = [
        json.loads((folder / "run" / "result.json").read_text())["metrics"]
        for folder in (cwd, tmp_path)
    ]
    for name in ("validation_loss_nats", "test_loss_nats"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=1e-4)


@pytest.fixture(scope="module")
def program():
    yield from forked.program("translation")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--workdir must be given, or --model to translate"]),
        (["--workdir=run", "more"], ["Unexpected arguments: ['more']"]),
        (["--workdir=run", "--preset=multi30k"],
         ["data_dir must be given with dataset='files'"]),
        (["--workdir=run", "--dataset=files", "--data_dir=nowhere"],
         ["data_dir must be a folder. Received: data_dir='nowhere'"]),
        (["--workdir=run", "--dataset=files", "--data_dir=pairs",
          "--source=fr"], ["source must be", "['de', 'en']", "'fr'"]),
        (["--workdir=run", "--dataset=files", "--data_dir=uneven"],
         ["40 lines in", "train.en", "39 in", "train.de"]),
        (["--workdir=run", "--dataset=files", "--data_dir=latin"],
         ["has bad byte 0xe9 at byte offset 3"]),
        (["--workdir=run", "--beam=0"], ["beam must be an int of at least 1"]),
        (["--workdir=run", "--units=9", "--parameters=5e3"],
         ["--units and --parameters exclude one another"]),
        (["--workdir=run", "--parameters=-1"],
         ["--parameters must be an int of at least 0", "=-1."]),
        (["--workdir=run", "--num_epochs=3", "--num_updates=3"],
         ["--num_updates and --num_epochs exclude one another"]),
        (["--workdir=run", "--num_halvings=3"],
         ["--num_halvings must be left out where training.schedule is "
          "'cosine'"]),
        (["--workdir=run", "--cell=none"], ["No cell is named 'none'"]),
        (["--workdir=run", "--dataset=files", "--data_dir=pairs",
          "--vocabulary_size=9000"],
         ["vocabulary_size must be at most", "vocabulary_size=9000"]),
        (["--model=nowhere", "--translate=pairs/val.en"],
         ["--model must be a folder", "'nowhere'"]),
        (["--model=pairs", "--translate=holes.txt"],
         ["whose line 2 of 3 is empty"]),
        (["--model=pairs", "--translate=nowhere.txt"],
         ["nowhere.txt", "No such file"]),
        (["--model=pairs", "--translate=pairs/val.en", "--workdir=run"],
         ["--workdir must be left out with --model"]),
        (["--model=pairs", "--translate=pairs/val.en", "--cell=gru"],
         ["--cell must be left out with --model. Received: --cell=gru."]),
        (["--model=pairs", "--translate=pairs/val.en", "--data.source=de"],
         ["--data.source must be left out with --model"]),
        (["--model=pairs", "--translate=pairs/val.en", "--num_threads=-5"],
         ["num_threads must be"]),
        (["--model=pairs", "--translate=pairs/val.en", "--alignment=a/b.png"],
         ["--alignment must be in a folder that is there", "'a/b.png'"]),
        (["--model=pairs", "--translate=pairs/val.en", "--alignment=b.pdf"],
         ["--alignment must be a file that ends in '.png'", "'b.pdf'"]),
        (["--model=pairs"], ["--translate must be given to translate"]),
        (["--model=pairs", "--translate=pairs/val.en"],
         ["with model.keras in it", "--model='pairs'"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    program, arguments, parts, tmp_path
):
    _write_pairs(tmp_path / "pairs")
    for name in ("uneven", "latin"):
        _write_pairs(tmp_path / name)
    short = gzip.decompress((tmp_path / "uneven/train.de.gz").read_bytes())
    short = short[: short[:-1].rindex(b"\n") + 1]
    (tmp_path / "uneven/train.de.gz").write_bytes(gzip.compress(short))
    bad = "caf\xe9\n".encode("latin-1") * 12
    (tmp_path / "latin" / "val.de").write_bytes(bad)
    (tmp_path / "holes.txt").write_text("one\n \ntwo\n")
    line = program.refusal(*arguments, cwd=tmp_path)
    for part in parts:
        assert part in line
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_and_changes_nothing(
    program, finished
):
    cwd, _ = finished
    before = forked.contents(cwd / "run")
    line = program.refusal(*_ARGUMENTS, "--beam=3", cwd=cwd)
    assert "settings.training.beam was 2, is 3" in line
    assert before == forked.contents(cwd / "run")


def test_help_shows_the_examples_and_every_attribute(program):
    shown = program.help()
    for text in (
        "nas-translation --preset=multi30k",
        "--attention_timing",
        "--[no]shared_embeddings",
        "Alpha of Wu et al. (2016), equation 14.",
    ):
        assert text in shown
