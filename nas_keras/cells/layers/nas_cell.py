"""`NASCell`: the Keras cell that computes the equations of a spec.

Keras and NumPy only, so that every Keras backend can use it.
"""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

# Keras does not export this class, by which it resets the masks of its cells
# once a sequence.
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

from nas_keras.cells.language.graph import LinearGroup
from nas_keras.cells.language.graph import WidthError
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.layers import WEIGHTS
from nas_keras.checks import checked_bool
from nas_keras.checks import checked_int
from nas_keras.checks import checked_rate


@keras.saving.register_keras_serializable(package="nas_keras")
class NASCell(keras.layers.Layer, DropoutRNNCell):
    """A recurrent cell given by its equations, for `keras.layers.RNN`.

    Axes: B batch, D input width, H units, P projection (or H).

    Weights, in the order of `weights`: `kernel [D, n*H]` for the n terms
    `linear(x)` in order of appearance; `recurrent_kernel [P, n*H]` for the n
    terms `linear(h)`; one further kernel `[width, n*H]` for each other
    operand, in order of appearance; `bias [n*H]` for all terms but those of
    `x`; `projection_kernel [H, P]`. So `"lstm"` and `"nascell"` take the
    weights of `keras.layers.LSTM` as they are, and the arrays of TensorFlow
    Addons' `NASCell`, whose list begins with the recurrent kernel.

    Args:
        units: Positive int, H, the width of the states.
        spec: `CellSpec`, the name of a cell, or the path of its JSON file.
        projection: Positive int, the width P of the output and of `h`, or
            None for no projection. As in TensorFlow Addons.
        use_bias: Whether linear terms other than those of `x` have a bias.
        dropout: Fraction in [0, 1) of x dropped where it enters `linear`, by
            one mask a sequence.
        recurrent_dropout: The same for the other operands of `linear`.
        kernel_initializer: Initializer of `kernel`.
        recurrent_initializer: Initializer of the recurrent and the further
            kernels.
        bias_initializer: Initializer of `bias`.
        projection_initializer: Initializer of `projection_kernel`.
        kernel_regularizer, recurrent_regularizer: Regularizers of the same
            weights, or None.
        bias_regularizer, projection_regularizer: As those.
        kernel_constraint, recurrent_constraint: Constraints of the same
            weights, or None.
        bias_constraint, projection_constraint: As those.
        seed: Int, seed of the dropout masks, or None for a random one.

    Call arguments:
        inputs: Tensor [B, D].
        states: One tensor for each of `spec.states`, `h` [B, P], others
            [B, H]; `[h, c]` as in `keras.layers.LSTMCell`. A single one may
            come without its list, as in `keras.layers.GRUCell`.
        training: Whether dropout applies.

    Returns:
        `(h, states)`.

    Raises:
        ValueError: If an argument breaks its rule, or if the equations ask
            for an input width that is not the input's.

    Example:

    >>> cell = NASCell(64, "nascell")
    >>> layer = keras.layers.RNN(cell, return_sequences=True)
    >>> layer(keras.ops.zeros((8, 35, 16))).shape
    TensorShape([8, 35, 64])

    Masking is left to `keras.layers.RNN`, which carries the states over.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.4.
    """

    def __init__(
        self,
        units: int,
        spec: CellSpec | str | Mapping[str, Any] = "nascell",
        projection: int | None = None,
        use_bias: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        projection_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        projection_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        projection_constraint: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = checked_int(units, "units", 1)
        self.spec = _resolve(spec)
        self.projection = (
            None
            if projection is None
            else checked_int(projection, "projection", 1)
        )
        self.use_bias = checked_bool(use_bias, "use_bias")
        self.dropout = checked_rate(dropout, "dropout")
        self.recurrent_dropout = checked_rate(
            recurrent_dropout, "recurrent_dropout"
        )
        initializer = keras.initializers.get
        self.kernel_initializer = initializer(kernel_initializer)
        self.recurrent_initializer = initializer(recurrent_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.projection_initializer = initializer(projection_initializer)
        regularizer = keras.regularizers.get
        self.kernel_regularizer = regularizer(kernel_regularizer)
        self.recurrent_regularizer = regularizer(recurrent_regularizer)
        self.bias_regularizer = regularizer(bias_regularizer)
        self.projection_regularizer = regularizer(projection_regularizer)
        constraint = keras.constraints.get
        self.kernel_constraint = constraint(kernel_constraint)
        self.recurrent_constraint = constraint(recurrent_constraint)
        self.bias_constraint = constraint(bias_constraint)
        self.projection_constraint = constraint(projection_constraint)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def output_size(self) -> int:
        """The width of the output: P."""
        return self.projection or self.units

    @property
    def state_size(self) -> list[int]:
        """The width of each state, in the order of `spec.states`."""
        return [
            self.output_size if state == "h" else self.units
            for state in self.spec.states
        ]

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.operand_widths = _operand_widths(self, input_shape[-1])
        for group in self.spec.graph.groups:
            role = "kernel" if group.is_of_x else "recurrent"
            width = self.operand_widths[group.name]
            shape = (width, len(group.terms) * self.units)
            # An attribute each: `tf.train.Checkpoint` sees none in a dict.
            weight = self._add_weight(role, group.name, shape)
            setattr(self, f"_{group.name}", weight)
        self.bias_slices, end = self._bias_slices()
        self.bias = self._add_weight("bias", "bias", (end,))
        shape = (self.units, self.projection or 0)
        self.projection_kernel = self._add_weight(
            "projection", "projection_kernel", shape
        )
        self.built = True

    @property
    def kernels(self) -> dict[str, keras.Variable]:
        """The kernels of a built cell by their names."""
        return {
            group.name: getattr(self, f"_{group.name}")
            for group in self.spec.graph.groups
        }

    @property
    def kernel(self) -> keras.Variable:
        """The kernel of the terms of x, of a built cell."""
        return self._kernel

    @property
    def recurrent_kernel(self) -> keras.Variable:
        """The kernel of the terms of h, of a built cell."""
        return self._recurrent_kernel

    def _add_weight(self, role: str, name: str, shape: tuple[int, ...]) -> Any:
        """Returns a new weight, or None where its shape has no elements."""
        if 0 in shape:
            return None
        return self.add_weight(
            shape=shape,
            name=name,
            initializer=getattr(self, f"{role}_initializer"),
            regularizer=getattr(self, f"{role}_regularizer"),
            constraint=getattr(self, f"{role}_constraint"),
        )

    def _bias_slices(self) -> tuple[dict[str, tuple[int, int]], int]:
        """Returns each group's begin and end in `bias`, and the last end."""
        slices, end = {}, 0
        for group in self.spec.graph.groups if self.use_bias else ():
            if not group.is_of_x:
                begin, end = end, end + len(group.terms) * self.units
                slices[group.name] = begin, end
        return slices, end

    def call(
        self, inputs: Any, states: Sequence[Any], training: bool = False
    ) -> tuple[Any, list[Any]]:
        names = self.spec.states
        states = checked_states(states, names)
        values = {"x": inputs, **dict(zip(names, states, strict=True))}
        masks = self.dropout_masks(inputs, values["h"], training)

        def linear(group: LinearGroup, operand: Any) -> list[Any]:
            if group.name in masks:
                operand = operand * masks[group.name]
            product = keras.ops.matmul(operand, self.kernels[group.name])
            if group.name in self.bias_slices:
                begin, end = self.bias_slices[group.name]
                product = keras.ops.add(product, self.bias[begin:end])
            return keras.ops.split(product, len(group.terms), axis=-1)

        new_states = self.spec.graph.evaluate(keras.ops, values, linear)
        position = names.index("h")
        if self.projection_kernel is not None:
            new_states[position] = keras.ops.matmul(
                new_states[position], self.projection_kernel
            )
        return new_states[position], new_states

    def dropout_masks(self, x: Any, h: Any, training: bool) -> dict[str, Any]:
        """Returns the masks of the operands that dropout applies to.

        Args:
            x: [B, D], the input of a step, for the batch size.
            h: [B, P], the state `h` of a step.
            training: Whether dropout applies.

        Returns:
            A mask [B, width] of each operand by the name of its kernel.
        """
        masks = {}
        if training and self.dropout:
            masks["kernel"] = self.get_dropout_mask(x)
        if training and self.recurrent_dropout:
            of_width = self.get_recurrent_dropout_mask(h)
            for name, width in self.operand_widths.items():
                if name != "kernel":
                    masks[name] = of_width[width]
        return masks

    def get_recurrent_dropout_mask(self, step_input: Any) -> Any:
        """Returns a mask for each width of an operand, made once a sequence.

        `keras.layers.RNN` calls this at the start of a sequence with the
        first state. Operands of equal width share a mask.
        """
        if not self.recurrent_dropout:
            return None
        if getattr(self, "_recurrent_dropout_mask", None) is None:
            batch_size = keras.ops.shape(step_input)[0]
            widths = {
                width
                for name, width in self.operand_widths.items()
                if name != "kernel"
            }
            self._recurrent_dropout_mask = {
                width: keras.random.dropout(
                    keras.ops.ones((batch_size, width), self.compute_dtype),
                    self.recurrent_dropout,
                    seed=self.seed_generator,
                )
                for width in sorted(widths)
            }
        return self._recurrent_dropout_mask

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Returns zeros: `h` [B, P] and the other states [B, H]."""
        return [
            keras.ops.zeros((batch_size, width), dtype=self.compute_dtype)
            for width in self.state_size
        ]

    def get_config(self) -> dict[str, Any]:
        config = {
            "units": self.units,
            "spec": self.spec.to_dict(),
            "projection": self.projection,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }
        for kind in ("initializer", "regularizer", "constraint"):
            serialize = getattr(keras, f"{kind}s").serialize
            for role in WEIGHTS:
                value = getattr(self, f"{role}_{kind}")
                config[f"{role}_{kind}"] = serialize(value)
        return {**super().get_config(), **config}


def checked_states(states: Any, names: Sequence[str]) -> list[Any]:
    """Returns the states of a call as a list, one for each name.

    Args:
        states: A list or a tuple, or the tensor of a single state.
        names: The names of the states.

    Raises:
        ValueError: If there are more or fewer than names.
    """
    if not isinstance(states, list | tuple):
        states = [states]
    if len(states) != len(names):
        raise ValueError(
            f"The states must be {list(names)}, in this order. Received: "
            f"{len(states)} of them."
        )
    return list(states)


def _resolve(spec: CellSpec | str | Mapping[str, Any]) -> CellSpec:
    if isinstance(spec, CellSpec):
        return spec
    if isinstance(spec, Mapping):
        return CellSpec.from_dict(spec)
    if not isinstance(spec, str | os.PathLike):
        raise ValueError(
            "spec must be a CellSpec, its dict, the name of a cell or the path "
            f"of its file. Received: spec={spec!r}."
        )
    return load_spec(spec)


def _operand_widths(cell: NASCell, input_width: int | None) -> dict[str, int]:
    """Returns the width of the operand of each kernel, by its name.

    Raises:
        ValueError: If the input has no width, or two widths meet that differ.
    """
    if input_width is None:
        raise ValueError(
            "The last axis of the input must be known. Received: None."
        )
    graph, output_width = cell.spec.graph, cell.output_size
    try:
        return graph.operand_widths(input_width, cell.units, output_width)
    except WidthError as error:
        equation = cell.spec.equations[error.equation]
        raise ValueError(
            f"cell {cell.spec.name!r}: equation {error.equation + 1} "
            f"({equation!r}) joins widths {sorted(error.widths)}. Here x has "
            f"width {input_width}, h {cell.output_size}, linear terms and "
            f"other states {cell.units}. Received: units={cell.units}, "
            f"projection={cell.projection}."
        ) from None
