"""NumPy re-implementations of cells: written from the papers, one gate a line.

Nothing here comes from `nas_keras`. Axes: B batch, D input width, H units, P
projection (or H). A kernel `[D, n*H]` holds its n gates' columns in order.
Every cell returns its new states, `h` [B, P] first; a bias is that of the
recurrent products.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.where(a > 0, a, 0)


def _gate(values, kernel, k, units, bias=None):
    columns = slice(k * units, (k + 1) * units)
    product = values @ kernel[:, columns]
    return product if bias is None else product + bias[columns]


def lstm(x, h, c, kernel, recurrent_kernel, bias=None, projection=None):
    """Hochreiter & Schmidhuber, 1997; gates in the order i, f, g, o."""
    units = c.shape[-1]

    def z(k):
        return _gate(x, kernel, k, units) + _gate(
            h, recurrent_kernel, k, units, bias
        )

    input_gate = sigmoid(z(0))
    forget_gate = sigmoid(z(1))
    candidate = np.tanh(z(2))
    output_gate = sigmoid(z(3))
    next_c = forget_gate * c + input_gate * candidate
    next_h = output_gate * np.tanh(next_c)
    return _project(next_h, projection), next_c


def gru(
    x, h, kernel, recurrent_kernel, candidate_kernel, bias=None, projection=None
):
    """Cho et al., 2014; the reset gate acts on h, before the product.

    Gates in the order z, r, n; the bias of n is the last third.
    """
    units = candidate_kernel.shape[-1]
    update = sigmoid(
        _gate(x, kernel, 0, units) + _gate(h, recurrent_kernel, 0, units, bias)
    )
    reset = sigmoid(
        _gate(x, kernel, 1, units) + _gate(h, recurrent_kernel, 1, units, bias)
    )
    recurrent = (reset * h) @ candidate_kernel
    if bias is not None:
        recurrent = recurrent + bias[2 * units :]
    candidate = np.tanh(_gate(x, kernel, 2, units) + recurrent)
    next_h = update * h + (1 - update) * candidate
    return (_project(next_h, projection),)


def nascell(x, h, c, kernel, recurrent_kernel, bias=None, projection=None):
    """Zoph & Le, 2017, as in TensorFlow Addons; leaf 3 is the product."""
    units = c.shape[-1]
    xs = [_gate(x, kernel, k, units) for k in range(8)]
    hs = [_gate(h, recurrent_kernel, k, units, bias) for k in range(8)]
    leaf_0 = sigmoid(xs[0] + hs[0])
    leaf_1 = relu(xs[1] + hs[1])
    leaf_2 = sigmoid(xs[2] + hs[2])
    leaf_3 = relu(xs[3] * hs[3])
    leaf_4 = np.tanh(xs[4] + hs[4])
    leaf_5 = sigmoid(xs[5] + hs[5])
    leaf_6 = np.tanh(xs[6] + hs[6])
    leaf_7 = sigmoid(xs[7] + hs[7])
    node_8 = np.tanh(leaf_0 * leaf_1)
    node_9 = np.tanh(leaf_2 + leaf_3)
    node_10 = np.tanh(leaf_4 * leaf_5)
    node_11 = sigmoid(leaf_6 + leaf_7)
    injected = np.tanh(node_8 + c)
    next_c = injected * node_9
    node_13 = np.tanh(node_10 + node_11)
    next_h = np.tanh(next_c * node_13)
    return _project(next_h, projection), next_c


def _project(h, projection):
    return h if projection is None else h @ projection


def tree_cell(
    tokens, base, combines, activations, x, h, c, kernel, recurrent_kernel
):
    """Any tree of Zoph & Le, 2017, section 3.4, straight from its tokens.

    Where the paper is silent: an injected root is the output, and a node of
    both cell indices gives its value before the injection.
    """
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum}
    activation = {
        "identity": lambda a: a,
        "tanh": np.tanh,
        "sigmoid": sigmoid,
        "relu": relu,
        "sin": np.sin,
    }
    units = c.shape[-1]
    cell_index, inject_index = tokens[-2], tokens[-1]
    outputs = {}
    next_c = None
    for node in range(2 * base - 1):
        join = combine[combines[tokens[2 * node]]]
        activate = activation[activations[tokens[2 * node + 1]]]
        if node < base:
            left = _gate(x, kernel, node, units)
            right = _gate(h, recurrent_kernel, node, units)
        else:
            left = outputs[2 * (node - base)]
            right = outputs[2 * (node - base) + 1]
        before = join(left, right)
        if node == cell_index:
            next_c = before
        after = activate(before)
        if node == inject_index:
            join = combine[combines[tokens[-4]]]
            after = activation[activations[tokens[-3]]](join(after, c))
        outputs[node] = after
    return outputs[2 * base - 2], next_c
