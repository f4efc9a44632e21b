"""Writes the reference of the Python API as HTML, from the docstrings.

`make docs` runs it. Each package of `nas_keras` is a page, with every public
name once: the modules behind a package are not public, and the top-level names
are those of `nas_keras.cells`. pdoc makes the pages; here is what it has to be
told of this project's packages and docstrings.

  python docs/reference.py site
"""

import importlib
import inspect
import pathlib
import pkgutil
import re
import sys
import types
from collections.abc import Sequence

import pdoc

import nas_keras

_SECTIONS = pdoc.docstrings.GOOGLE_LIST_SECTIONS

# The examples of docstrings, which Markdown would take for quotations.
_DOCTEST = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


def packages() -> list[types.ModuleType]:
    """Returns the public packages of `nas_keras`, which export names."""
    every = [
        importlib.import_module(f"nas_keras.{module.name}")
        for module in pkgutil.iter_modules(nas_keras.__path__)
        if module.ispkg
    ]
    return [package for package in every if hasattr(package, "__all__")]


def public_names(package: types.ModuleType) -> list[str]:
    """Returns what a package exports, by name."""
    return sorted(
        name
        for name in getattr(package, "__all__", vars(package))
        if not name.startswith("_")
        and not inspect.ismodule(getattr(package, name))
    )


def _prepare(package: types.ModuleType) -> None:
    """Puts lazy names in their place and fences the examples."""
    package.__all__ = public_names(package)
    for name in package.__all__:
        value = getattr(package, name)
        setattr(package, name, value)
        if inspect.isclass(value) or inspect.isfunction(value):
            members = vars(value).values() if inspect.isclass(value) else ()
            for its in (value, *filter(inspect.isfunction, members)):
                text = inspect.cleandoc(its.__doc__ or "")
                its.__doc__ = _DOCTEST.sub("```pycon\n\\g<0>\n```\n", text)


def write(folder: pathlib.Path) -> None:
    """Writes the site into a folder.

    Raises:
        ValueError: If a public name is not on its page, once.
    """
    documented = packages()
    for package in documented:
        _prepare(package)
    nas_keras.__all__ = [p.__name__.split(".")[1] for p in documented]
    _SECTIONS.append("Call arguments")  # Of layers, beside "Args".
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc("nas_keras", output_directory=folder)
    for package in documented:
        page = folder / f"{package.__name__.replace('.', '/')}.html"
        shown = re.findall(r'<section id="(\w+)"', page.read_text("utf-8"))
        if sorted(shown) != package.__all__:
            raise ValueError(
                f"{page} must have every public name once, {package.__all__}. "
                f"Received: {sorted(shown)}."
            )


def main(argv: Sequence[str]) -> None:
    """Writes the site into the folder `argv[1]`."""
    if len(argv) != 2:
        sys.exit(
            "FOLDER must be exactly one folder for the pages. Received: "
            f"{list(argv[1:])}. Example: python docs/reference.py site"
        )
    write(pathlib.Path(argv[1]))


if __name__ == "__main__":
    main(sys.argv)
