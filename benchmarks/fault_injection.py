r"""What a search of two workers survives: kills, SIGTERM, damage, full disks.

Every disturbed run must end with the results of an undisturbed one: journals
but for times, best cell and controller weights byte for byte. Each kill hits
a worker at a seeded random moment, or at a seeded write of its own, between
fsync and rename too.

  python benchmarks/fault_injection.py                       # about an hour
  python benchmarks/fault_injection.py --stages=kills --kills=5
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence

import fault_runs as runs
import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

_STAGES = ("kills", "sigterms", "damage", "disk", "lock")
_STAGE = flags.DEFINE_multi_enum(
    "stages", list(_STAGES), list(_STAGES), "What to do."
)
_KILLS = flags.DEFINE_integer("kills", 24, "With SIGKILL.", lower_bound=1)
_SIGTERMS = flags.DEFINE_integer("sigterms", 10, "With SIGTERM.", lower_bound=1)
_STATES = flags.DEFINE_multi_enum(
    "states",
    ["interrupted", "finished"],
    ["interrupted", "finished"],
    "Runs to damage.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all moments.", lower_bound=0)

_LOST_S = 30.0  # Within which a survivor must have ended.
_PREEMPTED_S = 15.0  # Within which a worker that was told must have.


@dataclasses.dataclass
class Tally:
    """What came of the faults of one kind."""

    kind: str
    injected: int = 0
    survived: int = 0
    in_vain: int = 0
    runs: int = 0
    slowest_s: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)


def disturb(
    root: pathlib.Path,
    want: pathlib.Path,
    tally: Tally,
    num: int,
    inject: Callable[[pathlib.Path], tuple[bool, str | None]],
) -> None:
    """Injects faults into runs, one a start, and compares what they end in.

    Args:
        root: Folder of the runs.
        want: An undisturbed run.
        tally: Counts.
        num: Faults in all.
        inject: Starts a pair in a folder and disturbs it; returns whether the
            fault came before the end, and what was wrong with how they ended.
    """
    while tally.injected < num:
        folder = root / f"{tally.kind}_{tally.runs}"
        injected = 0
        while True:
            if tally.injected + injected >= num:
                runs.wait(runs.start_pair(folder))
                break
            came, problem = inject(folder)
            injected += came
            if problem:
                tally.failures.append(f"{folder.name}: {problem}")
            if not came:
                break
        tally.runs += 1
        tally.injected += injected
        tally.in_vain += runs.num_in_vain(folder)
        differing = runs.differences(folder, want)
        if differing:
            tally.failures.append(f"{folder.name}: {differing} differ")
        else:
            tally.survived += injected
        print(f"{folder.name}: {injected} faults, differing: {differing}",
              file=sys.stderr)  # fmt: skip


def _killing(rng: np.random.Generator, tally: Tally) -> Callable:
    def inject(folder: pathlib.Path) -> tuple[bool, str | None]:
        victim = int(rng.integers(2))
        faults = [{}, {}]
        at_write = rng.random() < 0.5
        if at_write:
            faults[victim] = {"kill_at": int(rng.integers(1, 80))}
        workers = runs.start_pair(folder, faults)
        if not at_write:
            runs.sleep_unless_done(workers, rng.uniform(1.0, 22.0))
            workers[victim].kill()
        ended = _wait_for_survivor(workers, victim, tally)
        if all(e.status == 0 for e in ended):
            return False, None
        problem = None
        if ended[1 - victim].status not in (144, 0):
            problem = f"a survivor ended with {ended[1 - victim]}"
        return ended[victim].status == -signal.SIGKILL, problem

    return inject


def _wait_for_survivor(
    workers: Sequence[subprocess.Popen], victim: int, tally: Tally
) -> list[runs.Ended]:
    workers[victim].wait()
    ended = runs.wait(workers)
    if ended[victim].status != 0:
        tally.slowest_s = max(tally.slowest_s, ended[1 - victim].elapsed_s)
        if ended[1 - victim].elapsed_s > _LOST_S:
            tally.failures.append(f"a survivor took {ended[1 - victim]}")
    return ended


def _preempting(rng: np.random.Generator, tally: Tally) -> Callable:
    def inject(folder: pathlib.Path) -> tuple[bool, str | None]:
        workers = runs.start_pair(folder)
        victim = int(rng.integers(2))
        # Not before the program listens: Python's own end is 143 as well.
        runs.sleep_unless_done(workers, rng.uniform(6.0, 22.0))
        if all(worker.poll() == 0 for worker in workers):
            return False, None
        start = time.monotonic()
        workers[victim].terminate()
        workers[victim].wait()
        seconds = time.monotonic() - start
        ended = runs.wait(workers)
        tally.slowest_s = max(tally.slowest_s, seconds)
        if ended[victim].status == 0:
            return False, None
        if seconds > _PREEMPTED_S or ended[victim].status != 143:
            return True, f"SIGTERM: {seconds:.1f} s, {ended[victim]}"
        if ended[1 - victim].status not in (144, 0):
            return True, f"a survivor ended with {ended[1 - victim]}"
        return True, None

    return inject


# Damage.


def _flip(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x04
    path.write_bytes(data)


_WAYS = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": _flip,
    "empty": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
}


def _interrupted(folder: pathlib.Path) -> None:
    """Makes a run that was killed with two snapshots and pending results."""
    workers = runs.start_pair(folder)
    run = folder / "run"
    while len(list(run.glob("checkpoints/*.npz"))) < 2 or not list(
        run.glob("pending/*.mark")
    ):
        time.sleep(0.01)
    for worker in workers:
        worker.kill()
    runs.wait(workers)


def _files(folder: pathlib.Path) -> list[str]:
    run = folder / "run"
    return [
        path.relative_to(run).as_posix()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.stat().st_size and path.suffix != ".tmp"
    ]


def _tree(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        name: (folder / "run" / name).read_bytes()
        for name in _files(folder)
        if not name.startswith("lock")
    }


def _damaged(
    state: pathlib.Path, name: str, way: str, want: pathlib.Path
) -> tuple[str, bool]:
    """Returns what a damaged run came to, and whether that is as promised."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "copy"
        shutil.copytree(state, folder)
        _WAYS[way](folder / "run" / name)
        before = _tree(folder)
        snapshots = sorted(
            pathlib.Path(folder / "run" / name).parent.glob("*.npz")
        )
        spare = name if "npz" in name and not snapshots[-1].match(name) else ""
        (ended,) = runs.wait([runs.start(folder, {})])
        said = pathlib.Path(name).name in ended.errors
        if ended.status == 2:
            lines = [x for x in ended.errors.splitlines() if "nas-search" in x]
            good = len(lines) == 1 and _tree(folder) == before
            return "refused", good and "Traceback" not in ended.errors
        # A spare snapshot is not made anew.
        if ended.status == 0 and set(runs.differences(folder, want)) <= {spare}:
            in_vain = runs.num_in_vain(folder)
            how = "once more" if in_vain else "went on"
            return f"{how}, said so" if said else how, said or not in_vain
        return f"BAD: {ended}", False


