"""NumPy versions of the image networks, written from what the specs say.

Maps are [B, height, width, channels]. Weights come as `{name of the Keras
layer: its arrays}`; only those names are known here, nothing of how the
networks are built.
"""

import math

import numpy as np

EPSILON = 1e-5


def same(x, kernel, stride, fill=0.0):
    """Pads so that a window has ceil(size / stride) places, more behind."""
    pads = []
    for size, k, s in zip(x.shape[1:3], kernel, stride, strict=True):
        total = max((math.ceil(size / s) - 1) * s + k - size, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)


def windows(x, kernel, stride):
    """Returns [B, rows, columns, channels, kernel height, kernel width]."""
    found = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return found[:, :: stride[0], :: stride[1]]


def conv(x, kernel, stride=(1, 1)):
    size = kernel.shape[:2]
    found = windows(same(x, size, stride), size, stride)
    return np.einsum("bhwcij,ijcd->bhwd", found, kernel)


def depthwise(x, kernel, stride=(1, 1)):
    size = kernel.shape[:2]
    found = windows(same(x, size, stride), size, stride)
    return np.einsum("bhwcij,ijc->bhwc", found, kernel[..., 0])


def max_pool(x, size, stride):
    found = windows(same(x, size, stride, -np.inf), size, stride)
    return found.max(axis=(-2, -1))


def average_pool(x, size, stride):
    total = windows(same(x, size, stride), size, stride).sum(axis=(-2, -1))
    inside = same(np.ones_like(x), size, stride)
    return total / windows(inside, size, stride).sum(axis=(-2, -1))


def norm(x, arrays):
    gamma, beta, mean, variance = arrays
    return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


def relu(x):
    return np.maximum(x, 0)


class Net:
    """The steps that several networks have, with the weights of one."""

    def __init__(self, weights):
        self.weights = weights

    def conv_norm(self, x, name, stride=(1, 1)):
        return norm(
            conv(x, *self.weights[f"{name}_conv"], stride),
            self.weights[f"{name}_norm"],
        )

    def relu_conv_norm(self, x, name):
        return self.conv_norm(relu(x), name)

    def separable(self, x, name, stride):
        x = depthwise(x, *self.weights[f"{name}_conv_depthwise"], stride)
        x = conv(x, *self.weights[f"{name}_conv_pointwise"])
        return norm(x, self.weights[f"{name}_norm"])

    def operation(self, x, name, layer, stride):
        if layer.operation == "conv":
            return self.conv_norm(x, name, stride)
        if layer.operation == "separable_conv":
            return self.separable(x, name, stride)
        pool = max_pool if layer.operation == "max_pool" else average_pool
        return pool(x, layer.kernel, stride)

    def halved(self, x, name):
        shifted = np.pad(x[:, 1:, 1:], [(0, 0), (0, 1), (0, 1), (0, 0)])
        even = x[:, ::2, ::2] @ self.weights[f"{name}_even"][0][0, 0]
        odd = shifted[:, ::2, ::2] @ self.weights[f"{name}_odd"][0][0, 0]
        both = np.concatenate([even, odd], -1)
        return norm(both, self.weights[f"{name}_norm"])

    def logits(self, x, name="logits"):
        kernel, *bias = self.weights[name]
        return x.mean(axis=(1, 2)) @ kernel + (bias[0] if bias else 0)


def joined(maps):
    height = max(x.shape[1] for x in maps)
    width = max(x.shape[2] for x in maps)
    padded = []
    for x in maps:
        up, left = (height - x.shape[1]) // 2, (width - x.shape[2]) // 2
        frame = np.zeros((len(x), height, width, x.shape[3]))
        frame[:, up : up + x.shape[1], left : left + x.shape[2]] = x
        padded.append(frame)
    return np.concatenate(padded, -1)


def concat(spec, images, weights):
    net, outputs, read = Net(weights), [], set()
    for number, layer in enumerate(spec.layers):
        x = images
        if layer.inputs:
            x = joined([outputs[k] for k in layer.inputs])
            read |= set(layer.inputs)
        x = net.operation(x, f"layer_{number}", layer, layer.stride)
        outputs.append(relu(x) if "conv" in layer.operation else x)
    ends = [x for k, x in enumerate(outputs) if k not in read]
    return net.logits(joined(ends))


