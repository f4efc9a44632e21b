"""Tests of a report's confidence intervals, drawings, times and costs."""

import math
import pathlib
import sys

import numpy as np
import pytest
from scipy import stats

from nas_keras import report
from nas_keras.cells import load_spec
from nas_keras.report import architectures
from nas_keras.report import curves
from nas_keras.report import figures
from nas_keras.report import html
from nas_keras.report import intervals
from nas_keras.report import records
from nas_keras.report import run_files
from nas_keras.report import tables
from nas_keras.report import workers
from tests.report_testing import MEASURED

_VALUES = [0.3, 0.9, 0.4, math.nan, 0.8, 0.1, 0.2]


def _trial(number, reward=0.5, elapsed_s=2.0, same_as=None):
    data = {
        "id": number,
        "reward": reward,
        "elapsed_s": elapsed_s,
        "same_as": same_as,
    }
    return records.trial_record(data, "trial")


def _retrained(name, origin, trial, perplexity, spec=None, **metrics):
    spec = spec or {**load_spec("ugrnn").to_dict(), "name": name}
    data = {
        "cell": name,
        "origin": origin,
        "trial": trial,
        "spec": spec,
        **MEASURED,
        "is_baseline": False,
        "size": {"units": 8, "parameters": 100},
        "seed": 0,
        "metrics": {"validation_perplexity": perplexity, **metrics},
        "elapsed_s": 3.0,
        "infeasible": None,
        "reward": 0.25,
    }
    return records.retrained_record(data, "retrained")


def _run(retrained=(), best_cell=None, config=None, trials=None):
    return run_files.RunFiles(
        workdir=pathlib.Path("run"),
        config=config or {},
        trials=trials or (_trial(0),),
        random_trials=(),
        derived_trials=(),
        random_derived_trials=(),
        steps=(),
        shares=(),
        retrained=tuple(retrained),
        best_cell=best_cell,
        notes=(),
    )


def test_the_interval_of_a_mean_is_that_of_students_t():
    values = tables.spread(_VALUES)
    want = stats.ttest_1samp(
        [v for v in _VALUES if math.isfinite(v)], 0
    ).confidence_interval()
    assert intervals.mean_interval(values) == pytest.approx(tuple(want))
    assert np.isnan(intervals.mean_interval(tables.spread([1.0]))).all()


def test_the_interval_of_a_difference_is_that_of_welch():
    ours, theirs = [3.0, 4.0, 4.5], [1.0, 8.0, 2.0, 2.5, 0.5]
    want = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    got = intervals.difference_interval(
        tables.spread(ours), tables.spread(theirs)
    )
    assert got == pytest.approx(tuple(want))


@pytest.mark.parametrize("ours", [[1.0], [2.0, 2.0]])
def test_without_a_spread_a_difference_has_no_interval(ours):
    pair = tables.spread(ours), tables.spread([3.0, 3.0])
    assert np.isnan(intervals.difference_interval(*pair)).all()


def test_a_running_mean_has_the_interval_of_each_window():
    ends, low, high = intervals.running_interval(_VALUES, 3)
    assert ends.tolist() == [3, 4, 5, 6, 7]
    for end, *got in zip(ends.astype(int), low, high, strict=True):
        part = [v for v in _VALUES[end - 3 : end] if math.isfinite(v)]
        want = stats.t.interval(
            0.95, len(part) - 1, np.mean(part), stats.sem(part)
        )
        np.testing.assert_allclose(got, want)
    # The middle of a band is the line that it surrounds.
    mean = curves.running_mean(_VALUES, 3)[ends.astype(int) - 1]
    np.testing.assert_allclose((low + high) / 2, mean)


def test_of_a_long_series_some_places_suffice():
    ends, *_ = intervals.running_interval(range(1000), 10, most=7)
    assert (len(ends), ends[0], ends[-1]) == (7, 10, 1000)
    assert intervals.running_interval([1.0], 3).shape == (3, 0)
    with_one = intervals.running_interval([math.nan, 1.0, math.nan], 3)
    assert np.isnan(with_one[1:]).all()


def test_the_band_is_drawn_and_named():
    rewards = np.random.default_rng(0).normal(size=30)
    curve = curves.reward_curve({"controller": rewards, "random": rewards})
    assert curve.svg.count("FillBetweenPolyCollection") == 2
    assert "95 % confidence intervals (Student's t" in curve.caption
    assert "one seed of each" in curve.caption


