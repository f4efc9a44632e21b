r"""How busy are 1 to 1,000 workers? Ours against parameter servers; simulated.

Ours: every worker trains its `b` children one after the other, all wait for
the slowest, gather the rewards, and each computes the same update over all
rows. The paper's: replicas of the controller, each with m workers, push
gradients to parameter servers and do not wait for one another.

The seconds of children, of an update and of a gather are inputs; the defaults
were measured with few workers, what 1,000 do is computed from them.

  python benchmarks/scale_simulation.py --figure=docs/scale.svg
  python benchmarks/scale_simulation.py --scenario=paper
  python benchmarks/scale_simulation.py --trials=runs/demo/trials.jsonl

Reference:
  [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), sections 3.2 and 4.
"""

import dataclasses
import json
import math
import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags
from scale_model import BUDGET
from scale_model import Children
from scale_model import Costs
from scale_model import Outcome
from scale_model import Stragglers
from scale_model import asynchronous
from scale_model import synchronous

_TRIALS = flags.DEFINE_string(
    "trials", None, "A run's trials.jsonl, to draw the seconds of a child from."
)
_SCENARIO = flags.DEFINE_enum(
    "scenario", "demo", ["demo", "paper"], "Children of 1.4 s, or of an hour."
)
_CHILD_S = flags.DEFINE_float(
    "child_s", None, "Mean seconds of a child; default: the scenario's."
)
_CHILD_CV = flags.DEFINE_float(
    "child_cv", 0.04, "Deviation of a child's seconds over their mean."
)
# Sampling and one update of PolicyGradientController(tree_space(8)), on two
# cores of an AMD EPYC server: 18 ms at 8 rows, 29 at 80, 147 at 800.
_UPDATE_S = flags.DEFINE_float(
    "update_s", 0.018, "Seconds of sampling and one update at 8 rows."
)
_UPDATE_S_PER_ROW = flags.DEFINE_float(
    "update_s_per_row", 1.63e-4, "Seconds more for each further row."
)
_MEASURE_UPDATE = flags.DEFINE_boolean(
    "measure_update", False, "Whether to measure both on this machine instead."
)
# Three all-reduces (architectures, lengths, results) by TensorFlow's ring on
# the same cores: one took 2.3 ms with 2 processes, 6.2 with 4, 17.6 with 8. A
# ring has 2 (N - 1) messages one after the other, hence a line in N.
_GATHER_S_PER_WORKER = flags.DEFINE_float(
    "gather_s_per_worker", 0.0068, "Seconds of a gather for each other worker."
)
_PUSH_S = flags.DEFINE_float(
    "push_s", 0.002, "Seconds that the servers take for a push; an assumption."
)
_RESTART_S = flags.DEFINE_float(
    "restart_s", 60.0, "Seconds from a loss until children train again."
)
_LOSSES_PER_HOUR = flags.DEFINE_float(
    "losses_per_hour", 0.02, "How often a preemptible worker is lost."
)
_STEPS = flags.DEFINE_integer(
    "steps", 200, "Synchronous steps simulated for a figure.", lower_bound=2
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is drawn.", lower_bound=0)
_FIGURE = flags.DEFINE_string("figure", None, "Path of an SVG to write.")

WORKERS = (1, 2, 4, 8, 16, 40, 80, 200, 400, 800, 1000)
BATCHES = (1, 2, 4, 8)  # Children of one worker in a synchronous step.
REPLICA_SIZES = (8, 1)  # The paper's m, and the extreme.
CHILD_SECONDS = (1.4, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)  # Of the sweep.
_MEAN_S = {"demo": 1.4, "paper": 3600.0}
SCHEMES = [("ours", b) for b in BATCHES] + [("paper", m) for m in REPLICA_SIZES]


def read_children(path: str) -> Children:
    """Returns the children of a run, to be drawn from with replacement.

    Infeasible children are left out, and so is the first feasible one, which
    pays for the compilation.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a line is damaged, or fewer than two children remain.
    """
    seconds = []
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["infeasible"] is None:
                seconds.append(float(record["elapsed_s"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"trials must hold one JSON record of a trial a line. "
                f"Received: {path}, line {number}: {error!r}."
            ) from error
    seconds = seconds[1:]
    if len(seconds) < 2 or not 0 < min(seconds) <= max(seconds) < math.inf:
        raise ValueError(
            "trials must hold at least three feasible trials that took time. "
            f"Received: {path}, seconds after the first: {seconds[:5]}."
        )
    mean_s = statistics.fmean(seconds)
    return Children(mean_s, relative=tuple(s / mean_s for s in seconds))


def measure_update() -> tuple[float, float]:
    """Returns the seconds of an update at 8 rows and of each further row.

    An update is proposing and feedback of `PolicyGradientController`; the
    median of some, at 8, 80 and 800 rows of `tree_space(8)`. Loads TensorFlow.
    """
    from nas_keras.controllers import PolicyGradientController
    from nas_keras.search import Evaluation
    from nas_keras.spaces import tree_space

    controller = PolicyGradientController(tree_space(8))
    medians = {}
    for rows in (8, 80, 800):
        rng = np.random.default_rng(0)
        evaluations = [Evaluation(float(row % 2)) for row in range(rows)]
        elapsed_s = []
        for _ in range(20):
            start = time.perf_counter()
            controller.feedback(controller.propose(rows, rng), evaluations)
            elapsed_s.append(time.perf_counter() - start)
        medians[rows] = statistics.median(elapsed_s[5:])  # Warm.
        print(f"update at {rows} rows: {1000 * medians[rows]:.1f} ms")
    return medians[8], max(0.0, (medians[800] - medians[8]) / 792)


def kinds_of_stragglers(losses_per_hour: float) -> dict[str, Stragglers]:
    """Returns the kinds of stragglers by name."""
    return {
        "none": Stragglers(),
        "lognormal": Stragglers(sigma=0.2),
        "slow3": Stragglers(slow_share=0.05),
        "hiccup": Stragglers(hiccup_share=0.01),
        "preempt": Stragglers(losses_per_hour=losses_per_hour),
    }


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What all figures of a run share.

    Attributes:
        children: Their seconds.
        costs: All others.
        steps: Synchronous steps of a figure.
        seed: A figure's numbers depend on it and on the figure alone.
    """

    children: Children
    costs: Costs
    steps: int = 200
    seed: int = 0

    def outcome(
        self, scheme: str, size: int, stragglers: Stragglers, workers: int
    ) -> Outcome:
        """Returns the outcome of "ours" or "paper" with `size` = b or m."""
        rng = np.random.default_rng([self.seed, size, workers])
        shared = (self.children, self.costs, stragglers, workers, size)
        if scheme == "ours":
            return synchronous(*shared, self.steps, rng)
        return asynchronous(*shared, rng)

    def with_child_s(self, child_s: float) -> "Simulation":
        """Returns the same with children of another mean."""
        children = dataclasses.replace(self.children, mean_s=child_s)
        return dataclasses.replace(self, children=children)


Curves = dict[tuple[str, int], list[Outcome]]


def simulate(simulation: Simulation, stragglers: Stragglers) -> Curves:
    """Returns the outcomes of each scheme for each of `WORKERS`."""
    return {
        (scheme, size): [
            simulation.outcome(scheme, size, stragglers, n) for n in WORKERS
        ]
        for scheme, size in SCHEMES
    }


def sweep(simulation: Simulation, stragglers: Stragglers) -> Curves:
    """Returns outcomes at 800 workers for each of `CHILD_SECONDS`."""
    return {
        key: [
            simulation.with_child_s(s).outcome(*key, stragglers, 800)
            for s in CHILD_SECONDS
        ]
        for key in SCHEMES
    }


def _table(name: str, curves: Curves) -> rich.table.Table:
    shown = [WORKERS.index(n) for n in (1, 8, 80, 400, 800, 1000)]
    table = rich.table.Table(
        "scheme", *(f"{WORKERS[i]}" for i in shown), "children/h", "updates/h",
        "stale, mean", "95 %", f"updates of {BUDGET:,}",
        title=f"{name}: efficiency by workers; the rest at 800 workers",
    )  # fmt: skip
    for key, outcomes in curves.items():
        at_800 = outcomes[WORKERS.index(800)]
        table.add_row(
            _label(key),
            *(f"{outcomes[i].efficiency:.3f}" for i in shown),
            f"{at_800.children_per_hour:,.0f}",
            f"{at_800.updates_per_hour:,.1f}",
            f"{at_800.staleness:.0f}",
            f"{at_800.staleness_p95:.0f}",
            f"{at_800.updates_of_budget:,}",
        )
    return table


def _sweep_table(curves: Curves) -> rich.table.Table:
    table = rich.table.Table(
        "scheme", *(f"{s:g} s" for s in CHILD_SECONDS),
        title="preempt: efficiency at 800 workers by seconds of a child",
    )  # fmt: skip
    for key, outcomes in curves.items():
        table.add_row(_label(key), *(f"{o.efficiency:.3f}" for o in outcomes))
    return table


def _label(key: tuple[str, int]) -> str:
    scheme, size = key
    return f"sync b={size}" if scheme == "ours" else f"async m={size}"


def _headline(curves: dict[str, Curves]) -> dict[str, str]:
    i = WORKERS.index(800)
    plain, preempt = curves["none"], curves["preempt"]
    efficiencies = {
        "sync_efficiency_800_b1": plain["ours", 1],
        "sync_efficiency_800_b4": plain["ours", 4],
        "async_efficiency_800": plain["paper", 8],
        "sync_preempt_800_b1": preempt["ours", 1],
        "async_preempt_800": preempt["paper", 8],
    }
    return {
        **{k: f"{of[i].efficiency:.3f}" for k, of in efficiencies.items()},
        "sync_updates_800_b1": f"{plain['ours', 1][i].updates_of_budget}",
        "sync_updates_800_b4": f"{plain['ours', 4][i].updates_of_budget}",
        "async_updates_800": f"{plain['paper', 8][i].updates_of_budget}",
        "async_staleness_800": f"{plain['paper', 8][i].staleness:.0f}",
    }


def main() -> None:
    """Simulates, prints tables and a line of headline figures."""
    try:
        simulation = _simulation_of_flags()
        kinds = kinds_of_stragglers(_LOSSES_PER_HOUR.value)
        if _FIGURE.value:
            pathlib.Path(_FIGURE.value).touch()  # Fails now or not at all.
    except (OSError, ValueError) as error:
        measuring.fail(str(error), status=1)
    curves = {name: simulate(simulation, kind) for name, kind in kinds.items()}
    by_child_s = sweep(simulation, kinds["preempt"])
    console = rich.console.Console(width=120)
    for name, of_kind in curves.items():
        console.print(_table(name, of_kind))
    console.print(_sweep_table(by_child_s))
    if _FIGURE.value:
        mean_s = simulation.children.mean_s
        draw(curves, by_child_s, mean_s, _FIGURE.value)
    measuring.print_figures(_headline(curves))


def _simulation_of_flags() -> Simulation:
    if _TRIALS.value:
        children = read_children(_TRIALS.value)
        if _CHILD_S.value is not None:
            children = dataclasses.replace(children, mean_s=_CHILD_S.value)
    else:
        mean_s = _CHILD_S.value
        mean_s = _MEAN_S[_SCENARIO.value] if mean_s is None else mean_s
        children = Children(mean_s, _CHILD_CV.value)
    costs = Costs(
        _UPDATE_S.value, _UPDATE_S_PER_ROW.value, _GATHER_S_PER_WORKER.value,
        _PUSH_S.value, _RESTART_S.value,
    )  # fmt: skip
    if _MEASURE_UPDATE.value:
        update_s, per_row_s = measure_update()
        costs = dataclasses.replace(
            costs, update_s=update_s, update_s_per_row=per_row_s
        )
    return Simulation(children, costs, _STEPS.value, _SEED.value)


# The figure. Colours after Okabe and Ito, which the colour-blind can tell
# apart, darkened for text; schemes differ in dash as well.
_INK, _FAINT = "#222222", "#dddddd"
_STYLES = {
    ("ours", 1): ("#0072b2", "solid"),
    ("ours", 4): ("#00775a", "solid"),
    ("paper", 8): ("#d55e00", (0, (6, 2))),
    ("paper", 1): ("#8a6100", (0, (2, 1.5))),
}
_TITLES = {
    "none": "no stragglers",
    "lognormal": "lasting speeds, lognormal 0.2",
    "slow3": "5 % of workers 3 times slower",
    "hiccup": "1 % of children take 3 times as long",
    "preempt": "preemption",
}


def draw(
    curves: dict[str, Curves], by_child_s: Curves, mean_s: float, path: str
) -> None:
    """Writes the efficiencies as an SVG, one panel for each straggler kind.

    Args:
        curves: By name of the kind, of `simulate`.
        by_child_s: Of `sweep`; the last panel.
        mean_s: Mean seconds of a child in the others.
        path: Of the file.
    """
    import matplotlib
    from matplotlib import figure as mpl_figure

    figure = mpl_figure.Figure(figsize=(11, 6.4), layout="constrained")
    figure.patch.set_facecolor("white")
    figure.suptitle(
        f"Simulated; children of {mean_s:g} s but in the last panel. "
        "b: children of a worker and step; m: workers of a replica",
        fontsize=10, color=_INK,
    )  # fmt: skip
    panels = figure.subplots(2, 3, sharey=True).ravel()
    for axes, (name, of_kind) in zip(panels, curves.items(), strict=False):
        _panel(axes, _TITLES[name], "workers", WORKERS, of_kind)
    _panel(
        panels[-1], "preemption, 800 workers", "seconds of a child",
        CHILD_SECONDS, by_child_s,
    )  # fmt: skip
    panels[0].set_ylabel("efficiency", color=_INK)
    panels[3].set_ylabel("efficiency", color=_INK)
    options = {"svg.hashsalt": "scale", "svg.fonttype": "path"}
    with matplotlib.rc_context(options):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(
    axes: Any, title: str, xlabel: str, x: Sequence[float], curves: Curves
) -> None:
    """Draws one panel, each line with its name at its right end."""
    axes.set_title(title, fontsize=11, color=_INK)
    axes.set_xlabel(xlabel, color=_INK)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    axes.set_xlim(x[0], x[-1] ** 1.45 / x[0] ** 0.45)
    ticks = [10**k for k in range(4) if x[0] <= 10**k <= x[-1]]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.tick_params(colors=_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
    lowest = -0.045  # A name is above the axis.
    ends = {key: curves[key][-1].efficiency for key in _STYLES}
    for key in sorted(_STYLES, key=ends.get):
        color, dash = _STYLES[key]
        values = [outcome.efficiency for outcome in curves[key]]
        axes.plot(x, values, color=color, linestyle=dash, linewidth=2)
        lowest = max(ends[key], lowest + 0.085)  # Names do not touch.
        axes.text(
            x[-1] * 1.12, lowest, _label(key), color=color, fontsize=9,
            verticalalignment="center",
        )  # fmt: skip


if __name__ == "__main__":
    measuring.run(main)
