r"""Do the controllers learn? Small tables, against random sampling.

Every table is searched by `PolicyGradientController` with its defaults, by
`EvolutionController` with a population of 50, and by `RandomController`, with
the same number of evaluations and several seeds. A figure is the mean reward
of the last 80 architectures, in standard deviations of the table's rewards
above their mean: random sampling scores about 0, and "best" is the table's
best architecture, where it can be known.

  python benchmarks/controller_learning.py --seeds=3
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

from nas_keras.controllers import Controller
from nas_keras.controllers import EvolutionController
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space

_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each.", lower_bound=1)
_EVALUATIONS = flags.DEFINE_integer(
    "evaluations", 480, "Of each run on a table.", lower_bound=100
)
_LAST = 80  # Architectures that a run's figure is the mean of.

Score = Callable[[dict[str, Any]], float]


def _space(num_choices: int, num_options: int) -> Space:
    options = tuple(range(num_options))
    return Space([Choice(f"c{k}", options) for k in range(num_choices)])


def one_max() -> tuple[Space, Score]:
    """Six choices of four; the reward is the share of twos."""
    return _space(6, 4), lambda spec: sum(v == 2 for v in spec.values()) / 6


def additive(scale: float, shift: float) -> tuple[Space, Score]:
    """Ten choices of four, each option with a value of its own."""
    values = np.random.default_rng(1).normal(size=(10, 4))

    def score(spec: dict[str, Any]) -> float:
        total = sum(values[k, v] for k, v in enumerate(spec.values()))
        return scale * total + shift

    return _space(10, 4), score


def lookup() -> tuple[Space, Score]:
    """Three choices of five with 125 rewards that have no structure."""
    values = np.random.default_rng(2).normal(size=(5, 5, 5))
    return _space(3, 5), lambda spec: values[tuple(spec.values())]


def neighbours() -> tuple[Space, Score]:
    """Eight choices of four; the value of each depends on the one before."""
    values = np.random.default_rng(3).normal(size=(7, 4, 4))

    def score(spec: dict[str, Any]) -> float:
        tokens = list(spec.values())
        pairs = zip(tokens, tokens[1:], strict=False)
        return sum(values[k, a, b] for k, (a, b) in enumerate(pairs))

    return _space(8, 4), score


def heavy_tail() -> tuple[Space, Score]:
    """One-max on a scale over which rewards differ by orders of magnitude."""
    space, score = one_max()
    return space, lambda spec: 10.0 ** (6 * score(spec) - 9)


TABLES = {
    "one-max": one_max,
    "additive": lambda: additive(1.0, 0.0),
    "additive x 1e6": lambda: additive(1e6, 0.0),
    "additive x 1e-6": lambda: additive(1e-6, 0.0),
    "additive + 1e3": lambda: additive(1.0, 1e3),
    "lookup of 125": lookup,
    "neighbours": neighbours,
    "heavy tail": heavy_tail,
}


def run(
    controller: Controller,
    score: Score,
    num_trials: int,
    batch_size: int,
    seed: int,
) -> np.ndarray:
    """Returns the rewards of a search, in order."""
    evaluator = FunctionEvaluator(controller.space, score)
    trials = search(
        controller, evaluator, num_trials, batch_size=batch_size, seed=seed
    )
    return np.array([trial.evaluation.reward for trial in trials])


def _moments(space: Space, score: Score) -> tuple[float, float]:
    """Returns mean and deviation of rewards under uniform sampling."""
    rewards = run(RandomController(space), score, 4_000, 100, seed=10**6)
    return float(rewards.mean()), float(rewards.std())


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    table = rich.table.Table(
        "table", "policy gradient", "evolution", "random", "seeds ahead"
    )
    num_ahead = num_runs = 0
    for name, make in TABLES.items():
        space, score = make()
        mean, deviation = _moments(space, score)
        ours, evolved, random = [], [], []
        for seed in range(_SEEDS.value):
            for results, controller in (
                (ours, PolicyGradientController(space, seed=seed)),
                (evolved, EvolutionController(space, population_size=50)),
                (random, RandomController(space)),
            ):
                rewards = run(controller, score, _EVALUATIONS.value, 8, seed)
                last = rewards[-_LAST:].mean()
                results.append((last - mean) / deviation)
        ahead = sum(a > b for a, b in zip(ours, random, strict=True))
        num_ahead, num_runs = num_ahead + ahead, num_runs + len(ours)
        table.add_row(
            name,
            *map(_spread, (ours, evolved, random)),
            f"{ahead} of {len(ours)}",
        )
    first, last, seconds = _one_max_figures()
    rich.console.Console(width=100).print(table)
    measuring.print_figures(
        {
            "one_max_first": f"{min(first):.2f}",
            "one_max_last": f"{min(last):.3f}",
            "one_max_seconds": f"{max(seconds):.1f}",
            "seeds_ahead": f"{num_ahead}/{num_runs}",
        }
    )


def _one_max_figures() -> tuple[list[float], list[float], list[float]]:
    """Returns first and last mean rewards and seconds of 150 steps of 16."""
    first, last, seconds = [], [], []
    for seed in range(_SEEDS.value):
        start = time.perf_counter()
        space, score = one_max()
        controller = PolicyGradientController(space, seed=seed)
        rewards = run(controller, score, 150 * 16, 16, seed)
        seconds.append(time.perf_counter() - start)
        first.append(rewards[:16].mean())
        last.append(rewards[-16 * 10 :].mean())
    return first, last, seconds


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    measuring.run(main)
