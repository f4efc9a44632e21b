"""One line of progress: a live bar on a terminal, else plain lines.

What is shown: how many of how many, a text of the caller's, the rate an hour
and the time left, from the seconds the last items took.
"""

import collections
import time
from types import TracebackType

import rich.console
import rich.progress

_WINDOW = 20  # Items that the rate is taken over.
_PLAIN_INTERVAL_S = 5.0  # Plain lines at most this often, but for the last.


class Progress:
    """Shows how far a phase has come; a context manager.

    Args:
        label: Of the phase, such as `"search"`.
        total: Items in all.
        noun: What an item is, in the plural.
        console: Where to print; default: standard output.

    Example:

    >>> with Progress("search", 2, "children") as progress:
    ...     progress.advance(0.5, "best 0.25")  # doctest: +SKIP
    search 1/2  best 0.25  7,200 children/h  0:00:00 left
    """

    def __init__(
        self,
        label: str,
        total: int,
        noun: str,
        console: rich.console.Console | None = None,
    ):
        self.label = label
        self.total = total
        self.noun = noun
        self._console = console or rich.console.Console(soft_wrap=True)
        self._done = 0
        self._last_plain = -_PLAIN_INTERVAL_S
        self._seconds = collections.deque(maxlen=_WINDOW)
        self._bar = None

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

    def advance(self, elapsed_s: float, text: str) -> None:
        """Counts one item.

        Args:
            elapsed_s: Seconds that the item took, now or when it was done.
            text: What to show beside the count.
        """
        self._done += 1
        self._seconds.append(elapsed_s)
        mean_s = sum(self._seconds) / len(self._seconds)
        rate = f"{3600 / mean_s:,.0f} {self.noun}/h" if mean_s else ""
        left_s = round(mean_s * (self.total - self._done))
        minutes, seconds = divmod(left_s, 60)
        left = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
        line = "  ".join(part for part in (text, rate, left) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, text=line)
            return
        now = time.monotonic()
        is_due = now - self._last_plain >= _PLAIN_INTERVAL_S
        if is_due or self._done == self.total:
            self._last_plain = now
            self._console.print(
                f"{self.label} {self._done}/{self.total}  {line}",
                markup=False,
                highlight=False,
            )
