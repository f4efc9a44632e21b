r"""One training step of a recurrent layer: ours, plain Keras, and the limit.

Forward and backward at batch 20 and 35 steps, input width = units, gradients
of the input and of all weights. All run in turn, in one process:

  fast   `NASRNN(units, cell)`, as "auto" chooses, and with XLA off and on
  plain  `keras.layers.RNN(NASCell(units, cell))`
  keras  `keras.layers.LSTM(units)`, for the cell lstm
  limit  the matrix products of a step alone, in the shapes it needs

  python benchmarks/cell_step.py
  python benchmarks/cell_step.py --cells=gru,mut3 --units=64,512 --repeats=5

Then inference alone, and the peak memory of each in a process of its own.
Times are medians; a ratio is the median of those of the rounds.
"""

import itertools
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import measuring
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags

from nas_keras.cells import NASRNN
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec

_CELLS = flags.DEFINE_list(
    "cells", ["nascell", "lstm", "enas_ptb"], "Names or paths of cells."
)
_UNITS = flags.DEFINE_list(
    "units", ["64", "128", "200", "400", "650", "1024"], "Widths of the layer."
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 15, "Timed rounds over all candidates.", lower_bound=1
)
_MEMORY = flags.DEFINE_boolean("memory", True, "Whether to measure memory.")
_PROBE = flags.DEFINE_string(
    "probe", None, "CANDIDATE,CELL,UNITS: print its peak memory in MB, end."
)

_BATCH, _STEPS = 20, 35
_LAYERS: dict[str, Callable[[str, int], keras.layers.Layer]] = {
    "fast": lambda cell, units: NASRNN(units, cell, return_sequences=True),
    "loops": lambda cell, units: NASRNN(
        units, cell, return_sequences=True, jit_compile=False
    ),
    "xla": lambda cell, units: NASRNN(
        units, cell, return_sequences=True, jit_compile=True
    ),
    "plain": lambda cell, units: keras.layers.RNN(
        NASCell(units, cell), return_sequences=True
    ),
    "keras": lambda cell, units: keras.layers.LSTM(
        units, return_sequences=True, use_bias=False
    ),
}


def _input(units: int) -> tf.Tensor:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(_BATCH, _STEPS, units)) * 0.5
    return tf.constant(values, tf.float32)


def step_of(layer: keras.layers.Layer, units: int) -> Callable[[], tf.Tensor]:
    """Returns a training step: forward, and all gradients."""
    x = _input(units)
    layer.build(x.shape)
    weights = [weight.value for weight in layer.trainable_weights]

    @tf.function
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, [x, *weights])

    return lambda: step(x)


def inference_of(
    layer: keras.layers.Layer, units: int
) -> Callable[[], tf.Tensor]:
    """Returns the forward pass alone."""
    x = _input(units)
    layer.build(x.shape)
    forward = tf.function(lambda x: [layer(x)])
    return lambda: forward(x)


def limit_of(cell: str, units: int, training: bool) -> Callable[[], tf.Tensor]:
    """Returns the matrix products of a step, with nothing between them.

    Those of x once for all steps, one for each operand and step forward and
    one backward, with kernels transposed beforehand, and those of the weights'
    gradients once. In the loops a product takes a slice of the one before, so
    that none runs before its time.
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape) * 0.02, tf.float32)

    groups = load_spec(cell).graph.groups
    widths = [len(group.terms) * units for group in groups]
    of_x, *of_states = [normal(units, width) for width in widths]
    rows = _BATCH * _STEPS
    x, state = normal(rows, units), normal(_BATCH, units)
    gradients = [normal(rows, width) for width in widths] if training else []

    def forward(h: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(h, kernel)[:, :units]

    def backward(d: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.tile(d, [1, kernel.shape[0] // units]), kernel)

    @tf.function
    def products() -> list[tf.Tensor]:
        found = [tf.matmul(x, of_x), *_loop(forward, of_states, state)]
        if not training:
            return found
        transposed = [tf.transpose(kernel) for kernel in of_states]
        found += _loop(backward, transposed, state)
        found += [tf.matmul(x, d, transpose_a=True) for d in gradients]
        found.append(tf.matmul(gradients[0], of_x, transpose_b=True))
        return found

    return products


def _loop(
    product: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    kernels: list[tf.Tensor],
    state: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Returns the number of steps and what the last of them comes to."""

    def step(time: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, ...]:
        for kernel in kernels:
            value = product(value, kernel)
        return time + 1, value

    return tf.while_loop(lambda time, _: time < _STEPS, step, (0, state))


