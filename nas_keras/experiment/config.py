"""`SearchConfig`: everything that a search depends on, one frozen value.

It holds the settings of the space, the controller, the evaluator, the data and
the training that were chosen, the very objects that the library takes. No
TensorFlow, no Keras.
"""

import dataclasses
from typing import Any

from nas_keras.controllers.config import CONTROLLERS
from nas_keras.data import ImageData
from nas_keras.data import TextData
from nas_keras.evaluators.config import EVALUATORS
from nas_keras.evaluators.config import FromScratch
from nas_keras.evaluators.config import Shared
from nas_keras.settings import Settings
from nas_keras.settings import boolean
from nas_keras.settings import instance
from nas_keras.settings import refuse
from nas_keras.settings import setting
from nas_keras.settings import several
from nas_keras.settings import text
from nas_keras.settings import threads
from nas_keras.settings import whole
from nas_keras.spaces import SPACES
from nas_keras.spaces.nas_conv import NasConv
from nas_keras.spaces.space import Space
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.language_model.config import LanguageModelConfig

DATA = {"text": TextData, "images": ImageData}

_TRAINING = instance({"text": LanguageModelConfig, "images": ImageTraining})


class Growth(Settings):
    """A search whose networks grow: each depth has its share of the trials.

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 4.1.
    """

    first: int = setting(6, "Layers that the search begins with.", whole(1))
    step: int = setting(2, "Layers more at each further depth.", whole(1))


class Finals(Settings):
    """What is trained to the end when the search is over, and how."""

    training: Any = setting(
        LanguageModelConfig(), "Model and training of the finals.", _TRAINING
    )
    space: Any = setting(
        None,
        "Space in which the tokens of an architecture are decoded for its "
        "final training; None: the space of the search.",
        instance({"same": None, **SPACES}),
    )
    parameters: int = setting(
        0,
        "Most weights of each model; 0: as many as the task's own reference "
        "model has, for cells an LSTM of `training.units` units.",
        whole(0),
    )
    top: int = setting(
        2, "Best distinct architectures of each search to train.", whole(0)
    )
    published: tuple[str, ...] = setting(
        ("lstm", "gru", "nascell"),
        "Published architectures to train beside them, by name or path; "
        "'resnet': a ResNet of about the multiply-adds of the best network.",
        several(text()),
    )
    random: int = setting(
        0, "Architectures drawn at random, not selected, to train.", whole(0)
    )
    seeds: int = setting(2, "Trainings of each architecture.", whole(1))


