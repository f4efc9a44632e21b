"""Tests of the simulation of many workers: against closed forms."""

import dataclasses
import importlib
import json
import math
import os
import pathlib
import subprocess
import sys
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = _ROOT / "benchmarks" / "scale_simulation.py"
with mock.patch.object(sys, "path", [str(_PROGRAM.parent), *sys.path]):
    scale_model = importlib.import_module("scale_model")
    scale_simulation = importlib.import_module("scale_simulation")

Children = scale_model.Children
Costs = scale_model.Costs
Stragglers = scale_model.Stragglers

_COSTS = Costs(
    update_s=0.5, update_s_per_row=0.01, gather_s_per_worker=0.2, restart_s=60
)
_FREE = Costs()
_NONE = Stragglers()
# An exponential distribution of mean 1, by its quantiles.
_EXPONENTIAL = tuple(-np.log((np.arange(20_000) + 0.5) / 20_000))


def _rng(seed=0):
    return np.random.default_rng(seed)


def _synchronous(
    children, workers, batch, costs=_FREE, stragglers=_NONE, steps=50, seed=0
):
    return scale_model.synchronous(
        children, costs, stragglers, workers, batch, steps, _rng(seed)
    )


def _asynchronous(
    children, workers, size, costs=_FREE, stragglers=_NONE, seed=0
):
    return scale_model.asynchronous(
        children, costs, stragglers, workers, size, _rng(seed)
    )


# Synchronous steps.


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (1, 8), (16, 3)])
def test_equal_children_wait_for_gather_and_update_only(workers, batch):
    outcome = _synchronous(Children(7.0), workers, batch, _COSTS)
    between_s = 0.2 * (workers - 1) + 0.5 + 0.01 * (workers * batch - 8)
    step_s = 7.0 * batch + between_s
    assert outcome.efficiency == pytest.approx(7.0 * batch / step_s, rel=1e-12)
    assert outcome.children_per_hour == pytest.approx(
        3600 * workers * batch / step_s
    )
    assert outcome.updates_per_hour == pytest.approx(3600 / step_s)
    assert outcome.staleness == 0


def test_an_update_never_takes_less_than_no_time():
    costs = Costs(update_s=0.01, update_s_per_row=1.0)
    assert _synchronous(Children(1.0), 1, 1, costs).efficiency == 1.0


def test_one_worker_waits_for_nobody():
    stragglers = Stragglers(0.5, 0.5, 0.5)
    outcome = _synchronous(Children(3.0, 0.4), 1, 4, stragglers=stragglers)
    assert outcome.efficiency == pytest.approx(1.0)


@pytest.mark.parametrize("workers", [2, 10, 100])
def test_the_slowest_of_exponential_children_takes_a_harmonic_number(workers):
    children = Children(5.0, relative=_EXPONENTIAL)
    outcome = _synchronous(children, workers, 1, steps=4_000)
    harmonic = sum(1 / k for k in range(1, workers + 1))
    assert outcome.efficiency * harmonic == pytest.approx(1.0, rel=0.02)


def test_a_larger_batch_evens_out_what_does_not_last():
    children = Children(3.0, 0.3)
    small, large = (_synchronous(children, 100, b).efficiency for b in (1, 16))
    assert large > small + 0.2
    lasting = Stragglers(sigma=0.2)
    small, large = (
        _synchronous(Children(3.0), 100, b, stragglers=lasting).efficiency
        for b in (1, 16)
    )
    assert large == pytest.approx(small, abs=0.05)


def test_workers_that_are_all_slow_lose_children_but_not_efficiency():
    children = Children(3.0, 0.1)
    plain = _synchronous(children, 20, 2)
    slow = _synchronous(children, 20, 2, stragglers=Stragglers(slow_share=1.0))
    assert slow.efficiency == pytest.approx(plain.efficiency)
    assert 3 * slow.children_per_hour == pytest.approx(plain.children_per_hour)


def test_a_few_slow_workers_make_all_others_wait():
    slow = Stragglers(slow_share=0.05)
    outcome = _synchronous(Children(3.0), 1000, 2, stragglers=slow)
    assert outcome.efficiency == pytest.approx(1.1 / 3, rel=0.02)


def test_hiccups_strike_children_not_workers():
    hiccup = Stragglers(hiccup_share=0.01)
    outcome = _synchronous(Children(3.0), 1, 100, stragglers=hiccup, steps=500)
    assert 3 * outcome.children_per_hour / 3600 == pytest.approx(
        1 / 1.02, rel=0.005
    )