def test_missing_scipy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"pip install 'nas_keras\[report\]'"):
        intervals.mean_interval(tables.Spread(1.0, 1.0, 3))


def test_the_best_found_are_drawn_beside_their_equations():
    retrained = [
        _retrained("lstm", "published", None, 1.0),
        *(
            _retrained(f"cell_{i}", "controller", i, 9.0 - i, None)
            for i in range(5)
        ),
    ]
    run = _run(retrained, best_cell=retrained[-1].spec)
    page = architectures.best(run)
    places = [
        page.index(f"{n}. cell_{i}<") for n, i in ((1, 4), (2, 3), (3, 2))
    ]
    assert places == sorted(places)
    assert "cell_1" not in page and "lstm" not in page
    assert page.count("<svg") == page.count("<pre>") == 3
    assert "Child 4 of the controller, reward 0.2500" in page
    assert "validation perplexity 5.000 (1 seed)." in page
    rest = architectures.others(run)
    for name in ("lstm", "cell_0", "cell_1"):
        assert f"Equations of {name}<" in rest
    assert rest.count("<details>") >= 3 and "cell_4" not in rest


def test_what_cannot_be_drawn_says_why():
    spec = {"name": "odd", "states": ["h"], "equations": ["next_h = <b>"]}
    cell = records.cell_record(spec, "best_cell.json")
    config = {"run": {"settings": MEASURED}}
    page = architectures.best(_run(best_cell=cell, config=config))
    assert "There is no drawing of it: " in page
    assert "<svg" not in page and "<b>" not in page
    assert "next_h = &lt;b&gt;" in page
    assert "Not retrained: the cell that has the best reward." in page


def test_attention_is_drawn_with_the_fonts_that_are_there(
    monkeypatch, tmp_path, caplog
):
    nowhere = "\U000f1234"  # Of no font, for private use.
    weights = np.full((1, 2), 0.5)
    path = tmp_path / "a.png"
    families = ("No such font", "STIXNonUnicode")
    monkeypatch.setattr(figures, "_FURTHER_FAMILIES", families)
    # U+E000 is of the second; a dollar begins no formula.
    report.plot_alignment(["\ue000", "b"], ["$x_a_b$"], weights, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert caplog.messages == []
    report.plot_alignment([nowhere, "b"], [nowhere], weights, path)
    assert caplog.messages == [f"{path}: no font for {nowhere}."]


def test_attention_must_have_a_row_for_each_target(tmp_path):
    with pytest.raises(
        ValueError, match=r"\(1, 2\)\. Received: shape \(2, 1\)"
    ):
        report.plot_alignment(["a", "b"], ["c"], [[0.5], [0.5]], tmp_path)


def test_cells_have_their_multiply_adds():
    known = _retrained("a", "random", 1, 2.0, multiply_adds=1234)
    row, other = tables.summarise_retrained(
        [known, _retrained("b", "random", 2, 3.0)]
    )
    assert row.multiply_adds == 1234
    columns = tables.table_columns([row, other])
    assert [*columns][3:6] == ["parameters", "multiply-adds", "seeds"]
    assert columns["multiply-adds"] == ["1,234", "n/a"]
    assert "multiply-adds" not in tables.table_columns([other])


def test_one_worker_has_its_time():
    trials = [_trial(i, elapsed_s=s) for i, s in enumerate((1.0, 2.0, 9.0))]
    trials.append(_trial(3, elapsed_s=1.0, same_as=0))
    text = workers.describe_alone(trials)
    assert text == (
        "One worker evaluated 3 children in 12.0 s, 2.00 s a child (median)."
    )
    assert text in html.render_report(_run(trials=tuple(trials)))
    assert "did not record" in workers.describe_alone([])


def test_the_page_tells_reward_command_and_environment():
    evaluator = {"class": "FromScratch", "reward": "c/ppl^2", "c": 80.0}
    config = {
        "run": {"settings": {**MEASURED, "evaluator": evaluator}},
        "environment": {"python": "3.12.1", "cpus": "2"},
        "command": "nas-search --workdir='a b'",
    }
    page = html.render_report(_run(config=config))
    assert "by its perplexity, as c/ppl^2 with c = 80; more" in page
    command = page[page.index('class="command"') :]
    assert "<span>nas-search</span> <span>--workdir=&#x27;a</span>" in command
    assert command.index("3.12.1") < command.index("All settings")
    page = html.render_report(_run(config={"run": {"space": "of my own"}}))
    assert "tries: its reward is the score that it was given;" in page
