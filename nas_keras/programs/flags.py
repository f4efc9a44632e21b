"""Flags from settings, and what else the programs' command lines share.

`define` makes a flag for each field of settings, with dots where settings hold
others, and `SettingsFlags.apply` puts the values that were given into a preset:

    class Search(Settings):
        space: Tree | Dag = setting(Tree(), "Space to search.",
                                    instance({"tree": Tree, "dag": Dag}))

    SEARCH = define(flags, Search, short={"base": "space.base"})
    SEARCH.apply(preset)  # After --space=tree --base=8, or --space.base=8.

Flags are defined by programs alone: `flags` is absl's module of that name,
given and not imported. No TensorFlow, no Keras.
"""

import contextlib
import dataclasses
import importlib.util
import io
import math
import os
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from typing import TypeVar

from nas_keras import libraries
from nas_keras.distribute import exits
from nas_keras.settings import Change
from nas_keras.settings import Settings
from nas_keras.settings import changed
from nas_keras.settings import described
from nas_keras.settings import fields_of
from nas_keras.storage import files

_Chosen = TypeVar("_Chosen", bound=Settings)


@dataclasses.dataclass(frozen=True)
class SettingsFlags:
    """Flags of settings; `define` makes them.

    Attributes:
        holders: absl's holders of the flags of each setting, by its dotted
            name: of the one under this name, and of the short one.
        either: Pairs of dotted names, as for `define`.
    """

    holders: Mapping[str, Sequence[Any]]
    either: Sequence[tuple[str, str]]

    def given(self) -> dict[str, Change]:
        """Returns the values that were given, by the setting's dotted name.

        Raises:
            ValueError: If a setting was given by two flags, or its text has
                unprintable characters.
        """
        found: dict[str, Change] = {}
        for dotted, holders in self.holders.items():
            for holder in holders:
                if holder.value is None:
                    continue
                one = Change(f"--{holder.name}", holder.value)
                if not str(one).isprintable():
                    raise ValueError(
                        f"{one.name} must be printable text. Received: "
                        f"{one.value!r}."
                    )
                if dotted in found:
                    raise ValueError(
                        f"{found[dotted].name} and {one.name} are the same "
                        f"setting, to be given once. Received: {found[dotted]} "
                        f"{one}."
                    )
                found[dotted] = one
        return found

    def apply(
        self, preset: _Chosen, implied: Mapping[str, Any] | None = None
    ) -> _Chosen:
        """Returns a preset with the values that were given, as `changed` does.

        Args:
            preset: Settings of the class that the flags were defined for.
            implied: Values that other flags say, by dotted name, in the place
                of the preset's where no flag of their own was given.

        Raises:
            ValueError: As `given` and `nas_keras.settings.changed` raise, or if
                both of a pair of `either` were given.
        """
        given = self.given()
        implied = dict(implied or {})
        for one, other in self.either:
            if one not in given or not _is_positive(given[one].value):
                continue
            if other in given and _is_positive(given[other].value):
                raise ValueError(
                    f"{given[one].name} and {given[other].name} exclude one "
                    f"another. Received: {given[one]} {given[other]}."
                )
            implied.setdefault(other, 0)
        return changed(preset, given, implied)


def define(
    flags: ModuleType,
    cls: type[Settings],
    *,
    without: Iterable[str] = (),
    short: Mapping[str, str] | None = None,
    either: Sequence[tuple[str, str]] = (),
) -> SettingsFlags:
    """Defines a flag for each field of settings and of those within them.

    A field that holds settings of one class has no flag itself, its fields
    have: `--model.units`. One that holds settings of one of several classes
    has a flag that names the class, and each class's fields have theirs:
    `--space=tree --space.base=8`. The help of a flag is the field's.

    Args:
        flags: `absl.flags`.
        cls: Class of the settings.
        without: Dotted names of fields that have no flags, nor those within.
        short: Dotted names by the short names that their flags have too.
            `--help` then shows the short one alone.
        either: Pairs of dotted names of numbers: if the first is given, the
            second becomes 0. A pair that holds both ways is given twice.
    """
    flags.disclaim_key_flags()  # They belong to the module that asks.
    shorts: dict[str, list[str]] = {}
    for name, dotted in (short or {}).items():
        shorts.setdefault(dotted, []).append(name)
    holders = {}
    for dotted, fields in _flags_of(cls, "").items():
        names = shorts.pop(dotted, [])
        if any(f"{dotted}.".startswith(f"{name}.") for name in without):
            continue
        types = {field.type for field in fields}
        is_bool = types <= {bool, bool | None}
        make = flags.DEFINE_boolean if is_bool else flags.DEFINE_string
        text = " Or: ".join(dict.fromkeys(map(_help_of, fields)))
        hidden = {"module_name": __name__} if names else {}
        holders[dotted] = [make(dotted, None, text, **hidden)] + [
            make(name, None, f"{text} (Also --{dotted}.)") for name in names
        ]
    if shorts:
        raise ValueError(
            f"short must name fields of {cls.__name__}. Received: "
            f"{sorted(shorts)}."
        )
    return SettingsFlags(holders, tuple(either))


