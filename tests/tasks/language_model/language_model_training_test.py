"""Trainings of children: their updates, rates, seeds and first weights."""

import math

import numpy as np
import pytest

from nas_keras.tasks.training.variables import initial_weights
from tests.language_model_testing import child_trainer
from tests.language_model_testing import sentences


def _weights(trainer):
    return [np.array(v) for v in trainer.model.trainable_variables]


def test_num_epochs_counts_passes_over_the_training_text():
    trainer = child_trainer(num_epochs=3, num_updates=0)
    length = len(trainer.task.corpus.train) // 3
    assert trainer.num_windows == (length - 1) // 5
    assert trainer.num_updates == 3 * trainer.num_windows
    assert child_trainer(num_updates=7).num_updates == 7


def _distance(trainer):
    """Returns the norm of how far a training moves the weights."""
    trainer.train(0)
    shapes = [v.shape for v in trainer.model.trainable_variables]
    before = initial_weights(shapes, trainer.task.config.init_scale, 0)
    after = _weights(trainer)
    moved = [a - b for a, b in zip(after, before, strict=True)]
    return math.sqrt(sum((m.astype("float64") ** 2).sum() for m in moved))


def test_the_gradient_is_clipped_by_its_global_norm():
    def norm(clip_norm):
        return _distance(
            child_trainer(
                optimizer="sgd", learning_rate=1.0, num_updates=1,
                clip_norm=clip_norm,
            )
        )  # fmt: skip

    whole = norm(1e9)
    assert whole > 0.1
    assert norm(0.01) == pytest.approx(0.01, rel=1e-3)


def test_training_descends():
    trainer = child_trainer(num_updates=150, learning_rate=0.02)
    first = child_trainer(num_updates=1).train(0)["validation_loss_nats"]
    assert trainer.train(0)["validation_loss_nats"] < first - 0.5


def test_the_schedule_reaches_the_training():
    # With decay 4 from the first epoch on, epoch 2 moves a quarter as much.
    norms = []
    for schedule in ("constant", "step"):
        trainer = child_trainer(
            corpus=sentences((0.3, 0.35, 0.35)),
            optimizer="sgd",
            learning_rate=1.0,
            num_updates=0,
            num_epochs=2,
            num_steps=100,
            clip_norm=1e-3,
            schedule=schedule,
            decay=4.0,
            decay_epoch=1,
        )
        assert trainer.num_windows == 2
        norms.append(_distance(trainer))
    # Almost parallel clipped steps: 4 of 1e-3; 2 of 1e-3 and 2 of 2.5e-4.
    assert norms[0] == pytest.approx(4e-3, rel=0.1)
    assert norms[1] == pytest.approx(2.5e-3, rel=0.1)


def test_the_same_seed_gives_the_same_training_and_another_another():
    trainer = child_trainer(input_dropout=0.3)
    first, other, again = (trainer.train(seed) for seed in (0, 1, 0))
    assert first == again != other
    assert trainer.num_traces == 1


def test_weights_decay_beside_the_clipped_gradient():
    changes = {"optimizer": "sgd", "learning_rate": 0.5, "num_updates": 1}
    plain, decayed = (
        child_trainer(**changes),
        child_trainer(**changes, weight_decay=0.2),
    )
    shapes = [v.shape for v in plain.model.trainable_variables]
    first = initial_weights(shapes, 0.5, 0)
    plain.train(0)
    decayed.train(0)
    for got, without, w in zip(
        _weights(decayed), _weights(plain), first, strict=True
    ):
        np.testing.assert_allclose(got, without - 0.5 * 0.2 * w, atol=1e-6)


def test_penalties_change_training():
    plain = child_trainer().train(0)
    for argument in ("activation_penalty", "slowness_penalty"):
        assert child_trainer(**{argument: 1.0}).train(0) != plain


def test_initial_weights_are_of_seed_place_and_shape():
    shapes = [(30, 20), (30, 20), (50,)]
    first = initial_weights(shapes, 0.1, 5)
    for array, shape in zip(first, shapes, strict=True):
        assert array.shape == shape and array.dtype == np.float32
        assert 0.09 < np.abs(array).max() <= np.float32(0.1)
        assert abs(array.mean()) < 0.03
    assert (first[0] != first[1]).any()
    again = initial_weights([(1,), (30, 20)], 0.1, 5)
    np.testing.assert_array_equal(again[1], first[1])
    assert (initial_weights(shapes, 0.1, 6)[0] != first[0]).any()
    np.testing.assert_allclose(
        initial_weights(shapes, 0.2, 5)[2], 2 * first[2], rtol=1e-6
    )


def test_training_begins_with_the_initial_weights():
    trainer = child_trainer(optimizer="sgd", learning_rate=1e-30, num_updates=1)
    for seed in (2, 3):
        trainer.train(seed)
        shapes = [v.shape for v in trainer.model.trainable_variables]
        want = initial_weights(shapes, 0.5, seed)
        for array, other in zip(_weights(trainer), want, strict=True):
            np.testing.assert_array_equal(array, other)
