r"""A training of an image network: its updates, and how they wait for images.

Three take turns, on whichever backend KERAS_BACKEND names, TensorFlow or JAX:

  update  updates of batches that a thread prepares ahead, as a training does
  step    the same updates of one batch that is there
  input   as many batches, prepared and not used

Images are noise of CIFAR-10's size. The wait is that of an update for its
batch, the stall its share of the time of the update. The first batch of a round
is there before the round begins, those of the other --updates are not.

  python benchmarks/image_training.py --preset=enas_micro
  python benchmarks/image_training.py --network=resnet_20 --updates=20
"""

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measuring
import numpy as np
import rich.console
import rich.table
from absl import flags

from nas_keras.data.images import Images
from nas_keras.recipes.trainings import IMAGE_PRESETS
from nas_keras.settings import Change
from nas_keras.settings import changed
from nas_keras.tasks.images.batches import TrainingInput
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.steps import ImageSteps
from nas_keras.tasks.images.steps import network_of
from nas_keras.tasks.training.compilation import check_backend
from nas_keras.tasks.training.variables import PRECISIONS

_PRESET = flags.DEFINE_enum(
    "preset", "enas_micro", sorted(IMAGE_PRESETS), "Recipe."
)
_NETWORK = flags.DEFINE_string("network", None, "In place of the recipe's.")
_FILTERS = flags.DEFINE_integer("filters", None, "In place of the recipe's.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "In place of its own.")
_PRECISION = flags.DEFINE_enum("precision", "float32", PRECISIONS, "Dtypes.")
_UPDATES = flags.DEFINE_integer("updates", 10, "Of a round.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds.", lower_bound=1)

_RATE = 0.01

_Batch = tuple[np.ndarray, np.ndarray]


class _Training:
    """A network and its images, and what is timed of them."""

    def __init__(self, config: ImageConfig):
        rng, training = np.random.default_rng(0), config.training
        num = training.batch_size * max(_UPDATES.value, 2)
        pixels = rng.integers(0, 256, (num, 32, 32, 3)).astype(np.uint8)
        labels = rng.integers(0, 10, num).astype(np.int32)
        spec = config.spec()
        normalization = normalization_of(training.normalization, pixels)
        self.steps = ImageSteps(
            lambda: network_of(training, spec, pixels.shape[1:], 10), training
        )
        images = Images(pixels, labels)
        self._inputs = [
            TrainingInput(images, training, normalization) for _ in range(2)
        ]
        self._batches, self._unused = map(_batches, self._inputs)
        self._one = next(self._batches)
        self.waits_s: list[float] = []

    def update(self) -> None:
        """Takes a round of updates of images that are prepared ahead."""
        waited = 0.0
        for _ in range(_UPDATES.value):
            begin = time.perf_counter()
            batch = next(self._batches)
            waited += time.perf_counter() - begin
            self.steps.update(*batch, _RATE, 0.5)
        self.waits_s.append(waited)

    def step(self) -> None:
        """Takes a round of updates of the same images."""
        for _ in range(_UPDATES.value):
            self.steps.update(*self._one, _RATE, 0.5)

    def input(self) -> None:
        """Prepares the images of a round."""
        for _ in range(_UPDATES.value):
            next(self._unused)

    def close(self) -> None:
        """Ends the threads."""
        for its in self._inputs:
            its.close()


def _batches(inputs: TrainingInput) -> Iterator[_Batch]:
    """Yields the batches of epoch after epoch."""
    for epoch in itertools.count():
        for number in range(len(inputs.batches(epoch))):
            yield inputs.batch(epoch, number)


def _config() -> ImageConfig:
    given = {
        "network": _NETWORK.value,
        "filters": _FILTERS.value,
        "training.batch_size": _BATCH_SIZE.value,
        "training.precision": _PRECISION.value,
        "training.num_epochs": 10**6,
    }
    return changed(
        IMAGE_PRESETS[_PRESET.value],
        {name: Change(name, v) for name, v in given.items() if v is not None},
    )


def _print_table(
    config: ImageConfig,
    times: Mapping[str, measuring.Times],
    waits_s: Sequence[float],
) -> None:
    scale = 1e3 / _UPDATES.value
    table = rich.table.Table(
        title=f"{config.network}, {config.training.batch_size} images, "
        f"{config.training.precision}"
    )
    for column in ("", "ms of a batch", "least to most", "CPU ms"):
        table.add_column(column, justify="right" if column else "left")
    for name, its in times.items():
        wall = [scale * t for t in its.wall_s]
        cpu = scale * statistics.median(its.cpu_s)
        median = f"{statistics.median(wall):.1f}"
        table.add_row(name, median, measuring.range_text(wall, 1), f"{cpu:.1f}")
    waits = [scale * t for t in waits_s]
    median = f"{statistics.median(waits):.2f}"
    table.add_row("wait", median, measuring.range_text(waits), "")
    rich.console.Console(width=100).print(table)


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    try:
        config = _config()
        check_backend()
    except ValueError as error:
        measuring.fail(str(error), status=2)
    begin = time.perf_counter()
    training = _Training(config)
    training.update()  # Traces, compiles.
    begun_s = time.perf_counter() - begin
    calls = {
        name: getattr(training, name) for name in ("update", "step", "input")
    }
    measuring.in_turn(calls, 1)
    training.waits_s.clear()
    times = measuring.in_turn(calls, _ROUNDS.value)
    training.close()
    _print_table(config, times, training.waits_s)
    update = times["update"]
    stalls = measuring.ratios(training.waits_s, update.wall_s)
    num_images = config.training.batch_size * _UPDATES.value
    measuring.print_figures(
        {
            "images_per_s": num_images / statistics.median(update.wall_s),
            "stall": statistics.median(stalls),
            "update_over_step": statistics.median(update.over(times["step"])),
            "begin_s": begun_s,
        }
    )


if __name__ == "__main__":
    measuring.run(main)
