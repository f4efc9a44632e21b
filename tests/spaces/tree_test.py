"""Tests of the tree space: its tokens, its decoding, its published members."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import load_spec
from nas_keras.spaces import Tree
from nas_keras.spaces import tree_space
from tests import oracles

COMBINES = ("add", "mul", "max")
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "sin")
# Pairs (combine, activation) of nodes 0..14 and of Cell Inject; cell indices.
NASCELL = (
    *((0, 2), (0, 3), (0, 2), (1, 3), (0, 1), (0, 2), (0, 1), (0, 2)),
    *((1, 1), (0, 1), (1, 1), (0, 2), (1, 0), (0, 1), (1, 1), (0, 1)),
    (12, 8),
)
LSTM = (
    *((0, 0), (0, 0), (0, 2), (0, 1), (0, 0), (0, 0), (0, 0), (0, 0)),
    *((0, 2), (1, 0), (0, 0), (0, 0), (0, 1), (0, 2), (1, 0), (1, 0)),
    (12, 8),
)


def flat(pairs):
    return [token for pair in pairs for token in pair]


def run_cell(spec, x, h, c, weights):
    """Returns the next h and c; float64, to compare closely."""
    cell = NASCell(c.shape[-1], spec, dtype="float64")
    cell.build((None, x.shape[-1]))
    cell.set_weights(weights)
    _, states = cell(x, [h, c])
    return [np.asarray(state) for state in states]


def random_arrays(base, seed=0, batch=2, width=3, units=4):
    rng = np.random.default_rng(seed)
    x, h, c = (rng.normal(size=(batch, n)) for n in (width, units, units))
    kernels = [rng.normal(size=(n, base * units)) * 0.7 for n in (width, units)]
    return x, h, c, kernels


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
        "sigmoid": oracles.sigmoid,
        "relu": oracles.relu,
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
            columns = slice(node * units, (node + 1) * units)
            left = x @ kernel[:, columns]
            right = h @ recurrent_kernel[:, columns]
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


@pytest.mark.parametrize("base", [2, 3, 8])
def test_space_has_two_choices_a_node_and_four_more(base):
    names = [choice.name for choice in tree_space(base).choices]
    assert len(names) == 4 * base + 2
    assert names[:3] == [
        "node_0_combine",
        "node_0_activation",
        "node_1_combine",
    ]
    assert names[-6:] == [
        f"node_{2 * base - 2}_combine",
        f"node_{2 * base - 2}_activation",
        "inject_combine",
        "inject_activation",
        "cell_index",
        "inject_index",
    ]


def test_options_are_those_of_the_paper_and_indices_are_nodes():
    choices = {choice.name: choice.options for choice in tree_space(3).choices}
    assert choices["node_4_combine"] == ("add", "mul")
    assert choices["inject_combine"] == ("add", "mul")
    activations = ("identity", "tanh", "sigmoid", "relu")
    assert choices["node_0_activation"] == activations
    assert choices["inject_activation"] == activations
    assert choices["cell_index"] == choices["inject_index"] == (0, 1, 2, 3, 4)


def test_sizes_are_those_of_the_paper():
    assert tree_space(2).size == 36_864
    assert tree_space(8).size == tree_space().size == 63_331_869_759_897_600
    assert tree_space(8, COMBINES, ACTIVATIONS).size == 15**16 * 225


def test_space_carries_the_tree_and_its_name():
    space = tree_space(8)
    assert space.structure == Tree(8)
    assert space.name == "tree(base=8)"
    assert tree_space(3, ("add",), ("tanh", "sin")).name == (
        "tree(base=3, combines=add, activations=tanh|sin)"
    )


@pytest.mark.parametrize("base", [1, 0, -8, 65, 2.5, 8.0, True, "8", None])
def test_base_must_be_an_int_from_2_to_64(base):
    message = rf"int in \[2, 64\]. Received: base={re.escape(repr(base))}"
    with pytest.raises(ValueError, match=message):
        tree_space(base)


@pytest.mark.parametrize("field", ["combines", "activations"])
@pytest.mark.parametrize("options", [(), ("pow",), ("tanh", "tanh")])
def test_vocabulary_must_be_known_distinct_and_not_empty(field, options):
    message = (
        rf"{field} must be a tuple of at least 1, each of its values one of "
        r"\[.*\], none given twice\. Received: "
        + re.escape(f"{field}={options!r}")
    )
    with pytest.raises(ValueError, match=message):
        tree_space(2, **{field: options})


def test_duplicate_combine_is_refused():
    with pytest.raises(ValueError, match=r"combines=\('add', 'add'\)"):
        Tree(2, ("add", "add"))


def test_tokens_are_checked():
    space = tree_space(2)
    with pytest.raises(ValueError, match="takes 10 tokens. Received: 9"):
        space.decode([0] * 9)
    with pytest.raises(ValueError, match=r"'inject_index'.* \[0, 2\].*: 3"):
        space.decode([0] * 9 + [3])


@pytest.mark.parametrize("base", [2, 64])
def test_smallest_and_largest_base_decode(base):
    spec = tree_space(base).decode([0] * (4 * base + 2))
    assert isinstance(spec, CellSpec)
    assert spec.cost(1, 1).parameters == 2 * base


def test_worked_example_of_the_paper_gives_its_numbers():
    # idx0 (add, tanh), idx1 (mul, relu), idx2 (mul, sigmoid), inject (add,
    # relu), indices (1, 0).
    spec = tree_space(2).decode([0, 1, 1, 3, 1, 2, 0, 3, 1, 0])
    x, h, c = (np.array([[value]]) for value in (0.5, 0.4, 0.25))
    weights = [np.array([[0.3, 0.7]]), np.array([[-0.2, 1.1]])]
    next_h, next_c = run_cell(spec, x, h, c, weights)
    np.testing.assert_allclose(next_h, [[0.5123131168]], rtol=1e-9)
    np.testing.assert_allclose(next_c, [[0.154]], rtol=1e-12)


def test_oracle_gives_the_numbers_of_the_worked_example():
    x, h, c = (np.array([[value]]) for value in (0.5, 0.4, 0.25))
    next_h, next_c = tree_cell(
        *([0, 1, 1, 3, 1, 2, 0, 3, 1, 0], 2, COMBINES, ACTIVATIONS, x, h, c),
        *(np.array([[0.3, 0.7]]), np.array([[-0.2, 1.1]])),
    )
    np.testing.assert_allclose(next_h, [[0.5123131168]], rtol=1e-9)
    np.testing.assert_allclose(next_c, [[0.154]], rtol=1e-12)


def test_tokens_of_nascell_decode_to_the_published_cell():
    spec = tree_space(8).decode(flat(NASCELL))
    published = load_spec("nascell")
    assert published.provenance["tokens"] == flat(NASCELL)
    assert spec.fingerprint == published.fingerprint
    x, h, c, weights = random_arrays(8)
    want = oracles.nascell(x, h, c, *weights)
    for cell in (spec, published):
        states = run_cell(cell, x, h, c, weights)
        np.testing.assert_allclose(states, want, rtol=1e-10)


def test_tokens_of_lstm_decode_to_the_published_cell():
    # The forget gate is the sum of leaves 0 and 1, the input gate leaf 2, the
    # candidate leaf 3, the output gate the sum of leaves 4 to 7.
    spec = tree_space(8).decode(flat(LSTM))
    x, h, c, leaf_weights = random_arrays(8)
    gate_weights = []
    for kernel in leaf_weights:
        leaf = np.split(kernel, 8, axis=1)
        gates = [leaf[2], leaf[0] + leaf[1], leaf[3], sum(leaf[4:])]
        gate_weights.append(np.concatenate(gates, axis=1))
    states = run_cell(spec, x, h, c, leaf_weights)
    published = run_cell("lstm", x, h, c, gate_weights)
    np.testing.assert_allclose(states, published, rtol=1e-10)
    np.testing.assert_allclose(
        states, oracles.lstm(x, h, c, *gate_weights), rtol=1e-10
    )


def test_decoded_cell_tells_where_it_comes_from():
    spec = tree_space(8).decode(flat(NASCELL))
    assert spec.provenance == {"space": "tree(base=8)", "tokens": flat(NASCELL)}
    assert re.fullmatch("tree8_[0-9a-f]{8}", spec.name)
    assert spec.name == tree_space(8).decode(flat(NASCELL)).name
    assert spec.name != tree_space(8).decode(flat(LSTM)).name


def test_name_of_a_cell_depends_on_the_vocabulary():
    tokens = [0] * 10
    assert (
        tree_space(2).decode(tokens).name
        != tree_space(2, ("mul", "add")).decode(tokens).name
    )


@st.composite
def trees(draw):
    base = draw(st.sampled_from([2, 3, 4, 5, 8]))
    combines = draw(st.permutations(COMBINES))
    activations = draw(st.permutations(ACTIVATIONS))
    pair = st.tuples(st.integers(0, 2), st.integers(0, 4))
    node = st.integers(0, 2 * base - 2)
    pairs = draw(st.lists(pair, min_size=2 * base, max_size=2 * base))
    # A third has the edge cases that the paper leaves open.
    indices = draw(
        st.one_of(
            st.tuples(node, node),
            st.just((2 * base - 2, 2 * base - 2)),
            node.map(lambda k: (k, k)),
        )
    )
    return base, tuple(combines), tuple(activations), flat([*pairs, indices])


@settings(max_examples=150)
@given(tree=trees(), seed=st.integers(0, 2**32 - 1))
def test_decoded_cell_computes_the_tree_of_its_tokens(tree, seed):
    base, combines, activations, tokens = tree
    spec = tree_space(base, combines, activations).decode(tokens)
    x, h, c, weights = random_arrays(base, seed)
    want = tree_cell(tokens, base, combines, activations, x, h, c, *weights)
    states = run_cell(spec, x, h, c, weights)
    # Sines of large products: their error is absolute.
    np.testing.assert_allclose(states, want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("cell_index", range(3))
@pytest.mark.parametrize("inject_index", range(3))
def test_every_pair_of_cell_indices_follows_the_paper(cell_index, inject_index):
    tokens = [0, 1, 1, 0, 1, 2, 1, 1, cell_index, inject_index]
    spec = tree_space(2).decode(tokens)
    x, h, c, (kernel, recurrent_kernel) = random_arrays(2, units=1)
    (x0, x1), (h0, h1) = (x @ kernel).T, (h @ recurrent_kernel).T
    before, after = {0: x0 + h0, 1: x1 * h1}, {}
    after[0], after[1] = np.tanh(before[0]), before[1]
    if inject_index < 2:
        after[inject_index] = np.tanh(after[inject_index] * c[:, 0])
    before[2] = after[0] * after[1]
    after[2] = oracles.sigmoid(before[2])
    if inject_index == 2:
        after[2] = np.tanh(after[2] * c[:, 0])
    next_h, next_c = run_cell(spec, x, h, c, [kernel, recurrent_kernel])
    np.testing.assert_allclose(next_h[:, 0], after[2], rtol=1e-10)
    np.testing.assert_allclose(next_c[:, 0], before[cell_index], rtol=1e-10)


@given(seed=st.integers(0, 2**32 - 1))
def test_random_cells_survive_their_json_form(seed):
    rng = np.random.default_rng(seed)
    space = tree_space(8, COMBINES, ACTIVATIONS)
    spec = space.decode(rng.integers(space.num_options))
    again = CellSpec.from_dict(spec.to_dict())
    assert again == spec
    assert space.decode(again.provenance["tokens"]) == spec
