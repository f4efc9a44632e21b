"""What the benchmarks have in common: rounds, text of ratios, how they begin.

Programs of this folder find it beside them. No flags of its own, and neither
TensorFlow nor Keras: whoever imports it may still choose their settings.
"""

import contextlib
import dataclasses
import json
import pathlib
import socket
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NoReturn
from typing import TypeVar

from absl import app
from absl import flags

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Times:
    """How long each round of a candidate took.

    Attributes:
        wall_s: Seconds.
        cpu_s: CPU seconds of all threads.
    """

    wall_s: list[float] = dataclasses.field(default_factory=list)
    cpu_s: list[float] = dataclasses.field(default_factory=list)

    def of(self, call: Callable[[], _Result]) -> _Result:
        """Calls, and keeps what that took as one more round."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        return result

    def over(self, other: "Times") -> list[float]:
        """Returns how many times as long as the other each round took."""
        return ratios(self.wall_s, other.wall_s)

    def cpu_over(self, other: "Times") -> list[float]:
        """Returns the same of CPU seconds."""
        return ratios(self.cpu_s, other.cpu_s)


def in_turn(
    calls: Mapping[str, Callable[[], Any]], num_rounds: int
) -> dict[str, Times]:
    """Times calls round after round: what drifts, drifts for all."""
    times = {name: Times() for name in calls}
    for _ in range(num_rounds):
        for name, call in calls.items():
            times[name].of(call)
    return times


def ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Returns the ratio of each pair."""
    return [x / y for x, y in zip(a, b, strict=True)]


def range_text(values: Sequence[float], digits: int = 2) -> str:
    """Returns the least and the most of some values."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def print_figures(figures: Mapping[str, object]) -> None:
    """Prints the last line of a benchmark: headline figures as key=value."""
    print(
        *(
            f"{name}={value:.4g}"
            if isinstance(value, float)
            else f"{name}={value}"
            for name, value in figures.items()
        )
    )


def tf_configs(num_workers: int) -> list[str]:
    """Returns the `TF_CONFIG` of each of some workers on this machine."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("localhost", 0)))
            for _ in range(num_workers)
        ]
        ports = [server.getsockname()[1] for server in servers]
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    tasks = [{"type": "worker", "index": k} for k in range(num_workers)]
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark, which takes flags and no arguments.

    Exit status: 2, after one line on stderr, if these are wrong.
    """
    app.run(lambda _: main(), flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        fail(str(error), status=2)
    if len(rest) > 1:
        fail(f"Unexpected arguments: {rest[1:]}.", status=2)
    return rest


def fail(message: str, status: int) -> NoReturn:
    """Ends a benchmark, with one line that says why."""
    name = pathlib.Path(sys.argv[0]).stem
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
