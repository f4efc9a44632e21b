"""Libraries that a part of the package needs: who lacks one is told so."""

import contextlib
from collections.abc import Iterator


def installation(extra: str) -> str:
    """Returns the command that installs an extra of this package."""
    return f"pip install 'nas_keras[{extra}]'"


@contextlib.contextmanager
def needed(what: str, extra: str) -> Iterator[None]:
    """Has an import that fails say what to install.

    Args:
        what: What needs which library.
        extra: Of this package, that has it.

    Raises:
        ImportError: If the import within fails.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{what}: {installation(extra)}. Import failed: {error}."
        ) from error


def is_backend_tensorflow() -> bool:
    """Returns whether TensorFlow is Keras's backend; imports Keras."""
    return _backend() == "tensorflow"


def check_tensorflow(purpose: str) -> None:
    """Refuses another backend of Keras than TensorFlow; imports Keras.

    Args:
        purpose: What needs it, as `"to train"`.

    Raises:
        ValueError: If Keras has another.
    """
    if not is_backend_tensorflow():
        raise ValueError(
            f"KERAS_BACKEND must be 'tensorflow' {purpose}. Received: "
            f"{_backend()!r}."
        )


def _backend() -> str:
    import keras

    return keras.backend.backend()