def damage(root: pathlib.Path, want: pathlib.Path) -> tuple[int, int]:
    """Damages every file in four ways, of two runs; prints what came of it."""
    interrupted = root / "interrupted"
    states = {"interrupted": interrupted, "finished": want}
    if "interrupted" in _STATES.value:
        _interrupted(interrupted)
    cases = [
        (state, name, way)
        for state in map(states.get, _STATES.value)
        for name in _files(state)
        for way in _WAYS
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = []
        for outcome in pool.map(lambda case: _damaged(*case, want), cases):
            found.append(outcome)
            print(f"damage {len(found)}/{len(cases)}: {cases[len(found) - 1]} "
                  f"{outcome}", file=sys.stderr)  # fmt: skip
    table = rich.table.Table("state", "file", *_WAYS)
    rows: dict[tuple[str, str], list[str]] = {}
    for (state, name, _), (outcome, good) in zip(cases, found, strict=True):
        key = ("finished" if state == want else "interrupted", name)
        rows.setdefault(key, []).append(outcome if good else f"BAD {outcome}")
    for (state, name), outcomes in rows.items():
        table.add_row(state, name, *outcomes)
    rich.console.Console(width=130).print(table)
    return len(cases), sum(good for _, good in found)


def disk(root: pathlib.Path, want: pathlib.Path) -> tuple[int, int]:
    """Limits the size of files, as a full disk does, and then does not."""
    num_good, limits = 0, (100, 1_000, 5_000, 20_000)
    for limit in limits:
        folder = root / f"disk_{limit}"
        full = runs.start(
            folder, {},
            preexec_fn=lambda limit=limit: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)
            ),
        )  # fmt: skip
        (first,) = runs.wait([full])
        (second,) = runs.wait([runs.start(folder, {})])
        good = (
            first.status == 74
            and "File too large" in first.errors
            and "Traceback" not in first.errors
            and second.status == 0
            and not runs.differences(folder, want)
        )
        num_good += good
        print(f"limit {limit}: {first.errors.strip()[-160:]!r}, then "
              f"{second.status}", file=sys.stderr)  # fmt: skip
    return len(limits), num_good


