r"""Training shared image networks against training one network alone.

`SharedWeights` on ENAS' macro and micro space, the architecture data to the
step, against the same architecture as a program of its own that holds and
trains only what it uses: same layers, images, optimizer. Both take turns in one
process; a ratio is the median of those of the rounds.

  python benchmarks/shared_images.py --architectures=4 --repeats=5
"""

import os
import statistics
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measuring
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags

from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.distribute.cluster import limit_threads
from nas_keras.search import SharedWeights
from nas_keras.spaces import Space
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.steps import losses_of
from nas_keras.tasks.images.steps import optimizer_of
from nas_keras.tasks.images.task import ImageTask

_SPACES = flags.DEFINE_list("spaces", ["macro", "micro"], "Which.")
_ARCHITECTURES = flags.DEFINE_integer(
    "architectures", 4, "Random ones of each space.", lower_bound=1
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Rounds.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images.")
_FILTERS = flags.DEFINE_integer("filters", 0, "0: of ENAS' searches, 36 or 20.")
_THREADS = flags.DEFINE_integer("threads", 0, "Of an operation; 0: all cores.")


def _task() -> ImageTask:
    """Returns noise of CIFAR-10's size: the time does not depend on it."""
    rng = np.random.default_rng(0)
    num = _BATCH_SIZE.value
    pixels = rng.integers(0, 256, (num, 32, 32, 3)).astype(np.uint8)
    part = Images(pixels, np.arange(num) % 10)
    names = tuple(map(str, range(10)))
    training = ImageTraining(batch_size=num, dropout=0.1)
    return ImageTask(training, ImageSet("noise", names, part, part, part))


def _space(name: str) -> Space:
    if name == "macro":
        return enas_macro_space(12, _FILTERS.value or 36)
    return enas_micro_space(5, 6, _FILTERS.value or 20)


def _alone(
    space: Space, task: ImageTask, row: np.ndarray
) -> Callable[[], float]:
    """Returns an update of one architecture, its program compiled."""
    network = task.program(space, shared=True).model
    tokens = tuple(row.tolist())
    pixels, labels = task.data.train
    images = tf.constant(pixels / 128 - 1, tf.float32)

    def gradients(batch):
        with tf.GradientTape() as tape:
            logits = network(images[:batch], tokens=tokens, training=True)
            loss = tf.reduce_mean(losses_of(logits, labels[:batch])[1])
        return loss, tape.gradient(loss, network.trainable_variables)

    used = [gradient is not None for gradient in gradients(2)[1]]
    variables = [
        variable
        for variable, is_used in zip(
            network.trainable_variables, used, strict=True
        )
        if is_used
    ]
    optimizer = optimizer_of(task.training)
    optimizer.build(variables)
    decay = task.training.weight_decay

    @tf.function
    def update():
        loss, found = gradients(len(labels))
        found = [gradient for gradient in found if gradient is not None]
        optimizer.apply(
            [g + decay * v for g, v in zip(found, variables, strict=True)],
            variables,
        )
        return loss

    return lambda: float(update())


def _times(name: str) -> tuple[measuring.Times, measuring.Times, int]:
    """Returns the times of shared and alone, and the traces of shared."""
    space, task = _space(name), _task()
    weights = SharedWeights(space, task, num_phases=1)
    rng = np.random.default_rng(1)
    shape = (_ARCHITECTURES.value, len(space.choices))
    shared, alone = measuring.Times(), measuring.Times()
    for row in rng.integers(space.num_options, size=shape):
        update = _alone(space, task, row)
        weights.train(row[None])  # Compiles, as the next does.
        update()
        for _ in range(_REPEATS.value):
            shared.of(lambda row=row: weights.train(row[None]))
            alone.of(update)
    return shared, alone, weights.num_traces


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    limit_threads(_THREADS.value)
    table = rich.table.Table(
        "space", "shared images/s", "alone images/s", "shared / alone, time",
        "lowest to highest", "(CPU)", "traces",
    )  # fmt: skip
    headline = {}
    for name in _SPACES.value:
        shared, alone, traces = _times(name)
        ratio = f"{statistics.median(shared.over(alone)):.2f}"
        cpu_ratio = f"{statistics.median(shared.cpu_over(alone)):.2f}"
        table.add_row(
            name,
            *(
                f"{_BATCH_SIZE.value / statistics.median(its.wall_s):,.0f}"
                for its in (shared, alone)
            ),
            ratio,
            measuring.range_text(shared.over(alone)),
            cpu_ratio,
            str(traces),
        )
        headline[f"ratio_{name}"] = ratio
        headline[f"cpu_ratio_{name}"] = cpu_ratio
        headline[f"traces_{name}"] = traces
    rich.console.Console(width=120).print(table)
    measuring.print_figures(headline)


if __name__ == "__main__":
    measuring.run(main)
