"""Figures of one training or one translation, as PNG files.

Its losses by epoch; what a translation has attended to. matplotlib is imported
here, and only when a figure is drawn.
"""

import io
import logging
import math
import warnings
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras import libraries
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


def plot_history(epochs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws training and validation loss by epoch, as PNG.

    Beside the losses, on the right: the further validation figure, as an
    accuracy; if there is none, the perplexities that losses in nats are.

    Args:
        epochs: Figures by name, the same names of each: `epoch`, those that
            begin with `train_loss` and `validation_loss`, others of
            `validation_`. None: not measured.
        path: Of the file.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    numbers = [epoch["epoch"] for epoch in epochs]

    def plot(on: Any, name: str, style: str, **look: Any) -> None:
        values = [math.nan if e[name] is None else e[name] for e in epochs]
        on.plot(numbers, values, style, **look)

    names = list(epochs[0])
    (loss,) = (n for n in names if n.startswith("validation_loss"))
    train = loss.replace("validation", "train", 1)
    plot(axes, train, "--", marker=".", label="training, with dropout")
    plot(axes, loss, "-", marker=".", label="validation")
    axes.set_xlabel("epoch")
    unit = loss.removeprefix("validation_loss").replace("_", ", ", 1)
    axes.set_ylabel(f"loss{unit}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    others = (n for n in names if n.startswith("validation_") and n != loss)
    further = next(others, None)
    if further:
        right = axes.twinx()
        label = further.replace("_", " ")
        plot(right, further, ":", color="black", label=label)
        right.set_ylabel(label)
    elif loss.endswith("_nats"):
        same = (lambda nats: nats, lambda nats: nats)
        right = axes.secondary_yaxis("right", functions=same)
        right.set_ylabel("perplexity")
        right.yaxis.set_major_formatter(lambda nats, _: f"{math.exp(nats):.4g}")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    _write_png(figure, path)


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
    with warnings.catch_warnings():
        # One for each glyph and font, each time that it is drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        _write_png(figure, path)


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


def _write_png(figure: Any, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_atomically(path, data.getvalue())