def lock(root: pathlib.Path) -> bool:
    """Starts a second run in the workdir of a first."""
    folder = root / "lock"
    first = runs.start(folder, {"slow": runs.CHILD_S})
    while not (folder / "run" / "trials.jsonl").exists():
        time.sleep(0.05)
    (second,) = runs.wait([runs.start(folder, {})])
    first.kill()
    first.wait()
    return second.status == 2 and f"in use by pid {first.pid}" in second.errors


def _tallies(root: pathlib.Path, want: pathlib.Path) -> list[Tally]:
    """Kills and preempts workers, as far as is asked for."""
    rng = np.random.default_rng(_SEED.value)
    tallies = []
    for stage, num, make in (
        ("kills", _KILLS.value, _killing),
        ("sigterms", _SIGTERMS.value, _preempting),
    ):
        if stage in _STAGE.value:
            tally = Tally(stage)
            disturb(root, want, tally, num, make(rng, tally))
            tallies.append(tally)
    return tallies


def main() -> None:
    """Injects, prints a table and a line of headline figures."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="faults_"))
    print(f"Runs are kept in {root}.", file=sys.stderr)
    want = root / "undisturbed"
    runs.wait(runs.start_pair(want))
    figures: dict[str, object] = {}
    table = rich.table.Table(
        "fault", "injected", "survived", "runs", "in vain", "slowest, s"
    )
    for tally in _tallies(root, want):
        table.add_row(
            tally.kind, str(tally.injected), str(tally.survived),
            str(tally.runs), str(tally.in_vain), f"{tally.slowest_s:.1f}",
        )  # fmt: skip
        figures[tally.kind] = f"{tally.survived}/{tally.injected}"
        figures[f"{tally.kind}_in_vain"] = tally.in_vain
        for failure in tally.failures:
            print(f"FAILURE {failure}")
    for stage, stage_of in (("damage", damage), ("disk", disk)):
        if stage in _STAGE.value:
            num, good = stage_of(root, want)
            table.add_row(stage, str(num), str(good), "", "", "")
            figures[stage] = f"{good}/{num}"
    if "lock" in _STAGE.value:
        refused = lock(root)
        table.add_row("second process", "1", str(int(refused)), "", "", "")
        figures["second_refused"] = refused
    rich.console.Console(width=100).print(table)
    measuring.print_figures(figures)


if __name__ == "__main__":
    measuring.run(main)
