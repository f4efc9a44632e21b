"""The residual networks that found ones are compared with. No Keras."""

from nas_keras.checks import checked_int
from nas_keras.convnets.spec import ConvLayer
from nas_keras.convnets.spec import ConvNetSpec

_STAGES = 3
_BLOCK = 2  # Layers of a residual block.


def resnet_spec(depth: int = 20, filters: int = 16) -> ConvNetSpec:
    """Returns the residual network for CIFAR-10 of a depth.

    Three stages of blocks of two 3x3 convolutions; each stage but the first
    begins with a stride of 2 and has twice the filters of the one before.
    The paper's shortcuts between stages pad with zeros; ours are 1x1
    convolutions.

    Args:
        depth: 6n + 2: convolutions, and the classifier.
        filters: Of the first stage.

    Raises:
        ValueError: If an argument is out of range.

    Reference:
        [He et al., 2016](https://arxiv.org/abs/1512.03385), section 4.2.
    """
    blocks, rest = divmod(checked_int(depth, "depth", 8) - 2, 6)
    if rest:
        raise ValueError(
            f"depth must be 6n + 2, of n blocks a stage. Received: "
            f"depth={depth}."
        )
    filters = checked_int(filters, "filters", 1)
    layers = [ConvLayer("conv", filters=filters)]
    for number in range(_STAGES * blocks):
        stage = number // blocks
        stride = (2, 2) if stage and number % blocks == 0 else (1, 1)
        width = filters * 2**stage
        shortcut = (len(layers) - 1,)
        layers += [
            ConvLayer("conv", stride=stride, filters=width),
            ConvLayer("conv", filters=width, inputs=shortcut),
        ]
    name = f"resnet_{depth}"
    if filters != 16:
        name += f"_{filters}"
    return ConvNetSpec(
        name,
        tuple(layers),
        wiring="residual",
        provenance={
            "source": "He et al. 2016, for CIFAR-10",
            "reference": "https://arxiv.org/abs/1512.03385",
        },
    )
