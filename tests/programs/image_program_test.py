"""Tests of train/image_classification.py as a user runs it."""

import csv
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import forked

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("sklearn")

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "image_classification.py"


def _write_images(folder, num=12):
    rng = np.random.default_rng(0)
    for part, count in (("train", num), ("test", 4)):
        for name in ("cat", "dog"):
            its = folder / part / name
            its.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(its / f"{k}.png")


_NETWORK = {
    "schema": 1,
    "kind": "layers",
    "name": "two",
    "wiring": "concat",
    "layers": [
        {"operation": "conv", "kernel": [3, 3], "stride": [2, 2],
         "filters": 4, "inputs": []},
        {"operation": "conv", "kernel": [1, 1], "stride": [1, 1],
         "filters": 8, "inputs": [0]},
    ],
}  # fmt: skip
_ARGUMENTS = [
    "--preset=tiny",
    "--workdir=run",
    "--network=two.json",
    "--filters=2",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("finished")
    (cwd / "two.json").write_text(json.dumps(_NETWORK))
    result = subprocess.run(
        [sys.executable, str(_PROGRAM), *_ARGUMENTS, "--tensorboard"],
        capture_output=True, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return cwd, result


def test_a_training_leaves_its_files_and_says_what_it_came_to(finished):
    cwd, result = finished
    assert "Traceback" not in result.stderr
    run = cwd / "run"
    found = json.loads((run / "result.json").read_text())
    accuracy = 100 * found["metrics"]["test_accuracy"]
    assert f"test: accuracy {accuracy:.2f} %" in result.stdout
    assert "epoch 2  training" in result.stdout
    assert "two 2/2" in result.stdout
    assert "200 images, 2 epochs; weights of epoch" in result.stdout
    assert result.stdout.endswith("Model: run/model.keras\n")
    assert [layer["filters"] for layer in found["network"]["layers"]] == [2, 4]
    assert (run / "learning_curve.png").read_bytes()[1:4] == b"PNG"
    assert list((run / "tensorboard").iterdir())
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    config = json.loads((run / "config.json").read_text())
    assert config["run"]["settings"]["images"]["num_train"] == 200
    assert found["images"] == "digits"


def test_the_same_command_again_prints_the_result(finished, program):
    cwd, first = finished
    result = program.run(*_ARGUMENTS, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout and result.stdout in first.stdout


def test_another_configuration_is_refused_and_changes_nothing(
    program, finished
):
    cwd, _ = finished
    before = forked.contents(cwd / "run")
    for change, message in (
        ("--cutout=1", "settings.training.cutout was 2, is 1"),
        ("--grid=seed=0,1", "settings.grid was None"),
    ):
        line = program.refusal(*_ARGUMENTS, change, cwd=cwd)
        assert message in line
    assert before == forked.contents(cwd / "run")


def test_a_grid_of_a_folder_chooses_by_validation(tmp_path):
    _write_images(tmp_path / "pets")
    (tmp_path / "two.json").write_text(json.dumps(_NETWORK))
    result = forked.run(
        _PROGRAM, *_ARGUMENTS, "--image_dir=pets", "--num_validation=6",
        "--max_train=0",
        "--batch_size=6", "--num_epochs=1", "--grid=learning_rate=0.01,0.3",
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    accuracies = [row["accuracy"] for row in found["grid"]]
    assert found["chosen"] == accuracies.index(max(accuracies))
    folder = tmp_path / "run" / found["folder"]
    assert found["metrics"] == json.loads(
        (folder / "result.json").read_text()
    )["metrics"]  # fmt: skip
    assert found["class_names"] == ["cat", "dog"]
    assert "training 1: {'learning_rate': 0.3}" in result.stdout
    assert f"* {found['chosen']:02d} {{'learning_rate'" in result.stdout
    assert "two 2/2" in result.stdout
    assert (folder / "history.csv").exists()
    assert f"Model: run/{found['folder']}/model.keras" in result.stdout


@pytest.fixture(scope="module")
def program():
    yield from forked.program("image_classification")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--workdir must be given"]),
        (["--workdir=run", "more"], ["Unexpected arguments: ['more']"]),
        (["--workdir=run", "--image_dir=nowhere"],
         ["image_dir must be a folder. Received: image_dir='nowhere'"]),
        (["--workdir=run", "--image_dir=pets", "--num_validation=5",
          "--batch_size=20"],
         ["batch_size must be at most the 19 training images of 'pets'"]),
        (["--workdir=run", "--image_dir=bad"],
         ["bad/test/dog/3.png', which is no image"]),
        (["--workdir=run", "--dataset=digits", "--image_dir=pets"],
         ["image_dir must be left out with dataset='digits'"]),
        (["--workdir=run", "--batch_size=0"],
         ["--batch_size must be an int of at least 1", "=0."]),
        (["--workdir=run", "--schedule=cosine", "--decay_from=0.5"],
         ["--decay_from must be left out where training.schedule is 'cosine', "
          "whose settings are ['min_learning_rate']. Received: "
          "--decay_from=0.5."]),
        (["--workdir=run", "--training.schedule.decay=3"],
         ["--training.schedule.decay must be left out where"]),
        (["--workdir=run", "--cutout=1", "--training.cutout=1"],
         ["--training.cutout and --cutout are the same setting"]),
        (["--workdir=run", "--schedule=linear"],
         ["--schedule must be one of ['constant', 'step', 'cosine', "
          "'cosine_restarts']. Received: --schedule=linear."]),
        (["--workdir=run", "--network=none"], ["No network is named 'none'"]),
        (["--workdir=run", "--network=forward.json"],
         ["forward.json: ", "layer 0: inputs must be numbers of earlier"]),
        (["--workdir=run", "--grid=rate=1"], ["A grid must be 'paper', or"]),
        (["--workdir=run", "--grid=network=resnet_20,none"],
         ["training 1 of the grid, {'network': 'none'}: No network is named"]),
        (["--workdir=run", "--grid=batch_size=10,20", "--image_dir=pets",
          "--num_validation=5"],
         ["training 1 of the grid", "batch_size must be at most the 19"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    program, arguments, parts, tmp_path
):
    _write_images(tmp_path / "pets")
    _write_images(tmp_path / "bad")
    (tmp_path / "bad/test/dog/3.png").write_bytes(b"a dog")
    layer = {**_NETWORK["layers"][0], "inputs": [1]}
    forward = {**_NETWORK, "layers": [layer, _NETWORK["layers"][1]]}
    (tmp_path / "forward.json").write_text(json.dumps(forward))
    line = program.refusal(*arguments, cwd=tmp_path)
    for part in parts:
        assert part in line
    assert not (tmp_path / "run").exists()


def test_an_interrupt_while_images_are_read_is_one_line(tmp_path):
    code = """
import sys
from nas_keras.data import image_sources
from train import image_classification as program

def interrupted(*_):
    raise KeyboardInterrupt

image_sources.open_images = interrupted
sys.argv = ["x", "--workdir=run"]
program.run()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 130
    assert result.stderr == (
        "nas-image-classification: interrupted; the same command goes on from "
        "here.\n"
    )
    assert not (tmp_path / "run").exists()


_WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
from train import image_classification
image_classification.run()
"""


def test_jax_needs_no_tensorflow(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed.")
    environment = {"PYTHONPATH": str(_ROOT), "KERAS_BACKEND": "jax"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", _WITHOUT_TENSORFLOW, *arguments],
            capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, **environment},
        )  # fmt: skip

    (tmp_path / "two.json").write_text(json.dumps(_NETWORK))
    result = run(*_ARGUMENTS)
    assert result.returncode == 0, result.stderr
    assert "epoch 2  training" in result.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["environment"]["tensorflow"] == "not imported"
    refused = run("--preset=tiny", "--workdir=other", "--devices=GPU:0")
    assert refused.returncode == 2
    assert "one device trains. Received: devices=['GPU:0']" in refused.stderr


def test_flags_change_the_preset():
    """Dotted or short, and a schedule or an optimizer by name."""
    code = """
import sys
from absl import flags
from train import image_classification as program
flags.FLAGS(["x", *sys.argv[1:]])
config = program.config_from_flags()
preset = program.IMAGE_PRESETS["zoph2016_cifar10"]
training = preset.training
assert config == preset.replace(
    network="enas_micro",
    data=preset.data.replace(dataset="folder", image_dir="a", max_train=9),
    training=training.replace(
        schedule=training.schedule.replace(decay=2.0),
        optimizer=training.optimizer.replace(nesterov=False),
        flip=False, learning_rate=1.0,
    ),
    seed=3,
), config
"""
    result = subprocess.run(
        [sys.executable, "-c", code, "--preset=zoph2016_cifar10",
         "--network=enas_micro", "--image_dir=a", "--data.max_train=9",
         "--schedule=step", "--decay=2", "--optimizer=sgd", "--noflip",
         "--training.learning_rate=1", "--seed=3"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_help_shows_the_examples_and_every_attribute(program):
    shown = program.help()
    for text in (
        "nas-image-classification --preset=demo",
        "--restart_factor",
        "--[no]flip",
        "(Loshchilov & Hutter, 2017)",
    ):
        assert text in shown
