"""What tests of shared image networks share: spaces, and networks in NumPy.

The latter know of the networks the names of their weights and what the paper
says.
"""

import numpy as np

from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from tests import convnet_oracles as oracles

MACRO = enas_macro_space(4, filters=4)
MICRO = enas_micro_space(2, cells=3, filters=2)
# Of few branches: to trace the training of one takes a second.
SMALL_MACRO = enas_macro_space(2, filters=4)
SMALL_MICRO = enas_micro_space(1, cells=1, filters=4)
CLASSES = 3


def random_tokens(space, num, seed=0):
    rng = np.random.default_rng(seed)
    shape = (num, len(space.choices))
    return rng.integers(space.num_options, size=shape).astype(np.int32)


class _Net:
    """The steps of both networks, by the weights' names."""

    def __init__(self, network):
        self.weights = {
            weight.name: np.array(weight, np.float64)
            for weight in network.trainable_variables
        }

    def norm(self, x, name, row=...):
        mean = x.mean(axis=(0, 1, 2))
        variance = x.var(axis=(0, 1, 2))
        scale = self.weights[f"{name}_scale"][row]
        offset = self.weights[f"{name}_offset"][row]
        return scale * (x - mean) / np.sqrt(variance + 1e-5) + offset

    def conv(self, x, name):
        return self.norm(oracles.conv(x, self.weights[f"{name}_kernel"]), name)

    def separable(self, x, name, row=...):
        depthwise = self.weights[f"{name}_depthwise_kernel"][row]
        x = oracles.depthwise(x, depthwise)
        pointwise = self.weights[f"{name}_pointwise_kernel"][row]
        return self.norm(oracles.conv(x, pointwise), name, row)

    def halved(self, x, name):
        even = x[:, ::2, ::2] @ self.weights[f"{name}_kernel"][0, 0]
        shifted = np.pad(x[:, 1:, 1:], [(0, 0), (0, 1), (0, 1), (0, 0)])
        kernel = self.weights[f"{name}_shifted_kernel"][0, 0]
        odd = shifted[:, ::2, ::2] @ kernel
        return self.norm(np.concatenate([even, odd], -1), name)

    def logits(self, x):
        return x.mean(axis=(1, 2)) @ self.weights["head_kernel"]


def macro_logits(network, images, tokens):
    """Returns the logits of a network of the space `MACRO`."""
    net, tokens = _Net(network), list(tokens)
    x, outputs = net.conv(images, "stem"), []
    for layer in range(4):
        if layer in (1, 2):
            outputs = [
                net.halved(output, f"layer_{layer}_reduction_{k}")
                for k, output in enumerate(outputs)
            ]
            x = outputs[-1]
        operation = tokens.pop(0)
        name = f"layer_{layer}_{operation}"
        x = oracles.relu(net.conv(x, f"{name}_1x1"))
        if operation in (0, 2):
            x = oracles.relu(net.conv(x, name))
        elif operation in (1, 3):
            x = oracles.relu(net.separable(x, name))
        else:
            pool = (oracles.average_pool, oracles.max_pool)[operation - 4]
            x = pool(x, (3, 3), (1, 1))
        if layer:
            for output in outputs:
                x = x + tokens.pop(0) * output
            x = net.norm(x, f"layer_{layer}_sum")
        outputs.append(x)
    return net.logits(x)


def micro_logits(network, images, tokens):
    """Returns the logits of a network of the space `MICRO`."""
    net, filters = _Net(network), 2
    x = net.conv(images, "stem")
    before, last = x, x
    for cell in range(5):
        name, own = f"cell_{cell}", tokens[:8]
        is_reduced = cell in (1, 3)
        if is_reduced:
            filters, own = 2 * filters, tokens[8:]
            before, last = last, net.halved(last, f"{name}_reduction")
        fit_before = net.halved if is_reduced else net.conv
        nodes = [before, last]
        if is_reduced or before.shape[-1] != filters:
            nodes[0] = fit_before(oracles.relu(before), f"{name}_before")
        if last.shape[-1] != filters:
            nodes[1] = net.conv(oracles.relu(last), f"{name}_last")
        read = set()
        for node in (2, 3):
            a, b, first, second = own[4 * node - 8 : 4 * node - 4]
            read |= {a, b}
            nodes.append(
                _operation(net, nodes[a], f"{name}_{node}_x", a, first)
                + _operation(net, nodes[b], f"{name}_{node}_y", b, second)
            )
        total = 0
        for number, node in enumerate(nodes):
            if number not in read:
                kernel = net.weights[f"{name}_{number}_out_kernel"]
                total = total + oracles.conv(oracles.relu(node), kernel)
        before, last = last, net.norm(total, f"{name}_out")
    return net.logits(oracles.relu(last))


def _operation(net, x, name, read, operation):
    if operation == 2:
        return oracles.average_pool(x, (3, 3), (1, 1))
    if operation == 3:
        return oracles.max_pool(x, (3, 3), (1, 1))
    if operation == 4:
        return x
    for k in range(2):
        size = (3, 5)[operation]
        x = net.separable(oracles.relu(x), f"{name}_{size}_{k}", read)
    return x
