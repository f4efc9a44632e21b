r"""Searches for a recurrent cell on text, and retrains what it found.

Controller and random baseline have the same budget. The same command again
goes on where it was stopped, or prints the result of a finished run. Where
TF_CONFIG or Slurm names several workers, each runs this command and they share
the children out; the workdir must be a folder that all of them see.

Examples:
  nas-search --preset=demo --workdir=runs/demo
  nas-search --preset=demo --workdir=runs/demo --local_workers=4
  nas-search --preset=demo --workdir=runs/mine --text_file=book.txt --level=word
  nas-search --preset=enas_demo --workdir=runs/enas
  nas-search --preset=demo --workdir=runs/ppo --controller=ppo

Exit status: 0 done (and again 0 when run again), 1 too many children failed or
the controller diverged, 2 bad input, 74 the disk failed. From 128 on, the same
command goes on from there: 130 interrupted, 143 stopped by SIGTERM, 144 another
worker was lost.
"""

import dataclasses
import functools
import importlib.util
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import rich.console
from absl import app
from absl import flags

from nas_keras import data
from nas_keras.cells.spec import load_spec
from nas_keras.search import cluster
from nas_keras.search import configuration
from nas_keras.search import finished
from nas_keras.search import presets
from nas_keras.search import stopping
from nas_keras.search import supervisor
from nas_keras.search import topology
from nas_keras.search.presets import PRESETS
from nas_keras.search.presets import SearchConfig
from nas_keras.search.presets import parameters_of_retrained
from nas_keras.search.progress import Progress
from nas_keras.search.progress import SentProgress
from nas_keras.search.rendezvous import PeerLostError
from nas_keras.search.trial import SearchError
from nas_keras.spaces.enas_recurrent import AVERAGES
from nas_keras.storage.configuration import check as check_configuration
from nas_keras.tasks.language_model_config import check_length

