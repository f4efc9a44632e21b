"""What tests of whole runs share: a task that trains nothing, and images."""

import numpy as np

from nas_keras.cells import Cost
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.tasks import Task
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.task import ImageTask


def noise_images():
    rng = np.random.default_rng(0)

    def part(num):
        pixels = rng.integers(0, 256, (num, 8, 8, 1), dtype=np.uint8)
        return Images(pixels, np.arange(num) % 2)

    return ImageSet("noise", ("even", "odd"), part(30), part(20), part(10))


def accuracy_of(spec):
    """Returns a figure that names tell nothing of."""
    kernels = sum(layer.kernel[0] for layer in spec.layers)
    return kernels / (kernels + 30)


class CountedTask(Task):
    """Scores networks by `accuracy_of`; trains nothing.

    Attributes:
        done: Names and seeds of all trainings.
        resizings: Names and weights of all calls of `resized`.
    """

    metric = ImageTask.metric
    noun = ImageTask.noun
    baseline = ImageTask.baseline

    def __init__(self, fails=(), parameters=1_234):
        self.done, self.resizings = [], []
        self._fails, self._parameters = fails, parameters
        training = ImageTraining(batch_size=10)
        self._images = ImageTask(training, noise_images())

    def load(self, name, like=None):
        return self._images.load(name, like)

    def size(self, spec):
        return Cost(self._parameters, 56_789)

    def resized(self, spec, parameters):
        self.resizings.append((spec.name, parameters))
        return self

    def train(self, spec, seed, folder=None, on_progress=None):
        self.done.append((spec.name, seed))
        folder.mkdir(parents=True)
        (folder / "snapshot").write_bytes(b"of use until it is done")
        if spec.name in self._fails:
            raise FloatingPointError("diverged")
        accuracy = accuracy_of(spec) + seed / 100
        return {
            "validation_accuracy": accuracy,
            "test_accuracy": accuracy / 2,
            "test_error_percent": 100 - 50 * accuracy,
            "num_parameters": self._parameters,
            "multiply_adds": 56_789,
        }

    def scaled(self, updates=1.0, units=1.0, data=1.0):
        return self

    def settings(self):
        return self._images.settings()
