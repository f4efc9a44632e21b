r"""Training shared weights against training one cell alone.

`SharedWeights` on the space of ENAS, another random architecture for every
minibatch, against `LanguageModelTrainer` on a model with
`NASRNN(units, "enas_ptb")`: same width, text, batch and optimizer. Both take
turns in one process; a ratio is the median of those of neighbours in time.

  python benchmarks/shared_weights.py --units=64,200 --repeats=7
"""

import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import rich.console
import rich.table
from absl import app
from absl import flags

from nas_keras.cells import load_spec
from nas_keras.controllers import RandomController
from nas_keras.data.sources import open_corpus
from nas_keras.search import SharedWeights
from nas_keras.search.cluster import limit_threads
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


def _seconds(call: Callable[[], None]) -> tuple[float, float]:
    """Returns wall and CPU seconds."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def _candidates(units: int) -> tuple[SharedWeights, Callable, Callable]:
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
    noise = np.random.default_rng(0)
    controller = RandomController(space)

    def train_shared() -> None:
        rows = noise.random((_UPDATES.value, len(space.choices)))
        shared.train(controller.sample(rows).tokens)

    alone = LanguageModelTrainer(task, task.model(load_spec("enas_ptb")))
    return shared, train_shared, lambda: alone.train(0, splits=())


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    limit_threads(_THREADS.value)
    table = rich.table.Table(
        "units", "shared tokens/s", "(CPU)", "alone tokens/s", "(CPU)",
        "shared / alone", "lowest to highest", "(CPU)", "traces",
    )  # fmt: skip
    tokens = _BATCH_SIZE.value * _STEPS.value * _UPDATES.value
    headline = {}
    for units in map(int, _UNITS.value):
        shared, train_shared, train_alone = _candidates(units)
        train_shared()  # Compiles.
        train_alone()
        rounds = [
            (_seconds(train_shared), _seconds(train_alone))
            for _ in range(_REPEATS.value)
        ]
        ratios = [alone[0] / own[0] for own, alone in rounds]
        cpu_ratios = [alone[1] / own[1] for own, alone in rounds]
        rates = [
            tokens / statistics.median(pair[side][clock] for pair in rounds)
            for side in (0, 1)
            for clock in (0, 1)
        ]
        ratio = statistics.median(ratios)
        table.add_row(
            str(units),
            *(f"{rate:,.0f}" for rate in rates),
            f"{ratio:.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{statistics.median(cpu_ratios):.2f}",
            str(shared.num_traces),
        )
        headline[f"ratio_{units}"] = f"{ratio:.2f}"
        headline[f"traces_{units}"] = str(shared.num_traces)
    rich.console.Console(width=120).print(table)
    print(" ".join(f"{name}={value}" for name, value in headline.items()))


if __name__ == "__main__":
    app.run(main)
