"""Settings: frozen dataclasses whose fields are written once.

A field carries its rule, its unit and its source. What refuses a bad value,
the flag of a program, its help, the JSON of a run and the reference page come
from the field:

    class Tree(Settings):
        base: int = setting(8, "Leaves of the tree, N.", whole(2, 64))

    Tree(base=1)  # base must be an int in [2, 64]. Received: base=1.

No TensorFlow, no Keras.
"""

import dataclasses
import math
import os
import typing
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.checks import is_int
from nas_keras.checks import is_number

_MAX_THREADS = 1_024  # TensorFlow starts them all.


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        words: The rule, as it completes "NAME must be ...".
        good: Returns whether a value keeps the rule.
        parse: Returns the value that a text on a command line stands for;
            raises a ValueError if there is none.
        convert: Returns a value that keeps the rule in its one form.
        options: Of a setting that is settings itself: those it may be one of,
            by the name that a flag gives, each as a class of which it is an
            object, as such an object, or None. Without a name, under "", the
            one class that it is of.
    """

    words: str
    good: Callable[[Any], bool]
    parse: Callable[[str], Any] = str
    convert: Callable[[Any], Any] = lambda value: value
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def whole(least: int = 0, most: int | None = None) -> Rule:
    """An int from `least` to `most`, or below 2**63."""
    if most is None:
        words = f"an int of at least {least}, below 2**63"
    else:
        words = f"an int in [{least}, {most}]"
    limit = 2**63 - 1 if most is None else most
    return Rule(words, lambda v: is_int(v) and least <= v <= limit, _int, int)


def _int(text: str) -> int:
    """Returns the int of a text such as `"5000000"` or `"5e6"`."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():  # Raises nothing for inf and nan.
            raise
        return int(value)


def threads() -> Rule:
    """A number of threads; 0 stands for one for each core."""
    return whole(0, _MAX_THREADS)


def real(words: str, good: Callable[[float], bool]) -> Rule:
    """A finite number that `good` finds good."""
    return Rule(
        words,
        lambda v: is_number(v) and math.isfinite(v) and good(v),
        float,
        float,
    )


def positive() -> Rule:
    """A finite number above 0."""
    return real("positive and finite", lambda v: v > 0)


def not_negative() -> Rule:
    """A finite number of at least 0."""
    return real("finite and not negative", lambda v: v >= 0)


def fraction() -> Rule:
    """A number in [0, 1)."""
    return real("in [0, 1)", lambda v: 0 <= v < 1)


def open_fraction() -> Rule:
    """A number in (0, 1)."""
    return real("in (0, 1)", lambda v: 0 < v < 1)


def boolean() -> Rule:
    """True or False."""

    def parse(text: str) -> bool:
        values = {"true": True, "false": False}
        if text.lower() not in values:
            raise ValueError(text)
        return values[text.lower()]

    return Rule("True or False", lambda v: isinstance(v, bool), parse)


def one_of(options: Iterable[str]) -> Rule:
    """One of some texts."""
    allowed = tuple(options)
    return Rule(
        f"one of {list(allowed)}",
        lambda v: isinstance(v, str) and v in allowed,
    )


def text(words: str = "a text", good: Callable[[str], bool] = bool) -> Rule:
    """A text, not empty, or one that `good` finds good."""
    return Rule(words, lambda v: isinstance(v, str) and good(v))


def path() -> Rule:
    """The path of a file or a folder; it becomes a text."""
    return Rule(
        "a path",
        lambda v: isinstance(v, str | os.PathLike) and bool(os.fspath(v)),
        convert=os.fspath,
    )


def optional(rule: Rule) -> Rule:
    """None, or what another rule asks for."""
    return Rule(
        f"{rule.words}, or None",
        lambda v: v is None or rule.good(v),
        lambda t: None if t.lower() == "none" else rule.parse(t),
        lambda v: None if v is None else rule.convert(v),
    )


