"""Work of a search, shared out among the workers of its cluster."""

import dataclasses
import json
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from nas_keras.distribute.cluster import Cluster
from nas_keras.storage.pending import Pending

_Item = TypeVar("_Item")
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Shares:
    """Who did how much of a list; each a value for every worker.

    Attributes:
        num_items: Items that it evaluated.
        busy_s: Seconds that it took to.
        waiting_s: Seconds that it then waited for the slowest.
    """

    num_items: list[int]
    busy_s: list[float]
    waiting_s: list[float]


def share_out(
    items: Sequence[_Item],
    evaluate: Callable[[_Item], Record],
    cluster: Cluster,
    pending: Pending | None,
    key: Callable[[_Item], str],
    on_shares: Callable[[Shares], None] = lambda shares: None,
) -> Iterator[Record]:
    """Evaluates items, each on one worker; yields the results in order.

    A process that is alone yields each result as it is finished. Among
    several, each worker keeps its own results in `pending` as they are
    finished, and all yield them when the last is there.

    Args:
        items: The same on all workers.
        evaluate: Returns the result, JSON-able, which may depend on the item
            alone.
        cluster: The workers.
        pending: Where to keep results, or None.
        key: Names a result.
        on_shares: Is told how the work was spread.

    Raises:
        PeerLostError: If a worker is lost.
    """
    if cluster.size == 1:
        yield from map(evaluate, items)
        return
    start_s = time.perf_counter()
    own = []
    for item in cluster.share(items):
        record = evaluate(item)
        cluster.check_peers()  # What a lost peer made fail is no result.
        if pending is not None:
            pending.write(key(item), record)
        own.append(record)
    busy_s = time.perf_counter() - start_s
    messages = cluster.gather(json.dumps([busy_s, own]).encode())
    wall_s = time.perf_counter() - start_s
    parts = [json.loads(message) for message in messages]
    on_shares(
        Shares(
            [len(records) for _, records in parts],
            [seconds for seconds, _ in parts],
            # All begin together, at the message with the architectures.
            [max(wall_s - seconds, 0.0) for seconds, _ in parts],
        )
    )
    for _, records in parts:
        yield from records
