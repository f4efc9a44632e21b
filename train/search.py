r"""Searches for a recurrent cell or an image network; retrains what it found.

Controller and random baseline, if there is one, have the same budget. The same
command again goes on where it was stopped, or prints the result of a finished
run. Where TF_CONFIG or Slurm names several workers, each runs this command and
they share the children out; the workdir must be a folder that all of them see.

Examples:
  nas-search --preset=demo --workdir=runs/demo
  nas-search --preset=demo --workdir=runs/demo --local_workers=4
  nas-search --preset=demo --workdir=runs/mine --text_file=book.txt --level=word
  nas-search --preset=enas_demo --workdir=runs/enas
  nas-search --preset=demo --workdir=runs/ppo --controller=ppo
  nas-search --preset=conv_demo --workdir=runs/digits
  nas-search --preset=enas_macro_demo --workdir=runs/macro --image_dir=cifar10

--image_dir is a folder train/CLASS/*.png and test/CLASS/*.png.

Exit status: 0 done (and again 0 when run again), 1 too many children failed,
the controller diverged or memory was short, 2 bad input, 74 the disk failed.
From 128 on, the same command goes on from there: 130 interrupted, 143 stopped
by SIGTERM, 144 another worker was lost.
"""

import os
import pathlib
import sys
import threading
from collections.abc import Sequence

from absl import app
from absl import flags

from nas_keras.controllers.config import Random
from nas_keras.distribute import exits
from nas_keras.distribute import topology
from nas_keras.distribute.cluster import check_dataset
from nas_keras.distribute.cluster import prepare_to_read
from nas_keras.evaluators.config import Shared
from nas_keras.evaluators.trial import SearchError
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.experiment import open_experiment
from nas_keras.programs import flags as command_line
from nas_keras.programs import supervisor
from nas_keras.programs import worker
from nas_keras.recipes.searches import SEARCHES
from nas_keras.storage import finished
from nas_keras.storage import run_config

_NAME = "nas-search"
_HAS_PEERS = threading.Event()  # Whether this process is one of several.

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the journal, the results and the report."
)
_PRESET = flags.DEFINE_enum(
    "preset", "demo", sorted(SEARCHES), "Values that the other flags override."
)
_SEARCH = command_line.define(
    flags,
    SearchConfig,
    without=["preset"],
    short={
        "dataset": "data.dataset",
        "image_dir": "data.image_dir",
        "level": "data.level",
        "max_train": "data.max_train",
        "max_vocabulary": "data.max_vocabulary",
        "num_validation": "data.num_validation",
        "reward": "evaluator.reward",
        "text_file": "data.text_file",
        "threads": "num_threads",
        "trials": "num_trials",
    },
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the data set's files, or of prepared TensorFlow Datasets.",
)
_LOCAL_WORKERS = flags.DEFINE_integer(
    "local_workers",
    0,
    "Processes to start, watch and restart on this machine; 0: this one.",
    lower_bound=0,
)
_MAX_RESTARTS = flags.DEFINE_integer(
    "max_restarts",
    10,
    "Of the local workers: restarts in a row, with nothing finished in "
    "between, before giving up.",
    lower_bound=0,
)
_CLUSTER = flags.DEFINE_enum(
    "cluster",
    "auto",
    list(topology.RESOLVERS),
    "Where the other workers are named; auto: in TF_CONFIG if it is set, else "
    "by Slurm if this is one of several tasks.",
)
_WAIT_S = flags.DEFINE_float(
    "wait_s", 600.0, "Seconds to wait for the other workers.", lower_bound=0.0
)
_REPORT = flags.DEFINE_boolean(
    "report", True, "Whether to write WORKDIR/report.html."
)


def config_from_flags() -> SearchConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    given = _SEARCH.given()
    implied = {}
    if "data.image_dir" in given:
        implied["data.dataset"] = "folder"
    if "data.text_file" in given:
        implied["data.dataset"] = "embedded"
    return _SEARCH.apply(SEARCHES[_PRESET.value], implied)


