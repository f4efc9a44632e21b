"""What the packages of the library name as public, read from their sources."""

import ast
import pathlib

LIBRARY = pathlib.Path(__file__).resolve().parents[1] / "nas_keras"


def tree_of(path):
    """Returns the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def named_by(path):
    """Returns file of a module -> the names of it that a package exports.

    Args:
        path: The package's `__init__.py`, which names them lazily, by
            `lazy_loader.attach` or `facade.attach`, or imports them.
    """
    names = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            lazy = [k.value for k in node.keywords if k.arg == "submod_attrs"]
            for modules in map(ast.literal_eval, lazy):
                is_own = ast.unparse(node.func) == "lazy_loader.attach"
                folder = path.parent if is_own else LIBRARY
                for module, its in modules.items():
                    names.setdefault(_file(folder, module), []).extend(its)
        elif isinstance(node, ast.ImportFrom) and "." in (node.module or ""):
            module = node.module.removeprefix("nas_keras.")
            file = _file(LIBRARY, module)
            names.setdefault(file, []).extend(a.name for a in node.names)
    return names


def _file(folder, module):
    return folder.joinpath(*module.split(".")).with_suffix(".py")
