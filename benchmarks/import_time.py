r"""Measures what importing costs: CPU seconds of fresh processes.

  python benchmarks/import_time.py
  python benchmarks/import_time.py --repeats=9

Prints a table, and as its last line the medians as key=value. Each process is
started once before it is measured, so that files are in memory and compiled.
CPU seconds, of all threads, depend little on what else the machine does; they
hold the start of Python too, which the first row has alone. What the layers
cost beyond Keras is taken inside one process: it is less than what the import
of Keras varies by.
"""

import functools
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

import measuring
import rich.console
import rich.table
from absl import flags

_REPEATS = flags.DEFINE_integer(
    "repeats", 5, "Processes whose median is taken.", lower_bound=1
)

_PROGRAM = "from nas_keras.train import {0}; {0}.run()"
# Name -> what a process runs, with its arguments.
_COMMANDS = {
    "python": ["pass"],
    "keras": ["import keras"],
    "package": ["import nas_keras.cells"],
    "draw_help": [_PROGRAM.format("draw"), "--help"],
    "image_classification_help": [
        _PROGRAM.format("image_classification"),
        "--help",
    ],
    "language_model_help": [_PROGRAM.format("language_model"), "--help"],
    "report_help": [_PROGRAM.format("report"), "--help"],
    "search_help": [_PROGRAM.format("search"), "--help"],
    "translation_help": [_PROGRAM.format("translation"), "--help"],
}
_BEYOND_KERAS = """
import time
import keras
before_s = time.process_time()
from nas_keras.cells import NASCell
print(time.process_time() - before_s)
"""


def _start(command: Sequence[str]) -> str:
    """Returns what a process of Python prints."""
    return subprocess.run(
        [sys.executable, "-c", *command],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout


def cpu_s(command: Sequence[str]) -> float:
    """Returns the CPU seconds, user and system, of a process of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _start(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beyond_keras_s() -> float:
    """Returns the CPU seconds of importing the layers, once Keras is there."""
    return float(_start([_BEYOND_KERAS]))


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    measures = {
        name: functools.partial(cpu_s, command)
        for name, command in _COMMANDS.items()
    }
    measures["layers_beyond_keras"] = beyond_keras_s
    for measure in measures.values():
        measure()
    times: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(_REPEATS.value):  # In turn: what drifts, drifts for all.
        for name, measure in measures.items():
            times[name].append(measure())
    medians = {name: statistics.median(its) for name, its in times.items()}
    table = rich.table.Table("process", "median s", "least s", "most s")
    for name, its in times.items():
        numbers = (medians[name], min(its), max(its))
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    rich.console.Console().print(table)
    measuring.print_figures(
        {f"{name}_s": f"{value:.3f}" for name, value in medians.items()}
    )


if __name__ == "__main__":
    measuring.run(main)
