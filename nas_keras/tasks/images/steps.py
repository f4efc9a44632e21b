"""An image network in training: its models, its compiled steps, its scores.

    network_of(...) -> Keras model;  usable(...) -> the model of pixels
    ImageSteps: weights, optimizer, compiled update and score
    ImageUpdates: these and the training images

On TensorFlow and on JAX; several replicas on TensorFlow only. Axes: N images
of a part, B of a batch, H rows, W columns, C channels, K classes.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from nas_keras.convnets.blocks import EPSILON
from nas_keras.convnets.build import build_convnet
from nas_keras.convnets.drop_path import DropPath
from nas_keras.data.images import Images
from nas_keras.data.images import ImageSet
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.tasks.images.batches import Normalization
from nas_keras.tasks.images.batches import TrainingInput
from nas_keras.tasks.images.config import Adam
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import NetSpec
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import clipped
from nas_keras.tasks.training.gradients import decayed
from nas_keras.tasks.training.variables import TrainingVariables

SCORE_BATCH = 200

_Score = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def network_of(
    training: ImageTraining,
    spec: NetSpec,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int = 0,
) -> keras.Model:
    """Returns the model of a training: normalized images to logits.

    With an auxiliary head, it has two outputs.

    Args:
        training: The training.
        spec: The network.
        image_shape: H, W, C.
        num_classes: K.
        seed: Seed of the first weights and of dropout.

    Raises:
        ValueError: If the images are too small for the network, or it has no
            place for an auxiliary head.
    """
    epsilon = training.norm_epsilon or EPSILON
    with _precision(training.precision):
        return build_convnet(
            spec,
            image_shape,
            num_classes,
            dropout=training.dropout,
            drop_path=training.drop_path,
            auxiliary_head=training.auxiliary_weight > 0,
            seed=seed % 2**31,
            epsilon=epsilon,
        )


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Has Keras make layers of another dtype policy for a while."""
    held = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(held)


def num_weights(model: keras.Model) -> int:
    """Returns the trained weights of a network, less its auxiliary head's."""
    network = without_auxiliary(model)
    shapes = [weight.shape for weight in network.trainable_weights]
    return sum(map(math.prod, shapes))


def norms_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the batch normalizations of a network."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in model.layers if isinstance(layer, kind)]


def usable(model: keras.Model, normalization: Normalization) -> keras.Model:
    """Returns a model of pixels [B, H, W, C], 0 to 255, to logits [B, K].

    It shares the weights, and has no auxiliary head.
    """
    network = without_auxiliary(model)
    inputs = keras.Input(model.input_shape[1:], name="pixels")
    if normalization.mean is None or normalization.deviation is None:
        num = int(np.prod(model.input_shape[1:]))
        normalized = keras.layers.LayerNormalization(
            axis=(1, 2, 3),
            epsilon=1 / num,
            center=False,
            scale=False,
            name="whitening",
        )(inputs)
    else:
        normalized = keras.layers.Normalization(
            mean=normalization.mean.tolist(),
            variance=(normalization.deviation**2).tolist(),
            name="normalization",
        )(inputs)
    return keras.Model(inputs, network(normalized), name="image_classifier")


def without_auxiliary(model: keras.Model) -> keras.Model:
    """Returns a network less its auxiliary head; it shares the weights."""
    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def losses_of(
    logits: Any, labels: Any, smoothing: float = 0.0
) -> tuple[Any, Any]:
    """Returns losses [B] in nats: with smoothed labels, and -log p.

    Args:
        logits: [B, K].
        labels: int32 [B].
        smoothing: Share that is spread evenly over the classes.

    Reference:
        [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7.
    """
    log_p = keras.ops.log_softmax(keras.ops.cast(logits, "float32"))
    chosen = keras.ops.take_along_axis(log_p, labels[:, None], axis=-1)
    plain = -chosen[:, 0]
    if not smoothing:
        return plain, plain
    spread = -keras.ops.mean(log_p, axis=-1)
    return (1 - smoothing) * plain + smoothing * spread, plain


def check_replicas(training: ImageTraining, replicas: Replicas) -> None:
    """Refuses a batch that cannot be shared out evenly.

    Raises:
        ValueError: If it cannot.
    """
    if training.batch_size % replicas.num:
        raise ValueError(
            "batch_size must be a multiple of the number of replicas. "
            f"Received: batch_size={training.batch_size} for {replicas.num} "
            "replicas."
        )


