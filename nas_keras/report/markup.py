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

from nas_keras.report.decoding import printable

RIGHT = 'class="right"'
SOFT = 'class="soft"'


def text(value: Any) -> str:
    """Returns any value as text of a page."""
    return html.escape(printable(str(value)), quote=True)


def tag(name: str, content: str, attributes: str = "") -> str:
    """Wraps markup; `attributes` are the report's own, never a run's."""
    return f"<{name}{' ' if attributes else ''}{attributes}>{content}</{name}>"


def section(title: str, *contents: str) -> str:
    """Returns a section; empty contents are left out."""
    parts = [tag("h2", text(title)), *filter(None, contents)]
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


def table(columns: Mapping[str, Sequence[str]], num_names: int = 0) -> str:
    """Returns a table of plain texts.

    Args:
        columns: Heading -> a text for each row.
        num_names: The first columns, which hold names; the others, on the
            right, hold figures.
    """
    sides = ["" if i < num_names else RIGHT for i in range(len(columns))]
    head = "".join(map(tag, ["th"] * len(sides), map(text, columns), sides))
    lines = [
        "".join(
            tag("td", text(cell), f'{side} data-label="{text(name)}"')
            for cell, side, name in zip(row, sides, columns, strict=True)
        )
        for row in zip(*columns.values(), strict=True)
    ]
    body = "\n".join(tag("tr", line) for line in lines)
    return tag(
        "table",
        tag("thead", tag("tr", head)) + tag("tbody", body),
        'class="cells"',
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
