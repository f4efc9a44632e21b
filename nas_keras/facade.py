"""Packages that name things of other modules, loaded when they are asked for.

`lazy_loader.attach` knows submodules of the package alone: given another
package, it stores what it loads there, so that `nas_keras.search` would become
the function of that name.
"""

import importlib
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any


def attach(
    package: str, submod_attrs: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: Its `__name__`.
        submod_attrs: Modules, below `nas_keras`, and the names it has of each.
    """
    modules = {
        name: module for module, names in submod_attrs.items() for name in names
    }

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"No {package} attribute {name}")
        module = importlib.import_module(f"nas_keras.{modules[name]}")
        value = getattr(module, name)
        sys.modules[package].__dict__[name] = value
        return value

    return load, lambda: sorted(modules), sorted(modules)
