r"""Does the search search? Controllers against chance, ENAS against scratch.

Every search is a folder of --workdir; the same command goes on where it was
stopped, with --processes at a time, each with one thread.

  figure6   REINFORCE, PPO and random search on tree_space(8), with the same
            number of children: Zoph & Le's Figure 6 at our scale
  control   the same with `max` and `sin`, their section 4.2
  shared    weight sharing: cost and quality, and what its rewards rank
  winners   the best cells found so far by any of these searches against
            published ones at equal parameters

`--processes=0` runs nothing and prints what the finished runs say.

Example:
  python benchmarks/search_quality.py --workdir=runs/quality --seeds=0,1,2,3,4

Reference:
  [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578);
  [Pham et al., 2018](https://arxiv.org/abs/1802.03268).
"""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measuring
import quality_of_searches as of_searches
import quality_of_sharing as of_sharing
import quality_of_winners as of_winners
import quality_runs as runs
import rich.console
from absl import flags

from nas_keras import data
from nas_keras.cells.language.spec import load_spec
from nas_keras.distribute import cluster

_EXPERIMENTS = ("figure6", "control", "shared", "winners")
_WORKDIR = flags.DEFINE_string("workdir", "runs/quality", "Of all runs.")
_ONLY = flags.DEFINE_list("experiments", list(_EXPERIMENTS), "Which to run.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Of searches.")
_CHILDREN = flags.DEFINE_integer("children", 500, "Of each search.")
_TOP = flags.DEFINE_integer("top", 5, "Cells of each search to retrain.")
_SAMPLE = flags.DEFINE_integer("sample", 40, "Of the rank correlation.")
_FINALISTS = flags.DEFINE_integer("finalists", 4, "Cells of the last round.")
_FINAL_SEEDS = flags.DEFINE_integer("final_seeds", 5, "Of the last round.")
_TEXT_FILE = flags.DEFINE_string("text_file", None, "Instead of the default.")
_PRESET = flags.DEFINE_enum("preset", "demo", ["demo", "tiny"], "Recipes.")
_PROCESSES = flags.DEFINE_integer("processes", 2, "At a time; 0: none.")
_FIGURES = flags.DEFINE_string("figures", None, "Folder to write figures to.")
_JOBS = flags.DEFINE_list("jobs", [], "What a child process is to run.")
_FINAL = "final:"  # A job that trains one cell with several seeds.


def _setting() -> runs.Setting:
    return runs.Setting(
        pathlib.Path(_WORKDIR.value),
        _PRESET.value,
        data.open_corpus(text_file=_TEXT_FILE.value),
        _CHILDREN.value,
        _TOP.value,
        _SAMPLE.value,
    )


def _run_here(names: Sequence[str]) -> None:
    """Runs jobs in this process."""
    cluster.limit_threads(1)
    for name in names:
        if name.startswith(_FINAL):
            spec = load_spec(name.removeprefix(_FINAL))
            # Finalists were chosen by seed 0, which the last table leaves out.
            runs.train_final(_setting(), spec, _FINAL_SEEDS.value + 1)
        else:
            runs.run(_setting(), runs.Job.of_name(name))


def _jobs(experiments: Sequence[str], seeds: Sequence[int]) -> list[runs.Job]:
    """Returns the searches of experiments, each once."""
    of_one = {
        "figure6": of_searches.jobs("tree", of_searches.ALGORITHMS, seeds),
        "control": [
            *of_searches.jobs("tree", ("reinforce", "random"), seeds),
            *of_searches.jobs("extended", ("reinforce", "random"), seeds),
        ],
        "shared": of_sharing.jobs(seeds),
        "winners": [],  # Of what the others have found.
    }
    return list(dict.fromkeys(job for e in experiments for job in of_one[e]))


