"""`ImageTrainer`: trains image children in memory, one after the other."""

import dataclasses

from nas_keras.convnets.build import multiply_adds
from nas_keras.tasks.image_batches import TrainingInput
from nas_keras.tasks.image_batches import normalization_of
from nas_keras.tasks.image_config import NetSpec
from nas_keras.tasks.image_config import rate_at
from nas_keras.tasks.image_network import network_of
from nas_keras.tasks.image_network import num_weights
from nas_keras.tasks.image_network import without_auxiliary
from nas_keras.tasks.image_scores import ImageScores
from nas_keras.tasks.image_scores import scores_of
from nas_keras.tasks.image_steps import ImageSteps
from nas_keras.tasks.image_task import ImageTask
from nas_keras.tasks.training_loop import MAX_LOSS_NATS

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
        images = self._task.images
        steps = ImageSteps(
            lambda: network_of(
                config, spec, images.image_shape, images.num_classes
            ),
            config,
        )
        with TrainingInput(images.train, config, self._normalization) as inputs:
            num_batches = len(inputs.batches(0))
            found = []
            for epoch in range(config.num_epochs):
                total = 0.0
                for number in range(num_batches):
                    epochs = epoch + number / num_batches
                    loss_nats = steps.update(
                        *inputs.batch(epoch, number),
                        rate_at(config, epochs),
                        epochs / config.num_epochs,
                    )
                    _check(loss_nats, "training")
                    total += loss_nats
                if epoch >= config.num_epochs - _LAST_EPOCHS:
                    found.append(self._scores(steps))
                    _check(found[-1].loss_nats, "validation")
        metrics = {"train_loss_nats": total / num_batches}
        metrics |= max(found, key=lambda scores: scores.accuracy).metrics(
            "validation"
        )
        return metrics | {
            "num_parameters": num_weights(steps.model),
            "multiply_adds": multiply_adds(without_auxiliary(steps.model)),
        }

    def _scores(self, steps: ImageSteps) -> ImageScores:
        images = self._task.images
        return scores_of(
            images.validation,
            images.num_classes,
            self._normalization.__call__,
            steps.score,
        )


def _check(loss_nats: float, part: str) -> None:
    if not loss_nats < MAX_LOSS_NATS:
        raise FloatingPointError(
            f"diverged: the {part} loss is {loss_nats:.4g} nats"
        )
