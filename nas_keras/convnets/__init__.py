"""Image networks: specs (layers or cells), and the Keras models they name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_convnet", "multiply_adds"],
        "drawing": ["draw"],
        "drop_path": ["DropPath"],
        "files": ["load_convnet", "published_convnets", "save_convnet"],
        "resnet": ["resnet_spec"],
        "spec": [
            "ConvLayer",
            "ConvNetSpec",
            "ConvNode",
            "MicroNetSpec",
            "loose_ends",
            "spec_from_dict",
        ],
    },
)
