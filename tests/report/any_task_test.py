"""Tests of the report of tasks that it has never heard of."""

import json

import pytest

from nas_keras import report
from nas_keras.cells import load_spec
from nas_keras.report import figures
from nas_keras.report import summary
from tests.report_testing import json_trial
from tests.report_testing import write_lines

_FORECASTS = {
    "noun": "forecaster",
    "metric": {"name": "MASE", "unit": "", "is_more_better": False},
}
_TRANSLATIONS = {
    "noun": "translator",
    "metric": {"name": "BLEU", "unit": "points", "is_more_better": True},
}


def _spec(name):
    """Of a form that no module of the report knows."""
    return {"name": name, "lags": [1, 7], "is_seasonal": True}


def _record(said, name, trial, seed, figure, **changes):
    metric = said["metric"]["name"]
    return {
        "cell": name,
        "origin": "controller" if trial is not None else "published",
        "trial": trial,
        "reward": None if trial is None else 0.1 * trial,
        "spec": _spec(name),
        **said,
        "is_baseline": trial is None,
        "size": {"lags": 12, "heads": 3, "parameters": 4_321},
        "seed": seed,
        "metrics": {
            f"validation_{metric}": figure,
            f"test_{metric}": figure + 0.25,
            "validation_chrf": 41.5,
            "test_chrf": 40.5,
            "validation_loss_nats": 1.0,
            "test_loss_nats": 1.0,
            "multiply_adds": 77,
            "rollbacks": 0,
            "ter": 0.5,
            "test_ter": 0.5,  # Of the test data alone.
        },
        "elapsed_s": 9.0,
        "infeasible": None,
        **changes,
    }


def _write(folder, said, **changes):
    records = [
        _record(said, "naive", None, 0, 5.0),
        _record(said, "naive", None, 1, 5.5),
        *(
            _record(said, f"found_{trial}", trial, seed, figure + seed)
            for trial, figure in ((1, 3.0), (2, 4.0), (3, 8.0))
            for seed in range(2)
        ),
        _record(said, "broken", 4, 0, 0.0, metrics={}, infeasible="too long"),
    ]
    write_lines(folder / "trials.jsonl", [json_trial(0, 0.5)])
    write_lines(folder / "retrained.jsonl", records)
    evaluator = {"class": "FromScratch", "reward": "metric", "c": 80.0}
    settings = {**said, "evaluator": evaluator, **changes}
    config = {"run": {"settings": settings}, "command": "x"}
    (folder / "config.json").write_text(json.dumps(config))
    best = folder / f"best_{said['noun']}.json"
    best.write_text(json.dumps(_spec("found_1")))
    return report.read_run(folder)


def test_the_table_has_the_columns_that_the_records_have(tmp_path):
    run = _write(tmp_path, _FORECASTS)
    table = report.format_table(report.summarise_retrained(run.retrained))
    head, _, first, *_, last = table.splitlines()
    assert head.split("  ") and " ".join(head.split()) == (
        "forecaster origin lags heads parameters multiply-adds seeds "
        "validation MASE test MASE validation chrf test chrf seconds"
    )
    assert " ".join(first.split()) == (
        "found_1 controller 12 3 4,321 77 2 3.500 +- 0.707 3.750 +- 0.707 "
        "41.50 +- 0.00 40.50 +- 0.00 9.00"
    )
    assert " ".join(last.split()) == (
        "broken controller 12 3 4,321 n/a 0 (1 failed) n/a n/a n/a n/a n/a"
    )


def test_less_is_better_where_the_records_say_so(tmp_path):
    run = _write(tmp_path, _FORECASTS)
    names = [r.cell for r in report.summarise_retrained(run.retrained)]
    assert names == ["found_1", "found_2", "naive", "found_3", "broken"]
    text = " ".join(summary.describe(run))
    assert (
        "found_1 (controller) has the lowest validation MASE: validation "
        "3.500 ± 0.707, test 3.750 ± 0.707, 2 seeds, 12 lags, 3 heads, 4,321 "
        "parameters, 77 multiply-adds."
    ) in text
    assert "The best forecaster found, found_1, against the naive (" in text
    assert "its test MASE is 1.75 lower." in text
    # The child of the best reward is the worst once retrained.
    (sentence,) = report.describe_ranking(run.retrained)
    assert "3 forecasters of the search: Kendall's tau-b -1.00" in sentence


def test_more_is_better_where_the_records_say_so(tmp_path):
    run = _write(tmp_path, _TRANSLATIONS)
    names = [r.cell for r in report.summarise_retrained(run.retrained)]
    assert names == ["found_3", "naive", "found_2", "found_1", "broken"]
    head, *_ = report.format_table(
        report.summarise_retrained(run.retrained)
    ).splitlines()
    assert "validation BLEU, points  test BLEU, points  validation" in head
    text = " ".join(summary.describe(run))
    assert (
        "has the highest validation BLEU: validation 8.500 ± 0.707 points, "
        "test 8.750 ± 0.707 points, 2 seeds"
    ) in text
    assert "its test BLEU is 3.25 higher." in text
    (sentence,) = report.describe_ranking(run.retrained)
    assert "3 translators of the search: Kendall's tau-b 1.00" in sentence


