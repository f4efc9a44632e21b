"""What a training shows: a table of its epochs, a figure, TensorBoard events.

An epoch is a mapping of names to numbers. Needs no TensorFlow; the figure
needs matplotlib, the events the package tensorboard.
"""

import csv
import dataclasses
import importlib.util
import io
import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras.report.figures import new_figure
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


def plot_history(epochs: Sequence[_Epoch], path: Path) -> None:
    """Draws training and validation loss by epoch, as PNG.

    Beside the losses, on the right: the perplexities that they are; or, of
    image networks, the validation accuracy.

    Args:
        epochs: Figures by name, losses in nats.
        path: Of the file.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    numbers = [epoch["epoch"] for epoch in epochs]
    for name, label, style in (
        ("train_loss_nats", "training, with dropout", "--"),
        ("validation_loss_nats", "validation", "-"),
    ):
        # Without validation images it is None: no point.
        losses = [_or_nan(epoch[name]) for epoch in epochs]
        axes.plot(numbers, losses, style, marker=".", label=label)
    accuracies = [_or_nan(past.get("validation_accuracy")) for past in epochs]
    is_of_images = any("validation_accuracy" in past for past in epochs)
    axes.set_xlabel("epoch")
    example = "image" if is_of_images else "token"
    axes.set_ylabel(f"loss, nats per {example}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if is_of_images:
        right = axes.twinx()
        label = "validation accuracy"
        right.plot(numbers, accuracies, ":", color="black", label=label)
        right.set_ylabel(label)
    else:
        same = (lambda nats: nats, lambda nats: nats)
        right = axes.secondary_yaxis("right", functions=same)
        right.set_ylabel("perplexity")
        right.yaxis.set_major_formatter(lambda nats, _: f"{math.exp(nats):.4g}")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_atomically(path, data.getvalue())


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def write_epochs(epochs: Sequence[_Epoch], workdir: Path) -> None:
    """Writes `history.csv` and, with matplotlib, `learning_curve.png`.

    Args:
        epochs: Figures by name, losses in nats.
        workdir: Folder of both.
    """
    write_history(epochs, workdir / "history.csv")
    if importlib.util.find_spec("matplotlib") is not None:
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
