"""Libraries of the extras: who lacks one is told which extra has it."""

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
