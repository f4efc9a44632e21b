"""The programs in examples/ run, in processes of their own, in small."""

import pathlib
import re

import keras
import pytest

from nas_keras.cells import load_spec
from tests import forked

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def _lines(name, *arguments, cwd):
    """Runs an example; returns what it prints, line by line."""
    result = forked.run(_ROOT / "examples" / name, *arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_forecast_compares_models_of_one_size_and_loads(tmp_path):
    *compared, last, loaded = _lines(
        *("forecast.py", "--cell=gru", "--weights=90", "--length=300"),
        *("--epochs=1", "--seeds=1"),
        cwd=tmp_path,
    )
    names, sizes = zip(
        *(re.match(r"(.+): (\d+) weights, test", line).groups()
          for line in compared),
        strict=True,
    )  # fmt: skip
    assert names == ("NASRNN, gru", "keras.layers.LSTM")
    assert max(map(int, sizes)) <= 90
    assert last.startswith("last value: test RMSE ")
    assert loaded == "forecast.keras: loaded, forecasts the same"
    assert keras.models.load_model(tmp_path / "forecast.keras").layers


def test_a_search_on_a_text_of_ones_own_leaves_a_cell(tmp_path):
    (tmp_path / "book.txt").write_text("She sells sea shells. " * 900)
    lines = _lines(
        *("search_own_text.py", "--text_file=book.txt", "--base=2"),
        *("--trials=2", "--updates=2", "--retrain=2"),
        *("--nojit_compile", "--save=cell.json"),
        cwd=tmp_path,
    )
    assert [line.split()[0] for line in lines[:2]] == ["0", "1"]
    best, lstm, gru = lines[2:5]
    assert load_spec(tmp_path / "cell.json").name == best.split(":")[0]
    assert lstm.startswith("lstm: ") and gru.startswith("gru: ")


def test_a_search_by_a_score_of_ones_own_prints_the_best(tmp_path):
    *trials, best, gate, candidate, state = _lines(
        *("search_own_score.py", "--trials=2", "--epochs=1"), cwd=tmp_path
    )
    rewards = [float(line.split()[-1]) for line in trials]
    assert len(rewards) == 2
    assert best == f"best of 2, in a space of 36: {max(rewards):.4f}"
    assert gate.startswith("g = sigmoid(") and state.startswith("next_h = ")
    assert candidate.startswith("n = ")


def test_a_cell_from_a_file_is_put_into_a_translation_model(tmp_path):
    pytest.importorskip(
        "sentencepiece", reason="pip install 'nas_keras[translation]'"
    )
    lines = _lines(
        *("translate_with_cell.py", "--preset=tiny", "--updates=2"),
        "--workdir=run",
        cwd=tmp_path,
    )
    assert lines[0].startswith("epoch 1: ")
    assert [line.split(" -> ")[0] for line in lines[-2:]] == [
        "3 hours ago",
        "Italy or Spain",
    ]
    result = (tmp_path / "run/training/result.json").read_text("utf-8")
    assert '"minimal_gate"' in result
