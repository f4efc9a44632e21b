"""Tests of `Choice`: a value of options, with anchors, or a link."""

import re

import numpy as np
import pytest

from nas_keras.spaces import Choice


def test_choice_keeps_its_options_in_order_as_a_tuple():
    assert Choice("width", [16, 8]).options == (16, 8)


def test_choice_is_a_value():
    assert Choice("a", [1, 2]) == Choice("a", (1, 2))
    assert hash(Choice("a", [1, 2])) == hash(Choice("a", (1, 2)))
    with pytest.raises(AttributeError):
        Choice("a", (1, 2)).name = "b"


@pytest.mark.parametrize("name", ["", None, 3])
def test_choice_must_have_a_name(name):
    message = f"name must be a non-empty str.*name={re.escape(repr(name))}"
    with pytest.raises(ValueError, match=message):
        Choice(name, (1, 2))


@pytest.mark.parametrize("options", ["ab", None, 3, {1, 2}])
def test_options_must_be_a_sequence_and_no_string(options):
    with pytest.raises(ValueError, match=r"options of 'a' must be a tuple"):
        Choice("a", options)


@pytest.mark.parametrize("option", [None, (1,), [1], b"x", 1j])
def test_option_must_be_a_string_or_a_number(option):
    message = (
        r"option of 'a' must be a str, an int or a float\. Received: "
        + re.escape(repr(option))
    )
    with pytest.raises(ValueError, match=message):
        Choice("a", (1, option))


@pytest.mark.parametrize("options", [(), (1, 2, 1), ("x", "x")])
def test_options_must_be_distinct_and_at_least_one(options):
    message = "options of 'a' must be distinct and at least one.*" + re.escape(
        f"options={options!r}"
    )
    with pytest.raises(ValueError, match=message):
        Choice("a", options)


def test_options_of_different_types_are_distinct():
    assert len(Choice("a", (1, 1.0, "1")).options) == 3


def test_options_are_labels_unless_anchors_are_given():
    assert Choice("a", (1, 2)).anchors is None


def test_choice_keeps_its_anchors_in_order_as_a_tuple():
    assert Choice("a", (1, 2, 3), [4, -1, 0]).anchors == (4, -1, 0)
    assert Choice("a", (1, 2), [0, 1]) == Choice("a", (1, 2), (0, 1))
    assert Choice("a", (1, 2), (0, 1)) != Choice("a", (1, 2))


def test_two_options_may_have_one_anchor():
    assert Choice("a", (1, 2), (0, 0)).anchors == (0, 0)


@pytest.mark.parametrize(
    "anchors",
    [
        *[(), (0,), (0, 1, 2), (0, 1.0), (0, None), "01", 5],
        *[(True, 0), (0, np.bool_(False)), (0, np.float32(1)), (0, "1")],
    ],
)
def test_anchors_must_be_an_int_for_each_option(anchors):
    message = (
        "anchors of 'a' must be one int for each of the 2 options. "
        f"Received: anchors={anchors!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Choice("a", ("x", "y"), anchors)


# Links.


def test_a_choice_is_no_link_unless_it_says_so():
    assert Choice("a", (0, 1)).link is None
    assert Choice("a", (0, 1), link=3) != Choice("a", (0, 1))


@pytest.mark.parametrize("link", [-1, 1.0, True, "0", (0,), np.float32(1)])
def test_a_link_is_a_place(link):
    message = (
        f"link of 'a' must be an int of at least 0. Received: link={link!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Choice("a", (0, 1), link=link)


@pytest.mark.parametrize(
    ("options", "anchors"), [((0,), None), ((0, 1, 2), None), ((0, 1), (0, 0))]
)
def test_a_link_has_two_options_and_no_anchors(options, anchors):
    message = (
        "A link, 'a', must have two options, no and yes, and no anchors. "
        f"Received: options={options!r}, anchors={anchors!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Choice("a", options, anchors, link=0)