def timed(
    candidates: dict[str, Callable[[], tf.Tensor]],
) -> dict[str, measuring.Times]:
    """Runs all in turn, `--repeats` times after two rounds of warming up."""
    calls = {
        name: lambda run=run: run()[-1].numpy()
        for name, run in candidates.items()
    }
    measuring.in_turn(calls, 2)
    return measuring.in_turn(calls, _REPEATS.value)


def _candidates(
    cell: str, units: int, training: bool
) -> dict[str, Callable[[], tf.Tensor]]:
    make = step_of if training else inference_of
    found = {
        name: make(layer(cell, units), units)
        for name, layer in _LAYERS.items()
        if name != "keras" or cell == "lstm"
    }
    return {**found, "limit": limit_of(cell, units, training)}


def _table(title: str) -> rich.table.Table:
    table = rich.table.Table(title=title)
    table.add_column("cell")
    for column in ("units", "fast ms", "cpu ms", "plain ms", "cpu ms"):
        table.add_column(column, justify="right")
    for column in ("loops ms", "xla ms", "keras ms", "limit ms", "cpu ms"):
        table.add_column(column, justify="right")
    for column in ("plain/fast", "fast/limit", "keras/fast"):
        table.add_column(column, justify="right")
    return table


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f}"


def _measure(console: rich.console.Console, training: bool) -> dict[str, str]:
    """Prints a table; returns its headline figures."""
    kind = "training" if training else "inference"
    table, figures = _table(f"One step of {kind}"), {}
    for cell in _CELLS.value:
        for units in map(int, _UNITS.value):
            times = timed(_candidates(cell, units, training))
            fast, plain = times["fast"], times["plain"]
            of_keras = times.get("keras")
            ratios = {
                "plain_over_fast": plain.over(fast),
                "fast_over_limit": fast.over(times["limit"]),
            }
            if of_keras:
                ratios["keras_over_fast"] = of_keras.over(fast)
            medians = {
                name: f"{statistics.median(its):.2f}"
                for name, its in ratios.items()
            }
            table.add_row(
                *(cell, str(units)),
                *(_ms(fast.wall_s), _ms(fast.cpu_s)),
                *(_ms(plain.wall_s), _ms(plain.cpu_s)),
                *(_ms(times["loops"].wall_s), _ms(times["xla"].wall_s)),
                _ms(of_keras.wall_s) if of_keras else "",
                *(_ms(times["limit"].wall_s), _ms(times["limit"].cpu_s)),
                *medians.values(),
            )
            for name, median in medians.items():
                figures[f"{kind}_{cell}_{units}_{name}"] = median
            print(f"{kind} {cell} {units}: done", file=sys.stderr)
            keras.backend.clear_session()
    console.print(table)
    return figures


def _peak_mb(candidate: str, cell: str, units: int) -> float:
    """Returns how far three training steps lift the peak of memory, in MB.

    It counts what a process grows by after the layer is built: the values, the
    gradients, the traced functions, and XLA's compiler.
    """

    def status_mb(key: str) -> float:
        """Returns a line of Linux's account of this process."""
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        found = [line.split()[1] for line in lines if line.startswith(key)]
        return float(found[0]) / 2**10

    run = step_of(_LAYERS[candidate](cell, units), units)
    before = status_mb("VmRSS")
    for _ in range(3):
        run()[-1].numpy()
    return status_mb("VmHWM") - before


def _measure_memory(console: rich.console.Console) -> dict[str, str]:
    table, figures = rich.table.Table(title="Peak memory of training"), {}
    for column in ("cell", "units", "fast MB", "plain MB", "fast/plain"):
        table.add_column(column, justify="right" if "MB" in column else "left")
    for cell, units in itertools.product(_CELLS.value, _UNITS.value[-3:]):
        peak = {}
        for name in ("fast", "plain"):
            probe = f"--probe={name},{cell},{units}"
            output = subprocess.run(
                [sys.executable, __file__, probe],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            peak[name] = float(output)
        ratio = f"{peak['fast'] / peak['plain']:.2f}"
        row = (f"{peak['fast']:.0f}", f"{peak['plain']:.0f}", ratio)
        table.add_row(cell, units, *row)
        figures[f"memory_{cell}_{units}_fast_over_plain"] = ratio
    console.print(table)
    return figures


def main() -> None:
    """Measures, prints tables and a line of headline figures."""
    if _PROBE.value:
        candidate, cell, units = _PROBE.value.split(",")
        print(_peak_mb(candidate, cell, int(units)))
        return
    tf.get_logger().setLevel("ERROR")  # Each layer's function is traced anew.
    console = rich.console.Console(width=150)
    figures = _measure(console, training=True)
    figures |= _measure(console, training=False)
    if _MEMORY.value:
        figures |= _measure_memory(console)
    measuring.print_figures(figures)


if __name__ == "__main__":
    measuring.run(main)
