"""`ImageTrainer`: trains image children in memory, one after the other."""

import dataclasses

from nas_keras.convnets.build import multiply_adds
from nas_keras.tasks.images.batches import normalization_of
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.images.config import rate_at
from nas_keras.tasks.images.network import num_weights
from nas_keras.tasks.images.network import without_auxiliary
from nas_keras.tasks.images.task import ImageTask
from nas_keras.tasks.images.updates import ImageUpdates
from nas_keras.tasks.training.loop import MAX_LOSS_NATS

_LAST_EPOCHS = 5  # Of which the best validation accuracy counts.


class ImageTrainer:
    """Trains a network from a seed, as `train_images` does, without a workdir.

    Args:
        task: Images and training.
    """

    def __init__(self, task: ImageTask):
        self._task = task
        kind = task.config.normalization
        self._normalization = normalization_of(kind, task.images.train.pixels)

    def train(self, spec: NetSpec, seed: int) -> dict[str, float]:
        """Returns the figures of a network.

        Args:
            spec: The network.
            seed: Of all chance.

        Returns:
            `train_loss_nats` of the last epoch; `validation_accuracy`, the
            best of the last five epochs; `num_parameters`; `multiply_adds`.

        Raises:
            ValueError: If the images are too small for the network.
            FloatingPointError: If a loss is not finite, or above 100 nats.
        """
        config = dataclasses.replace(self._task.config, seed=seed)
        with ImageUpdates(
            config, spec, self._task.images, self._normalization
        ) as updates:
            found = []
            for epoch in range(config.num_epochs):
                total = 0.0
                for batch in range(updates.num_batches):
                    rate = rate_at(config, epoch + batch / updates.num_batches)
                    loss_nats = updates.update(epoch, batch, rate)
                    _check(loss_nats, "training")
                    total += loss_nats
                if epoch >= config.num_epochs - _LAST_EPOCHS:
                    # A task has images to validate on.
                    scores = updates.scores("validation")
                    _check(scores.loss_nats, "validation")
                    found.append(scores)
        metrics = {"train_loss_nats": total / updates.num_batches}
        metrics |= max(found, key=lambda scores: scores.accuracy).metrics(
            "validation"
        )
        return metrics | {
            "num_parameters": num_weights(updates.steps.model),
            "multiply_adds": multiply_adds(
                without_auxiliary(updates.steps.model)
            ),
        }


def _check(loss_nats: float, part: str) -> None:
    if not loss_nats < MAX_LOSS_NATS:
        raise FloatingPointError(
            f"diverged: the {part} loss is {loss_nats:.4g} nats"
        )
