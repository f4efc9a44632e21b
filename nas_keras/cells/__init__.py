"""Recurrent cells: specs (equations), and the Keras layers that run them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "drawing": ["draw"],
        "nas_cell": ["NASCell"],
        "nas_rnn": ["NASRNN"],
        "spec": [
            "CellSpec",
            "Cost",
            "load_spec",
            "published_cells",
            "register_cell",
            "save_spec",
        ],
        "sizing": ["units_for_parameters"],
        "tfa": ["import_tfa_weights"],
    },
)
