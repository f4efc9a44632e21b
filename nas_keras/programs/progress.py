"""One line of progress: a live bar on a terminal, else plain lines.

What is shown: how many of how many, the best reward or a text of the caller's,
the rate an hour and the time left, from the seconds the last items took. A
worker under a supervisor sends what it would show; the supervisor shows it.
"""

import collections
import json
import sys
import time
from types import TracebackType
from typing import Any

import rich.console
import rich.progress

from nas_keras.tasks.training.loop import Update

_WINDOW = 20  # Items that the rate is taken over.
_KEY = "progress"  # Of the JSON objects that a worker sends: label, and
_PHASE = (int, str, int)  # total, noun, number of workers; or
_ITEM = (int, int | float, int | float | None, str | None)  # as `advance`; or
_NOTE = (str,)  # as `note`.


class Progress:
    """Shows how far a phase has come; a context manager.

    Args:
        label: Of the phase, such as `"search"`.
        total: Items in all.
        noun: What an item is, in the plural.
        num_workers: How many items are worked on at a time.
        console: Where to print; default: standard output.
        plain_interval_s: Seconds at least between two lines, but for the last,
            where there is no terminal.

    Example:

    >>> with Progress("search", 2, "children") as progress:
    ...     progress.advance(0, 0.5, reward=0.25)  # doctest: +SKIP
    search 1/2  best 0.25  7,200 children/h  0:00:00 left
    """

    def __init__(
        self,
        label: str,
        total: int,
        noun: str,
        num_workers: int = 1,
        console: rich.console.Console | None = None,
        plain_interval_s: float = 5.0,
    ):
        self.label = label
        self.total = total
        self.noun = noun
        self.num_workers = num_workers
        self._console = console or rich.console.Console(soft_wrap=True)
        self._done: set[int] = set()
        self._best: float | None = None
        self._plain_interval_s = plain_interval_s
        self._last_plain = -plain_interval_s
        self._seconds: collections.deque[float] = collections.deque(
            maxlen=_WINDOW
        )
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._bar = rich.progress.Progress(
                "{task.description}",
                rich.progress.BarColumn(),
                "{task.completed}/{task.total}",
                "{task.fields[text]}",
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self.label, total=self.total, text=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(
        self,
        item: int,
        elapsed_s: float,
        reward: float | None = None,
        text: str | None = None,
    ) -> None:
        """Counts an item, once, however often it is told of.

        Args:
            item: Its number.
            elapsed_s: Seconds that it took, now or when it was done.
            reward: Its score, if it has one.
            text: What to show beside the count; default: the best reward.
        """
        if item in self._done:
            return
        self._done.add(item)
        self._seconds.append(elapsed_s)
        if reward is not None:
            earlier = reward if self._best is None else self._best
            self._best = max(reward, earlier)
        if text is None:
            best = self._best
            text = "no feasible child" if best is None else f"best {best:.4g}"
        mean_s = sum(self._seconds) / len(self._seconds) / self.num_workers
        rate = f"{3600 / mean_s:,.0f} {self.noun}/h" if mean_s else ""
        left = _left(mean_s * (self.total - len(self._done)))
        self._show("  ".join(part for part in (text, rate, left) if part))

    def note(self, text: str) -> None:
        """Says what goes on between two items."""
        self._show(text)

    def _show(self, line: str) -> None:
        num_done = len(self._done)
        if self._bar is not None:
            self._bar.update(self._task, completed=num_done, text=line)
            return
        now = time.monotonic()
        is_due = now - self._last_plain >= self._plain_interval_s
        if is_due or num_done == self.total:
            self._last_plain = now
            self._console.print(
                f"{self.label} {num_done}/{self.total}  {line}",
                markup=False,
                highlight=False,
            )


class SentProgress(Progress):
    """Sends JSON lines to standard output instead of showing anything."""

    def __enter__(self) -> "SentProgress":
        _send([self.label, self.total, self.noun, self.num_workers])
        return self

    def advance(
        self,
        item: int,
        elapsed_s: float,
        reward: float | None = None,
        text: str | None = None,
    ) -> None:
        _send([self.label, item, elapsed_s, reward, text])

    def note(self, text: str) -> None:
        _send([self.label, text])


def _left(left_s: float) -> str:
    minutes, seconds = divmod(round(left_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"


def _send(values: list[Any]) -> None:
    print(json.dumps({_KEY: values}), file=sys.stdout, flush=True)


def _is_like(values: list[Any], kinds: tuple[Any, ...]) -> bool:
    return len(values) == len(kinds) and all(map(isinstance, values, kinds))


class ReceivedProgress:
    """Shows, as one display, what several workers send.

    Attributes:
        num_items: Items that were told of since this was made, once each.
    """

    def __init__(self):
        self.num_items = 0
        self._told: set[tuple[str, int]] = set()
        self._phase: Progress | None = None

    def receive(self, line: str) -> bool:
        """Takes a line of a worker's; returns whether it is progress."""
        try:
            label, *values = json.loads(line)[_KEY]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if _is_like(values, _PHASE):  # It begins, on all workers.
            if self._phase is None or self._phase.label != label:
                self.close()
                self._phase = Progress(label, *values)
                self._phase.__enter__()
        elif _is_like(values, _NOTE):
            if self._phase is not None and self._phase.label == label:
                self._phase.note(*values)
        elif not _is_like(values, _ITEM):
            return False
        elif self._phase is not None and self._phase.label == label:
            self._phase.advance(*values)
            self.num_items += (label, values[0]) not in self._told
            self._told.add((label, values[0]))
        return True

    def close(self) -> None:
        """Ends the display of the phase."""
        if self._phase is not None:
            self._phase.__exit__(None, None, None)
            self._phase = None


class TrainingSpeed:
    """Shows how far a training is, its speed and the time left.

    Args:
        display: A `Progress` that counts epochs.
        examples: What a training sees many of, such as tokens.
    """

    def __init__(self, display: Progress, examples: str = "tokens"):
        self._display = display
        self._examples = examples
        self._rate = 0.0  # Examples a second, over the last updates.
        self._is_told = False

    def has_been_told(self) -> bool:
        """Returns whether there was an update since this was last asked."""
        is_told, self._is_told = self._is_told, False
        return is_told

    def tell(self, update: Update) -> None:
        """Shows an update."""
        self._is_told = True
        rate = update.num_examples / max(update.elapsed_s, 1e-9)
        # The first update compiles.
        weight = 0.02 if self._rate else 1.0
        self._rate += weight * (rate - self._rate)
        self._display.note(
            f"epoch {update.epoch} {update.batch}/{update.num_batches}  "
            f"loss {update.train_loss_nats:.4f}  {self._rate:,.0f} "
            f"{self._examples}/s  {_left(update.examples_left / self._rate)}"
        )