def several(rule: Rule, least: int = 0, distinct: bool = False) -> Rule:
    """A tuple of values that keep another rule; a list becomes a tuple."""
    words = f"a tuple, each of its values {rule.words}"
    if least:
        words = f"a tuple of at least {least}, each of its values {rule.words}"
    if distinct:
        words += ", none given twice"

    def good(value: Any) -> bool:
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        if len(value) < least or not all(map(rule.good, value)):
            return False
        return not distinct or len(set(value)) == len(value)

    return Rule(
        words,
        good,
        lambda t: tuple(rule.parse(part) for part in t.split(",") if part),
        lambda v: tuple(map(rule.convert, v)),
    )


def instance(options: "type[Settings] | Mapping[str, Any]") -> Rule:
    """Settings of a class, or of one of several that have names.

    Args:
        options: A class of settings; or as `Rule.options`, such as
            `{"tree": Tree, "ppo": PolicyGradient(loss="ppo"), "none": None}`.
    """
    if isinstance(options, type):
        options = {"": options}
    classes = tuple(
        dict.fromkeys(
            option if isinstance(option, type) else type(option)
            for option in options.values()
        )
    )
    names = ["None" if c is type(None) else c.__name__ for c in classes]
    words = f"of {' or '.join(names)}"
    return Rule(words, lambda v: isinstance(v, classes), options=options)


def setting(
    default: Any,
    doc: str,
    rule: Rule,
    *,
    unit: str = "",
    source: str = "",
) -> Any:
    """A field of `Settings`.

    Args:
        default: Its value where none is given; `dataclasses.MISSING` if one
            must be given.
        doc: What it is, in a sentence.
        rule: What a value must be.
        unit: The unit of the value, if it has one.
        source: Where the default is from, if it is not our own choice.
    """
    metadata = {"doc": doc, "rule": rule, "unit": unit, "source": source}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Base of all configurations: a subclass is a frozen dataclass.

    Every field is made by `setting`. A subclass that has rules about several
    fields at once overrides `_check`.

    Raises:
        ValueError: If a value breaks its field's rule.
    """

    if typing.TYPE_CHECKING:
        # `typing.dataclass_transform` wants `setting(default=...)`.
        def __init__(self, *args: Any, **values: Any) -> None: ...

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True)(cls)
        cls.__doc__ = _documented(cls)

    def __post_init__(self) -> None:
        for field in fields_of(self):
            value, rule = getattr(self, field.name), field.metadata["rule"]
            if not rule.good(value):
                refuse(field.name, rule.words, value)
            object.__setattr__(self, field.name, rule.convert(value))
        self._check()

    def _check(self) -> None:
        """Refuses values that do not go together."""

    def replace(self, **changes: Any) -> typing.Self:
        """Returns these settings with some changes, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def to_dict(self) -> dict[str, Any]:
        """Returns the values by name, JSON-able."""
        return {
            field.name: plain(getattr(self, field.name))
            for field in fields_of(self)
        }


