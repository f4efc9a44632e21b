r"""Children per hour: ours against one plain Keras model per child.

Both train the same architectures of `tree_space(8)`, in turn, in one process,
on the same text with the same budget and score them on the same validation
text. The peer is what one writes with Keras alone: for each child build a
model with `keras.layers.RNN(cell)`, compile it, fit it, evaluate it, clear
the session. Then children of ours alone, to see whether memory grows. Last,
whole searches: of one worker, of several (`--workers`), each with one thread,
and of the peer with all cores, in turn, over the same architectures.

  python benchmarks/search_throughput.py --children=6 --memory_children=300
  python benchmarks/search_throughput.py --children=0 --rounds=3

H=64, batch 32, 32 steps, 200 updates, characters of the embedded text.
"""

import dataclasses
import gc
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.controllers import RandomController
from nas_keras.data.sources import open_corpus
from nas_keras.data.text import Corpus
from nas_keras.distribute.cluster import limit_threads
from nas_keras.search import ChildTrainer
from nas_keras.search import Cluster
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import tree_space
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask

_CHILDREN = flags.DEFINE_integer(
    "children",
    6,
    "Architectures timed, by both in turn in this process; 0: none.",
    lower_bound=0,
)
_MEMORY_CHILDREN = flags.DEFINE_integer(
    "memory_children",
    300,
    "Children of ours for the memory figure.",
    lower_bound=21,
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 3, "Times that whole searches are compared.", lower_bound=0
)
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "Of the search of several.", lower_bound=2
)
_ROLE = flags.DEFINE_enum(
    "role", None, ["search", "plain"], "What to time and print, for itself."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the architectures.")

_CONFIG = LanguageModelConfig(
    units=64, batch_size=32, num_steps=32, num_updates=200, learning_rate=5e-3
)


def plain_keras_child(spec: CellSpec, corpus: Corpus) -> float:
    """Trains a child as one would with Keras alone; returns its loss."""
    config = _CONFIG
    model = keras.Sequential(
        [
            keras.Input((config.num_steps,), batch_size=config.batch_size),
            keras.layers.Embedding(corpus.vocabulary_size, config.units),
            keras.layers.RNN(
                NASCell(config.units, spec),
                return_sequences=True,
                stateful=True,
            ),
            keras.layers.Dense(corpus.vocabulary_size),
        ]
    )
    model.compile(
        keras.optimizers.Adam(
            config.learning_rate, global_clipnorm=config.clip_norm
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y = _windows(corpus.train, config.num_updates)
    model.fit(x, y, config.batch_size, shuffle=False, verbose=0)
    model.layers[1].reset_state()  # Ours begins the validation text so too.
    x, y = _windows(corpus.validation, None)
    loss_nats = model.evaluate(x, y, config.batch_size, verbose=0)
    keras.backend.clear_session()
    gc.collect()
    return loss_nats


def _windows(tokens: np.ndarray, num: int | None) -> tuple[np.ndarray, ...]:
    """Returns inputs and targets in the order of stateful batches."""
    batch_size, steps = _CONFIG.batch_size, _CONFIG.num_steps
    length = len(tokens) // batch_size
    streams = tokens[: length * batch_size].reshape(batch_size, length)
    windows = (length - 1) // steps
    order = np.arange(windows if num is None else num) % windows
    cut = np.stack(
        [streams[:, k * steps : (k + 1) * steps + 1] for k in order]
    ).reshape(-1, steps + 1)
    return cut[:, :-1], cut[:, 1:]


# Whole searches: each in processes of its own, which print their seconds.

_BATCH, _STEPS = 8, 4  # The first step has the compilation in it.


def _time_search() -> None:
    """Prints the seconds of each step of a search, as one of its workers."""
    limit_threads(1)
    space = tree_space(8)
    with Cluster.from_environment() as cluster:
        task = LanguageModelTask(_CONFIG, open_corpus())
        ends_s = []
        for trial in search(
            RandomController(space), ChildTrainer(space, task),
            _BATCH * _STEPS, batch_size=_BATCH, cluster=cluster,
            seed=_SEED.value,
        ):  # fmt: skip
            if trial.id % _BATCH == _BATCH - 1:
                ends_s.append(time.perf_counter())
    print(json.dumps(np.diff(ends_s).tolist()))


def _time_plain() -> None:
    """Prints the seconds of a batch of the peer's, at the mean of a few."""
    space, corpus = tree_space(8), open_corpus()
    trials = search(
        RandomController(space),
        FunctionEvaluator(space, lambda spec: 0.0),
        _BATCH,
        batch_size=_BATCH,
        seed=_SEED.value,
    )
    times = measuring.Times()
    for trial in trials:
        times.of(lambda trial=trial: plain_keras_child(trial.spec, corpus))
    print(json.dumps([_BATCH * statistics.mean(times.wall_s[1:])]))


def _seconds_of(role: str, num_workers: int = 1) -> list[float]:
    command = [
        sys.executable, __file__, f"--role={role}", f"--seed={_SEED.value}"
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "TF_CONFIG": config},
            stdout=subprocess.PIPE,
            text=True,
        )
        for config in measuring.tf_configs(num_workers)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"A process of the role {role} failed.")
    return json.loads(outputs[0])


def _compare_searches() -> dict[str, float]:
    """Returns headline figures; prints a table."""
    per_hour: dict[str, list[float]] = {"one": [], "several": [], "plain": []}
    for number in range(_ROUNDS.value):
        for name, arguments in (
            ("one", ("search",)),
            ("several", ("search", _WORKERS.value)),
            ("plain", ("plain",)),
        ):
            step_s = statistics.median(_seconds_of(*arguments))
            per_hour[name].append(3600 * _BATCH / step_s)
            print(f"round {number + 1}, {name}: {per_hour[name][-1]:.0f} an "
                  "hour", file=sys.stderr)  # fmt: skip
    one, several, plain = per_hour.values()
    scaling = measuring.ratios(several, one)
    speedup = measuring.ratios(several, plain)
    workers = f"{_WORKERS.value} workers"
    table = rich.table.Table("children an hour", "median", "of all rounds")
    for name, values, digits in (
        ("one worker, one thread", one, 0),
        (f"{workers} of one thread", several, 0),
        ("plain Keras, all cores", plain, 0),
        (f"{workers} over one", scaling, 2),
        (f"{workers} over plain", speedup, 2),
    ):
        median, *texts = (
            f"{value:.{digits}f}"
            for value in (statistics.median(values), *values)
        )
        table.add_row(name, median, ", ".join(texts))
    rich.console.Console(width=100).print(table)
    return {
        "worker_children_per_hour": statistics.median(several),
        "worker_scaling": statistics.median(scaling),
        "worker_speedup": statistics.median(speedup),
    }


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    if _ROLE.value == "search":
        return _time_search()
    if _ROLE.value == "plain":
        return _time_plain()
    figures: dict[str, float] = {}
    # First: this process does not use the cores yet.
    if _ROUNDS.value:
        figures |= _compare_searches()
    if _CHILDREN.value:
        figures |= _compare_children()
    measuring.print_figures(figures)


@dataclasses.dataclass
class Children:
    """What the same children came to: their times, and losses in nats."""

    times: measuring.Times = dataclasses.field(default_factory=measuring.Times)
    losses: list[float] = dataclasses.field(default_factory=list)


def _compare_children() -> dict[str, float]:
    """Returns headline figures; prints a table."""
    space = tree_space(8)
    corpus = open_corpus()
    trainer = ChildTrainer(space, LanguageModelTask(_CONFIG, corpus))
    rng = np.random.default_rng(_SEED.value)

    def draw() -> np.ndarray:
        return np.array([[rng.integers(n) for n in space.num_options]])

    first = measuring.Times()
    first.of(lambda: trainer.evaluate(draw(), 0))
    plain_keras_child(space.decode(draw()[0]), corpus)
    ours, plain = Children(), Children()
    for number in range(1, _CHILDREN.value + 1):
        tokens = draw()
        spec = space.decode(tokens[0])
        (child,) = ours.times.of(lambda t=tokens: trainer.evaluate(t, 0))
        ours.losses.append(child.metrics.get("validation_loss_nats", math.nan))
        plain.losses.append(
            plain.times.of(lambda s=spec: plain_keras_child(s, corpus))
        )
        print(f"child {number}: {ours.times.wall_s[-1]:.2f} s, plain "
              f"{plain.times.wall_s[-1]:.2f} s", file=sys.stderr)  # fmt: skip
    memory = _memory(trainer, draw, _MEMORY_CHILDREN.value)
    return _print(ours, plain, first.wall_s[0], memory, trainer.num_traces)


def _memory(
    trainer: ChildTrainer, draw: Callable[[], np.ndarray], num: int
) -> tuple[float, float]:
    """Returns the resident MB after 20 and after `num` children of ours."""
    early = math.nan
    for child in range(1, num + 1):
        trainer.evaluate(draw(), 0)
        if child == 20:
            gc.collect()
            early = _resident_mb()
    gc.collect()
    return early, _resident_mb()


def _print(
    ours: Children,
    plain: Children,
    first_s: float,
    memory_mb: tuple[float, float],
    num_traces: int,
) -> dict[str, float]:
    table = rich.table.Table("", "ours", "plain Keras", "ratio")
    for name, a, b in (
        ("seconds a child, median", ours.times.wall_s, plain.times.wall_s),
        ("CPU seconds a child, median", ours.times.cpu_s, plain.times.cpu_s),
        ("validation loss, median", ours.losses, plain.losses),
    ):
        a, b = statistics.median(a), statistics.median(b)
        table.add_row(name, f"{a:.3f}", f"{b:.3f}", f"{b / a:.2f}")
    per_hour, plain_per_hour = (
        3600 / statistics.median(its.times.wall_s) for its in (ours, plain)
    )
    ratios = plain.times.over(ours.times)
    speedup = statistics.median(ratios)
    growth = 100 * (memory_mb[1] / memory_mb[0] - 1)
    for row in (
        ("children an hour", f"{per_hour:.0f}", f"{plain_per_hour:.0f}",
         f"{speedup:.2f} ({measuring.range_text(ratios)})"),
        ("first child, with its compilation", f"{first_s:.1f} s"),
        ("traces of the training step", str(num_traces)),
        ("resident MB after 20 and all",
         f"{memory_mb[0]:.0f}, {memory_mb[1]:.0f}", "", f"{growth:+.1f} %"),
    ):  # fmt: skip
        table.add_row(*row)
    rich.console.Console(width=100).print(table)
    return {
        "children_per_hour": per_hour,
        "plain_children_per_hour": plain_per_hour,
        "speedup": speedup,
        "num_traces": num_traces,
        "memory_growth_percent": growth,
    }


if __name__ == "__main__":
    measuring.run(main)