def short_names(cls: type[Settings]) -> dict[str, str]:
    """Returns short names for all fields of settings within others.

    Args:
        cls: Class of the settings.

    Returns:
        Dotted names by their last parts, where those are no field of `cls` nor
        the last parts of two.

    Example:

    >>> from nas_keras.tasks import ImageConfig
    >>> names = short_names(ImageConfig)
    >>> names["image_dir"], names["decay_from"], "seed" in names
    ('data.image_dir', 'training.schedule.decay_from', False)
    """
    names: dict[str, list[str]] = {}
    for dotted in _flags_of(cls, ""):
        names.setdefault(dotted.split(".")[-1], []).append(dotted)
    return {
        name: dotted
        for name, (dotted, *others) in names.items()
        if not others and dotted != name
    }


def _flags_of(
    cls: type[Settings], path: str
) -> dict[str, list[dataclasses.Field]]:
    """Returns the fields of each dotted flag.

    It has several fields if several classes that a setting may be of have one
    of that name.
    """
    found: dict[str, list[dataclasses.Field]] = {}
    for field in fields_of(cls):
        dotted, options = path + field.name, field.metadata["rule"].options
        if "" not in options:
            found[dotted] = [field]
        for its in _classes_of(options):
            for name, fields in _flags_of(its, f"{dotted}.").items():
                found.setdefault(name, []).extend(fields)
    return found


def _classes_of(options: Mapping[str, Any]) -> Iterable[type[Settings]]:
    """Returns the distinct classes of options; None has none."""
    classes = (
        option if isinstance(option, type) else type(option)
        for option in options.values()
        if option is not None
    )
    return dict.fromkeys(classes)


def _help_of(field: dataclasses.Field) -> str:
    options = field.metadata["rule"].options
    if options:
        doc = field.metadata["doc"].rstrip(".")
        return f"{doc}. Must be one of {list(options)}."
    return described(field)


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return True  # To be refused by the rule of its field.


def parser(
    flags: ModuleType, program: str, module: str
) -> Callable[[Sequence[str]], list[str]]:
    """Returns the `flags_parser` of a program, for `absl.app.run`.

    It prints the help that the program's docstring and flags are, and ends the
    process in one line, with status 2, if a flag is wrong. From then on, what
    the encoding of standard output lacks is printed as escapes.

    Args:
        flags: `absl.flags`.
        program: Its name.
        module: `__name__` of its module.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        if {"--help", "-help", "-h"} & set(argv[1:]):
            # absl's own help is of the main module, here a console script.
            print(sys.modules[module].__doc__)
            if "preset" in flags.FLAGS:
                print("A preset's values come before the defaults below.\n")
            print(flags.FLAGS.module_help(sys.modules[module]))
            sys.exit(0)
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            exits.fail(program, str(error), exits.USAGE)

    return parse


def check_no_arguments(argv: Sequence[str]) -> None:
    """Raises a `ValueError` if there are others than flags."""
    if len(argv) > 1:
        raise ValueError(f"Unexpected arguments: {list(argv[1:])}.")


def check_printable(flags: ModuleType, names: Iterable[str]) -> None:
    """Raises a `ValueError` if a path could not be shown in a message."""
    for name in names:
        value = flags.FLAGS[name].value
        if value and not value.isprintable():
            raise ValueError(
                f"--{name} must be printable text. Received: {value!r}."
            )


def check_finite(flags: ModuleType, name: str) -> None:
    """Raises a `ValueError` if a flag is infinite or no number."""
    value = flags.FLAGS[name].value
    if not math.isfinite(value):
        raise ValueError(
            f"--{name} must be finite. Received: --{name}={value}."
        )


def check_left_out(flags: ModuleType, names: Iterable[str], where: str) -> None:
    """Raises a `ValueError` if a flag was given where it has no use."""
    for name in names:
        if flags.FLAGS[name].present:
            raise ValueError(
                f"--{name} must be left out {where}. Received: "
                f"--{name}={flags.FLAGS[name].value}."
            )


def check_output(flags: ModuleType, name: str, suffix: str) -> None:
    """Raises a `ValueError` if a flag's file, if given, cannot be written.

    Args:
        flags: absl's.
        name: Of the flag.
        suffix: That the file must have, such as `".png"`.
    """
    path = flags.FLAGS[name].value
    if not path:
        return
    file, problem = pathlib.Path(path), ""
    if file.suffix != suffix or file.is_dir():
        problem = f"a file that ends in {suffix!r}"
    elif not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        problem = "in a folder that is there and may be written to"
    if problem:
        raise ValueError(
            f"--{name} must be {problem}. Received: --{name}={path!r}."
        )


@contextlib.contextmanager
def reading_result(workdir: pathlib.Path) -> Iterator[Any]:
    """Yields what a training's `result.json` holds.

    Raises:
        ValueError: If it cannot be read, or lacks what the body reads of it.
    """
    path = workdir / "result.json"
    result = files.read_json(path)
    try:
        yield result
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(f"{path}: damaged: not of a training.") from None


def check_library(flag: str, library: str, extra: str, hint: str = "") -> None:
    """Raises a `ValueError` if a flag needs a library that is not there.

    Args:
        flag: Its name.
        library: To be imported.
        extra: Of this package, that installs it.
        hint: What else can be done, to be added to the message.
    """
    if importlib.util.find_spec(library) is None:
        raise ValueError(
            f"--{flag} needs {library}: {libraries.installation(extra)}{hint}."
        )