class ImageSteps(TrainingVariables):
    """A model, its optimizer, and what may be done to them.

    Args:
        model: Makes the model, of one or two outputs (see `network_of`).
        training: The training.
        replicas: What trains together; batch normalization is over the images
            of all. Each has the same part of a batch.

    Attributes:
        model: The `keras.Model`.

    Raises:
        ValueError: If Keras's backend is neither TensorFlow nor JAX, or a
            batch cannot be shared out evenly.
    """

    def __init__(
        self,
        model: Callable[[], keras.Model],
        training: ImageTraining,
        replicas: Replicas | None = None,
    ):
        compilation.check_backend()
        self._training = training
        self._replicas: Replicas = replicas or OneReplica()
        check_replicas(training, self._replicas)
        with self._replicas.scope():
            self.model = model()
            self._weights = self.model.trainable_variables
            self._others = self.model.non_trainable_variables
            self._optimizer = optimizer_of(training)
            self._optimizer.build(self._weights)
        if self._replicas.num > 1:
            for layer in norms_of(self.model):
                layer.synchronized = True
        self._drop_paths = [
            layer for layer in self.model.layers if isinstance(layer, DropPath)
        ]
        everything = [
            *self._weights,
            *self._others,
            *self._optimizer.variables,
        ]
        self._update = compilation.compiled(self._update_step, everything)
        self._score = compilation.compiled(self._score_step, everything)

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        """The variables by group; averages of batches count as weights."""
        weights = self.model.weights
        its = {id(variable) for variable in weights}
        return {
            "weight": weights,
            "generator": [v for v in self._others if id(v) not in its],
            "optimizer": self._optimizer.variables,
        }

    # What is done.

    def update(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rate: float,
        progress: float,
    ) -> float:
        """Takes a training step on a batch.

        Args:
            images: float32 [B, H, W, C], normalized.
            labels: int32 [B].
            rate: Learning rate.
            progress: Of the training, in [0, 1].

        Returns:
            The mean of -log p of a label, in nats.
        """
        rates = [keras.ops.convert_to_tensor(x, "float32")
                 for x in (rate, progress)]  # fmt: skip
        with self._replicas.watched():
            return float(self._update(*_tensors(images, labels), *rates))

    def score(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns -log p of each label, in nats [B], and the classes [B]."""
        nats, classes = self._score(*_tensors(images, labels))
        return np.array(nats), np.array(classes)

    # Their programs.

    def _update_step(
        self, images: Any, labels: Any, rate: Any, progress: Any
    ) -> Any:
        for layer in self._drop_paths:
            layer.progress.assign(progress)

        def of_replica(index: Any) -> Any:
            num = self._replicas.num
            its_images, its_labels = images, labels
            if num > 1:
                its_images, its_labels = images[index::num], labels[index::num]
            *gradients, loss = self._replicas.sum(
                [x / num for x in self._gradients(its_images, its_labels)]
            )
            # The optimizer adds those of the replicas, which are equal by now.
            gradients = [g / num for g in self._regularized(gradients)]
            self._optimizer.learning_rate = rate
            apply(self._optimizer, gradients, self._weights, num)
            return loss

        return self._replicas.run(of_replica)

    def _gradients(self, images: Any, labels: Any) -> list[Any]:
        """Returns the gradients of the mean loss, and it, in nats."""
        smoothing = self._training.label_smoothing

        def objective() -> tuple[Any, Any]:
            outputs = self.model(images, training=True)
            logits, *auxiliary = keras.tree.flatten(outputs)
            smoothed, plain = losses_of(logits, labels, smoothing)
            total = keras.ops.mean(smoothed)
            for its in auxiliary:
                smoothed, _ = losses_of(its, labels, smoothing)
                weight = self._training.auxiliary_weight
                total = total + weight * keras.ops.mean(smoothed)
            return total, keras.ops.mean(plain)

        _, gradients, loss = compilation.value_and_gradients(
            objective, self._weights, self._others
        )
        return [*gradients, loss]

    def _regularized(self, gradients: Sequence[Any]) -> list[Any]:
        if self._training.clip_norm:
            gradients = clipped(gradients, self._training.clip_norm)
        decay = self._training.weight_decay
        # Kernels have several axes; scales and biases do not decay.
        return decayed(gradients, self._weights, decay, least_rank=2)

    def _score_step(self, images: Any, labels: Any) -> tuple[Any, Any]:
        outputs = self.model(images, training=False)
        logits = keras.tree.flatten(outputs)[0]
        _, plain = losses_of(logits, labels)
        return plain, keras.ops.argmax(logits, axis=-1)


def optimizer_of(training: ImageTraining) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training, not built."""
    optimizer = training.optimizer
    if isinstance(optimizer, Adam):
        return keras.optimizers.Adam(training.learning_rate)
    return keras.optimizers.SGD(
        training.learning_rate,
        momentum=optimizer.momentum,
        nesterov=optimizer.nesterov,
    )


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    return (
        keras.ops.convert_to_tensor(images, "float32"),
        keras.ops.convert_to_tensor(labels, "int32"),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class ImageScores:
    """How near a network's classes are to the labels.

    Attributes:
        loss_nats: Mean of -log p of a label.
        accuracy: Share of the images whose class is their label, in [0, 1].
        confusion: int64 [K, K], images by label and by the network's class.
    """

    loss_nats: float
    accuracy: float
    confusion: np.ndarray

    def metrics(self, part: str) -> dict[str, float]:
        """Returns the figures by name; the error is in percent."""
        return figures(part, self.loss_nats, self.accuracy)


def figures(part: str, loss_nats: float, accuracy: float) -> dict[str, float]:
    """Returns the figures of a part of the images by name."""
    return {
        f"{part}_loss_nats": loss_nats,
        f"{part}_accuracy": accuracy,
        f"{part}_error_percent": 100 * (1 - accuracy),
    }


def scores_of(
    images: Images,
    num_classes: int,
    normalized: Callable[[np.ndarray], np.ndarray],
    score: _Score,
    batch_size: int = SCORE_BATCH,
) -> ImageScores:
    """Returns the scores of all images of a part, which has one at least.

    Args:
        images: The part.
        num_classes: K.
        normalized: Makes of pixels what the network reads.
        score: Returns -log p of each label [B], and the network's classes [B].
        batch_size: B. All batches have it, so that one program serves them:
            the last is filled up with images that do not count.
    """
    total = len(images.labels)
    batch_size = min(batch_size, total)
    nats, classes = [], []
    for begin in range(0, total, batch_size):
        places = np.arange(begin, begin + batch_size) % total
        pixels, labels = images.take(places)
        its_nats, its_classes = score(normalized(pixels), labels)
        nats.append(its_nats)
        classes.append(its_classes)
    found = np.concatenate(classes)[:total]
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (images.labels, found), 1)
    return ImageScores(
        float(np.mean(np.concatenate(nats)[:total], dtype=np.float64)),
        float(np.trace(confusion) / total),
        confusion,
    )


class ImageUpdates:
    """A network, its training images, and what of both makes an update.

    It has a thread, which `close`, or the end of a `with`, ends.

    Args:
        training: The training.
        spec: The network.
        images: Images that it is trained and scored on.
        normalization: Normalization of the images.
        seed: Seed of all chance.
        replicas: As for `ImageSteps`.

    Attributes:
        steps: Its `ImageSteps`.
        normalization: As given.
        num_batches: Batches of an epoch.

    Raises:
        ValueError: As `network_of` and `ImageSteps` raise.
    """

    def __init__(
        self,
        training: ImageTraining,
        spec: NetSpec,
        images: ImageSet,
        normalization: Normalization,
        seed: int,
        replicas: Replicas | None = None,
    ):
        self._training = training
        self._images = images
        self.normalization = normalization
        self.steps = ImageSteps(
            lambda: network_of(
                training, spec, images.image_shape, images.num_classes, seed
            ),
            training,
            replicas,
        )
        self._input = TrainingInput(images.train, training, normalization, seed)
        self.num_batches = len(self._input.batches(0))

    def __enter__(self) -> "ImageUpdates":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread; no update may be asked for afterwards."""
        self._input.close()

    def update(self, epoch: int, batch: int, rate: float) -> float:
        """Takes an update and returns its loss in nats.

        Args:
            epoch: From 0.
            batch: Its number in the epoch, from 0.
            rate: Learning rate.
        """
        epochs = epoch + batch / self.num_batches
        return self.steps.update(
            *self._input.batch(epoch, batch),
            rate,
            epochs / self._training.num_epochs,
        )

    def scores(self, part: str) -> ImageScores:
        """Returns the scores of a part of the images, which has some."""
        return scores_of(
            getattr(self._images, part),
            self._images.num_classes,
            self.normalization.__call__,
            self.steps.score,
        )
