"""Recurrent cells: what they are, and the Keras layers that run them.

language    CellSpec, its equations, their graph, fingerprint, size
layers      NASCell, NASRNN
"""

from nas_keras import facade

__getattr__, __dir__, __all__ = facade.attach(
    __name__,
    submod_attrs={
        "cells.language.sizing": ["units_for_parameters"],
        "cells.language.spec": [
            "CellSpec",
            "Cost",
            "load_spec",
            "published_cells",
            "register_cell",
            "save_spec",
        ],
        "cells.layers.nas_cell": ["NASCell"],
        "cells.layers.nas_rnn": ["NASRNN"],
        "cells.layers.tfa": ["import_tfa_weights"],
        "drawing.cells": ["draw"],
    },
)
