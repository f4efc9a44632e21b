r"""Trains an image network, to its accuracy on the test images.

The same command again goes on where it was stopped, or prints the result of a
finished training. WORKDIR then has result.json, history.csv, a learning curve,
and model.keras, which takes pixels from 0 to 255.

Examples:
  nas-image-classification --preset=demo --workdir=runs/digits
  nas-image-classification --preset=enas_micro --image_dir=cifar10 \
      --workdir=runs/enas_micro
  nas-image-classification --dataset=tfds:svhn_cropped --workdir=runs/svhn \
      --network=resnet_20 --num_validation=5000
  nas-image-classification --preset=zoph2016_cifar10 --workdir=runs/grid \
      --network=runs/search/best_network.json --grid=paper

--image_dir is a folder train/CLASS/*.png and test/CLASS/*.png, perhaps with
validation/, of .jpg, .png or .bmp files of one size. --data_dir is a folder of
prepared TensorFlow Datasets. The other flags override values of the preset:
--schedule=step chooses a schedule, --decay=4 sets its value. --grid trains with
several values, each with each, such as
--grid="learning_rate=0.05,0.1 weight_decay=1e-4,5e-4", or with those that the
paper's authors varied, --grid=paper; validation chooses. Where the environment
names several workers (TF_CONFIG, Slurm), they train together, and so do the
GPUs of one machine.

Exit status: 0 done (and again 0 when run again), 1 the training diverged or
memory was short, 2 bad input, 74 the disk failed. From 128 on, the same command
goes on from there: 130 interrupted, 143 stopped by SIGTERM, 144 another worker
was lost.
"""

import itertools
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import rich.console
from absl import app
from absl import flags

from nas_keras.data.images import ImageSet
from nas_keras.distribute import cluster
from nas_keras.distribute import exits
from nas_keras.distribute import topology
from nas_keras.programs import flags as command_line
from nas_keras.programs import worker
from nas_keras.programs.progress import Progress
from nas_keras.programs.progress import TrainingSpeed
from nas_keras.recipes.trainings import IMAGE_PRESETS
from nas_keras.storage import run_config
from nas_keras.tasks.images import grid as image_grid
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.training.loop import TrainingError

_NAME = "nas-image-classification"
_PLAIN_INTERVAL_S = 30.0  # Between lines, where there is no terminal.

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of snapshots and results."
)
_PRESET = flags.DEFINE_enum(
    "preset",
    "demo",
    sorted(IMAGE_PRESETS),
    "Values that the other flags override.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared TensorFlow Datasets."
)
_GRID = flags.DEFINE_string(
    "grid",
    None,
    "Values to train with, each with each: \"NAME=A,B NAME=C,D\" or 'paper'.",
)
_TENSORBOARD = flags.DEFINE_boolean(
    "tensorboard", False, "Whether to write events to WORKDIR/tensorboard."
)
_DEVICES = flags.DEFINE_list(
    "devices",
    [],
    "Devices of this machine that train together, such as GPU:0,GPU:1; "
    "default: its GPUs, if there are several.",
)
_CLUSTER = flags.DEFINE_enum(
    "cluster",
    "auto",
    topology.RESOLVERS,
    "Where the environment says who trains together.",
)


_FLAGS = command_line.define(
    flags,
    ImageConfig,
    without=["preset", "training.optimizer.nesterov"],
    short=command_line.short_names(ImageConfig),
)


def config_from_flags() -> ImageConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    implied = {}
    if "data.image_dir" in _FLAGS.given():
        implied["data.dataset"] = "folder"
    return _FLAGS.apply(IMAGE_PRESETS[_PRESET.value], implied)


class _Job(NamedTuple):
    """What to train, checked.

    Attributes:
        config: Of the training, or what the grid changes.
        trainings: Of the grid, if there is one.
        spec: The network, or the first of the grid.
        images: What it is trained on.
        grid: Values by names; may be empty.
        workdir: Folder of all results.
        workers: All of them, or None if this process is alone.
    """

    config: ImageConfig
    trainings: Sequence[image_grid.GridTraining]
    spec: NetSpec
    images: ImageSet
    grid: dict[str, list[Any]]
    workdir: pathlib.Path
    workers: topology.Topology | None


