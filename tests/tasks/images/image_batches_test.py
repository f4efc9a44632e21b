"""Tests of what an update sees: normalisation, order, augmentation, rate."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest

from nas_keras.data.images import Images
from nas_keras.tasks.images import batches as image_batches
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.steps import scores_of
from nas_keras.tasks.training.schedules import Constant
from nas_keras.tasks.training.schedules import Cosine
from nas_keras.tasks.training.schedules import CosineRestarts
from nas_keras.tasks.training.schedules import Halving
from nas_keras.tasks.training.schedules import Step
from tests.raising import raises


def _pixels(num, size=(6, 5, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, *size), dtype=np.uint8)


def _training(**changes):
    return ImageTraining(
        **{"batch_size": 4, "padding": 2, "cutout": 3, **changes}
    )


class TestNormalization:
    def test_channels_have_the_mean_and_deviation_of_training(self):
        pixels = _pixels(20)
        pixels[..., 1] = pixels[..., 1] // 4 + 7
        normalized = image_batches.normalization_of("channel", pixels)
        np.testing.assert_allclose(
            normalized.mean, pixels.mean((0, 1, 2)), rtol=1e-6
        )
        np.testing.assert_allclose(
            normalized.deviation, pixels.std((0, 1, 2)), rtol=1e-6
        )
        found = normalized(pixels)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.mean((0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(found.std((0, 1, 2)), 1, atol=1e-5)
        one = normalized(pixels[:1, :1, :1])[0, 0, 0]
        wanted = (pixels[0, 0, 0] - normalized.mean) / normalized.deviation
        np.testing.assert_allclose(one, wanted, rtol=1e-5)

    def test_whitening_is_of_each_image_over_itself(self):
        pixels = _pixels(3)
        pixels[1] = pixels[1] // 9
        pixels[2] = 77
        normalized = image_batches.normalization_of("whitening", pixels)
        found = normalized(pixels)
        np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(found.std((1, 2, 3)), [1, 1, 0], atol=1e-4)
        np.testing.assert_allclose(
            normalized(pixels[1:2]), found[1:2], rtol=1e-6
        )

    def test_a_channel_of_one_value_becomes_zero(self):
        pixels = _pixels(4)
        pixels[..., 2] = 9
        found = image_batches.normalization_of("channel", pixels)(pixels)
        assert (found[..., 2] == 0).all()


class TestOrder:
    def test_an_epoch_has_each_image_once_at_most(self):
        batches = image_batches.batches_of(23, 4, epoch=0, seed=0)
        assert [len(batch) for batch in batches] == [4] * 5
        places = np.concatenate(batches)
        assert len(set(places)) == 20
        assert set(places) <= set(range(23))

    def test_epoch_and_seed_decide_the_order(self):
        def of(epoch, seed):
            batches = image_batches.batches_of(23, 4, epoch, seed)
            return np.concatenate(batches).tolist()

        assert of(3, 1) == of(3, 1)
        assert len({tuple(of(*at)) for at in ((3, 1), (4, 1), (3, 2))}) == 3


def _oracle(image, top, left, is_flipped, row, column, config):
    """What one image becomes, pixel by pixel."""
    height, width, _ = image.shape
    found = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            x_seen = width - 1 - x if is_flipped and config.flip else x
            y_from = y + top - config.padding
            x_from = x_seen + left - config.padding
            inside = 0 <= y_from < height and 0 <= x_from < width
            half = config.cutout // 2
            is_cut = (
                row - half <= y < row - half + config.cutout
                and column - half <= x < column - half + config.cutout
            )
            if inside and not is_cut:
                found[y, x] = image[y_from, x_from]
    return found


class TestAugmentation:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"flip": False},
            {"cutout": 0},
            {"padding": 0},
            {"padding": 0, "flip": False, "cutout": 4},
            {"padding": 0, "flip": False, "cutout": 0},
        ],
    )
    def test_images_are_cropped_mirrored_and_cut(self, changes):
        training = _training(**changes)
        images = _pixels(12).astype(np.float32) + 1
        held = images.copy()
        draws = image_batches.draws_of(
            12, (6, 5), training.padding, epoch=1, seed=0
        )
        found = image_batches.augmented(images, draws, training)
        for place in range(12):
            its = [array[place] for array in draws]
            np.testing.assert_array_equal(
                found[place], _oracle(images[place], *its, training)
            )
        np.testing.assert_array_equal(images, held)

    def test_chance_is_uniform_over_what_may_be(self):
        training = _training(padding=1)
        draws = image_batches.draws_of(
            9_000, (6, 5), training.padding, epoch=0, seed=0
        )
        for array, values in (
            (draws.top, 3),
            (draws.left, 3),
            (draws.is_flipped, 2),
            (draws.cut_row, 6),
            (draws.cut_column, 5),
        ):
            counts = np.bincount(array)
            assert len(counts) == values
            np.testing.assert_allclose(counts * values / 9_000, 1, atol=0.1)
        assert abs(np.corrcoef(draws.top, draws.left)[0, 1]) < 0.05


class TestInput:
    def _input(self, training, seed=0, num=10):
        images = Images(_pixels(num), np.arange(num, dtype=np.int32))
        normalized = image_batches.normalization_of("channel", images.pixels)
        return image_batches.TrainingInput(images, training, normalized, seed)

    def test_a_batch_is_the_same_whatever_came_before(self):
        training = _training()
        source = self._input(training, 5)
        in_order = [source.batch(e, k) for e in (0, 1) for k in (0, 1)]
        for number, (images, labels) in reversed(list(enumerate(in_order))):
            again = self._input(training, 5).batch(*divmod(number, 2))
            np.testing.assert_array_equal(again[0], images)
            np.testing.assert_array_equal(again[1], labels)
        back = source.batch(0, 1)  # After a snapshot that is gone back to.
        np.testing.assert_array_equal(back[0], in_order[1][0])
        others = self._input(training, 6).batch(0, 0)
        assert (others[0] != in_order[0][0]).any()

    def test_a_batch_is_its_images_normalised_and_augmented(self):
        training = _training()
        source = self._input(training)
        images, labels = source.batch(2, 1)
        chosen = source.batches(2)[1]
        np.testing.assert_array_equal(labels, chosen)
        pixels = _pixels(10)
        draws = image_batches.draws_of(10, (6, 5), 2, 2, 0)
        normalized = image_batches.normalization_of("channel", pixels)
        for place, number in enumerate(chosen):
            wanted = _oracle(
                normalized(pixels[number : number + 1])[0],
                *(array[number] for array in draws),
                training,
            )
            np.testing.assert_allclose(images[place], wanted, rtol=1e-6)

    def test_nothing_is_made_beyond_the_last_epoch(self, monkeypatch):
        made = []
        make = image_batches.TrainingInput._make

        def noted(self, place):
            made.append(place)
            return make(self, place)

        monkeypatch.setattr(image_batches.TrainingInput, "_make", noted)
        with self._input(_training(num_epochs=2)) as source:
            for place in ((0, 0), (0, 1), (1, 0), (1, 1)):
                source.batch(*place)
        assert made == [(0, 0), (0, 1), (1, 0), (1, 1)]

    def test_its_thread_ends_when_it_is_closed(self):
        before = set(threading.enumerate())
        with self._input(_training()) as source:
            source.batch(0, 0)
            (own,) = set(threading.enumerate()) - before
        assert not own.is_alive()
        source.close()  # Again, which does no harm.

    def test_it_is_gone_when_nobody_holds_it(self):
        gc.disable()  # No cycle: it holds all the images.
        try:
            source = self._input(_training(num_epochs=1))
            source.batch(0, 0)
            source.batch(0, 1)
            source.close()
            held = weakref.ref(source)
            del source
            assert held() is None
        finally:
            gc.enable()


class TestRate:
    def _rates(self, places, schedule):
        return [schedule.rate_at(0.4, epochs, 20) for epochs in places]

    def test_a_training_has_the_rate_of_its_schedule(self):
        training = _training(num_epochs=20, schedule=Cosine(0.01))
        rate = Cosine(0.01).rate_at(0.1, 7, 20)
        assert training.rate_at(7) == rate

    def test_constant(self):
        assert self._rates([0, 19.9], Constant()) == [0.4, 0.4]

    def test_steps(self):
        rates = self._rates(
            [0, 9.99, 10, 14.9, 15, 19.9],
            Step(decay=4.0, decay_from=0.5, num_decays=2),
        )
        assert rates == [0.4, 0.4, 0.1, 0.1, 0.025, 0.025]

    def test_a_steep_schedule_ends_at_zero(self):
        schedule = Step(decay=1e200, decay_from=0.0)
        assert self._rates([19.99], schedule) == [0.0]

    def test_halving(self):
        rates = self._rates(
            [0, 10, 10.1, 12.5, 15, 17.5, 20, 21],
            Halving(decay_from=0.5, num_halvings=4),
        )
        halvings = [0, 0, 0, 1, 2, 3, 4, 4]
        assert rates == [0.4 * 0.5**k for k in halvings]

    def test_cosine(self):
        rates = self._rates([0, 5, 10, 20], Cosine(min_learning_rate=0.1))
        middle = 0.1 + 0.15 * (1 + math.sqrt(0.5))
        assert rates == pytest.approx([0.4, middle, 0.25, 0.1])

    def test_cosine_with_restarts_goes_by_epochs(self):
        rates = self._rates(
            [0, 0.9, 1, 2, 3, 5, 6, 12, 17],
            CosineRestarts(
                min_learning_rate=0.1, restart_epochs=2, restart_factor=2
            ),
        )
        # Runs of 2, 4, 8 and 16 epochs, from 0, 2, 6 and 14.
        fractions = [0, 0, 1 / 2, 0, 1 / 4, 3 / 4, 0, 6 / 8, 3 / 16]
        wanted = [0.1 + 0.15 * (1 + math.cos(math.pi * f)) for f in fractions]
        assert rates == pytest.approx(wanted)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Step(decay=0.5), "decay must be at least 1. Received"),
            (lambda: Step(decay_from=1.0), "decay_from must be in [0, 1). Rec"),
            (lambda: Step(num_decays=0), "num_decays must be an int of at lea"),
            (lambda: Cosine(-1.0), "min_learning_rate must be finite and not"),
            (lambda: CosineRestarts(restart_epochs=0),
             "restart_epochs must be an int of at least 1"),
            (lambda: CosineRestarts(restart_factor=0),
             "restart_factor must be an int of at least 1"),
            (lambda: Halving(decay_from=-0.1), "decay_from must be in [0, 1)"),
            (lambda: Halving(num_halvings=-1), "num_halvings must be an int"),
            (lambda: _training(schedule=Cosine(0.2)),
             "min_learning_rate must be at most learning_rate=0.1. Received: "
             "min_learning_rate=0.2."),
        ],
    )  # fmt: skip
    def test_a_schedule_is_checked(self, make, message):
        with raises(message):
            make()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_scores_are_of_each_image_once(batch_size):
    rng = np.random.default_rng(0)
    images = Images(_pixels(7), np.array([0, 2, 2, 1, 0, 2, 2], np.int32))
    classes = np.array([0, 2, 1, 1, 2, 2, 0])
    nats = rng.random(7)
    sizes = []

    def score(seen, labels):
        sizes.append(len(labels))
        places = [
            int(np.flatnonzero((images.pixels + 1.0 == one).all((1, 2, 3)))[0])
            for one in seen
        ]
        np.testing.assert_array_equal(labels, images.labels[places])
        return nats[places], classes[places]

    scores = scores_of(images, 3, lambda x: x + 1.0, score, batch_size)
    assert scores.loss_nats == pytest.approx(nats.mean())
    assert scores.accuracy == 4 / 7
    assert scores.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 2]]
    assert len(set(sizes)) == 1
    assert scores.metrics("test") == {
        "test_loss_nats": scores.loss_nats,
        "test_accuracy": scores.accuracy,
        "test_error_percent": pytest.approx(300 / 7),
    }
