"""The cells and networks of a report: drawn, beside their equations or layers.

A drawing keeps the size of its letters: where it is wider than the page it
moves sideways, alone.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.cells.language.spec import CellSpec
from nas_keras.convnets.spec import spec_from_dict
from nas_keras.drawing import canvas
from nas_keras.drawing import cells as cell_drawing
from nas_keras.drawing import convnets as network_drawing
from nas_keras.report import tables
from nas_keras.report.markup import details
from nas_keras.report.markup import items
from nas_keras.report.markup import pairs
from nas_keras.report.markup import soft
from nas_keras.report.markup import tag
from nas_keras.report.markup import text
from nas_keras.report.records import CellRecord
from nas_keras.report.run_files import RunFiles

_NUM_BEST = 3
_LEAST_SCALE = 0.8  # Of a drawing on a narrow page: letters of 10 pixels.
_SCENES: Mapping[str, Callable[[Any], canvas.Scene]] = {
    "Equations": lambda data: cell_drawing.scene_of(CellSpec.from_dict(data)),
    "Layers": lambda data: network_drawing.scene_of(spec_from_dict(data)),
}
_OF_THE_SEARCH = ("controller", "random")


def best(run: RunFiles) -> str:
    """Returns the best few architectures that the search found."""
    noun = run.measure.noun
    if run.best_cell is None:
        return tag("p", text(f"The search has chosen no {noun} yet."))
    legend = (
        f"Found by the search, the best by mean validation {run.measure.name}"
        " after retraining first."
    )
    shown = _ranked(run)[:_NUM_BEST]
    if not shown:
        legend = f"Not retrained: the {noun} that has the best reward."
        shown = [(run.best_cell, "")]
    return "\n".join(
        [
            soft(
                f"{legend} A drawing that is wider than the screen moves"
                " sideways."
            ),
            *(
                _article(cell, f"{number}. {cell.name}", words)
                for number, (cell, words) in enumerate(shown, 1)
            ),
        ]
    )


def others(run: RunFiles) -> str:
    """Returns what else was retrained, folded up."""
    first = [cell.name for cell, _ in _ranked(run)[:_NUM_BEST]]
    cells = {r.cell: r.spec for r in run.retrained if r.spec is not None}
    return "\n".join(
        details(f"{cell.parts} of {name}", _body(cell))
        for name, cell in cells.items()
        if cell.name not in first
    )


def _ranked(run: RunFiles) -> list[tuple[CellRecord, str]]:
    """Returns what was found and retrained, and how it did, best first."""
    specs = {r.cell: r.spec for r in run.retrained if r.spec is not None}
    rewards = {(r.origin, r.trial): r.reward for r in run.retrained}
    ranked = []
    for row in tables.summarise_retrained(run.retrained):
        if row.origin in _OF_THE_SEARCH and row.cell in specs:
            reward = rewards[row.origin, row.trial]
            ranked.append((specs[row.cell], _words(row, reward)))
    return ranked


def _words(row: tables.RetrainedRow, reward: float | None) -> str:
    source = {
        "controller": "of the controller",
        "random": "of random search",
    }[row.origin]
    words = f"Child {row.trial} {source}"
    if reward is not None:
        words += f", reward {tables.format_number(reward)}"
    figures = tables.format_spread(row.validation, "±")
    measure = row.measure
    return (
        f"{words}; validation {measure.name} {figures}{measure.suffix}"
        f" ({row.seeds})."
    )


def _article(cell: CellRecord, title: str, words: str) -> str:
    head = tag("h3", text(title)) + (tag("p", text(words)) if words else "")
    return tag("article", f"{head}\n{_body(cell)}")


def _body(cell: CellRecord) -> str:
    equations = tag("pre", "".join(_lines(cell.equations)))
    states = ""
    if cell.states:
        states = soft(
            f"States: {', '.join(cell.states)}. linear(v) is the product of v"
            " and a weight matrix of its own."
        )
    origin = ""
    if cell.provenance:
        origin = details("Where it comes from", pairs(cell.provenance))
    words = tag("div", f"{states}\n{equations}\n{origin}", 'class="words"')
    return tag("div", f"{_drawing(cell)}\n{words}", 'class="cell"')


def _lines(equations: Sequence[str]) -> list[str]:
    return [tag("code", text(line)) for line in equations]


def _drawing(cell: CellRecord) -> str:
    if cell.parts not in _SCENES:
        return ""
    try:
        picture = _SCENES[cell.parts](cell.data)
    except ValueError as error:
        return items([f"There is no drawing of it: {error}"])
    svg = canvas.to_svg(picture).decode()
    least, most = round(_LEAST_SCALE * picture.width), round(picture.width)
    svg = svg.replace(
        "<svg ", f'<svg style="min-width: {least}px; max-width: {most}px" ', 1
    )
    # The keyboard can move what it can reach.
    label = f'tabindex="0" role="group" aria-label="{text(picture.title)}"'
    return tag("div", svg, f'class="drawing" {label}')
