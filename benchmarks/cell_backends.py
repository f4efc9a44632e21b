r"""One training step of a recurrent layer on TensorFlow or JAX, on any device.

Forward and backward, with the gradients of all weights, compiled. All take
turns, in one process, on the first device of the backend that KERAS_BACKEND
names:

  ours      `NASRNN(units, cell)`
  unrolled  the same with `unroll=True`
  plain     `keras.layers.RNN(NASCell(units, cell))`
  keras     `keras.layers.LSTM(units)`, for the cell lstm, as Keras chooses:
            on a GPU by cuDNN, where it can

All have biases, without which Keras does not choose cuDNN.

  python benchmarks/cell_backends.py --cells=lstm,nascell --units=256,1024
"""

import os
import statistics
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.tasks.training import compilation

_CELLS = flags.DEFINE_list("cells", ["lstm", "nascell"], "Of the package.")
_UNITS = flags.DEFINE_list("units", ["256", "1024"], "Widths of the layer.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Rows.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 35, "Time steps.", lower_bound=1)
_CALLS = flags.DEFINE_integer("calls", 10, "Steps of a round.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Rounds.", lower_bound=1)

_Call = Callable[[], None]
_LAYERS: dict[str, Callable[[int, CellSpec], keras.layers.Layer]] = {
    "ours": lambda units, cell: NASRNN(
        units, cell, return_sequences=True, use_bias=True
    ),
    "unrolled": lambda units, cell: NASRNN(
        units, cell, return_sequences=True, use_bias=True, unroll=True
    ),
    "plain": lambda units, cell: keras.layers.RNN(
        NASCell(units, cell, use_bias=True), return_sequences=True
    ),
    "keras": lambda units, cell: keras.layers.LSTM(
        units, return_sequences=True
    ),
}


def _step_of(layer: keras.layers.Layer, units: int) -> _Call:
    """Returns training steps on an input [B, T, units]; the first compiles."""
    rng = np.random.default_rng(0)
    shape = _BATCH_SIZE.value, _STEPS.value, units
    x = keras.ops.convert_to_tensor(rng.normal(size=shape), "float32")
    layer.build(shape)
    weights = layer.trainable_variables
    others = layer.non_trainable_variables

    def objective() -> tuple[object, object]:
        outputs = layer(x, training=True)
        return keras.ops.mean(outputs**2), ()

    def step() -> list[object]:
        loss, gradients, _ = compilation.value_and_gradients(
            objective, weights, others
        )
        return [loss, *gradients]

    compiled = compilation.compiled(step, [*weights, *others])

    def call() -> None:
        for _ in range(_CALLS.value):
            result = compiled()
        float(result[0])  # Waits for the last, which waits for the others.

    return call


def _median_ms(its: measuring.Times) -> float:
    return statistics.median(its.wall_s) * 1e3 / _CALLS.value


def _row(cell: CellSpec, units: int) -> tuple[list[str], dict[str, float]]:
    """Returns a row of the table, and the ratios of a cell and a width."""
    calls = {}
    for name, layer in _LAYERS.items():
        if name != "keras" or cell.name == "lstm":
            calls[name] = _step_of(layer(units, cell), units)
    begins = measuring.in_turn(calls, 1)
    times = measuring.in_turn(calls, _ROUNDS.value)
    row = [cell.name, str(units)]
    for name in _LAYERS:
        row.append(f"{_median_ms(times[name]):.2f}" if name in times else "")
    row.append(" ".join(f"{its.wall_s[0]:.0f}" for its in begins.values()))
    return row, {
        f"{cell.name}_{units}_{name}_over_ours": statistics.median(
            its.over(times["ours"])
        )
        for name, its in times.items()
        if name != "ours"
    }


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    try:
        compilation.check_backend()
        cells = [load_spec(cell) for cell in _CELLS.value]
        widths = [int(units) for units in _UNITS.value]
    except ValueError as error:
        measuring.fail(str(error), status=2)
    title = f"{keras.backend.backend()}, batch {_BATCH_SIZE.value}, "
    table = rich.table.Table(title=f"{title}{_STEPS.value} steps")
    for column in ("cell", "units", *(f"{name} ms" for name in _LAYERS)):
        table.add_column(column, justify="right")
    table.add_column("to begin, s")
    figures = {}
    for cell in cells:
        for units in widths:
            row, ratios = _row(cell, units)
            table.add_row(*row)
            figures |= ratios
    rich.console.Console(width=100).print(table)
    measuring.print_figures(figures)


if __name__ == "__main__":
    measuring.run(main)