def main(argv: Sequence[str]) -> None:
    """Runs the search that the flags describe.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    with exits.one_line(_NAME, SearchError):
        experiment, workdir, workers = _checked_arguments(argv)
        is_chief = workers is None or workers.index == 0
        if not finished.is_finished(workdir, experiment.whole):
            if is_chief and run_config.COMMAND_VARIABLE not in os.environ:
                _say_what_never_comes(experiment.config)
            if _LOCAL_WORKERS.value:
                sys.exit(_supervise())
            _run(experiment, workdir, workers)
        if is_chief:
            _print_result(workdir)


def _checked_arguments(
    argv: Sequence[str],
) -> tuple[Experiment, pathlib.Path, topology.Topology | None]:
    """Returns what to run; fails before anything is loaded or written."""
    command_line.check_no_arguments(argv)
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given.")
    command_line.check_printable(flags, ("workdir",))
    command_line.check_finite(flags, "wait_s")
    for library in ("matplotlib", "scipy"):
        if _REPORT.value:
            command_line.check_library(
                "report", library, "report", ", or give --noreport"
            )
    config = config_from_flags()
    workers = _checked_workers(config)
    worker.quieten_tensorflow(workers is not None)
    prepare_to_read(config.data.dataset, config.num_threads)
    experiment = open_experiment(config, _DATA_DIR.value)
    workdir = pathlib.Path(_WORKDIR.value)
    run_config.check(workdir, {"settings": experiment.settings})
    return experiment, workdir, workers


def _say_what_never_comes(config: SearchConfig) -> None:
    """Says what learning never comes.

    No errors: the searches of a comparison may share a command.
    """
    least = min(num for _, num in config.stages())
    is_random = isinstance(config.controller, Random)
    if least < config.batch_size and not is_random:
        _say(
            "The controller learns nothing: an update takes batch_size="
            f"{config.batch_size} children. Received: {least} of them."
        )
    evaluator = config.evaluator
    if not isinstance(evaluator, Shared):
        return
    num_steps = -(-config.num_trials // config.batch_size)
    num_phases = -(-num_steps // evaluator.steps_per_phase)
    if num_phases < evaluator.num_phases:
        _say(
            f"Only {num_phases} of num_phases={evaluator.num_phases} are "
            f"trained: {config.num_trials} children are {num_steps} batches, "
            f"of which a phase has {evaluator.steps_per_phase}."
        )


def _checked_workers(config: SearchConfig) -> topology.Topology | None:
    """Returns who runs the search, or None: this process, or its children."""
    workers = topology.from_environment(os.environ, _CLUSTER.value)
    num_workers = len(workers.addresses) if workers else _LOCAL_WORKERS.value
    if workers is not None and _LOCAL_WORKERS.value:
        raise ValueError(
            "--local_workers is for one machine, and the environment "
            f"({workers.source}) names {num_workers} workers. Received: "
            f"--local_workers={_LOCAL_WORKERS.value}."
        )
    config.check_workers(num_workers)
    check_dataset(config.data.dataset, num_workers)
    return workers


def _supervise() -> int:
    # Of two values of a flag the last counts.
    own = ["--local_workers=0", "--cluster=tf_config"]
    given = [argument for argument in sys.argv[1:] if argument != "--"]
    command = [sys.executable, __file__, *given, *own]
    return supervisor.Supervisor(
        command, _LOCAL_WORKERS.value, _MAX_RESTARTS.value
    ).run()


def _run(
    experiment: Experiment,
    workdir: pathlib.Path,
    workers: topology.Topology | None,
) -> None:
    """Runs the search, or this worker's part of it."""
    if workers is not None:
        workers.check_port()
        _HAS_PEERS.set()
    worker.run_worker(_NAME, experiment, workdir, workers, _WAIT_S.value, _say)


def _print_result(workdir: pathlib.Path) -> None:
    from nas_keras import report

    for line in report.describe_result(workdir, _REPORT.value):
        print(line)


def _say(line: str) -> None:
    print(f"{_NAME}: {line}", file=sys.stderr, flush=True)


def run() -> None:
    """Runs the program; the console script `nas-search`."""
    try:
        app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))
    except SystemExit as ended:
        if _HAS_PEERS.is_set() and isinstance(ended.code, int | None):
            exits.end(ended.code or exits.DONE)
        raise


if __name__ == "__main__":
    run()
