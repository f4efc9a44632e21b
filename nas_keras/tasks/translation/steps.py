"""The compiled steps of a translation model: update, score, search.

They own the variables of a training: weights and optimizer. TensorFlow only.
Axes: B sentences, S source steps, T target steps, V vocabulary.
"""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import PADDING
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.tasks.training.gradients import apply
from nas_keras.tasks.training.gradients import clipped
from nas_keras.tasks.training.gradients import plain_optimizer
from nas_keras.tasks.training.variables import TrainingVariables
from nas_keras.tasks.training.variables import initial_weights
from nas_keras.tasks.translation.beam import Hypotheses
from nas_keras.tasks.translation.beam import beam_search
from nas_keras.tasks.translation.beam import greedy_search
from nas_keras.tasks.translation.config import TranslationTraining
from nas_keras.tasks.translation.model import Masks
from nas_keras.tasks.translation.model import TranslationModel

_IDS = tf.TensorSpec([None, None], tf.int32)
_INTS = tf.TensorSpec([None], tf.int32)
_FLOAT = tf.TensorSpec([], tf.float32)


class Losses(NamedTuple):
    """Of target tokens, sums in nats.

    Attributes:
        smoothed: What training minimises, with smoothed labels.
        plain: -log p of the tokens.
        num_tokens: Float.
    """

    smoothed: Any
    plain: Any
    num_tokens: Any


def losses_of(logits: Any, targets: Any, smoothing: float) -> Losses:
    """Returns the losses of logits [B, T, V] for targets int32 [B, T].

    Reference:
        [Szegedy et al., 2016](https://arxiv.org/abs/1512.00567), section 7,
        of the smoothing.
    """
    is_real = keras.ops.cast(keras.ops.not_equal(targets, PADDING), "float32")
    log_sum = keras.ops.logsumexp(logits, axis=-1)
    logits = keras.ops.copy(logits)  # See `AttentiveRNN`.
    chosen = keras.ops.take_along_axis(logits, targets[..., None], axis=-1)
    plain = (log_sum - chosen[..., 0]) * is_real
    smoothed = plain
    if smoothing:
        spread = (log_sum - keras.ops.mean(logits, axis=-1)) * is_real
        smoothed = (1 - smoothing) * plain + smoothing * spread
    return Losses(
        keras.ops.sum(smoothed), keras.ops.sum(plain), keras.ops.sum(is_real)
    )


def shifted(targets: Any) -> Any:
    """Returns what a decoder reads to say the targets int32 [B, T]."""
    begin = keras.ops.full_like(targets[:, :1], BEGIN)
    return keras.ops.concatenate([begin, targets[:, :-1]], axis=1)


