"""Tests of `Space`: its choices, decoding and encoding."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space


def make_space(**arguments):
    choices = [
        Choice("kind", ("conv", "pool")),
        Choice("width", (8, 16, 32)),
        Choice("rate", (0.5,)),
    ]
    return Space(choices, **arguments)


def test_size_is_the_product_of_the_options():
    assert make_space().num_options == (2, 3, 1)
    assert make_space().size == 6


def test_size_is_exact_where_a_float_is_not():
    space = Space([Choice(f"c{k}", (0, 1, 2)) for k in range(60)])
    assert space.size == 3**60


def test_decode_gives_the_options_by_name():
    assert make_space().decode([1, 2, 0]) == {
        "kind": "pool",
        "width": 32,
        "rate": 0.5,
    }


def test_decode_calls_the_given_function_with_a_tuple_of_python_ints():
    seen = []
    space = make_space(decode=lambda tokens: seen.append(tokens) or "built")
    assert space.decode(np.array([1, 2, 0], "int32")) == "built"
    assert seen == [(1, 2, 0)]
    assert [type(token) for token in seen[0]] == [int, int, int]


@pytest.mark.parametrize("tokens", [[], [0, 0], [0, 0, 0, 0]])
def test_number_of_tokens_must_be_that_of_the_choices(tokens):
    space = make_space(name="toy")
    message = f"toy takes 3 tokens. Received: {len(tokens)}"
    with pytest.raises(ValueError, match=message):
        space.decode(tokens)


@pytest.mark.parametrize("token", [3, -1, 1.0, True, "1", None, np.float32(1)])
def test_token_must_be_an_int_in_range(token):
    message = (
        r"token of 'width' must be an int in \[0, 2\]\. Received: "
        + re.escape(repr(token))
    )
    with pytest.raises(ValueError, match=message):
        make_space().decode([0, token, 0])


def test_tokens_are_checked_before_a_decode_function_sees_them():
    space = make_space(decode=lambda tokens: pytest.fail("called"))
    with pytest.raises(ValueError, match="'kind'"):
        space.decode([2, 0, 0])


def test_names_of_choices_must_differ():
    choices = [Choice("a", (1, 2)), Choice("b", (1,)), Choice("a", (3,))]
    with pytest.raises(ValueError, match=r"must differ.*\['a'\]"):
        Space(choices)


def test_choices_must_be_choice_objects():
    with pytest.raises(ValueError, match=r"Choice objects.*\('a', \(1, 2\)\)"):
        Space([("a", (1, 2))])


@pytest.mark.parametrize("choices", [[], [Choice("a", (1,))]])
def test_space_of_fewer_than_two_architectures_is_refused(choices):
    with pytest.raises(ValueError, match="at least two architectures"):
        Space(choices)


def test_choice_of_a_single_option_is_allowed_beside_others():
    space = Space([Choice("a", (7,)), Choice("b", (1, 2))])
    assert space.size == 2
    assert space.decode([0, 1]) == {"a": 7, "b": 2}


def test_anchors_may_be_any_earlier_choice_or_the_beginning():
    choices = [
        Choice("first", (1, 2), (-1, -1)),
        Choice("second", (1, 2), (0, -1)),
        Choice("third", (1, 2, 3), (1, -1, 0)),
    ]
    assert Space(choices).choices == tuple(choices)
    assert Space(choices).size == 12


@pytest.mark.parametrize(
    ("place", "anchors", "wrong"),
    [
        (0, (-1, 0), [0]),
        (1, (1, 0), [1]),
        (1, (0, 2), [2]),
        (2, (2, 7), [2, 7]),
    ],
)
def test_anchors_must_be_earlier_choices(place, anchors, wrong):
    choices = [Choice(f"c{k}", (1, 2)) for k in range(3)]
    choices[place] = Choice("pointing", (1, 2), anchors)
    message = (
        f"anchors of 'pointing', choice {place}, must be earlier choices, in "
        f"[-1, {place - 1}]. Received: {wrong}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Space(choices)


def test_anchors_before_the_beginning_are_numbered_without_gaps():
    choices = [
        Choice("first", (1, 2), (-1, -3)),
        Choice("second", (1, 2), (0, -2)),
    ]
    assert Space(choices).choices == tuple(choices)
    message = (
        "Anchors before the beginning must be -2, -3 and so on. Received: "
        "[-3, -5]."
    )
    choices[1] = Choice("second", (1, 2), (0, -5))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Space(choices)


def _with_links(links):
    """Returns two labels, a link for each, another label and link."""
    choices = [
        Choice("label_0", (0, 1, 2)),
        Choice("label_1", (0, 1)),
        *(Choice(f"link_{k}", (0, 1), link=k) for k in links[:2]),
        Choice("label_2", (0, 1)),
        Choice("link_last", ("no", "yes"), link=links[2]),
    ]
    return Space(choices)


def test_links_may_be_to_any_choice_before_those_that_they_follow():
    assert _with_links((0, 1, 4)).size == 3 * 2**5
    assert _with_links((1, 0, 3)).num_options == (3, 2, 2, 2, 2, 2)
    assert _with_links((1, 0, 3)).decode((0,) * 5 + (1,))["link_last"] == "yes"


@pytest.mark.parametrize(
    ("links", "name", "place", "last"),
    [
        ((2, 1, 0), "link_2", 2, 1),
        # The other link is made at the same step.
        ((0, 2, 0), "link_2", 3, 1),
        ((0, 1, 5), "link_last", 5, 4),
    ],
)
def test_links_must_be_earlier_choices(links, name, place, last):
    message = (
        f"link of {name!r}, choice {place}, must be a choice before it and "
        f"before the links that it follows, in [0, {last}]. Received: "
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        _with_links(links)


def test_space_knows_its_name_and_structure():
    space = make_space(name="toy", structure="a tree")
    assert space.name == "toy"
    assert space.structure == "a tree"
    assert "toy" in repr(space)
    assert "6 architectures" in repr(space)
    assert "kind" in make_space().name


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_tokens_and_architectures_are_one_to_one(sizes):
    sizes = [*sizes, 2]
    choices = [Choice(f"c{k}", tuple(range(n))) for k, n in enumerate(sizes)]
    space = Space(choices)
    decoded = {
        tuple(space.decode(tokens).items()) for tokens in np.ndindex(*sizes)
    }
    assert len(decoded) == space.size == math.prod(sizes)


# Encoding.


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), data=st.data()
)
def test_encode_is_the_inverse_of_decode(sizes, data):
    # Options in no order, so that no token is its option.
    choices = [
        Choice(f"c{k}", tuple(data.draw(st.permutations(range(n)))))
        for k, n in enumerate([*sizes, 2])
    ]
    space = Space(choices)
    tokens = tuple(data.draw(st.integers(0, n - 1)) for n in space.num_options)
    decoded = space.decode(tokens)
    assert space.encode(decoded) == tokens
    backwards = dict(reversed(decoded.items()))
    assert space.encode(backwards) == tokens


def test_encode_gives_the_places_of_the_options():
    architecture = {"rate": 0.5, "width": 32, "kind": "pool"}
    assert make_space().encode(architecture) == (1, 2, 0)


def test_options_that_are_equal_are_encoded_by_their_types():
    space = Space([Choice("a", (1, 1.0, "1", True))])
    for token in range(4):
        assert space.encode(space.decode([token])) == (token,)


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"kind": "pool", "width": 32},
        {"kind": "pool", "width": 32, "rate": 0.5, "depth": 2},
    ],
)
def test_encode_needs_every_name_and_no_other(architecture):
    message = (
        "architecture must have the keys ['kind', 'width', 'rate']. "
        f"Received: {list(architecture)}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_space().encode(architecture)


@pytest.mark.parametrize("option", [7, "8", None, [8]])
def test_encode_refuses_what_is_no_option(option):
    message = (
        "architecture['width'] must be one of (8, 16, 32). Received: "
        f"{option!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_space().encode({"kind": "pool", "width": option, "rate": 0.5})


@pytest.mark.parametrize("architecture", [(1, 2, 0), "pool", None])
def test_encode_takes_a_mapping_unless_the_space_says_how(architecture):
    message = f"toy cannot encode. Received: {type(architecture).__name__}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_space(name="toy").encode(architecture)


def test_space_that_decodes_in_its_own_way_must_say_how_it_encodes():
    space = make_space(decode=lambda tokens: {"kind": "pool"}, name="toy")
    with pytest.raises(ValueError, match=r"^toy cannot encode\. .*: dict\.$"):
        space.encode({"kind": "pool", "width": 32, "rate": 0.5})
    with pytest.raises(ValueError, match=r"^tree.* cannot .*: CellSpec\.$"):
        tree_space(2).encode(tree_space(2).decode([0] * 10))
    with pytest.raises(ValueError, match=r"^The cell must be a CellSpec\. "):
        tree_space(2).encode("a cell")


def test_encode_calls_the_given_function_and_gives_python_ints():
    space = make_space(
        decode=lambda tokens: "".join(map(str, tokens)),
        encode=lambda text: np.array([int(digit) for digit in text]),
    )
    tokens = space.encode("120")
    assert tokens == (1, 2, 0)
    assert [type(token) for token in tokens] == [int, int, int]
    assert space.encode(space.decode((0, 1, 0))) == (0, 1, 0)


def test_an_encode_function_alone_replaces_the_default():
    space = make_space(encode=lambda architecture: [1, 1, 0])
    assert space.encode("anything") == (1, 1, 0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, 0], "toy takes 3 tokens. Received: 2."),
        ([0, 3, 0], "The token of 'width' must be an int in [0, 2]. "),
        ([0, 1.0, 0], "The token of 'width' must be an int in [0, 2]. "),
    ],
)
def test_what_an_encode_function_returns_is_checked(tokens, message):
    space = make_space(name="toy", encode=lambda architecture: tokens)
    with pytest.raises(ValueError, match=re.escape(message)):
        space.encode("anything")
