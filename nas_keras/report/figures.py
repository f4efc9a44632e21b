"""Empty figures. matplotlib is imported here, and only when one is drawn."""

from typing import Any

from nas_keras import libraries


def new_figure(width_inches: float, height_inches: float) -> Any:
    """Returns a matplotlib figure that makes room for its labels.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    with libraries.needed("Figures need matplotlib", "report"):
        # Not pyplot: it keeps figures, and may want a screen.
        from matplotlib import figure
    size = (width_inches, height_inches)
    return figure.Figure(figsize=size, layout="constrained")
