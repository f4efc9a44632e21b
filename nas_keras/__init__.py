"""Recurrent cells, image networks and architecture search for Keras 3.

    cells         CellSpec, NASCell, NASRNN: what a cell is, and its layers
    convnets      ConvNetSpec, MicroNetSpec: image networks, and their models
    spaces        what may be built
    controllers   what proposes, and learns from evaluations
    tasks, data   what an architecture is good for; the only thing that trains
    search        the loop, and the evaluators that turn tokens into evaluations
    report        what a run shows

The other packages are their inside: drawing; supernets, evaluators; experiment,
recipes, programs (a configured search and its command line); distribute,
storage.

Nothing here imports Keras or TensorFlow until a name needs it, so a program
tells of a mistake in its arguments at once. Saved models still load after a
bare `import nas_keras`: see `registration.py`.
"""

import lazy_loader

from nas_keras import registration
from nas_keras.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cells.language.sizing": ["units_for_parameters"],
        "cells.language.spec": [
            "CellSpec",
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

registration.register_layers_with_keras()
