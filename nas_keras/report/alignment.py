"""A picture of what a translation has attended to. Needs matplotlib."""

import io
import logging
import warnings
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas_keras.report.figures import new_figure
from nas_keras.storage.files import write_atomically

_INCHES = 0.32  # For a subword.
_FAMILY = "DejaVu Sans"  # matplotlib brings it along.
# For Chinese, Japanese and Korean, which it lacks: whichever are installed.
_FURTHER_FAMILIES = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("IPAexGothic", "IPAGothic", "NanumGothic", "UnDotum"),
    *("Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo"),
    "Arial Unicode MS",
)


def plot_alignment(
    source: Sequence[str],
    target: Sequence[str],
    weights: np.ndarray,
    path: Path,
) -> None:
    """Draws the attention of each target subword as a row, as PNG.

    What no font has is drawn as a box, and logged.

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
    families = _families()
    look = {"fontfamily": families, "parse_math": False}
    axes.set_xticks(range(len(source)), source, rotation=90, **look)
    axes.set_yticks(range(len(target)), target, **look)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("source")
    axes.set_ylabel("translation")
    missing = _missing("".join((*source, *target)), families)
    if missing:
        logging.warning("%s: no font for %s.", path, " ".join(missing))
    data = io.BytesIO()
    with warnings.catch_warnings():
        # One for each glyph and font, each time that it is drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(data, format="png", dpi=120)
    write_atomically(path, data.getvalue())


def _families() -> list[str]:
    """Returns families of fonts; the first that has a glyph draws it."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [_FAMILY, *(f for f in _FURTHER_FAMILIES if f in installed)]


def _missing(text: Iterable[str], families: Sequence[str]) -> list[str]:
    """Returns the characters that no font of the families has."""
    from matplotlib import font_manager

    paths = [font_manager.findfont(family) for family in families]
    fonts = [font_manager.get_font(path) for path in paths]
    return sorted(
        character
        for character in set(text)
        if not any(font.get_char_index(ord(character)) for font in fonts)
    )