def macro(spec, images, weights):
    net = Net(weights)
    x = net.conv_norm(images, "stem")
    outputs = []
    for number, layer in enumerate(spec.layers):
        name = f"layer_{number}"
        if layer.stride == (2, 2):
            later = [set(other.inputs) for other in spec.layers[number:]]
            x = net.halved(x, f"{name}_half_{number - 1}")
            for k in range(number - 1):
                if any(k in inputs for inputs in later):
                    half = f"{name}_half_{k}"
                    outputs[k] = net.halved(outputs[k], half)
            if outputs:
                outputs[-1] = x
        x = relu(net.relu_conv_norm(x, f"{name}_in"))
        x = net.operation(x, name, layer, (1, 1))
        if number:
            x = np.concatenate([*(outputs[k] for k in layer.inputs), x], -1)
            x = net.relu_conv_norm(x, f"{name}_out")
        outputs.append(x)
    return net.logits(x)


def residual(spec, images, weights):
    net, outputs, x = Net(weights), [], images
    for number, layer in enumerate(spec.layers):
        name = f"layer_{number}"
        x = net.operation(x, name, layer, layer.stride)
        for k in layer.inputs:
            y = outputs[k]
            if y.shape != x.shape:
                step = (
                    math.ceil(y.shape[1] / x.shape[1]),
                    math.ceil(y.shape[2] / x.shape[2]),
                )
                y = net.conv_norm(y, f"{name}_from_{k}", step)
            x = x + y
        x = relu(x)
        outputs.append(x)
    return net.logits(x)


WIRINGS = {"concat": concat, "macro": macro, "residual": residual}


def micro(spec, images, weights):
    """Returns the logits and the auxiliary logits."""
    net, filters = Net(weights), spec.filters
    x = net.conv_norm(images, "stem")
    outputs = [x, x]
    third = spec.num_cells // 3
    for number in range(spec.num_cells + 2):
        reduces = number in (third, 2 * third + 1)
        filters *= 1 + reduces
        nodes = spec.reduction if reduces else spec.normal
        outputs.append(
            _cell(net, outputs[-2:], nodes, f"cell_{number}", filters, reduces)
        )
    auxiliary = None
    if "auxiliary_logits" in weights:
        auxiliary = _auxiliary(net, outputs[2 * third + 4])
    return net.logits(relu(outputs[-1])), auxiliary


def _cell(net, inputs, nodes, name, filters, reduces):
    x, y = inputs
    if x.shape[1:3] != y.shape[1:3]:
        x = net.halved(relu(x), f"{name}_node_0")
    elif x.shape[3] != filters:
        x = net.relu_conv_norm(x, f"{name}_node_0")
    if y.shape[3] != filters:
        y = net.relu_conv_norm(y, f"{name}_fit_1")
    values = [x, net.relu_conv_norm(y, f"{name}_node_1")]
    used = set()
    for number, node in enumerate(nodes, 2):
        total = 0
        for side, k, operation in zip(
            "ab", node.inputs, node.operations, strict=True
        ):
            used.add(k)
            stride = (2, 2) if reduces and k < 2 else (1, 1)
            branch = f"{name}_node_{number}_{side}"
            total = total + _branch(net, values[k], branch, operation, stride)
        values.append(total)
    ends = []
    for k, x in enumerate(values):
        if k not in used:
            if x.shape[1:3] != values[-1].shape[1:3]:
                x = net.halved(x, f"{name}_half_{k}")
            ends.append(x)
    return np.concatenate(ends, -1)


def _branch(net, x, name, operation, stride):
    if operation == "identity":
        return net.halved(x, f"{name}_half") if stride == (2, 2) else x
    if operation == "average_pool_3x3":
        return average_pool(x, (3, 3), stride)
    if operation == "max_pool_3x3":
        return max_pool(x, (3, 3), stride)
    x = net.separable(relu(x), f"{name}_0", stride)
    return net.separable(relu(x), f"{name}_1", (1, 1))


def _auxiliary(net, x):
    x = windows(relu(x), (5, 5), (3, 3)).mean(axis=(-2, -1))
    x = x @ net.weights["auxiliary_conv_0"][0][0, 0]
    x = relu(norm(x, net.weights["auxiliary_norm_0"]))
    x = np.einsum("bijc,ijcd->bd", x, *net.weights["auxiliary_conv_1"])
    x = relu(norm(x, net.weights["auxiliary_norm_1"]))
    return x @ net.weights["auxiliary_logits"][0]