@pytest.mark.parametrize(
    ("batch", "updates"), [(1, 18), (2, 9), (4, 4), (8, 2), (20, 0)]
)
def test_a_large_batch_leaves_few_updates_of_the_budget(batch, updates):
    outcome = _synchronous(Children(3.0), 800, batch, steps=2)
    assert outcome.updates_of_budget == updates


# Losses of workers.


@pytest.mark.parametrize("per_hour", [0.01, 1.0, 40.0])
def test_one_child_with_losses_takes_the_time_of_the_closed_form(per_hour):
    stragglers = Stragglers(losses_per_hour=per_hour)
    outcome = _synchronous(
        Children(600.0), 1, 1, _COSTS, stragglers, steps=4_000
    )
    rate = per_hour / 3600
    both = math.expm1(rate * 600) + math.expm1(rate * 0.43)
    need_s = (1 / rate + 60) * both
    assert outcome.efficiency == pytest.approx(600 / need_s, rel=0.01)


def test_a_step_with_losses_agrees_with_one_played_second_by_second():
    child_s, rate, restart_s = np.array([[3.0, 5.0], [6.0, 1.0]]), 0.15, 2.0
    rng = _rng(1)

    def played():
        elapsed_s, done = 0.0, np.zeros((2, 2), bool)
        while True:
            window_s = rng.exponential(1 / rate)
            ends = np.where(done, 0.0, child_s).cumsum(axis=1)
            if ends.max() <= window_s:
                return elapsed_s + ends.max()
            done |= ends <= window_s
            elapsed_s += window_s + restart_s

    def ours():
        at_s = rng.exponential(1 / rate)
        if at_s >= 8.0:
            return 8.0
        return scale_model.after_loss_s(child_s, at_s, rate, restart_s, rng)

    want = np.mean([played() for _ in range(8_000)])
    assert np.mean([ours() for _ in range(8_000)]) == pytest.approx(
        want, rel=0.03
    )


def test_without_losses_preemption_changes_nothing():
    children = Children(3.0, 0.1)
    rare = Stragglers(losses_per_hour=1e-12)
    for simulate in (_synchronous, _asynchronous):
        assert simulate(
            children, 40, 8, _COSTS, rare
        ).efficiency == pytest.approx(
            simulate(children, 40, 8, _COSTS).efficiency
        )


def test_long_children_on_many_preemptible_workers_never_end():
    stragglers = Stragglers(losses_per_hour=1.0)
    outcome = _synchronous(Children(3600.0), 1000, 1, _COSTS, stragglers)
    assert outcome.efficiency == outcome.updates_per_hour == 0.0


@pytest.mark.parametrize(("size", "per_hour"), [(1, 1.0), (8, 0.1)])
def test_a_loss_stops_the_workers_of_its_replica_only(size, per_hour):
    stragglers = Stragglers(losses_per_hour=per_hour)
    costs = Costs(restart_s=60)
    outcome = _asynchronous(Children(3600.0), 800, size, costs, stragglers)
    rate = size * per_hour
    need_hours = (1 / rate + 60 / 3600) * math.expm1(rate)
    assert outcome.efficiency == pytest.approx(1 / need_hours, rel=0.03)


# Asynchronous replicas.


@pytest.mark.parametrize(("workers", "size"), [(40, 1), (40, 8), (1, 8)])
def test_equal_replicas_are_stale_by_all_others(workers, size):
    outcome = _asynchronous(Children(3.0), workers, size)
    replicas = workers // min(size, workers)
    assert outcome.efficiency == pytest.approx(1.0, rel=1e-12)
    assert outcome.staleness == outcome.staleness_p95 == replicas - 1
    assert outcome.rows == min(size, workers)
    assert outcome.children_per_hour == pytest.approx(1200 * workers)


@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_mean_staleness_is_that_of_equal_replicas_whatever_their_speeds(sigma):
    outcome = _asynchronous(
        Children(3.0, 0.1), 400, 1, stragglers=Stragglers(sigma=sigma)
    )
    assert outcome.staleness == pytest.approx(399, rel=0.03)
    assert outcome.staleness_p95 > 400


def test_a_replica_waits_for_the_slowest_of_its_own_children():
    children = Children(5.0, relative=_EXPONENTIAL)
    outcome = _asynchronous(children, 800, 8)
    harmonic = sum(1 / k for k in range(1, 9))
    assert outcome.efficiency == pytest.approx(1 / harmonic, rel=0.02)


def test_a_replica_pays_for_gather_update_and_push():
    costs = dataclasses.replace(_COSTS, push_s=0.25)
    outcome = _asynchronous(Children(7.0), 8, 8, costs)
    cycle_s = 7.0 + 7 * 0.2 + 0.5 + 0.25
    assert outcome.efficiency == pytest.approx(7.0 / cycle_s)


