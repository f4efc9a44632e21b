"""NumPy re-implementations of cells: written from the papers, one gate a line.

Nothing here comes from `nas_keras`. Axes: B batch, D input width, H units, P
projection (or H). A kernel `[D, n*H]` holds its n gates' columns in order.
Every cell returns its new states, `h` [B, P] first; a bias is that of the
recurrent products. `CELLS` at the end names them all.
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


def tree8_char(x, h, c, kernel, recurrent_kernel, bias=None, projection=None):
    """Found by the package: all but the leaves 1, 6 and 7 are products."""
    units = c.shape[-1]
    xs = [_gate(x, kernel, k, units) for k in range(8)]
    hs = [_gate(h, recurrent_kernel, k, units, bias) for k in range(8)]
    next_c = xs[5] * hs[5]
    left = np.tanh(xs[0] * hs[0]) + xs[1] + hs[1]
    left += relu(xs[2] * hs[2]) + xs[3] * hs[3]
    right = np.tanh(sigmoid(xs[4] * hs[4]) + np.tanh(next_c))
    right += sigmoid(np.tanh(xs[6] + hs[6]) + relu(xs[7] + hs[7]) + c)
    return _project(left + right, projection), next_c


def _project(h, projection):
    return h if projection is None else h @ projection


# Cells whose weights come as a mapping, by the names of a layer's weights:
# `kernel`, `recurrent_kernel`, `kernel_<operand>`, and `bias` if there is one.


def _split(values, units):
    """Takes the last axis apart: one array for each `units` columns."""
    return np.split(values, values.shape[-1] // units, axis=-1)


def _biases(weights, count, units):
    """Returns `count` biases of `units` each; zeros where there is none."""
    return _split(weights.get("bias", np.zeros(count * units)), units)


def simple_rnn(x, h, weights):
    """Elman, 1990, with tanh."""
    (b,) = _biases(weights, 1, h.shape[-1])
    product = x @ weights["kernel"] + h @ weights["recurrent_kernel"]
    return (np.tanh(product + b),)


def gru_reset_after(x, h, weights):
    """The GRU whose reset gate acts on the product with h, bias and all."""
    units = h.shape[-1]
    w_z, w_r, w_n = _split(weights["kernel"], units)
    u_z, u_r, u_n = _split(weights["recurrent_kernel"], units)
    b_z, b_r, b_n = _biases(weights, 3, units)
    update = sigmoid(x @ w_z + h @ u_z + b_z)
    reset = sigmoid(x @ w_r + h @ u_r + b_r)
    candidate = np.tanh(x @ w_n + reset * (h @ u_n + b_n))
    return (update * h + (1 - update) * candidate,)


def ugrnn(x, h, weights):
    """Collins et al., 2017, with the forget bias of TensorFlow 1 contrib."""
    units = h.shape[-1]
    matrix = np.concatenate([weights["kernel"], weights["recurrent_kernel"]])
    bias = np.concatenate(_biases(weights, 2, units))
    both = np.concatenate([x, h], axis=-1) @ matrix + bias
    gate = sigmoid(both[:, :units] + 1.0)
    candidate = np.tanh(both[:, units:])
    return (gate * h + (1 - gate) * candidate,)


def mut1(x, h, weights):
    """Jozefowicz et al., 2015: MUT1, its tanh(x) with x projected."""
    units = h.shape[-1]
    w_xz, w_xr, w_xh = _split(weights["kernel"], units)
    w_hr, w_hh = weights["recurrent_kernel"], weights["kernel_0"]
    b_r, b_h = _biases(weights, 2, units)
    z = sigmoid(x @ w_xz)
    r = sigmoid(x @ w_xr + h @ w_hr + b_r)
    candidate = np.tanh((r * h) @ w_hh + np.tanh(x @ w_xh) + b_h)
    return (candidate * z + h * (1 - z),)


def mut2(x, h, weights):
    """Jozefowicz et al., 2015: MUT2, the x of its r projected."""
    units = h.shape[-1]
    w_xz, w_xr, w_xh = _split(weights["kernel"], units)
    w_hz, w_hr = _split(weights["recurrent_kernel"], units)
    b_z, b_r, b_h = _biases(weights, 3, units)
    z = sigmoid(x @ w_xz + h @ w_hz + b_z)
    r = sigmoid(x @ w_xr + h @ w_hr + b_r)
    candidate = np.tanh((r * h) @ weights["kernel_0"] + x @ w_xh + b_h)
    return (candidate * z + h * (1 - z),)


def mut3(x, h, weights):
    """Jozefowicz et al., 2015: MUT3, whose z reads tanh(h)."""
    units = h.shape[-1]
    w_xz, w_xr, w_xh = _split(weights["kernel"], units)
    w_hz, w_hh = weights["kernel_0"], weights["kernel_1"]
    b_r, b_z, b_h = _biases(weights, 3, units)  # Those of h come first.
    z = sigmoid(x @ w_xz + np.tanh(h) @ w_hz + b_z)
    r = sigmoid(x @ w_xr + h @ weights["recurrent_kernel"] + b_r)
    candidate = np.tanh((r * h) @ w_hh + x @ w_xh + b_h)
    return (candidate * z + h * (1 - z),)


def recurrent_highway(depth, x, h, weights):
    """Zilly et al., 2017: `depth` layers, carry 1 - t, x in the first."""
    units = h.shape[-1]
    names = ["recurrent_kernel", *(f"kernel_s{k}" for k in range(1, depth))]
    biases = _biases(weights, 2 * depth, units)
    state = h
    for layer, name in enumerate(names):
        r_h, r_t = _split(weights[name], units)
        b_h, b_t = biases[2 * layer : 2 * layer + 2]
        candidate, transform = state @ r_h + b_h, state @ r_t + b_t
        if layer == 0:
            w_h, w_t = _split(weights["kernel"], units)
            candidate, transform = candidate + x @ w_h, transform + x @ w_t
        candidate, transform = np.tanh(candidate), sigmoid(transform)
        carry = 1 - transform
        state = candidate * transform + state * carry
    return (state,)


# Chains of highway nodes. Node 0 reads x and h, any other an earlier node.

_FUNCTIONS = {
    "tanh": np.tanh,
    "relu": relu,
    "sigmoid": sigmoid,
    "identity": lambda a: a,
}
ENAS_PTB = [0, 0, 0, 1, 1, 2, 1, 2, 0, 2, 0, 5, 1, 1, 0, 6, 1, 8, 1, 8, 1, 8, 1]
ENAS_LM = [0, 2, 1, 0, 2, 1, 2, 2, 4, 0, 5, 0, 3, 2, 6, 2]


def _genotype(text, concat):
    recurrent = [[word[:-1], int(word[-1])] for word in text.split()]
    return {"recurrent": recurrent, "concat": list(concat)}


DARTS_V1 = _genotype(
    "relu0 relu1 tanh2 relu3 relu4 identity1 relu5 relu1", range(1, 9)
)
DARTS_V2 = _genotype(
    "sigmoid0 relu1 relu1 identity1 tanh2 sigmoid5 tanh3 relu5", range(1, 9)
)
# The cell of ENAS_PTB as the authors of DARTS write it.
DARTS_ENAS = _genotype(
    "tanh0 tanh1 relu1 tanh3 tanh3 relu3 relu4 relu7 relu8 relu8 relu8",
    (2, 5, 6, 9, 10, 11),
)


def nodes_of_arc(arc):
    """Returns [(function, node read)] and the averaged nodes of an ENAS arc.

    The arc of the first program has 2N - 1 numbers: the function of node 0,
    then the node read and the function of each other; loose ends are
    averaged. That of enas_lm has N pairs: node 0 is tanh, all others are
    averaged, and two functions have each other's number.
    """
    if len(arc) % 2:
        functions = ["tanh", "relu", "identity", "sigmoid"]
        first, pairs = functions[arc[0]], arc[1:]
    else:
        functions = ["tanh", "relu", "sigmoid", "identity"]
        first, pairs = "tanh", arc
    reads = pairs[::2]
    others = [functions[code] for code in pairs[1::2]]
    nodes = [(first, None), *zip(others, reads, strict=True)]
    if len(arc) % 2:
        averaged = [k for k in range(len(nodes)) if k not in reads]
    else:
        averaged = list(range(1, len(nodes)))
    return nodes, averaged


def nodes_of_genotype(genotype):
    """Returns [(function, node read)] and the averaged nodes of DARTS."""
    nodes = [("tanh", None), *map(tuple, genotype["recurrent"])]
    return nodes, genotype["concat"]


def enas_cell(arc, x, h, matrices, biases):
    """Pham et al., 2018: s_i = c * f(s_j W_h) + (1 - c) * s_j.

    Args:
        arc: See `nodes_of_arc`.
        x: [B, D].
        h: [B, H].
        matrices: One a node, [D + H, 2H] for node 0 and [H, 2H] for others;
            columns of the candidate, then of the gate c.
        biases: One a node, [2H].
    """
    nodes, averaged = nodes_of_arc(arc)
    states = []
    for node, matrix, bias in zip(nodes, matrices, biases, strict=True):
        function, read = node
        previous = h if read is None else states[read]
        operand = np.concatenate([x, h], axis=-1) if read is None else previous
        candidate, gate = np.split(operand @ matrix + bias, 2, axis=-1)
        c = sigmoid(gate)
        states.append(c * _FUNCTIONS[function](candidate) + (1 - c) * previous)
    return (np.mean([states[k] for k in averaged], axis=0),)


def darts_cell(genotype, x, h, matrices, biases):
    """Liu et al., 2019: the gate's columns come before the candidate's.

    Arguments as of `enas_cell`, but for the order of the columns.
    """
    nodes, averaged = nodes_of_genotype(genotype)
    states = []
    for node, matrix, bias in zip(nodes, matrices, biases, strict=True):
        function, read = node
        previous = h if read is None else states[read]
        operand = np.concatenate([x, h], axis=-1) if read is None else previous
        gate, candidate = np.split(operand @ matrix + bias, 2, axis=-1)
        step = _FUNCTIONS[function](candidate) - previous
        states.append(previous + sigmoid(gate) * step)
    return (sum(states[k] for k in averaged) / len(averaged),)


def per_node(nodes, weights, units):
    """Takes a layer's weights apart: one matrix and one bias a node.

    `kernel_s3` holds the columns of all nodes that read s_3, in their order;
    kernels, and so biases, stand in the order in which they are first read.
    """
    first = np.concatenate([weights["kernel"], weights["recurrent_kernel"]])
    reads = [read for _, read in nodes[1:]]
    columns = {
        read: iter(_split(weights[f"kernel_s{read}"], 2 * units))
        for read in reads
    }
    matrices = [first, *(next(columns[read]) for read in reads)]
    biases = _biases(weights, len(nodes), 2 * units)
    by_kernel = sorted(range(len(reads)), key=lambda k: reads.index(reads[k]))
    places = [0, *(1 + by_kernel.index(k) for k in range(len(reads)))]
    return matrices, [biases[place] for place in places]


def _enas(arc):
    def cell(x, h, weights):
        nodes, _ = nodes_of_arc(arc)
        return enas_cell(arc, x, h, *per_node(nodes, weights, h.shape[-1]))

    return cell


def _darts(genotype):
    def cell(x, h, weights):
        nodes, _ = nodes_of_genotype(genotype)
        return darts_cell(
            genotype, x, h, *per_node(nodes, weights, h.shape[-1])
        )

    return cell


def _of_arrays(cell, names):
    """Adapts a cell of arrays; `names` are its arguments for the weights."""

    def of_mapping(*arguments):
        *values, weights = arguments
        return cell(*values, **{names.get(k, k): w for k, w in weights.items()})

    return of_mapping


# Published name -> function(x, *states, weights) of the new states.
CELLS = {
    "darts_v1": _darts(DARTS_V1),
    "darts_v2": _darts(DARTS_V2),
    "enas_lm": _enas(ENAS_LM),
    "enas_ptb": _enas(ENAS_PTB),
    "gru": _of_arrays(gru, {"kernel_0": "candidate_kernel"}),
    "gru_reset_after": gru_reset_after,
    "lstm": _of_arrays(lstm, {"projection_kernel": "projection"}),
    "mut1": mut1,
    "mut2": mut2,
    "mut3": mut3,
    "nascell": _of_arrays(nascell, {"projection_kernel": "projection"}),
    "rhn_5": lambda x, h, weights: recurrent_highway(5, x, h, weights),
    "simple_rnn": simple_rnn,
    "tree8_char": _of_arrays(tree8_char, {"projection_kernel": "projection"}),
    "ugrnn": ugrnn,
}
