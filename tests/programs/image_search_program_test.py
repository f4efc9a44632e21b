"""Tests of train/search.py on images as a user runs it."""

import json
import pathlib
import signal
import time

import numpy as np
import pytest

from nas_keras.convnets import load_convnet
from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "train" / "search.py"
_ARGUMENTS = ["--preset=tiny_conv", "--workdir=run"]
_FILES = (
    "config.json",
    "trials.jsonl",
    "trials.csv",
    "derived/trials.jsonl",
    "random/derived/trials.jsonl",
    "shared_weights/manifest.json",
    "retrained.jsonl",
    "finished.json",
    "report.html",
)


def _records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_interrupted_search_goes_on_to_its_end(program, tmp_path):
    # Two processes that compile shared weights, and three networks: 30 s.
    arguments = [
        *_ARGUMENTS, "--space.layers=2", "--finals.space.layers=2",
    ]  # fmt: skip
    process = forked.start(_PROGRAM, *arguments, cwd=tmp_path)
    journal = tmp_path / "run" / "trials.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    begun = _records(journal)

    result = forked.run(_PROGRAM, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    output = result.stdout
    run = tmp_path / "run"
    for name in _FILES:
        assert (run / name).stat().st_size > 0, name
    trials = _records(journal)
    assert trials[: len(begun)] == begun and len(trials) == 4
    retrained = _records(run / "retrained.jsonl")
    assert [record["origin"] for record in retrained] == [
        "controller", "random", "matched",
    ]  # fmt: skip
    for record in retrained:
        assert record["infeasible"] is None
        assert 0 <= record["metrics"]["test_accuracy"] <= 1
        assert record["metrics"]["num_parameters"] > 100
    found, _, resnet = (r["metrics"]["multiply_adds"] for r in retrained)
    best = load_convnet(run / "best_network.json")
    assert best.provenance["found_by"] in ("controller", "random")
    assert resnet > 0 and found > 0
    assert "test accuracy, %" in output and "resnet_" in output
    assert "Best network: run/best_network.json" in output
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Retrained networks" in page and "layer 1: " in page

    again = program.run(*arguments, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    lines = again.stdout.splitlines()
    assert lines == output.splitlines()[-len(lines) :]


def _by_flags(code, *arguments):
    """Returns what an expression of `config` is, made of the flags given.

    In a process of its own: flags are a process's, not a module's.
    """
    program = (
        "import json, sys; sys.path.insert(0, '.')\n"
        "from absl import flags; from train import search\n"
        "flags.FLAGS(['nas-search', *sys.argv[1:]])\n"
        "config = search.config_from_flags()\n"
        f"print(json.dumps({code}))"
    )
    result = forked.run("-c", program, *arguments, cwd=_ROOT)
    if result.returncode:
        return result.stderr.strip().splitlines()[-1]
    return json.loads(result.stdout)


def test_flags_put_a_preset_in_another_space_and_size():
    space, final, controller = _by_flags(
        "[config.space.to_dict(), config.finals.space.to_dict(),"
        " config.controller.to_dict()]",
        "--preset=enas_macro", "--space=enas_micro", "--space.nodes=2",
        "--space.cells=3", "--space.filters=8", "--finals.space=enas_micro",
        "--finals.space.nodes=2", "--finals.space.filters=10",
        "--finals.space.cells=4", "--controller.skip_weight=0",
    )  # fmt: skip
    assert space == {"nodes": 2, "cells": 3, "filters": 8}
    assert final == {"nodes": 2, "cells": 4, "filters": 10}
    assert (controller["skip_weight"], controller["skip_scale"]) == (0.0, 2.0)
    stages, controller = _by_flags(
        "[[(space.layers, num) for space, num in config.stages()],"
        " config.controller.to_dict()]",
        "--preset=tiny_conv", "--space=nas_conv", "--evaluator=scratch",
        "--reward=accuracy", "--space.layers=4", "--growth=depth",
        "--growth.first=2", "--finals.space=same",
        "--controller.skip_weight=0.5", "--controller.skip_target=0.3",
    )  # fmt: skip
    assert stages == [[2, 2], [4, 2]]
    assert (controller["skip_weight"], controller["skip_target"]) == (0.5, 0.3)


def test_images_may_have_their_own_validation_part(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, num in (("train", 15), ("validation", 3), ("test", 4)):
        for name in ("dark", "light"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            pixels = np.full((8, 8), 200 * (name == "light"), np.uint8)
            for number in range(num):
                image.fromarray(pixels).save(folder / f"{number}.png")
    sizes = (
        "[len(part.labels) for data in [search.open_experiment(config).data]"
        " for part in (data.train, data.validation)]"
    )
    arguments = ["--preset=tiny_conv", f"--image_dir={tmp_path}"]
    assert "num_validation must be 0" in _by_flags(sizes, *arguments)
    arguments += ["--num_validation=0", "--max_train=20"]
    assert _by_flags(sizes, *arguments) == [20, 6]
    data = _by_flags("config.data.to_dict()", *arguments)
    assert (data["dataset"], data["max_train"]) == ("folder", 20)


@pytest.fixture(scope="module")
def program():
    yield from forked.program("search")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["--level=word"],
            [
                "--level must be left out where data is 'images', whose "
                "settings are ['dataset', 'image_dir', "
            ],
        ),
        (
            ["--preset=tiny", "--space.layers=4"],
            ["--space.layers must be left out where space is 'tree'"],
        ),
        (
            ["--preset=tiny", "--max_train=4"],
            ["--max_train must be left out where data is 'text'"],
        ),
        (
            ["--preset=tiny", "--num_validation=4"],
            ["--num_validation must be left out where data is 'text'"],
        ),
        (
            ["--preset=tiny", "--image_dir=digits"],
            ["--image_dir must be left out where data is 'text'"],
        ),
        (["--num_validation=0"], ["images must have a validation part"]),
        (
            ["--space.nodes=3"],
            ["--space.nodes must be left out where space is 'enas_macro'"],
        ),
        (["--space.filters=3"], ["--space.filters must be an even int"]),
        (["--image_dir=nowhere"], ["nowhere"]),
        (["--dataset=folder"], ["image_dir must be given"]),
        (["--dataset=ptb"], ["--dataset must be", "--dataset=ptb", "cifar10"]),
        (["--image_dir=a", "--dataset=digits"], ["image_dir must be left out"]),
        (["--finals.published=lstm"], ["No network is named 'lstm'"]),
        (["--finals.parameters=9"], ["parameters must be 0 for image network"]),
        (["--max_train=1"], ["max_train must be at least 10, an image of"]),
        (["--max_train=10"], ["batch_size must be at most the 10 training"]),
        (["--reward=c/ppl"], ["reward must be one of ['accuracy^3', "]),
        (["--space=nas_conv"], ["finals.space must have the choices of space"]),
        (
            ["--space=nas_conv", "--finals.space=same"],
            ["evaluator must be FromScratch for nas_conv"],
        ),
        (["--space=tree"], ["child must be for a cell", "ImageTraining"]),
        (["--growth=depth"], ["growth must be None unless space is NasConv"]),
        (
            ["--child.drop_path=0.1"],
            ["drop_path must be 0 for enas_macro", "have no cells"],
        ),
        (
            ["--child.schedule.decay=2"],
            ["--child.schedule.decay must be left out", "'cosine'"],
        ),
    ],
)
def test_bad_input_ends_with_one_line(program, arguments, parts, tmp_path):
    result = program.run(*_ARGUMENTS, *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("nas-search: ")
    for part in parts:
        assert part in line
    assert not (tmp_path / "run").exists()