def test_slow_servers_bound_the_updates():
    outcome = _asynchronous(Children(1.0), 400, 1, Costs(push_s=0.1))
    assert outcome.updates_per_hour == pytest.approx(36_000, rel=1e-3)
    assert outcome.efficiency == pytest.approx(1 / 40, rel=1e-3)


def test_pushes_are_served_one_after_another_in_the_order_of_arrival():
    order, done_s = scale_model.push_order(
        np.array([[2.0, 2.0], [3.0, 5.0]]), push_s=1.5
    )
    np.testing.assert_array_equal(order, [0, 1, 0, 0])
    np.testing.assert_allclose(done_s, [3.5, 5.0, 7.0, 10.5])
    np.testing.assert_array_equal(scale_model.staleness(order), [1, 0])


# Inputs, and the program.


@pytest.mark.parametrize("scheme", ["ours", "paper"])
def test_the_same_seed_gives_the_same_numbers(scheme):
    stragglers = Stragglers(0.2, 0.05, 0.01, 0.5)
    simulation = scale_simulation.Simulation(Children(3.0, 0.1), _COSTS, 5)
    first = simulation.outcome(scheme, 8, stragglers, 80)
    assert first == simulation.outcome(scheme, 8, stragglers, 80)
    other = dataclasses.replace(simulation, seed=1)
    assert first != other.outcome(scheme, 8, stragglers, 80)


def test_children_have_the_mean_and_the_deviation_asked_for():
    times = Children(3.0, 0.5).draw((200_000,), _rng())
    assert times.mean() == pytest.approx(3.0, rel=0.01)
    assert times.std() == pytest.approx(1.5, rel=0.03)


def _write(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


def _trial(elapsed_s, infeasible=None):
    return {"elapsed_s": elapsed_s, "infeasible": infeasible, "reward": 1.0}


def test_children_of_a_run_are_drawn_without_the_first_and_the_infeasible(
    tmp_path,
):
    trials = [_trial(9.0), _trial(2.0), _trial(50.0, "NaN"), _trial(4.0)]
    children = scale_simulation.read_children(_write(tmp_path / "t", trials))
    assert children.mean_s == pytest.approx(3.0)
    assert set(np.round(children.draw((100,), _rng()), 6)) == {2.0, 4.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least three feasible trials"),
        ('{"elapsed_s": 1, "infeasible": null}\n{"elap', "line 2"),
        ('{"infeasible": null}\n', "line 1: KeyError"),
        ('{"elapsed_s": 0, "infeasible": null}\n' * 4, "that took time"),
    ],
)
def test_a_damaged_file_of_trials_is_refused(text, message, tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        scale_simulation.read_children(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Children(0.0), "child_s=0.0"),
        (lambda: Children(math.nan), "child_s=nan"),
        (lambda: Children(1.0, -0.1), "child_cv=-0.1"),
        (lambda: Costs(push_s=-1.0), "push_s=-1.0"),
        (lambda: Stragglers(losses_per_hour=math.inf), "losses_per_hour=inf"),
        (lambda: _asynchronous(Children(1.0), 12, 8), "workers=12"),
    ],
)
def test_values_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def _run(*arguments):
    return subprocess.run(
        [sys.executable, str(_PROGRAM), *arguments],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "message", "status"),
    [
        ("--child_s=-1", "child_s=-1.0", 1),
        ("--trials=none.jsonl", "none.jsonl", 1),
        ("--figure=none/scale.svg", "none/scale.svg", 1),
        ("--step=2", "Unknown command line flag 'step'", 2),
        ("run.jsonl", "Unexpected arguments: ['run.jsonl']", 2),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_simulated(
    argument, message, status
):
    result = _run(argument)
    assert result.returncode == status
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("scale_simulation: ")
    assert message in line


def test_the_program_prints_its_figures_and_draws(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(scale_simulation, "CHILD_SECONDS", (3.0, 30.0))
    monkeypatch.setattr(scale_model, "_CYCLES", 4)
    monkeypatch.setattr(scale_model, "_MIN_WORKERS", 1)
    path = tmp_path / "scale.svg"
    for name, value in (("_STEPS", 2), ("_FIGURE", str(path))):
        monkeypatch.setattr(scale_simulation, name, mock.Mock(value=value))
    scale_simulation.main()
    last = capsys.readouterr().out.splitlines()[-1]
    figures = dict(item.split("=") for item in last.split(" "))
    assert figures["sync_updates_800_b1"] == "18"
    assert 98 <= float(figures["async_staleness_800"]) <= 100
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
