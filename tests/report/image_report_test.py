"""Tests of reports of image networks: tables, sentences, the page."""

import json
import shutil

import pytest

from nas_keras import report
from nas_keras.convnets import load_convnet
from nas_keras.convnets import resnet_spec
from nas_keras.report import curves
from nas_keras.report import ranking
from nas_keras.report import summary
from nas_keras.report.records import Measure
from tests.report_testing import write_lines

_MEASURED = {
    "noun": "network",
    "metric": {"name": "accuracy", "unit": "%", "is_more_better": True},
}
_SIZE = {"parameters": 12_345}


def _trials(rewards):
    return [
        {
            "id": place,
            "tokens": [0],
            "fingerprint": f"f{place}",
            "reward": reward,
            "metrics": {"validation_accuracy": reward},
            "elapsed_s": 1.0,
            "infeasible": None,
            "same_as": 0 if place == 2 else None,
        }
        for place, reward in enumerate(rewards)
    ]


def _trained(spec, origin, trial, seed, accuracy, reward=None, **changes):
    return {
        "cell": spec.name,
        "origin": origin,
        "trial": trial,
        "reward": reward,
        "fingerprint": spec.fingerprint,
        "spec": spec.to_dict(),
        **_MEASURED,
        "is_baseline": spec.name.startswith("resnet"),
        "size": _SIZE,
        "seed": seed,
        "metrics": {
            "validation_accuracy": accuracy,
            "test_accuracy": accuracy - 0.1,
            "test_error_percent": 110 - 100 * accuracy,
            "multiply_adds": 6_789_000.0,
        },
        "elapsed_s": 3.0,
        "infeasible": None,
        **changes,
    }


_FOUND = load_convnet("enas_macro")
_MICRO = load_convnet("enas_micro")
_RESNET = resnet_spec(20, 13)


def _records():
    failed = {"metrics": {}, "infeasible": "out of memory"}
    return [
        _trained(_RESNET, "published", None, 0, 0.80),
        _trained(_FOUND, "controller", 7, 0, 0.90, 0.5),
        _trained(_FOUND, "controller", 7, 1, 0.94, 0.5),
        _trained(_FOUND, "controller", 7, 2, 0.0, 0.5, **failed),
        _trained(_MICRO, "controller", 3, 0, 0.70, 0.4),
        _trained(resnet_spec(8, 3), "random", 3, 0, 0.60, 0.3),
        _trained(resnet_spec(8, 4), "drawn", 0, 0, 0.50),
        _trained(resnet_spec(8, 5), "drawn", 1, 0, 0.60),
        _trained(resnet_spec(8, 6), "drawn", 2, 0, 0.0, **failed, size={}),
    ]


