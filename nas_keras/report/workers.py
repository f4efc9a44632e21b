"""How the workers of a run spent their time, and which were slow."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from nas_keras.report.run_files import ShareRecord
from nas_keras.report.run_files import TrialRecord
from nas_keras.report.tables import format_number

_SLOW = (
    1.5  # Times the typical seconds a child, from which on a worker is slow.
)


@dataclasses.dataclass(frozen=True)
class WorkerRow:
    """One worker, over the steps that it took part in.

    Attributes:
        worker: Its index.
        num_children: Children that it evaluated.
        busy_s: Seconds that it took for them.
        waiting_s: Seconds that it waited for slower workers.
        child_s: Seconds a child, the median over steps: the first step has
            the compilation in it.
        slowness: `child_s` over that of the median worker.
    """

    worker: int
    num_children: int
    busy_s: float
    waiting_s: float
    child_s: float
    slowness: float


def summarise_workers(shares: Sequence[ShareRecord]) -> list[WorkerRow]:
    """Returns one row for each worker that evaluated a child.

    Args:
        shares: One for each step; the number of workers may have changed.
    """
    parts: dict[int, list[tuple[int, float, float]]] = {}
    for share in shares:
        columns = (share.num_items, share.busy_s, share.waiting_s)
        for worker, part in enumerate(zip(*columns, strict=True)):
            parts.setdefault(worker, []).append(part)
    child_s = {
        worker: statistics.median(busy / num for num, busy, _ in mine if num)
        for worker, mine in parts.items()
        if any(num for num, _, _ in mine)
    }
    if not child_s:
        return []
    typical_s = statistics.median_low(child_s.values())
    return [
        WorkerRow(
            worker=worker,
            num_children=sum(num for num, _, _ in parts[worker]),
            busy_s=sum(busy for _, busy, _ in parts[worker]),
            waiting_s=sum(waiting for _, _, waiting in parts[worker]),
            child_s=seconds,
            slowness=seconds / typical_s if typical_s else 1.0,
        )
        for worker, seconds in sorted(child_s.items())
    ]


def describe_alone(trials: Sequence[TrialRecord]) -> str:
    """Returns a sentence on the time of a run of one process.

    Args:
        trials: Of the run; those that were met before took no time.
    """
    times_s = [
        trial.elapsed_s
        for trial in trials
        if trial.same_as is None and math.isfinite(trial.elapsed_s)
    ]
    if not times_s:
        return "One worker, which did not record its time."
    return (
        f"One worker evaluated {len(times_s):,} children in"
        f" {format_number(math.fsum(times_s), 3)} s,"
        f" {format_number(statistics.median(times_s), 3)} s a child (median)."
    )


def describe_workers(rows: Sequence[WorkerRow]) -> list[str]:
    """Returns a sentence on the whole, and one for each slow worker."""
    if len(rows) < 2:
        return []
    busy_s = sum(row.busy_s for row in rows)
    waiting_s = sum(row.waiting_s for row in rows)
    share = 100 * waiting_s / (busy_s + waiting_s) if busy_s else 0.0
    return [
        f"{len(rows)} workers were busy {format_number(busy_s, 3)} s and "
        f"waited {format_number(waiting_s, 3)} s for one another, "
        f"{share:.0f} % of their time.",
        *(
            f"Worker {row.worker} is slow: {format_number(row.child_s, 3)} s a "
            f"child, {row.slowness:.1f} times the median worker's."
            for row in rows
            if row.slowness >= _SLOW
        ),
    ]
