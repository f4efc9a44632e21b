"""Pieces of HTML: what is text is escaped here, what is markup is joined.

Content that a function calls markup must have come from this module; anything
of a run passes through `text`.
"""

import html
import json
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.report import tables

RIGHT = 'class="right"'
SOFT = 'class="soft"'


def text(value: Any) -> str:
    """Returns any value as text of a page."""
    return html.escape(tables.printable(str(value)), quote=True)


def tag(name: str, content: str, attributes: str = "") -> str:
    """Wraps markup; `attributes` are the report's own, never a run's."""
    return f"<{name}{' ' if attributes else ''}{attributes}>{content}</{name}>"


def section(title: str, *contents: str) -> str:
    """Returns a section; empty contents are left out."""
    parts = [tag("h2", title), *filter(None, contents)]
    return tag("section", "\n".join(parts))


def soft(sentences: str) -> str:
    """Returns a paragraph of explanations."""
    return tag("p", text(sentences), SOFT)


def items(sentences: Iterable[str]) -> str:
    """Returns a list of plain-text sentences, nothing for none."""
    lines = "\n".join(tag("li", text(s)) for s in sentences)
    return tag("ul", lines) if lines else ""


def command(line: str) -> str:
    """Returns a command; its lines break between its words."""
    words = (tag("span", text(word)) for word in line.split(" "))
    return tag("pre", tag("code", " ".join(words)), 'class="command"')


def details(title: str, content: str) -> str:
    """Returns what is folded up below its title."""
    return tag("details", tag("summary", text(title)) + content)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str
) -> str:
    """Returns a table of plain texts.

    Args:
        headings: Of the columns; those in `tables.LEFT` hold names.
        rows: A text for each heading.
        kind: Class of the style sheet.
    """
    sides = ["" if name in tables.LEFT else RIGHT for name in headings]
    head = "".join(
        tag("th", text(name), side)
        for name, side in zip(headings, sides, strict=True)
    )
    lines = [
        "".join(
            tag("td", text(cell), f'{side} data-label="{text(name)}"')
            for cell, side, name in zip(row, sides, headings, strict=True)
        )
        for row in rows
    ]
    body = "\n".join(tag("tr", line) for line in lines)
    return tag(
        "table",
        tag("thead", tag("tr", head)) + tag("tbody", body),
        f'class="{kind}"',
    )


def pairs(values: Mapping[str, Any]) -> str:
    """Returns a table of names and values, nested names with dots."""
    if not values:
        return ""
    rows = "\n".join(
        tag("tr", tag("th", text(name)) + tag("td", text(value)))
        for name, value in _flat(values)
    )
    return tag("table", tag("tbody", rows), 'class="pairs"')


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields dotted names and texts of a nested dict."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            for inner, words in _flat(value):
                yield f"{name}.{inner}", words
        elif isinstance(value, str):
            yield str(name), value
        else:
            yield str(name), json.dumps(value, ensure_ascii=False)
