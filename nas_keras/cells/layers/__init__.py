"""The Keras layers that run a cell: one step, or a sequence, fast.

The names of their arguments are here since Keras, once imported, imports
`nas_rnn` (see `registration.py`), often while `nas_cell` still waits for Keras.
"""

WEIGHTS = ("kernel", "recurrent", "bias", "projection")
# The arguments of `NASCell` but for units and spec.
CELL_ARGUMENTS = (
    "projection",
    "use_bias",
    "dropout",
    "recurrent_dropout",
    "seed",
    *(
        f"{role}_{kind}"
        for kind in ("initializer", "regularizer", "constraint")
        for role in WEIGHTS
    ),
)
