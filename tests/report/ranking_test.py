"""Tests of rewards against retrained scores: cells, sentences, the figure."""

import json
import math
import pathlib
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from nas_keras import report
from nas_keras.report import curves
from nas_keras.report import ranking
from nas_keras.report.run_files import RetrainedRecord
from tests.report_testing import MEASURED
from tests.report_testing import PERPLEXITY

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _record(trial, seed, reward, perplexity=None, **changes):
    metrics = {"validation_perplexity": perplexity}
    return RetrainedRecord(
        **{
            "cell": f"found_{trial}",
            "origin": "controller",
            "trial": trial,
            "spec": None,
            "measure": PERPLEXITY,
            "is_baseline": False,
            "size": {"units": 64, "parameters": 31_000},
            "seed": seed,
            "metrics": metrics,
            "elapsed_s": 12.0,
            "infeasible": None,
            "reward": reward,
            **changes,
        }
    )


def _records(rewards, losses_nats):
    pairs = zip(rewards, losses_nats, strict=True)
    return [
        _record(i, 0, reward, math.exp(loss_nats))
        for i, (reward, loss_nats) in enumerate(pairs)
    ]


# The cells of a run.


def test_the_figure_is_the_mean_over_seeds_that_the_table_has():
    records = [
        _record(3, 0, 0.5, 2.0),
        _record(1, 0, 0.4, 1.0),
        _record(3, 1, 0.5, 16.0),
        _record(3, 0, 0.5, 4.0),  # Trained again: the last one counts.
        _record(1, 0, 0.9, 3.0, origin="random"),
    ]
    cells = ranking.ranked_cells(records)
    assert cells == [
        ranking.RankedCell("controller", 1, 0.4, 1.0, PERPLEXITY),
        ranking.RankedCell("controller", 3, 0.5, 10.0, PERPLEXITY),
        ranking.RankedCell("random", 1, 0.9, 3.0, PERPLEXITY),
    ]
    assert cells[1].score == -10.0
    rows = report.summarise_retrained(records)
    assert sorted(row.validation.mean for row in rows) == [1.0, 3.0, 10.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"infeasible": "NaN loss"},
        {"metrics": {}},
        {"metrics": {"validation_perplexity": math.nan}},
        {"metrics": {"validation_perplexity": "low"}},
        {"metrics": {"validation_perplexity": math.inf}},
    ],
)
def test_seeds_without_a_figure_are_left_out(changes):
    bad = _record(1, 1, 0.4, 9.0, **changes)
    (cell,) = ranking.ranked_cells([_record(1, 0, 0.4, 2.0), bad])
    assert cell.figure == 2.0
    assert ranking.ranked_cells([bad]) == []


def test_cells_without_a_reward_are_left_out():
    published = _record(None, 0, None, 1.0, origin="published")
    old = _record(7, 0, None, 1.0)
    assert ranking.ranked_cells([published, old]) == []
    # A run resumed by a newer program: the reward holds for every seed.
    (cell,) = ranking.ranked_cells([old, _record(7, 1, 0.5, 2.0)])
    assert (cell.reward, cell.figure) == (0.5, 1.5)


# The sentences.


def _sentence(rewards, losses_nats):
    (sentence,) = report.describe_ranking(_records(rewards, losses_nats))
    return sentence


def test_no_cell_gives_no_sentence_and_needs_no_scipy():
    with mock.patch.dict(sys.modules, {"scipy": None}):
        assert report.describe_ranking([]) == []
        assert report.describe_ranking([_record(None, 0, None, 1.0)]) == []


@pytest.mark.parametrize("num", [1, 2])
def test_too_few_cells_are_said(num):
    text = _sentence(range(num), range(num))
    assert f"too few cells ({num}) of the search were retrained" in text


def test_reward_that_predicts_is_described():
    rewards = np.arange(12.0)
    losses_nats = 9 - rewards
    losses_nats[:2] = losses_nats[1::-1]
    # One discordant pair of 66; rho = 1 - 6 * 2 / (12 * 143). With Fisher's
    # z, 2.087 -+ 0.458 and 2.826 -+ 0.798.
    assert _sentence(rewards, losses_nats) == (
        "Rank correlation of reward and retrained score, 12 cells of the"
        " search: Kendall's tau-b 0.97 (95 % interval 0.93 to 0.99, p < 0.001);"
        " Spearman's rho 0.99 (95 % interval 0.97 to 1.00, p < 0.001)."
    )


def test_an_interval_that_holds_0_is_not_significant():
    # As many pairs agree as do not, by a symmetric order.
    text = _sentence(range(7), [0, 3, 5, 6, 4, 2, 1])
    assert text.count("; not significant)") == 2
    assert "p < 0.001" not in text


