"""`NASRNN`: the Keras layer that runs a `NASCell` over a sequence, fast.

Keras and NumPy only, so that every Keras backend can use it. On TensorFlow the
loop is `loops/tensorflow.py`; elsewhere it is the loop of `keras.layers.RNN`.
"""

import operator
from collections.abc import Mapping
from typing import Any

import keras

from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.layers import CELL_ARGUMENTS

# As a module: it is still being imported if it was the first to need Keras.
from nas_keras.cells.layers import nas_cell
from nas_keras.checks import checked_bool

_OF_CELL = ("units", "spec", *CELL_ARGUMENTS)


@keras.saving.register_keras_serializable(package="nas_keras")
class NASRNN(keras.layers.RNN):
    """A recurrent layer of a cell given by its equations.

    It is to `NASCell` what `keras.layers.LSTM` is to `LSTMCell`: the same
    numbers, faster. Axes: B batch, T time steps, D input width, H units.

    Args:
        units: Positive int, H.
        spec: `CellSpec`, the name of a cell, or the path of its JSON file.
        return_sequences: Whether to return the output of every step.
        return_state: Whether to return the last states as well.
        go_backwards: Whether to read the sequence from its end.
        stateful: Whether a batch begins in the last states of the one before.
        unroll: Whether to unroll the loop over time, by the loop of
            `keras.layers.RNN`.
        zero_output_for_mask: Whether masked steps output zeros.
        jit_compile: Whether XLA compiles the loop, on TensorFlow: True, False,
            or "auto". XLA compiles anew for each length and batch size, one
            to five seconds each. "auto" takes XLA where it was measured to be
            faster: on a CPU, in a `tf.function`, for a T that is known when
            the function is traced, up to 512 units, and not where two tapes
            watch. Second derivatives by XLA are NaN.
        **kwargs: Arguments of `NASCell` go to the cell, all others (`name`,
            `dtype`) to `keras.layers.RNN`.

    Attributes: `cell`, the `NASCell`, and all arguments by their names.

    Call arguments:
        sequences: Tensor [B, T, D].
        initial_state: List of the states' tensors; zeros by default.
        mask: Boolean [B, T]; a step whose entry is False is skipped. Pass it
            explicitly where recurrent layers are stacked.
        training: Whether dropout applies.

    Returns:
        [B, T, H] with `return_sequences`, else [B, H]; with `return_state`, a
        tuple of this and of each state. With a projection P in place of H.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:

    >>> NASRNN(64, "lstm")(keras.ops.zeros((8, 35, 16))).shape
    TensorShape([8, 64])
    """

    def __init__(
        self,
        units: int,
        spec: CellSpec | str | Mapping[str, Any] = "nascell",
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        cell_arguments = {
            key: kwargs.pop(key) for key in CELL_ARGUMENTS if key in kwargs
        }
        flags = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "unroll": unroll,
            "zero_output_for_mask": zero_output_for_mask,
        }
        super().__init__(
            nas_cell.NASCell(
                units,
                spec,
                dtype=kwargs.get("dtype"),
                name="cell",
                **cell_arguments,
            ),
            **{name: checked_bool(flags[name], name) for name in flags},
            **kwargs,
        )
        self.input_spec = keras.layers.InputSpec(ndim=3)
        _check_jit_compile(jit_compile, unroll)
        self.jit_compile = jit_compile

    def inner_loop(
        self,
        sequences: Any,
        initial_state: Any,
        mask: Any,
        training: bool = False,
    ) -> tuple[Any, Any, Any]:
        states = nas_cell.checked_states(initial_state, self.cell.spec.states)
        if keras.backend.backend() != "tensorflow" or self.unroll:
            return super().inner_loop(sequences, states, mask, training)
        from nas_keras.cells.layers.loops import tensorflow as loop

        return loop.inner_loop(self, sequences, states, mask, training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        cell_config = self.cell.get_config()
        for key in _OF_CELL:
            config[key] = cell_config[key]
        return {**config, "jit_compile": self.jit_compile}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "NASRNN":
        return cls(**config)


# The cell's arguments are attributes of the layer, as in `keras.layers.LSTM`.
for _name in _OF_CELL:
    setattr(NASRNN, _name, property(operator.attrgetter(f"cell.{_name}")))


def _check_jit_compile(jit_compile: Any, unroll: bool) -> None:
    if not isinstance(jit_compile, bool) and jit_compile != "auto":
        raise ValueError(
            "jit_compile must be True, False or 'auto'. Received: "
            f"jit_compile={jit_compile!r}."
        )
    if unroll and jit_compile is True:
        raise ValueError(
            "jit_compile must not be True with unroll=True, whose loop is "
            "that of keras.layers.RNN. Received: jit_compile=True."
        )