def refuse(name: str, rule: str, value: Any) -> typing.NoReturn:
    """Raises the error of a value that breaks its rule.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{name} must be {rule}. Received: {name}={value!r}.")


class Change(typing.NamedTuple):
    """A new value of a field.

    Attributes:
        name: What messages call the field, such as `"--space.base"`.
        value: The value, or the text that stands for it.
    """

    name: str
    value: Any

    def refuse(self, rule: str) -> typing.NoReturn:
        """Raises the `ValueError` of a value that breaks a rule."""
        raise ValueError(f"{self.name} must be {rule}. Received: {self}.")

    def checked(self, rule: Rule) -> Any:
        """Returns the value, which must keep a rule."""
        value = self.value
        try:
            if isinstance(value, str):
                value = rule.parse(value)
        except ValueError:
            self.refuse(rule.words)
        if not rule.good(value):
            self.refuse(rule.words)
        return rule.convert(value)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


_Settings = typing.TypeVar("_Settings", bound=Settings)


def changed(
    settings: _Settings,
    changes: Mapping[str, Change],
    implied: Mapping[str, Any] | None = None,
) -> _Settings:
    """Returns settings with changes, also of the settings within them.

    Settings within them that become others by name have the defaults of those
    where nothing is changed.

    Args:
        settings: The settings.
        changes: Changes by the dotted names of fields, such as `"space.base"`.
        implied: Values by dotted names, for fields without a change.

    Raises:
        ValueError: If a value breaks the rule of its field, or the settings
            that are chosen have no field of a name.
    """
    return _changed(settings, "", changes, implied or {})


def _changed(
    settings: Any,
    path: str,
    changes: Mapping[str, Change],
    implied: Mapping[str, Any],
) -> Any:
    """Returns `changed` of settings whose dotted names begin with a path."""
    values: dict[str, Any] = {}
    for field in fields_of(settings):
        dotted, rule = path + field.name, field.metadata["rule"]
        value = getattr(settings, field.name)
        if dotted in changes:
            change = changes[dotted]
            if rule.options:
                value = _switched(value, change, rule.options)
            else:
                value = change.checked(rule)
        elif dotted in implied:
            value = implied[dotted]
        _check_fields(value, dotted, changes, rule.options)
        if isinstance(value, Settings):
            value = _changed(value, f"{dotted}.", changes, implied)
        values[field.name] = value
    return settings.replace(**values)


def _switched(value: Any, change: Change, options: Mapping[str, Any]) -> Any:
    """Returns the settings that an option's name stands for.

    If they are of the same class as before, only what tells options of that
    class from one another changes.
    """
    if change.value not in options:
        change.refuse(f"one of {list(options)}")
    option = options[change.value]
    if isinstance(option, type):
        return value if type(value) is option else option()
    if option is None or type(value) is not type(option):
        return option
    alike = [its for its in options.values() if type(its) is type(option)]
    told_by = {
        field.name: getattr(option, field.name)
        for field in fields_of(option)
        if len({getattr(its, field.name) for its in alike}) > 1
    }
    return value.replace(**told_by)


def _check_fields(
    value: Any,
    dotted: str,
    changes: Mapping[str, Change],
    options: Mapping[str, Any],
) -> None:
    """Refuses a change of a field that chosen settings do not have."""
    known = []
    if isinstance(value, Settings):
        known = [its.name for its in fields_of(value)]
    for name, change in changes.items():
        field = name.removeprefix(f"{dotted}.").split(".")[0]
        if name.startswith(f"{dotted}.") and field not in known:
            for key, option in options.items():
                if type(value) in (option, type(option)):
                    value = key
            change.refuse(
                f"left out where {dotted} is {value!r}, whose settings are "
                f"{known}"
            )


def fields_of(settings: Any) -> tuple[dataclasses.Field, ...]:
    """Returns the fields of settings, or of a class of them."""
    return dataclasses.fields(settings)


def plain(value: Any) -> Any:
    """Returns a value of a setting as JSON has it."""
    if isinstance(value, Settings):
        return {"class": type(value).__name__, **value.to_dict()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    return value


def described(field: dataclasses.Field) -> str:
    """Returns what a field is, its rule, its unit, its default, its source."""
    data = field.metadata
    words = [data["doc"].rstrip(".")]
    words.append(f"Must be {data['rule'].words}")
    if data["unit"]:
        words.append(f"Unit: {data['unit']}")
    if field.default is not dataclasses.MISSING:
        source = f" ({data['source']})" if data["source"] else ""
        words.append(f"Default: {_shown(field.default)}{source}")
    return ". ".join(words) + "."


def _shown(value: Any) -> str:
    if isinstance(value, Settings):
        return f"{type(value).__name__}()"
    return repr(value)


def _documented(cls: type) -> str:
    """Returns a class's docstring with its fields in it."""
    lines = (cls.__doc__ or cls.__name__).rstrip().split("\n")
    own = "\n".join(lines)
    fields = "\n".join(
        f"        {field.name}: {described(field)}" for field in fields_of(cls)
    )
    parts = [own]
    if fields and "Attributes:" not in own:
        parts.append(f"    Attributes:\n{fields}")
    if "Raises:" not in own:
        parts.append(
            "    Raises:\n"
            "        ValueError: If a value breaks its field's rule."
        )
    return "\n\n".join(parts) + "\n    "