def test_an_interval_below_0_is_significant_too():
    text = _sentence(range(8), [1, 0, 2, 3, 4, 5, 6, 7])
    # z is -1.648 -+ 0.648.
    assert "tau-b -0.93 (95 % interval -0.98 to -0.76, p" in text
    assert "not significant" not in text


def test_a_lower_loss_is_a_better_score():
    assert "tau-b 1.00 (no interval for a perfect" in _sentence(
        range(6), [-loss for loss in range(6)]
    )
    assert "tau-b -1.00 (no interval for a perfect" in _sentence(
        range(6), range(6)
    )


def test_three_cells_have_no_interval():
    text = _sentence([1, 2, 3], [3, 1, 2])
    assert "tau-b 0.33 (no interval for fewer than 5 cells, p = 1.000)" in text
    assert "significant" not in text


def test_equal_values_are_said():
    assert "none, all 4 rewards are equal" in _sentence([1] * 4, range(4))
    assert "none, all 4 scores are equal" in _sentence(range(4), [1] * 4)


def test_missing_scipy_names_the_extra_when_it_is_needed():
    records = _records(range(5), range(5))
    with (
        mock.patch.dict(sys.modules, {"scipy": None}),
        pytest.raises(ImportError, match=r"pip install 'nas_keras\[report\]'"),
    ):
        report.describe_ranking(records)


def test_the_package_is_imported_without_scipy():
    code = "import sys, nas_keras.report; print('scipy' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == "False\n"


# The figure and the section.


def test_every_cell_is_a_mark_in_the_colour_of_its_origin():
    svg = curves.ranking_scatter(
        {
            "controller": [(0.1, 9.0), (0.2, 8.0), (0.3, 7.0)],
            "random": [(0.1, 9.0), (0.2, 8.0)],
            "other": [(0.15, 7.5)],
        },
        PERPLEXITY,
    ).svg
    assert svg.count("<use") >= 6
    marks = [line for line in svg.splitlines() if "fill-opacity: 0.8" in line]
    assert sum("<use" in line and "--controller" in line for line in marks) >= 3
    assert "var(--random)" in svg
    assert "#0a0b" not in svg


@pytest.mark.parametrize(
    "pairs",
    [
        [(0.5, 7.0)],
        [(0.5, 7.0)] * 3,
        [(0.1, 2.0), (0.2, 2000.0)],
        [(-1e-7, 7.0), (1e-7, math.inf)],
        [(0.1, math.inf)],
    ],
)
def test_degenerate_cells_are_drawn(pairs):
    curve = curves.ranking_scatter({"controller": pairs}, PERPLEXITY)
    assert "</svg>" in curve.svg


def _write_run(folder, rewards):
    trial = {"id": 0, "reward": 0.5, "infeasible": None}
    (folder / "trials.jsonl").write_text(json.dumps(trial) + "\n")
    lines = []
    for index, reward in enumerate(rewards):
        line = {
            "cell": f"found_{index}",
            "origin": ("controller", "random", "<b>$x$\x00")[index % 3],
            "trial": index,
            **MEASURED,
            "is_baseline": False,
            "size": {"units": 64, "parameters": 100},
            "seed": 0,
            "metrics": {"validation_perplexity": 9.0 - index},
            "reward": reward,
        }
        if reward is None:
            del line["reward"]
        lines.append(json.dumps(line) + "\n")
    (folder / "retrained.jsonl").write_text("".join(lines))


def test_the_page_has_a_section_with_figure_and_sentence(tmp_path):
    _write_run(tmp_path, [0.1, 0.2, 0.4, 0.3, 0.6, 0.5])
    run = report.read_run(tmp_path)
    assert [r.reward for r in run.retrained] == [0.1, 0.2, 0.4, 0.3, 0.6, 0.5]
    page = report.write_report(tmp_path).read_text()
    assert "<h2>Reward and retrained score</h2>" in page
    assert "Figure 3. Reward against retrained perplexity" in page
    assert 'id="ranking-' in page
    # Two discordant pairs of 15.
    assert "6 cells of the search: Kendall&#x27;s tau-b 0.73 (95 %" in page
    assert "<b>" not in page


def test_files_of_older_searches_have_no_section(tmp_path):
    _write_run(tmp_path, [None] * 6)
    page = report.write_report(tmp_path).read_text()
    assert "Reward and retrained score" not in page
    assert report.read_run(tmp_path).retrained[0].reward is None


def test_a_reward_that_is_no_number_is_refused(tmp_path):
    _write_run(tmp_path, ["high"])
    with pytest.raises(
        ValueError, match="retrained.jsonl line 1: reward must be int or float"
    ):
        report.read_run(tmp_path)
