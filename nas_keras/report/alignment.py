"""A picture of what a translation has attended to. Needs matplotlib."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas_keras.report.figures import new_figure
from nas_keras.storage.files import write_atomically

_INCHES = 0.32  # For a subword.


def plot_alignment(
    source: Sequence[str],
    target: Sequence[str],
    weights: np.ndarray,
    path: Path,
) -> None:
    """Draws the attention of each target subword as a row, as PNG.

    Args:
        source: S subwords.
        target: T subwords.
        weights: float [T, S], in [0, 1].
        path: Of the file.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If `weights` has another shape.
    """
    if np.shape(weights) != (len(target), len(source)):
        raise ValueError(
            "weights must have a row for each of target and a column for each "
            f"of source, ({len(target)}, {len(source)}). Received: shape "
            f"{np.shape(weights)}."
        )
    figure = new_figure(2 + _INCHES * len(source), 1.5 + _INCHES * len(target))
    axes = figure.subplots()
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(source)), source, rotation=90)
    axes.set_yticks(range(len(target)), target)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("source")
    axes.set_ylabel("translation")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_atomically(path, data.getvalue())