class SearchConfig(Settings):
    """A search from beginning to end: trials, random baseline, finals.

    Example:

    >>> from nas_keras.spaces.tree import Tree
    >>> SearchConfig(preset="mine", space=Tree(base=4)).stages()
    ((Tree(base=4, combines=('add', 'mul'), activations=('identity', 'tanh', \
'sigmoid', 'relu')), 100),)
    """

    preset: str = setting(
        dataclasses.MISSING, "Name of the preset it began as.", text()
    )
    space: Any = setting(
        SPACES["tree"](), "What may be built.", instance(SPACES)
    )
    growth: Growth | None = setting(
        None,
        "How the networks of `NasConv` grow up to its layers; None: all have "
        "as many layers.",
        instance({"none": None, "depth": Growth}),
    )
    controller: Any = setting(
        CONTROLLERS["reinforce"],
        "What proposes architectures.",
        instance(CONTROLLERS),
    )
    evaluator: Any = setting(
        FromScratch(),
        "What scores architectures.",
        instance(EVALUATORS),
    )
    data: Any = setting(TextData(), "What is trained on.", instance(DATA))
    child: Any = setting(
        LanguageModelConfig(),
        "Model and training of a child, or of the shared weights.",
        _TRAINING,
    )
    finals: Finals = setting(
        Finals(), "What is trained to the end.", instance(Finals)
    )
    num_trials: int = setting(
        100, "Trials of the controller, and of the random baseline.", whole(1)
    )
    batch_size: int = setting(
        8, "Trials for one update of the controller.", whole(1)
    )
    seed: int = setting(0, "Seed of all randomness in the run.", whole(0))
    random_baseline: bool = setting(
        True, "Whether random search runs with the same budget.", boolean()
    )
    evaluate_again: bool = setting(
        False,
        "Whether an architecture that is proposed again is evaluated again.",
        boolean(),
    )
    num_threads: int = setting(
        1,
        "Threads of a worker's TensorFlow operations; 0: one for each core. "
        "The last digits of a loss depend on it.",
        threads(),
    )

    def _check(self) -> None:
        noun = self.space.noun
        for name, part in (
            ("child", self.child),
            ("finals.training", self.finals.training),
            ("finals.space", self.finals.space or self.space),
        ):
            if part.noun != noun:
                raise ValueError(
                    f"{name} must be for a {noun}, as space is. Received: "
                    f"{name}={type(part).__name__}, "
                    f"space={type(self.space).__name__}."
                )
            data_class = getattr(part, "data_class", object)
            if not isinstance(self.data, data_class):
                raise ValueError(
                    f"data must be {data_class.__name__} for {name}="
                    f"{type(part).__name__}. Received: "
                    f"data={type(self.data).__name__}."
                )
        self._check_growth()
        for space, _ in self.stages():
            space.make()
        self._check_finals_space()

    def _check_growth(self) -> None:
        growth = self.growth
        if growth is None:
            return
        if not isinstance(self.space, NasConv):
            raise ValueError(
                "growth must be None unless space is NasConv. Received: "
                f"growth={growth!r}, space={type(self.space).__name__}."
            )
        layers = self.space.layers
        if layers < growth.first or (layers - growth.first) % growth.step:
            raise ValueError(
                "space.layers must be growth.first and whole steps of "
                f"growth.step more. Received: space.layers={layers}, "
                f"growth.first={growth.first}, growth.step={growth.step}."
            )
        num = len(self._depths())
        if self.num_trials % num:
            rule = (
                f"a multiple of {num}, the depths from {growth.first} to "
                f"{layers} layers"
            )
            refuse("num_trials", rule, self.num_trials)

    def _check_finals_space(self) -> None:
        final, space = self.finals.space, self.space
        if final is None:
            return
        options = [
            [c.options for c in s.make().choices] for s in (final, space)
        ]
        if type(final) is not type(space) or options[0] != options[1]:
            raise ValueError(
                "finals.space must have the choices of space, so that tokens "
                f"mean the same in both. Received: finals.space={final!r}, "
                f"space={space!r}."
            )

    def stages(self) -> tuple[tuple[Any, int], ...]:
        """Returns (space settings, trials) of each depth."""
        if self.growth is None:
            return ((self.space, self.num_trials),)
        depths = self._depths()
        return tuple(
            (self.space.replace(layers=layers), self.num_trials // len(depths))
            for layers in depths
        )

    def _depths(self) -> range:
        growth = self.growth or Growth(first=self.space.layers)
        return range(growth.first, self.space.layers + 1, growth.step)

    def make_final_space(self) -> Space:
        """Returns the space in which finalists' tokens are decoded."""
        return (self.finals.space or self.space).make()

    def check_workers(self, num: int) -> None:
        """Refuses a number of workers that the search cannot be shared among.

        Raises:
            ValueError: If there are too many, or one would have another share
                of a minibatch than the others.
        """
        if num > self.batch_size:
            raise ValueError(
                "There must be at most as many workers as children of an "
                f"update, {self.batch_size}. Received: {num} workers."
            )
        batch_size = self.child.batch_size
        if isinstance(self.evaluator, Shared) and num > 1 and batch_size % num:
            raise ValueError(
                "The number of workers must divide the batch that they train "
                f"shared weights on, {batch_size}. Received: {num} workers."
            )

    def settings(self) -> dict[str, Any]:
        """Returns what the run's results depend on, JSON-able."""
        settings = self.to_dict()
        if isinstance(self.evaluator, FromScratch) and self.growth is None:
            del settings["num_trials"]  # Such a run may be made longer.
        return settings
