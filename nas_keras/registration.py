"""Makes Keras know the layers whenever both packages are imported.

`keras.models.load_model` finds a custom layer only if its class is registered,
which happens when its module is imported. Such a module imports Keras, which
takes seconds; so it is imported right after Keras, and not before.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence

_MODULES = ("nas_keras.cells.layers.nas_rnn", "nas_keras.convnets.drop_path")


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Imports the layers right after Keras itself.

    Others may look for Keras and not import it, as TensorFlow does: the
    finder stays until Keras has been executed.
    """

    _is_looking = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras" or self._is_looking:
            return None
        self._is_looking = True  # The search below comes by here again.
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self._is_looking = False
        if spec is not None and spec.loader is not None:
            run_keras = spec.loader.exec_module

            def run_keras_then_layers(module: types.ModuleType) -> None:
                run_keras(module)
                sys.meta_path.remove(self)
                _import_layers()

            # Wraps this one loader, whatever its class.
            spec.loader.exec_module = (  # type: ignore[method-assign]
                run_keras_then_layers
            )
        return spec


def register_layers_with_keras() -> None:
    """Imports the layers now if Keras is there, else as soon as it is."""
    if "keras" in sys.modules:
        _import_layers()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_layers() -> None:
    for name in _MODULES:
        importlib.import_module(name)
