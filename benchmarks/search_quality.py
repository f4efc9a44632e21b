r"""Does the search search? Controllers against chance, ENAS against scratch.

Every search is a folder of --workdir; the same command goes on where it was
stopped, with --processes at a time, each with one thread.

  figure6   REINFORCE, PPO and random search on tree_space(8), with the same
            number of children: Zoph & Le's Figure 6 at our scale
  control   the same with `max` and `sin`
  shared    weight sharing: cost and quality, and what its rewards rank
  winners   the best cells found against published ones at equal parameters

Example:
  python benchmarks/search_quality.py --workdir=runs/quality --seeds=0,1,2,3,4
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app
from absl import flags

from nas_keras.data import text
from nas_keras.search import cluster

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
_PROCESSES = flags.DEFINE_integer("processes", 2, "At a time.")
_FIGURES = flags.DEFINE_string("figures", None, "Folder to write figures to.")
_JOBS = flags.DEFINE_list("jobs", [], "What a child process is to run.")


def _run_jobs(names: Sequence[str]) -> None:
    """Runs jobs in this process."""
    cluster.limit_threads(1)
    import quality_runs as runs

    for name in names:
        if name.startswith("final:"):
            spec = runs.load_spec(name.removeprefix("final:"))
            runs.train_final(_setting(), spec, _FINAL_SEEDS.value)
        else:
            runs.run(_setting(), runs.Job.of_name(name))


def _setting():
    import quality_runs as runs

    return runs.Setting(
        pathlib.Path(_WORKDIR.value),
        _PRESET.value,
        text.open_corpus(text_file=_TEXT_FILE.value),
        _CHILDREN.value,
        _TOP.value,
        _SAMPLE.value,
    )


def main(argv: Sequence[str]) -> None:
    del argv
    if _JOBS.value:
        _run_jobs(_JOBS.value)


if __name__ == "__main__":
    app.run(main)
