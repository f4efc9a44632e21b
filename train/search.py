r"""Searches for a recurrent cell or an image network; retrains what it found.

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
  nas-search --preset=conv_demo --workdir=runs/digits
  nas-search --preset=enas_macro_demo --workdir=runs/macro --image_dir=cifar10

--image_dir is a folder train/CLASS/*.png and test/CLASS/*.png.

Exit status: 0 done (and again 0 when run again), 1 too many children failed or
the controller diverged, 2 bad input, 74 the disk failed. From 128 on, the same
command goes on from there: 130 interrupted, 143 stopped by SIGTERM, 144 another
worker was lost.
"""

import dataclasses
import importlib.util
import os
import pathlib
import sys
import threading
from collections.abc import Sequence

from absl import app
from absl import flags

from nas_keras import data
from nas_keras.data.image_sources import DATASETS as IMAGE_DATASETS
from nas_keras.search import configuration
from nas_keras.search import finished
from nas_keras.search import process
from nas_keras.search import search_config
from nas_keras.search import stopping
from nas_keras.search import supervisor
from nas_keras.search import topology
from nas_keras.search.cluster import check_dataset
from nas_keras.search.cluster import prepare_to_read
from nas_keras.search.kinds import IMAGES
from nas_keras.search.kinds import SPACES
from nas_keras.search.presets import PRESETS
from nas_keras.search.search_config import SearchConfig
from nas_keras.search.trial import SearchError
from nas_keras.spaces.enas_recurrent import AVERAGES
from nas_keras.storage.configuration import check as check_configuration

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
    f"Text to use by name: one of {', '.join(data.DATASETS)}, or tfds:NAME. "
    f"Images: one of {', '.join(IMAGE_DATASETS)}, or tfds:NAME.",
)
_IMAGE_DIR = flags.DEFINE_string(
    "image_dir", None, "Folder of image files, in place of the data set."
)
_MAX_TRAIN = flags.DEFINE_integer(
    "max_train",
    None,
    "Training images to keep, beside those for validation; 0: all.",
    lower_bound=0,
)
_NUM_VALIDATION = flags.DEFINE_integer(
    "num_validation",
    None,
    "Training images to split off for validation; 0: the data set has them.",
    lower_bound=0,
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
_SPACE = flags.DEFINE_enum("space", None, list(SPACES), "What to search.")
_COMBINES = flags.DEFINE_list(
    "combines", None, "What joins two values in the tree: add, mul, max."
)
_ACTIVATIONS = flags.DEFINE_list(
    "activations", None, "Of the tree: identity, tanh, sigmoid, relu, sin."
)
_NODES = flags.DEFINE_integer(
    "nodes", None, "Of ENAS' cells, those read not counted.", lower_bound=1
)
_LAYERS = flags.DEFINE_integer(
    "layers", None, "Of nas_conv and enas_macro.", lower_bound=1
)
_CELLS = flags.DEFINE_integer(
    "cells", None, "Normal cells of a network of enas_micro.", lower_bound=1
)
_FILTERS = flags.DEFINE_integer(
    "filters", None, "Of enas_macro and enas_micro, at first.", lower_bound=2
)
_RETRAIN_FILTERS = flags.DEFINE_integer(
    "retrain_filters",
    None,
    "The same, of retrained networks; 0: as in the search.",
    lower_bound=0,
)
_RETRAIN_NUM_CELLS = flags.DEFINE_integer(
    "retrain_num_cells",
    None,
    "Normal cells of retrained networks; 0: as in the search.",
    lower_bound=0,
)
_SKIP_WEIGHT = flags.DEFINE_float(
    "skip_weight", None, "Of skip connections' rate in the controller's loss."
)
_SKIP_TARGET = flags.DEFINE_float(
    "skip_target", None, "Wished rate of skip connections, in (0, 1)."
)
_DEPTH_FIRST = flags.DEFINE_integer(
    "depth_first",
    None,
    "Layers that a search of nas_conv begins with; 0: all have --layers.",
    lower_bound=0,
)
_AVERAGE = flags.DEFINE_enum(
    "average", None, list(AVERAGES), "What ENAS' cells put out the mean of."
)
_CONTROLLER = flags.DEFINE_enum(
    "controller", None, list(search_config.CONTROLLERS), "What proposes."
)
_EVALUATOR = flags.DEFINE_enum(
    "evaluator",
    None,
    list(search_config.EVALUATORS),
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
    "Published cells or networks, or paths of such, to retrain beside those "
    "found; 'resnet': a ResNet of the best found network's multiply-adds.",
)
_RETRAIN_TOP = flags.DEFINE_integer(
    "retrain_top",
    None,
    "Best distinct cells or networks of each search to retrain.",
    lower_bound=0,
)
_RETRAIN_RANDOM = flags.DEFINE_integer(
    "retrain_random",
    None,
    "Networks to draw at random, not selected, and to retrain.",
    lower_bound=0,
)
_RETRAIN_PARAMETERS = flags.DEFINE_integer(
    "retrain_parameters",
    None,
    "Of each language model; 0: as an LSTM of the preset's units.",
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
    "retrain_seeds", None, "Trainings of each.", lower_bound=1
)


def config_from_flags() -> SearchConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    preset, dataset = PRESETS[_PRESET.value], _DATASET.value
    if _IMAGE_DIR.value is not None and dataset is None:
        dataset = "folder"
    overrides = {
        "num_trials": _TRIALS.value,
        "seed": _SEED.value,
        "text_file": _TEXT_FILE.value,
        "image_dir": _IMAGE_DIR.value,
        "dataset": dataset,
        "level": _LEVEL.value,
        "max_vocabulary": _MAX_VOCABULARY.value,
        "base": _BASE.value,
        "combines": _tuple(_COMBINES.value),
        "activations": _tuple(_ACTIVATIONS.value),
        "nodes": _NODES.value,
        "layers": _LAYERS.value,
        "cells": _CELLS.value,
        "filters": _FILTERS.value,
        "retrain_filters": _RETRAIN_FILTERS.value,
        "retrain_num_cells": _RETRAIN_NUM_CELLS.value,
        "skip_weight": _SKIP_WEIGHT.value,
        "skip_target": _SKIP_TARGET.value,
        "depth_first": _DEPTH_FIRST.value,
        "average": _AVERAGE.value,
        "evaluator": _EVALUATOR.value,
        "evaluate_again": _EVALUATE_AGAIN.value,
        "controller": _CONTROLLER.value,
        "controller_learning_rate": _LEARNING_RATE.value,
        "retrain_top": _RETRAIN_TOP.value,
        "retrain_published": _tuple(_RETRAIN_CELLS.value),
        "retrain_random": _RETRAIN_RANDOM.value,
        "retrain_parameters": _RETRAIN_PARAMETERS.value,
        "retrain_seeds": _RETRAIN_SEEDS.value,
        "num_threads": _THREADS.value,
    }
    space = _SPACE.value or preset.space
    split = {
        flag.name: flag.value
        for flag in (_NUM_VALIDATION, _MAX_TRAIN)
        if flag.value is not None
    }
    for name in split:
        if SPACES[space] != IMAGES:
            raise ValueError(f"--{name} is for images, not for text.")
    if split:
        for name in ("child", "retrain"):
            overrides[name] = dataclasses.replace(
                getattr(preset, name), **split
            )
    return preset.in_space(
        space,
        **{key: value for key, value in overrides.items() if value is not None},
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def open_data(config: SearchConfig) -> configuration.SearchData:
    """Returns the text or the images of a run.

    Raises:
        ValueError: If they cannot be read or are too few for the trainings.
    """
    if _DATASET.value is not None and config.text_file is not None:
        raise ValueError(
            "--text_file and --dataset exclude one another. Received: "
            f"--text_file={config.text_file!r} --dataset={config.dataset!r}."
        )
    try:
        return configuration.open_data(config, _DATA_DIR.value)
    except ImportError as error:  # Of an optional package; it says which.
        raise ValueError(str(error)) from None


def main(argv: Sequence[str]) -> None:
    """Runs the search that the flags describe.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    with stopping.one_line(_NAME, SearchError):
        config, data_set, workdir, workers = _checked_arguments(argv)
        if finished.is_finished(
            workdir, configuration.whole_of(config, data_set)
        ):
            is_chief = workers is None or workers.index == 0
        elif _LOCAL_WORKERS.value:
            sys.exit(_supervise())
        else:
            is_chief = _run(config, data_set, workdir, workers)
        if is_chief:
            _print_result(workdir)


def _checked_arguments(
    argv: Sequence[str],
) -> tuple[
    SearchConfig,
    configuration.SearchData,
    pathlib.Path,
    topology.Topology | None,
]:
    """Returns what to run; fails before anything is loaded or written."""
    if len(argv) > 1:
        raise ValueError(f"Unexpected arguments: {list(argv[1:])}.")
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given.")
    for flag in (_WORKDIR, _TEXT_FILE, _IMAGE_DIR):
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
    workers = _checked_workers(config)
    process.quieten_tensorflow(workers is not None)
    if config.text_file is None:
        prepare_to_read(config.dataset, config.num_threads)
    data_set = open_data(config)
    workdir = pathlib.Path(_WORKDIR.value)
    settings = configuration.settings_of(config, data_set)
    check_configuration(workdir, {"settings": settings})
    return config, data_set, workdir, workers


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
    if config.text_file is None:
        check_dataset(config.dataset, num_workers)
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
    data_set: configuration.SearchData,
    workdir: pathlib.Path,
    workers: topology.Topology | None,
) -> bool:
    """Runs the search; returns whether this worker is the chief."""
    if workers is not None:
        workers.check_port()
        _HAS_PEERS.set()
    return process.run_worker(
        _NAME, config, data_set, workdir, workers, _WAIT_S.value, _say
    )


def _print_result(workdir: pathlib.Path) -> None:
    from nas_keras import report

    for line in report.describe_result(workdir, _REPORT.value):
        print(line)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    if {"--help", "-help", "-h"} & set(argv[1:]):
        # absl's own help is of the main module, here a console script.
        print(__doc__)
        print(flags.FLAGS.module_help(sys.modules[__name__]))
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        stopping.fail(_NAME, str(error), stopping.USAGE)


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