class TranslationSteps(TrainingVariables):
    """A model, its optimizer, and what may be done to them.

    Args:
        model: Makes the `TranslationModel`.
        training: The training.
        seed: Seed of the first weights and of dropout.
        replicas: What trains together.

    Attributes:
        model: The `TranslationModel`.
    """

    def __init__(
        self,
        model: Callable[[], TranslationModel],
        training: TranslationTraining,
        seed: int,
        replicas: Replicas | None = None,
    ):
        self._training = training
        self._seed = seed
        self._replicas: Replicas = replicas or OneReplica()
        with self._replicas.scope():
            self.model = model()
            self._weights = self.model.trainable_variables
            self._optimizer = plain_optimizer(
                training.optimizer, training.learning_rate
            )
            self._optimizer.build(self._weights)
        self._set_first_weights()
        self._update = tf.function(
            self._update_step,
            input_signature=[_IDS, _IDS, _FLOAT, _INTS],
            autograph=False,
        )
        self._score = tf.function(
            self._score_step, input_signature=[_IDS, _IDS], autograph=False
        )

    def _set_first_weights(self) -> None:
        """Matrices are uniform; biases and scales as their layers have them."""
        shapes = [tuple(w.shape) for w in self._weights]
        scale = self._training.model.init_scale
        arrays = initial_weights(shapes, scale, self._seed)
        for weight, array in zip(self._weights, arrays, strict=True):
            if len(weight.shape) > 1 or weight.name == "v":
                weight.assign(array)

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        return {
            "weight": self._weights,
            "optimizer": self._optimizer.variables,
        }

    # What is done.

    def update(
        self,
        source: np.ndarray,
        target: np.ndarray,
        rate: float,
        number: int,
    ) -> float:
        """Takes a training step on a batch.

        Args:
            source: int32 [B, S], each sentence with its end.
            target: int32 [B, T], likewise.
            rate: Learning rate.
            number: Of the update; with the seed, it decides the dropout.

        Returns:
            The mean of -log p of a target token, in nats.
        """
        seed = np.array([self._seed % 2**31, number], np.int32)
        with self._replicas.watched():
            loss = self._update(source, target, np.float32(rate), seed)
            return float(loss)

    def score(
        self, source: np.ndarray, target: np.ndarray
    ) -> tuple[float, int]:
        """Returns the sum of -log p of the target tokens, and their number."""
        losses = self._score(source, target)
        return float(losses.plain), int(losses.num_tokens)

    # Their programs.

    def _update_step(
        self, source: Any, target: Any, rate: Any, seed: Any
    ) -> Any:
        def of_replica(index: Any) -> Any:
            gradients, loss = self._gradients(source, target, seed, index)
            # The optimizer adds those of the replicas, which are equal by now.
            gradients = clipped(gradients, self._training.clip_norm)
            gradients = [g / self._replicas.num for g in gradients]
            self._optimizer.learning_rate = rate
            apply(self._optimizer, gradients, self._weights, self._replicas.num)
            return loss

        return self._replicas.run(of_replica)

    def _gradients(
        self, source: Any, target: Any, seed: Any, index: Any
    ) -> tuple[list[Any], Any]:
        """Returns the gradients of the batch, and its loss in nats a token."""
        num = self._replicas.num
        masks = self._masks(tf.shape(source)[0], seed)
        is_real = tf.cast(tf.not_equal(target, PADDING), tf.float32)
        num_tokens = tf.reduce_sum(is_real)
        by_sentence = self._training.loss_mean == "sentences"
        parts = num_tokens
        if by_sentence:
            parts = tf.cast(tf.shape(target)[0], tf.float32)
        if num > 1:  # This replica's rows.
            source, target = source[index::num], target[index::num]
            masks = {name: mask[index::num] for name, mask in masks.items()}
        with tf.GradientTape() as tape:
            logits = self.model((source, shifted(target)), masks)
            losses = losses_of(logits, target, self._training.label_smoothing)
            objective = losses.smoothed / parts
        gradients = tape.gradient(objective, [w.value for w in self._weights])
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        *gradients, loss = self._replicas.sum(
            [*gradients, losses.plain / num_tokens]
        )
        return gradients, loss

    def _masks(self, batch_size: Any, seed: Any) -> Masks:
        """Returns masks of the whole batch, whoever has which rows of it."""
        masks = {}
        for place, (name, (width, rate)) in enumerate(
            self.model.dropout_widths().items()
        ):
            its_seed = tf.random.experimental.stateless_fold_in(seed, place)
            uniform = tf.random.stateless_uniform([batch_size, width], its_seed)
            masks[name] = tf.cast(uniform >= rate, tf.float32) / (1 - rate)
        return masks

    def _score_step(self, source: Any, target: Any) -> Losses:
        logits = self.model((source, shifted(target)))
        return losses_of(logits, target, 0.0)


def compiled_search(
    model: TranslationModel, beam: int, alpha: float, beta: float
) -> Any:
    """Returns a function of sentences int32 [B, S] and limits int32 [B]."""
    search = greedy_search
    if beam > 1:
        search = functools.partial(
            beam_search, beam=beam, alpha=alpha, beta=beta
        )

    def run(source: Any, limits: Any) -> Hypotheses:
        return search(model, source, limits)

    return tf.function(run, input_signature=[_IDS, _INTS], autograph=False)
