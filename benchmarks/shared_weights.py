r"""Training shared weights against training one cell alone.

`SharedWeights` on the space of ENAS, another random architecture for every
minibatch, against `LanguageModelTrainer` on a model with
`NASRNN(units, "enas_ptb")`: same width, text, batch and optimizer. Both take
turns in one process; a ratio is the median of those of the rounds.

  python benchmarks/shared_weights.py --units=64,200 --repeats=7
"""

import os
import statistics
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

from nas_keras.cells import load_spec
from nas_keras.controllers import RandomController
from nas_keras.data.sources import open_corpus
from nas_keras.distribute.cluster import limit_threads
from nas_keras.search import SharedWeights
from nas_keras.spaces import enas_recurrent_space
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer

_UNITS = flags.DEFINE_list("units", ["64", "128", "200"], "Widths.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Rounds.", lower_bound=1)
_UPDATES = flags.DEFINE_integer("updates", 30, "Of a round.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Sequences.")
_STEPS = flags.DEFINE_integer("steps", 35, "Of a sequence.")
_THREADS = flags.DEFINE_integer("threads", 0, "Of an operation; 0: all cores.")


def _candidates(
    units: int,
) -> tuple[SharedWeights, dict[str, Callable[[], None]]]:
    """Returns the shared weights, and a round of each candidate."""
    config = LanguageModelConfig(
        units=units,
        batch_size=_BATCH_SIZE.value,
        num_steps=_STEPS.value,
        num_updates=_UPDATES.value,
        optimizer="sgd",
        learning_rate=0.1,
        clip_norm=0.25,
    )
    task = LanguageModelTask(config, open_corpus())
    space = enas_recurrent_space(11)
    shared = SharedWeights(space, task, num_phases=1)
    rng = np.random.default_rng(0)
    controller = RandomController(space)

    def train_shared() -> None:
        shared.train(controller.propose(_UPDATES.value, rng).tokens)

    alone = LanguageModelTrainer(task, task.model(load_spec("enas_ptb")))
    return shared, {
        "shared": train_shared,
        "alone": lambda: alone.train(0, splits=()),
    }


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    limit_threads(_THREADS.value)
    table = rich.table.Table(
        "units", "shared tokens/s", "(CPU)", "alone tokens/s", "(CPU)",
        "shared / alone", "lowest to highest", "(CPU)", "traces",
    )  # fmt: skip
    tokens = _BATCH_SIZE.value * _STEPS.value * _UPDATES.value
    headline = {}
    for units in map(int, _UNITS.value):
        weights, calls = _candidates(units)
        measuring.in_turn(calls, 1)  # Compiles.
        times = measuring.in_turn(calls, _REPEATS.value)
        shared, alone = times["shared"], times["alone"]
        ratio = f"{statistics.median(alone.over(shared)):.2f}"
        table.add_row(
            str(units),
            *(
                f"{tokens / statistics.median(seconds):,.0f}"
                for its in (shared, alone)
                for seconds in (its.wall_s, its.cpu_s)
            ),
            ratio,
            measuring.range_text(alone.over(shared)),
            f"{statistics.median(alone.cpu_over(shared)):.2f}",
            str(weights.num_traces),
        )
        headline[f"ratio_{units}"] = ratio
        headline[f"traces_{units}"] = weights.num_traces
    rich.console.Console(width=120).print(table)
    measuring.print_figures(headline)


if __name__ == "__main__":
    measuring.run(main)