@pytest.mark.parametrize(
    ("said", "reward", "slope"),
    [
        (_FORECASTS, "by its MASE, negative; more is better.", "fall from"),
        (_TRANSLATIONS, "by its BLEU; more is better.", "rise from"),
    ],
)
def test_the_page_speaks_of_the_task(said, reward, slope, tmp_path):
    _write(tmp_path, said)
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    noun, metric = said["noun"], said["metric"]["name"]
    for part in (
        f"<h2>Best {noun}s</h2>",
        f"<h2>Retrained {noun}s</h2>",
        f"A child is one {noun} that the search tries",
        reward,
        f"Reward against retrained {metric}",
        f"Sorted by mean validation {metric}.",
        "lags: [1, 7]",
        "is_seasonal: true",
        "Fields of naive",
        "the marks " + slope,
        "1 of the seeds failed: too long",
    ):
        assert part in page, part
    for word in ("perplexity", "accuracy", "network", " cell ", "drawing of"):
        assert word not in page, word
    lines = list(report.describe_result(tmp_path, is_reported=False))
    assert lines[-1] == f"Best {noun}: {tmp_path / f'best_{noun}.json'}"


def test_a_cell_of_another_task_is_drawn(tmp_path):
    _write(tmp_path, _TRANSLATIONS)
    cell = load_spec("ugrnn")
    record = _record(_TRANSLATIONS, "ugrnn", 1, 0, 3.0, spec=cell.to_dict())
    write_lines(tmp_path / "retrained.jsonl", [record])
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert 'class="drawing"' in page and "no drawing" not in page


def test_a_search_without_finals_has_the_words_of_its_configuration(tmp_path):
    _write(tmp_path, _FORECASTS)
    (tmp_path / "retrained.jsonl").unlink()
    (tmp_path / "best_forecaster.json").unlink()
    notes = report.read_run(tmp_path).notes
    assert "No best_forecaster.json: the search chose no forecaster yet." in (
        notes
    )
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert "No forecaster was retrained." in page


def test_names_of_a_run_are_shown_as_they_are(tmp_path):
    bad = '"><b>$x$\x00'
    said = {"noun": bad, "metric": {**_FORECASTS["metric"], "name": bad}}
    _write(tmp_path, {**said, "noun": "forecaster"})
    write_lines(
        tmp_path / "retrained.jsonl",
        [
            _record(said, f"a{i}", i, 0, 3.0 + i, size={bad: 1})
            for i in range(3)
        ],
    )
    page = report.write_report(tmp_path).read_text(encoding="utf-8")
    assert "<b>" not in page and "\x00" not in page
    assert page.count("&lt;b&gt;$x$") > 10
    run = report.read_run(tmp_path)
    table = report.format_table(report.summarise_retrained(run.retrained))
    assert "\x00" not in table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noun": 3}, "line 1: noun must be str, received 3"),
        ({"metric": "BLEU"}, "line 1: metric must be dict, received 'BLEU'"),
        ({"metric": {}}, "line 1: metric must have the key 'name'"),
        (
            {"metric": {"name": "BLEU", "unit": "", "is_more_better": 1}},
            "line 1: metric: is_more_better must be bool, received 1",
        ),
        ({"is_baseline": "no"}, "line 1: is_baseline must be bool"),
        ({"size": {"lags": 1.5}}, "line 1: size: lags must be int"),
        ({"size": {"lags": True}}, "line 1: size: lags must be int"),
    ],
)
def test_damage_names_the_field(changes, message, tmp_path):
    _write(tmp_path, _FORECASTS)
    record = _record(_FORECASTS, "a", 1, 0, 3.0, **changes)
    write_lines(tmp_path / "retrained.jsonl", [record])
    with pytest.raises(ValueError, match=f"retrained.jsonl {message}"):
        report.read_run(tmp_path)


def test_a_configuration_of_another_form_is_named(tmp_path):
    _write(tmp_path, _FORECASTS, metric=None)
    (tmp_path / "retrained.jsonl").unlink()
    with pytest.raises(ValueError, match=r"config\.json: metric must be dict"):
        report.read_run(tmp_path)


@pytest.mark.parametrize(
    ("loss", "further", "labels"),
    [
        ("loss_nats", None, ("loss, nats", "perplexity")),
        ("loss_nats", "validation_BLEU", ("loss, nats", "validation BLEU")),
        ("loss", "validation_MASE", ("loss", "validation MASE")),
        ("loss", None, ("loss",)),
    ],
)
def test_the_curve_of_a_training_shows_what_its_epochs_have(
    loss, further, labels, monkeypatch, tmp_path
):
    drawn = []
    new_figure = figures.new_figure

    def kept(*size):
        drawn.append(new_figure(*size))
        return drawn[0]

    monkeypatch.setattr(figures, "new_figure", kept)
    epochs = [
        {"epoch": 1, f"train_{loss}": 2.0, f"validation_{loss}": None},
        {"epoch": 2, f"train_{loss}": 1.0, f"validation_{loss}": 1.5},
    ]
    if further:
        epochs = [{**epoch, further: 0.5} for epoch in epochs]
    report.plot_history(epochs, tmp_path / "curve.png")
    (figure,) = drawn
    axes = figure.axes + figure.axes[0].child_axes
    assert tuple(a.get_ylabel() for a in axes) == labels
    assert (tmp_path / "curve.png").read_bytes()[1:4] == b"PNG"