@pytest.fixture
def workdir(tmp_path):
    """A finished run, whose networks grew."""
    for folder in ("", "random/"):
        for depth, rewards in (("02", [0.1, 0.2, 0.1]), ("04", [0.3, 0.4])):
            path = tmp_path / f"{folder}depth_{depth}"
            write_lines(path / "trials.jsonl", _trials(rewards))
            steps = [
                {"step": step, "loss": 0.1, "entropy_nats": 2.0, "baseline": 0}
                for step in range(2)
            ]
            write_lines(path / "steps.jsonl", steps)
    write_lines(tmp_path / "retrained.jsonl", _records())
    evaluator = {"class": "FromScratch", "reward": "accuracy^3", "c": 80.0}
    settings = {**_MEASURED, "evaluator": evaluator}
    config = {"run": {"settings": settings}, "environment": {}, "command": "x"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    best = json.dumps(_MICRO.to_dict())
    (tmp_path / "best_network.json").write_text(best)
    return tmp_path


def test_networks_are_sorted_by_accuracy_in_percent(workdir):
    rows = report.summarise_retrained(report.read_run(workdir).retrained)
    assert [row.cell for row in rows] == [
        "enas_macro", "resnet_20_13", "enas_micro", "resnet_8_3",
        "resnet_8_5", "resnet_8_4", "resnet_8_6",
    ]  # fmt: skip
    best = rows[0]
    assert best.validation.mean == pytest.approx(92.0)
    assert best.test.sd == pytest.approx(100 * 0.02 * 2**0.5)
    assert (best.num_seeds, best.num_infeasible) == (2, 1)
    assert best.multiply_adds == 6_789_000
    assert best.size == _SIZE
    assert rows[-1].size == {}


def test_the_table_has_what_is_known_of_networks(workdir):
    rows = report.summarise_retrained(report.read_run(workdir).retrained)
    head, _, first, *_, last = report.format_table(rows).splitlines()
    assert " ".join(head.split()) == (
        "network origin parameters multiply-adds seeds validation accuracy, % "
        "test accuracy, % seconds"
    )
    assert (
        first.split()
        == (
            "enas_macro controller 12,345 6,789,000 2 (1 failed) 92.00 +- 2.83 "
            "82.00 +- 2.83 3.00"
        ).split()
    )
    assert (
        last.split()
        == ("resnet_8_6 drawn n/a n/a 0 (1 failed) n/a n/a n/a").split()
    )


def test_the_sentences_speak_of_accuracy(workdir):
    text = " ".join(summary.describe(report.read_run(workdir)))
    for part in (
        "After retraining, enas_macro (controller) has the highest validation "
        "accuracy: validation 92.00 ± 2.83 %, test 82.00 ± 2.83 %, 2 seeds, "
        "12,345 parameters, 6,789,000 multiply-adds. It was chosen by "
        "validation accuracy,",
        "2 networks were drawn at random, not selected, and retrained alike: "
        "test accuracy 45.00 ± 7.07, mean and deviation over networks. That "
        "of the best network found is 37.0 higher; 0 of the 2 are "
        "at least as good.",
        "The best network found, enas_macro, against the resnet_20_13",
        "its test accuracy is 12.0 higher.",
    ):
        assert part in text, part
    assert "cell" not in text and "perplexity" not in text


def test_networks_drawn_at_random_stand_for_chance(workdir):
    shutil.rmtree(workdir / "random")
    (note, *_) = report.read_run(workdir).notes
    assert note == (
        "No random/trials.jsonl: random search was not run, and networks drawn "
        "at random stand for chance."
    )
    # The test figure is 0.1 less.
    lucky = _trained(resnet_spec(8, 7), "drawn", 3, 0, 0.93)
    write_lines(workdir / "retrained.jsonl", [*_records(), lucky])
    text = " ".join(summary.describe(report.read_run(workdir)))
    assert "found is 24.3 higher; 1 of the 3 is at least as good." in text
    write_lines(workdir / "retrained.jsonl", _records()[:2])
    (note, *_) = report.read_run(workdir).notes
    assert note.endswith("nothing here shows that the controller does better "
                         "than chance.")  # fmt: skip


def test_the_network_found_is_compared_with_the_matched_resnet(workdir):
    records = [
        *_records(),
        _trained(resnet_spec(14, 9), "matched", None, 0, 0.75),
    ]
    write_lines(workdir / "retrained.jsonl", records)
    text = " ".join(summary.describe(report.read_run(workdir)))
    part = "against the resnet_14_9 of about equal cost (validation 75.00 %"
    assert part in text
    assert "its test accuracy is 17.0 higher." in text
    # One alone is no network of the search.
    write_lines(workdir / "retrained.jsonl", records[-1:])
    text = " ".join(summary.describe(report.read_run(workdir)))
    assert "No network of the search was retrained." in text


def test_accuracy_ranks_with_the_reward(workdir):
    records = report.read_run(workdir).retrained
    cells = ranking.ranked_cells(records)
    assert [(c.origin, c.trial) for c in cells] == [
        ("controller", 3), ("controller", 7), ("random", 3),
    ]  # fmt: skip
    assert cells[1].figure == pytest.approx(92.0)
    (text,) = report.describe_ranking(records)
    assert "3 networks of the search: Kendall's tau-b 1.00" in text


def test_the_depths_of_a_search_are_read_as_one(workdir):
    run = report.read_run(workdir)
    assert [trial.id for trial in run.trials] == [0, 1, 2, 3, 4]
    assert [trial.same_as for trial in run.trials] == [
        None,
        None,
        0,
        *[None] * 2,
    ]
    assert len(run.random_trials) == 5
    assert [step.step for step in run.steps] == [0, 1, 2, 3]


def test_the_page_shows_networks_as_layers_and_nodes(workdir):
    page = report.write_report(workdir).read_text(encoding="utf-8")
    for part in (
        "Best network",
        "Retrained networks",
        f"{_MICRO.num_cells} normal cells and 2 reduction cells, 36 filters",
        "normal node 2: average_pool_3x3(0) + separable_conv_3x3(0)",
        "1. enas_macro</h3>",
        "Layers of resnet_20_13",
        "layer 2: conv 3x3, 96 filters; inputs 0<",
        "layer 8: conv 3x3, 192 filters, stride 2x2",
        "Sorted by mean validation accuracy.",
        "Reward against retrained accuracy",
        "on the validation data, by its accuracy, as accuracy^3; more is",
        "rise from the lower left to the upper right",
    ):
        assert part in page, part
    assert "States:" not in page and "perplexity" not in page


def test_the_result_names_the_network(workdir):
    lines = list(report.describe_result(workdir, is_reported=False))
    assert lines[-1] == f"Best network: {workdir / 'best_network.json'}"


def test_the_figure_has_the_name_of_the_measure():
    curve = curves.ranking_scatter(
        {"controller": [(0.5, 92.0)]}, Measure("network", "accuracy", "%")
    )
    assert "validation accuracy" in curve.caption


def test_a_run_of_images_without_a_network_says_so(workdir):
    (workdir / "best_network.json").unlink()
    (workdir / "retrained.jsonl").unlink()
    notes = report.read_run(workdir).notes
    assert "No best_network.json: the search chose no network yet." in notes
    page = report.write_report(workdir).read_text(encoding="utf-8")
    assert "The search has chosen no network yet." in page


def test_damaged_networks_name_the_place(workdir):
    data = json.loads((workdir / "best_network.json").read_text())
    data["normal"][1] = 3
    (workdir / "best_network.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"normal\[1\] must be a JSON object"):
        report.read_run(workdir)