_NAME = "nas-search"
_HAS_PEERS = threading.Event()  # Whether this process is one of several.

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the journal, the results and the report."
)
_PRESET = flags.DEFINE_enum(
    "preset", "demo", sorted(PRESETS), "Values that the other flags override."
)
_TRIALS = flags.DEFINE_integer(
    "trials",
    None,
    "Children of the controller, and as many of the random baseline.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer("seed", None, "Of all chance.", lower_bound=0)
_TEXT_FILE = flags.DEFINE_string(
    "text_file", None, "UTF-8 text to use instead of the preset's."
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    f"Text to use by name: one of {', '.join(data.DATASETS)}, or tfds:NAME.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the data set's files, or of prepared TensorFlow Datasets.",
)
_LEVEL = flags.DEFINE_enum(
    "level", None, list(data.LEVELS), "What a token of the text is."
)
_MAX_VOCABULARY = flags.DEFINE_integer(
    "max_vocabulary", None, "Most tokens of the vocabulary.", lower_bound=2
)
_BASE = flags.DEFINE_integer(
    "base", None, "Leaves of the tree, N.", lower_bound=2, upper_bound=64
)
_SPACE = flags.DEFINE_enum(
    "space", None, list(presets.SPACES), "What to search."
)
_COMBINES = flags.DEFINE_list(
    "combines", None, "What joins two values in the tree: add, mul, max."
)
_ACTIVATIONS = flags.DEFINE_list(
    "activations", None, "Of the tree: identity, tanh, sigmoid, relu, sin."
)
_NODES = flags.DEFINE_integer(
    "nodes", None, "Of ENAS' space, node 0 not counted.", lower_bound=1
)
_AVERAGE = flags.DEFINE_enum(
    "average", None, list(AVERAGES), "What ENAS' cells put out the mean of."
)
_CONTROLLER = flags.DEFINE_enum(
    "controller", None, list(presets.CONTROLLERS), "What proposes."
)
_EVALUATOR = flags.DEFINE_enum(
    "evaluator",
    None,
    list(presets.EVALUATORS),
    "How children are scored: trained from scratch, or by shared weights "
    "(ENAS).",
)
_EVALUATE_AGAIN = flags.DEFINE_boolean(
    "evaluate_again", None, "Whether to train an architecture met again."
)
_LEARNING_RATE = flags.DEFINE_float(
    "controller_learning_rate", None, "Of the controller's Adam."
)
_RETRAIN_CELLS = flags.DEFINE_list(
    "retrain_cells",
    None,
    "Published cells, or paths of cells, to retrain beside those found.",
)
_RETRAIN_TOP = flags.DEFINE_integer(
    "retrain_top",
    None,
    "Best distinct cells of each search to retrain.",
    lower_bound=0,
)
_RETRAIN_PARAMETERS = flags.DEFINE_integer(
    "retrain_parameters",
    None,
    "Weights of each retrained model; 0: as an LSTM of the preset's units.",
    lower_bound=0,
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
_THREADS = flags.DEFINE_integer(
    "threads",
    None,
    "Of TensorFlow's operations in each worker; 0: one for each core of the "
    "machine. The last digits of the results depend on it.",
    lower_bound=0,
)
_REPORT = flags.DEFINE_boolean(
    "report", True, "Whether to write WORKDIR/report.html."
)
_RETRAIN_SEEDS = flags.DEFINE_integer(
    "retrain_seeds", None, "Trainings of each cell.", lower_bound=1
)


def config_from_flags() -> SearchConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    text_file = _TEXT_FILE.value
    overrides = {
        "num_trials": _TRIALS.value,
        "seed": _SEED.value,
        "text_file": text_file,
        "dataset": _DATASET.value,
        "level": _LEVEL.value,
        "max_vocabulary": _MAX_VOCABULARY.value,
        "space": _SPACE.value,
        "base": _BASE.value,
        "combines": _tuple(_COMBINES.value),
        "activations": _tuple(_ACTIVATIONS.value),
        "nodes": _NODES.value,
        "average": _AVERAGE.value,
        "evaluator": _EVALUATOR.value,
        "evaluate_again": _EVALUATE_AGAIN.value,
        "controller": _CONTROLLER.value,
        "controller_learning_rate": _LEARNING_RATE.value,
        "retrain_top": _RETRAIN_TOP.value,
        "retrain_published": _tuple(_RETRAIN_CELLS.value),
        "retrain_parameters": _RETRAIN_PARAMETERS.value,
        "retrain_seeds": _RETRAIN_SEEDS.value,
        "num_threads": _THREADS.value,
    }
    return dataclasses.replace(
        PRESETS[_PRESET.value],
        **{key: value for key, value in overrides.items() if value is not None},
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def open_corpus(config: SearchConfig) -> data.Corpus:
    """Returns the text of a run.

    Raises:
        ValueError: If it cannot be read or is too short for the training.
    """
    if _DATASET.value is not None and config.text_file is not None:
        raise ValueError(
            "--text_file and --dataset exclude one another. Received: "
            f"--text_file={config.text_file!r} --dataset={config.dataset!r}."
        )
    corpus = data.open_corpus(
        dataset=config.dataset if config.text_file is None else "embedded",
        text_file=config.text_file,
        level=config.level,
        max_vocabulary=config.max_vocabulary,
        data_dir=_DATA_DIR.value,
    )
    check_length(config.child, corpus)
    check_length(config.retrain, corpus)
    return corpus


def main(argv: Sequence[str]) -> None:
    """Runs the search that the flags describe.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    try:
        config, corpus, workdir = _checked_arguments(argv)
        workers = _checked_workers(config)
        if finished.is_finished(
            workdir, configuration.whole_of(config, corpus)
        ):
            is_chief = workers is None or workers.index == 0
        elif _LOCAL_WORKERS.value:
            sys.exit(_supervise())
        else:
            is_chief = _run(config, corpus, workdir, workers)
        if is_chief:
            _print_result(workdir)
    except ValueError as error:
        _fail(str(error), stopping.USAGE)
    except SearchError as error:
        _fail(str(error), stopping.FAILED)
    except OSError as error:
        _fail(f"{error}. What was finished is kept.", stopping.DISK)
    except KeyboardInterrupt:
        _fail(
            "interrupted; the same command goes on from here.",
            stopping.INTERRUPTED,
        )


def _checked_arguments(
    argv: Sequence[str],
) -> tuple[SearchConfig, data.Corpus, pathlib.Path]:
    """Returns what to run; fails before anything is loaded or written."""
    if len(argv) > 1:
        raise ValueError(f"Unexpected arguments: {list(argv[1:])}.")
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given.")
    for flag in (_WORKDIR, _TEXT_FILE):
        if flag.value and not flag.value.isprintable():
            raise ValueError(
                f"--{flag.name} must be printable text. Received: "
                f"{flag.value!r}."
            )
    for library in ("matplotlib", "scipy"):
        if _REPORT.value and importlib.util.find_spec(library) is None:
            raise ValueError(
                f"--report needs {library}: pip install 'nas_keras[report]', "
                "or give --noreport."
            )
    config = config_from_flags()
    names = [load_spec(name).name for name in config.retrain_published]
    if len(set(names)) < len(names):
        raise ValueError(
            "The cells of --retrain_cells must have different names. "
            f"Received: {names}."
        )
    corpus = open_corpus(config)
    parameters_of_retrained(config, corpus)
    workdir = pathlib.Path(_WORKDIR.value)
    settings = configuration.settings_of(config, corpus)
    check_configuration(workdir, {"settings": settings})
    return config, corpus, workdir


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
    if num_workers > config.batch_size:
        raise ValueError(
            "There must be at most as many workers as children of an update, "
            f"{config.batch_size}. Received: {num_workers} workers."
        )
    if config.evaluator == "shared" and num_workers > 1:
        batch_size = config.child.batch_size
        if batch_size % num_workers:
            raise ValueError(
                "The number of workers must divide the batch that they train "
                f"shared weights on, {batch_size}. Received: {num_workers} "
                "workers."
            )
    return workers


def _supervise() -> int:
    # Of two values of a flag the last counts.
    own = ["--local_workers=0", "--cluster=tf_config"]
    command = [sys.executable, __file__, *sys.argv[1:], *own]
    return supervisor.Supervisor(
        command, _LOCAL_WORKERS.value, _MAX_RESTARTS.value
    ).run()


def _run(
    config: SearchConfig,
    corpus: data.Corpus,
    workdir: pathlib.Path,
    workers: topology.Topology | None,
) -> bool:
    """Runs the search; returns whether this worker is the chief."""
    if workers is not None:
        workers.check_port()
        _HAS_PEERS.set()
    stopping.leave_on_signals(_NAME)
    parent = os.environ.get(supervisor.PARENT_VARIABLE)
    if parent:
        stopping.leave_with_parent(_NAME, int(parent))
    # All that can be wrong is known: now TensorFlow may take its seconds. Of a
    # lost worker it would tell at length.
    level = "3" if workers else "2"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", level)
    # Each retrained cell is a program of its own; TensorFlow would warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from nas_keras.search import run as run_module

    def on_lost(reason: str, status: int | None = None) -> NoReturn:
        stopping.leave(_NAME, status or stopping.PEER_LOST, reason)

    cluster.limit_threads(config.num_threads)
    try:
        with cluster.Cluster(workers, _WAIT_S.value, _say, on_lost) as joined:
            display = functools.partial(
                Progress, console=rich.console.Console(quiet=True)
            )
            if parent:
                display = SentProgress
            elif joined.is_chief:
                display = Progress
            run_module.run(config, corpus, workdir, display, joined)
    except PeerLostError as error:
        on_lost(str(error))
    return joined.is_chief


def _print_result(workdir: pathlib.Path) -> None:
    from nas_keras import report

    run = report.read_run(workdir)
    print(report.format_table(report.summarise_retrained(run.retrained)))
    for line in report.describe_workers(report.summarise_workers(run.shares)):
        print(line)
    if _REPORT.value:
        for line in report.describe_ranking(run.retrained):
            print(line)
    if (workdir / "best_cell.json").exists():
        print(f"Best cell: {workdir / 'best_cell.json'}")
    if _REPORT.value:
        print(f"Report: {report.write_report(workdir)}")


def _parse_flags(argv: Sequence[str]) -> list[str]:
    if {"--help", "-help", "-h"} & set(argv[1:]):
        # absl's own help is of the main module, here a console script.
        print(__doc__)
        print(flags.FLAGS.module_help(sys.modules[__name__]))
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(str(error), stopping.USAGE)


def _fail(message: str, status: int) -> NoReturn:
    _say(" ".join(message.split()))
    sys.exit(status)


def _say(line: str) -> None:
    print(f"{_NAME}: {line}", file=sys.stderr, flush=True)


def run() -> None:
    """Runs the program; the console script `nas-search`."""
    try:
        app.run(main, flags_parser=_parse_flags)
    except SystemExit as ended:
        if _HAS_PEERS.is_set() and isinstance(ended.code, int | None):
            stopping.end(ended.code or stopping.DONE)
        raise


if __name__ == "__main__":
    run()
