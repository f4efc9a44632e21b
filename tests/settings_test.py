"""Tests of nas_keras.settings."""

import dataclasses
import math

import numpy as np
import pytest

from nas_keras import settings
from nas_keras.settings import Settings
from nas_keras.settings import setting
from tests.raising import raises


class _Part(Settings):
    """A part."""

    rate: float = setting(0.5, "Rate.", settings.positive(), unit="1/s")


class _Whole(Settings):
    """A whole.

    Example:

    >>> _Whole(name="a").size
    8
    """

    name: str = setting(dataclasses.MISSING, "Name.", settings.text())
    size: int = setting(8, "Size.", settings.whole(2, 64), source="Z, 3.1")
    sides: tuple[int, ...] = setting(
        (1,), "Sides.", settings.several(settings.whole(1))
    )
    part: _Part = setting(_Part(), "Part.", settings.instance(_Part))

    def _check(self) -> None:
        if self.size == 13:
            settings.refuse("size", "no 13", self.size)


def test_values_are_checked_converted_and_frozen():
    whole = _Whole("a", size=np.int64(9), sides=[np.int32(2), 3])
    assert (whole.size, whole.sides) == (9, (2, 3))
    assert type(whole.size) is int
    assert whole == _Whole("a", 9, (2, 3)) and hash(whole)
    assert whole.replace(size=10).size == 10
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.size = 3


def test_a_field_without_a_default_must_be_given():
    with pytest.raises(TypeError, match="name"):
        _Whole()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 1}, "size must be an int in [2, 64]. Received: size=1."),
        ({"size": True}, "size must be an int in [2, 64]. Received: size=True"),
        ({"size": 13}, "size must be no 13. Received: size=13."),
        ({"name": ""}, "name must be a text. Received: name=''."),
        (
            {"part": 3},
            "part must be of _Part. Received: part=3.",
        ),
        (
            {"sides": "12"},
            "sides must be a tuple, each of its values an int of at least 1, "
            "below 2**63. Received: sides='12'.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(changes, message):
    with raises(message):
        _Whole("a").replace(**changes)


_TREE = settings.instance({"part": _Part, "other": _Part(2.0), "none": None})


@pytest.mark.parametrize(
    ("rule", "words", "good", "bad"),
    [
        (settings.whole(3), "an int of at least 3, below 2**63", [3, 2**63 - 1],
         [2, 2**63, 3.0, True, "3"]),
        (settings.threads(), "an int in [0, 1024]", [0, 1024], [-1, 1025]),
        (settings.positive(), "positive and finite", [1, 1e-9],
         [0, -1, math.inf, math.nan, "1", True]),
        (settings.not_negative(), "finite and not negative", [0, 0.5],
         [-1, math.inf, math.nan]),
        (settings.fraction(), "in [0, 1)", [0, 0.5], [1, -0.1, math.nan]),
        (settings.open_fraction(), "in (0, 1)", [0.5], [0, 1]),
        (settings.boolean(), "True or False", [True, False], [0, 1, "true"]),
        (settings.one_of("ab"), "one of ['a', 'b']", ["a"], ["c", 1, ["a"]]),
        (settings.text(), "a text", ["a"], ["", 1, None]),
        (settings.optional(settings.whole(1)),
         "an int of at least 1, below 2**63, or None", [None, 1], [0, "none"]),
        (settings.several(settings.whole(1), 2, True),
         "a tuple of at least 2, each of its values an int of at least 1, "
         "below 2**63, none given twice", [(1, 2), [3, 4]],
         [(), (1,), (1, 1), (1, 0), "12", 3]),
        (_TREE, "of _Part or None", [_Part(), None], [_Part, "part", 3]),
    ],
)  # fmt: skip
def test_rules(rule, words, good, bad):
    assert rule.words == words
    assert all(map(rule.good, good))
    assert not any(map(rule.good, bad))


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (settings.whole(), "12", 12),
        (settings.whole(), "5e6", 5_000_000),
        (settings.positive(), "1e-3", 1e-3),
        (settings.boolean(), "True", True),
        (settings.boolean(), "false", False),
        (settings.text(), "a b", "a b"),
        (settings.optional(settings.whole()), "None", None),
        (settings.optional(settings.whole()), "3", 3),
        (settings.several(settings.whole()), "1,2", (1, 2)),
        (settings.several(settings.text()), "", ()),
    ],
)
def test_a_text_stands_for_a_value(rule, text, value):
    assert rule.parse(text) == value


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (settings.whole(), "many"),
        (settings.whole(), "2.5"),
        (settings.whole(), "inf"),
        (settings.whole(), "nan"),
        (settings.positive(), "many"),
        (settings.boolean(), "1"),
        (settings.several(settings.whole()), "1,b"),
    ],
)
def test_a_text_without_a_value_is_refused(rule, text):
    with pytest.raises(ValueError):
        rule.parse(text)


def test_settings_are_json_able_with_the_class_of_those_within():
    assert _Whole("a").to_dict() == {
        "name": "a",
        "size": 8,
        "sides": [1],
        "part": {"class": "_Part", "rate": 0.5},
    }
    assert settings.plain({"a": (_Part(),)}) == {
        "a": [{"class": "_Part", "rate": 0.5}]
    }


def test_the_docstring_has_the_fields():
    text = _Whole.__doc__
    assert text.startswith("A whole.\n\n    Example:")
    assert "        name: Name. Must be a text.\n" in text
    assert (
        "        size: Size. Must be an int in [2, 64]. Default: 8 (Z, 3.1).\n"
        in text
    )
    assert "        part: Part. Must be of _Part. Default: _Part().\n" in text
    assert text.endswith(
        "    Raises:\n        ValueError: If a value breaks its field's "
        "rule.\n    "
    )
    assert "Unit: 1/s. Default: 0.5." in _Part.__doc__
