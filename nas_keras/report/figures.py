"""Empty figures. matplotlib is imported here, and only when one is drawn."""

from typing import Any


def new_figure(width_inches: float, height_inches: float) -> Any:
    """Returns a matplotlib figure that makes room for its labels.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        # Not pyplot: it keeps figures, and may want a screen.
        from matplotlib import figure
    except ImportError as error:
        raise ImportError(
            "Figures need matplotlib: pip install 'nas_keras[report]'. Import "
            f"failed: {error}."
        ) from error
    size = (width_inches, height_inches)
    return figure.Figure(figsize=size, layout="constrained")