def _run_all(folders: dict[str, pathlib.Path]) -> list[str]:
    """Runs what is not done; returns what failed, with its status.

    Args:
        folders: Of the jobs, by their names.
    """
    waiting = [n for n, folder in folders.items() if not runs.is_done(folder)]
    running: dict[str, tuple[subprocess.Popen, float]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < _PROCESSES.value:
                name = waiting.pop(0)
                running[name] = _started(name), time.monotonic()
            time.sleep(0.2)
            for name, (process, start_s) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                status = process.returncode
                minutes = (time.monotonic() - start_s) / 60
                print(f"{name}: ended with {status} after {minutes:.1f} min, "
                      f"{len(waiting) + len(running)} to go",
                      file=sys.stderr)  # fmt: skip
                if status:
                    failed.append(f"{name} ({status})")
    finally:
        for process, _ in running.values():
            process.terminate()
            process.wait()
    return failed


def _started(name: str) -> subprocess.Popen:
    """Starts a job, whose output goes to a file of `logs`."""
    label = pathlib.PurePath(name.replace(_FINAL, "final-")).name
    log = pathlib.Path(_WORKDIR.value, "logs", f"{label}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    own = [_WORKDIR, _CHILDREN, _TOP, _SAMPLE, _FINAL_SEEDS, _PRESET]
    if _TEXT_FILE.value is not None:
        own.append(_TEXT_FILE)
    options = [f"--{flag.name}={flag.value}" for flag in own]
    with open(log, "ab") as file:
        return subprocess.Popen(
            [sys.executable, __file__, *options, f"--jobs={name}"],
            stdout=file, stderr=file,
        )  # fmt: skip


def _finals(setting: runs.Setting, seeds: Sequence[int]) -> list[str]:
    """Returns the names of the last round's jobs."""
    searches = _jobs(_EXPERIMENTS, seeds)
    finalists = of_winners.finalists(setting, searches, _FINALISTS.value)
    paths = [of_winners.cell_path(setting, spec) for spec in finalists]
    if _PROCESSES.value:
        of_winners.save(setting, finalists)
    return [f"{_FINAL}{cell}" for cell in (*of_winners.PUBLISHED, *paths)]


def _final_folder(name: str) -> pathlib.Path:
    stem = pathlib.PurePath(name.removeprefix(_FINAL)).stem
    return pathlib.Path(_WORKDIR.value, f"final-{stem}")


def main() -> None:
    """Runs what is missing, prints tables and a line of headline figures."""
    if _JOBS.value:
        _run_here(_JOBS.value)
        return
    unknown = sorted(set(_ONLY.value) - set(_EXPERIMENTS))
    if unknown or _PROCESSES.value < 0:
        measuring.fail(
            f"--experiments must be of {_EXPERIMENTS} and --processes at least "
            f"0. Received: {_ONLY.value} and {_PROCESSES.value}.",
            status=2,
        )
    setting, seeds = _setting(), [int(seed) for seed in _SEEDS.value]
    jobs = _jobs(_ONLY.value, seeds)
    folders = {job.name: setting.path(job) for job in jobs}
    failed = _run_all(folders) if _PROCESSES.value else []
    if "winners" in _ONLY.value:
        finals = {n: _final_folder(n) for n in _finals(setting, seeds)}
        folders |= finals
        failed += _run_all(finals) if _PROCESSES.value else []
    try:
        _print(setting, seeds)
    except ValueError as error:
        measuring.fail(str(error), status=1)
    missing = [n for n, path in folders.items() if not runs.is_done(path)]
    if missing:
        print(f"not finished: {', '.join(missing)}", file=sys.stderr)
    if failed:
        logs = pathlib.Path(_WORKDIR.value, "logs")
        measuring.fail(f"failed, see {logs}: {', '.join(failed)}", status=1)


def _print(setting: runs.Setting, seeds: Sequence[int]) -> None:
    """Prints the tables and, last, the headline figures in one line."""
    console = rich.console.Console(width=160)
    folder = pathlib.Path(_FIGURES.value) if _FIGURES.value else None
    headline: of_searches.Headline = {}
    for name, experiment in (
        ("figure6", of_searches.figure6),
        ("control", of_searches.control),
        ("shared", of_sharing.shared),
    ):
        if name in _ONLY.value:
            headline |= experiment(setting, seeds, console, folder)
    if "winners" in _ONLY.value:
        chosen = of_winners.finalists(
            setting, _jobs(_EXPERIMENTS, seeds), _FINALISTS.value
        )
        headline |= of_winners.winners(setting, chosen, console)
    measuring.print_figures(headline)


if __name__ == "__main__":
    measuring.run(main)