def main(argv: Sequence[str]) -> None:
    """Trains the network that the flags describe.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    with exits.one_line(_NAME, TrainingError):
        command_line.check_no_arguments(argv)
        job = _checked_arguments()
        workers = job.workers
        if not (job.workdir / "result.json").exists():
            _train(job)
        if workers is None or workers.index == 0:
            _print_result(job.workdir)
        if workers is not None:
            exits.end(exits.DONE)


def _checked_arguments() -> _Job:
    """Returns what to train; fails before anything is written."""
    command_line.check_printable(flags, ("workdir", "data_dir"))
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given.")
    if _TENSORBOARD.value:
        command_line.check_library("tensorboard", "tensorboard", "tensorboard")
    config = config_from_flags()
    grid = image_grid.grid_from_text(_GRID.value or "")
    trainings: list[image_grid.GridTraining] = []
    if grid:
        trainings = image_grid.grid_trainings(config, grid)
        spec = trainings[0].spec
    else:
        spec = config.spec()
    workers = topology.from_environment(os.environ, _CLUSTER.value)
    num_workers = len(workers.addresses) if workers else 1
    cluster.check_dataset(config.data.dataset, num_workers)
    worker.quieten_tensorflow(workers is not None)
    cluster.prepare_to_read(config.data.dataset, config.num_threads)
    images = config.data.open(_DATA_DIR.value)
    if grid:
        image_grid.check_trainings(
            trainings, lambda its: its.config.training.check_images(images)
        )
        settings = image_grid.grid_settings(config, grid, trainings, images)
    else:
        config.training.check_images(images)
        settings = config.settings(spec, images)
    workdir = pathlib.Path(_WORKDIR.value)
    run_config.check(workdir, {"settings": settings})
    return _Job(config, trainings, spec, images, grid, workdir, workers)


def _train(job: _Job) -> None:
    if job.workers is not None:
        job.workers.check_port()
    exits.leave_on_signals(_NAME)
    num_threads = job.config.num_threads
    with worker.joined(_NAME, job.workers, num_threads) as joined:
        _train_together(job, joined)


def _train_together(job: _Job, joined: cluster.Cluster) -> None:
    from nas_keras.distribute import replicas
    from nas_keras.tasks.images.training import train_images

    console = rich.console.Console(
        soft_wrap=True, highlight=False, quiet=not joined.is_chief
    )
    together = replicas.replicas_of(joined, _DEVICES.value)
    config, workdir = job.config, job.workdir
    total = config.training.num_epochs
    if job.grid:
        total = sum(its.config.training.num_epochs for its in job.trainings)
    with Progress(
        job.spec.name,
        total,
        "epochs",
        console=console,
        plain_interval_s=_PLAIN_INTERVAL_S,
    ) as display:
        speed = TrainingSpeed(display, "images")
        shown = (display, speed, console, itertools.count())
        common = (job.images, workdir, speed.tell, together)
        if not job.grid:
            epochs = train_images(config, *common)
            _show(epochs, workdir, *shown)
            return
        grid = image_grid.train_grid(config, job.grid, *common)
        for number, its in itertools.groupby(grid, lambda e: e.number):
            changes = job.trainings[number].changes
            console.print(f"training {number}: {changes}")
            folder = workdir / image_grid.folder_of(number)
            _show((e.epoch for e in its), folder, *shown)


def _show(
    epochs: Iterable[Any],
    folder: pathlib.Path,
    display: Progress,
    speed: TrainingSpeed,
    console: rich.console.Console,
    count: Iterator[int],
) -> None:
    """Says what each epoch came to, and writes their table and curve.

    Args:
        epochs: Of one training.
        folder: Of that training.
        display, speed, console: Where to show it.
        count: Numbers the epochs of all trainings.
    """
    from nas_keras import report

    for epoch in report.recorded(
        epochs,
        folder,
        speed.has_been_told,
        not console.quiet,
        _TENSORBOARD.value,
    ):
        display.advance(next(count), epoch.elapsed_s, text="")
        console.print(_line_of(epoch), markup=False)


def _line_of(epoch: Any) -> str:
    validation = ""
    if epoch.validation_accuracy is not None:
        validation = (
            f"  validation {epoch.validation_loss_nats:.4f} nats"
            f"  {100 * epoch.validation_accuracy:.2f} %"
        )
    return (
        f"epoch {epoch.epoch}  training {epoch.train_loss_nats:.4f}"
        f"{validation}  rate {epoch.learning_rate:.4g}  "
        f"{epoch.elapsed_s:.0f} s"
    )


def _print_result(workdir: pathlib.Path) -> None:
    with command_line.reading_result(workdir) as result:
        metrics = result["metrics"]
        for number, row in enumerate(result.get("grid", [])):
            values = dict(row)
            problem, accuracy = values.pop("problem"), values.pop("accuracy")
            text = problem or f"validation {100 * accuracy:.2f} %"
            mark = "*" if number == result["chosen"] else " "
            print(f"{mark} {number:02d} {values}: {text}")
        print(
            f"{result['network']['name']}, {result['parameters']:,} weights, "
            f"{result['multiply_adds']:,} multiply-adds, "
            f"{result['config']['images']['num_train']:,} images, "
            f"{result['epochs']} epochs; weights of {result['weights']}"
        )
        for part in ("validation", "test"):
            if f"{part}_accuracy" in metrics:
                print(
                    f"{part}: accuracy "
                    f"{100 * metrics[f'{part}_accuracy']:.2f} %"
                    f"  error {metrics[f'{part}_error_percent']:.2f} %"
                    f"  loss {metrics[f'{part}_loss_nats']:.4f} nats"
                )
        print(f"Model: {workdir / result.get('folder', '') / 'model.keras'}")


def run() -> None:
    """Runs the program; the console script `nas-image-classification`."""
    app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))


if __name__ == "__main__":
    run()
