"""What a training shows: a table of its epochs, a figure, TensorBoard events.

An epoch is a mapping of names to numbers. Needs no TensorFlow; the figure
needs matplotlib, the events the package tensorboard.
"""

import csv
import dataclasses
import importlib.util
import io
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.report.figures import plot_history
from nas_keras.storage.events import ScalarLog
from nas_keras.storage.files import write_atomically

_Epoch = Mapping[str, float]


def write_history(epochs: Sequence[_Epoch], path: Path) -> None:
    """Writes the epochs as CSV, a row each; the columns are their names.

    Args:
        epochs: Figures by name, the same names of each.
        path: Of the file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(epochs[0]) if epochs else [])
    writer.writeheader()
    writer.writerows(epochs)
    write_atomically(path, text.getvalue().encode())


def write_epochs(epochs: Sequence[_Epoch], workdir: Path) -> None:
    """Writes `history.csv` and, with matplotlib, `learning_curve.png`.

    Args:
        epochs: Figures by name, losses in nats.
        workdir: Folder of both.
    """
    write_history(epochs, workdir / "history.csv")
    if epochs and importlib.util.find_spec("matplotlib") is not None:
        plot_history(epochs, workdir / "learning_curve.png")


def recorded(
    epochs: Iterable[Any],
    workdir: Path,
    is_new: Callable[[], bool],
    writes: bool = True,
    events: bool = False,
) -> Iterator[Any]:
    """Yields the epochs of a training, and keeps their table and figure.

    Args:
        epochs: Dataclasses.
        workdir: Of the training.
        is_new: Returns whether the last epoch was trained by this call, not an
            earlier one, whose files are there.
        writes: Whether to write anything.
        events: Whether to write `tensorboard/` too.

    Raises:
        ImportError: If events are asked for and tensorboard is not installed.
    """
    log = ScalarLog(workdir / "tensorboard") if events and writes else None
    rows: list[_Epoch] = []
    for epoch in epochs:
        rows.append(dataclasses.asdict(epoch))
        yield epoch
        if is_new() and writes:
            write_epochs(rows, workdir)
            if log:
                step = rows[-1]["epoch"]
                values = {k: v for k, v in rows[-1].items() if k != "epoch"}
                log.add(int(step), values)
    if writes:
        write_epochs(rows, workdir)
    if log:
        log.close()
