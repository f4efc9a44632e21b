"""What the command lines of the programs have in common.

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

from nas_keras import libraries
from nas_keras.distribute import exits
from nas_keras.storage import files
from nas_keras.storage import run_config

# Type of an attribute -> how its flag is defined.
_DEFINE: dict[Any, str] = {
    bool: "DEFINE_boolean",
    bool | None: "DEFINE_boolean",
    float: "DEFINE_float",
    int: "DEFINE_integer",
    str: "DEFINE_string",
    str | None: "DEFINE_string",
    tuple[int, ...]: "DEFINE_list",
    tuple[str, ...]: "DEFINE_list",
}


@dataclasses.dataclass(frozen=True)
class ConfigFlags:
    """Flags for the attributes of a configuration.

    Attributes:
        kind: The configuration, a dataclass whose docstring tells of each
            attribute.
        holders: absl's holder of each flag, by attribute.
    """

    kind: type
    holders: Mapping[str, Any]

    def given(self) -> dict[str, Any]:
        """Returns the values that were given, by attribute.

        Raises:
            ValueError: If what should be ints are none.
        """
        types = {
            field.name: field.type for field in dataclasses.fields(self.kind)
        }
        return {
            name: _value(holder, types[name])
            for name, holder in self.holders.items()
            if holder.value is not None
        }


def define_flags(
    flags: ModuleType,
    kind: type,
    without: Iterable[str] = (),
    names: Mapping[str, str] | None = None,
) -> ConfigFlags:
    """Defines a flag for each attribute of a configuration.

    Args:
        flags: `absl.flags`.
        kind: A dataclass, as for `ConfigFlags`.
        without: Attributes that have none.
        names: Of flags that are not named like their attributes, by attribute.
    """
    flags.disclaim_key_flags()  # They belong to the module that asks.
    texts, names = run_config.attribute_docs(kind), names or {}
    return ConfigFlags(
        kind,
        {
            field.name: getattr(flags, _DEFINE[field.type])(
                names.get(field.name, field.name), None, texts[field.name]
            )
            for field in dataclasses.fields(kind)
            if field.name not in without
        },
    )


def _value(holder: Any, type_: Any) -> Any:
    if type_ == tuple[str, ...]:
        return tuple(holder.value)
    if type_ != tuple[int, ...]:
        return holder.value
    try:
        return tuple(map(int, holder.value))
    except ValueError:
        raise ValueError(
            f"--{holder.name} must be ints. Received: "
            f"--{holder.name}={','.join(holder.value)}."
        ) from None


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
            print(flags.FLAGS.module_help(sys.modules[module]))
            sys.exit(0)
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            exits.fail(program, str(error), exits.USAGE)

    return parse


def parameters(holder: Any, units: int | None) -> int | None:
    """Returns the number of weights that a float flag gives, or None.

    Args:
        holder: Of the flag, a float, so that 5e6 can be written.
        units: Given in its place, or None.

    Raises:
        ValueError: If it is no number of weights, or both are given.
    """
    if holder.value is None:
        return None
    if not 0 <= holder.value < 2**63:
        raise ValueError(
            f"--{holder.name} must be in [0, 2**63). Received: "
            f"--{holder.name}={holder.value}."
        )
    if units is not None:
        raise ValueError(
            f"--units and --{holder.name} exclude one another. Received: "
            f"--units={units} --{holder.name}={holder.value:g}."
        )
    return int(holder.value)


def changed(
    preset: Any,
    of_model: Mapping[str, Any],
    changes: Mapping[str, Any],
    holder: Any,
) -> Any:
    """Returns the configuration of a training with the flags put in.

    Args:
        preset: It has a `model`, and `parameters` that its units follow from.
        of_model: Changes of its model.
        changes: Of the rest.
        holder: Of the flag of `parameters`; see there.

    Raises:
        ValueError: If a value is out of range.
    """
    num = parameters(holder, of_model.get("units"))
    if num is None and "units" in of_model:
        num = 0
    if num is not None:
        changes = {**changes, "parameters": num}
    model = dataclasses.replace(preset.model, **of_model)
    return dataclasses.replace(preset, model=model, **changes)


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
