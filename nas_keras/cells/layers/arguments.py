"""Names of the arguments of cells. No TensorFlow, no Keras."""

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
