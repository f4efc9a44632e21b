"""Image networks: specs (layers or cells), and the Keras models they name."""

from nas_keras import facade

__getattr__, __dir__, __all__ = facade.attach(
    __name__,
    submod_attrs={
        "convnets.build": ["build_convnet", "multiply_adds"],
        "convnets.drop_path": ["DropPath"],
        "convnets.files": [
            "load_convnet",
            "published_convnets",
            "save_convnet",
        ],
        "convnets.resnet": ["resnet_spec"],
        "convnets.spec": [
            "ConvLayer",
            "ConvNetSpec",
            "ConvNode",
            "MicroNetSpec",
            "loose_ends",
            "spec_from_dict",
        ],
        "drawing.convnets": ["draw"],
    },
)
