"""`SearchConfig`: everything that a search run depends on, one frozen value.

No TensorFlow, no Keras. What is searched, cells on text or image networks, is
a `Kind`: it says what a configuration may hold.
"""

import dataclasses
from typing import Any
from typing import Generic
from typing import TypeVar

from nas_keras.controllers.controller import ENTROPY_BONUSES
from nas_keras.controllers.controller import LOSSES
from nas_keras.controllers.growth import DepthSchedule
from nas_keras.data.text import LEVELS
from nas_keras.evaluators.rewards import OF_CONSTANT
from nas_keras.experiment.image_kind import num_depths
from nas_keras.experiment.kind import check_left_out
from nas_keras.experiment.kind import defaults_of
from nas_keras.experiment.kinds import KINDS
from nas_keras.experiment.named_spaces import SPACES
from nas_keras.experiment.named_spaces import foreign_to
from nas_keras.spaces.enas_recurrent import AVERAGES
from nas_keras.spaces.space import Space
from nas_keras.tasks.checked_config import CheckedConfig
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.language_model.config import LanguageModelConfig

CONTROLLERS = (*LOSSES, "random")
EVALUATORS = ("scratch", "shared")
# Attributes that are ints, and the least that each may be.
_INTS = {
    "base": 2,
    "batch_size": 1,
    "cells": 1,
    "controller_layers": 1,
    "controller_units": 1,
    "depth_first": 0,
    "depth_step": 1,
    "derive_trials": 1,
    "filters": 1,
    "layers": 1,
    "max_vocabulary": 2,
    "nodes": 1,
    "num_phases": 1,
    "num_threads": 0,
    "num_trials": 1,
    "ppo_epochs": 1,
    "ppo_minibatches": 1,
    "retrain_filters": 0,
    "retrain_num_cells": 0,
    "retrain_parameters": 0,
    "retrain_random": 0,
    "retrain_seeds": 1,
    "retrain_top": 0,
    "seed": 0,
    "steps_per_phase": 1,
    "windows_per_reward": 0,
}
_POSITIVE = (
    "controller_init_scale",
    "controller_learning_rate",
    "ppo_clip",
    "reward_constant",
    "skip_scale",
    "temperature",
)
# Of a controller that learns, and of shared weights.
_LEARNING = """
    controller_units controller_layers controller_init_scale
    controller_learning_rate entropy_weight entropy_bonus temperature
    tanh_constant baseline_decay normalize_advantage skip_target skip_weight
    skip_scale random_baseline
"""
_SHARED = "num_phases steps_per_phase windows_per_reward derive_trials"

_Training = TypeVar("_Training", bound=LanguageModelConfig | ImageConfig)


@dataclasses.dataclass(frozen=True)
class SearchConfig(CheckedConfig, Generic[_Training]):
    """A search for a recurrent cell on text, or for an image network.

    The space says which of the two. What belongs to the other kind, or to
    another space of image networks, must be left as it is; `in_space` sees to
    it where a configuration is made of one for another space.

    Attributes:
        preset: Name of the preset it began as.
        dataset: Text to use when there is no `text_file`, as for
            `open_corpus`; or images, as for `open_images`.
        text_file: Path of a UTF-8 text, in the place of `dataset`.
        level: `"char"` or `"word"`.
        max_vocabulary: Most tokens of the vocabulary.
        space: `"tree"`, `"enas_recurrent"`, `"nas_conv"`, `"enas_macro"` or
            `"enas_micro"`.
        base: Leaves of the tree space, N.
        combines: What joins two values in the tree: add, mul, max.
        activations: Of the tree's nodes: identity, tanh, sigmoid, relu, sin.
        nodes: Of the spaces of ENAS whose cells have nodes.
        average: Nodes of ENAS' recurrent cells that are put out as their
            mean, `"loose_ends"` or `"all"`.
        controller: `"reinforce"`, `"ppo"` or `"random"`.
        controller_units: Width of the controller's LSTM layers.
        controller_layers: LSTM layers of the controller.
        controller_init_scale: Its weights begin uniform in +- this.
        controller_learning_rate: Of the controller's Adam.
        entropy_weight: Of the bonus, per nat of a whole sequence.
        entropy_bonus: `"exact"`, the policy's own; `"sampled"`, ENAS', of the
            sampled tokens.
        temperature: That the controller's logits are divided by.
        tanh_constant: C, of logits that are then C * tanh(logits); 0: not so.
        ppo_clip: Of PPO's ratio.
        ppo_epochs: PPO's passes over a batch.
        ppo_minibatches: Of each of them.
        baseline_decay: Of the moving average of rewards.
        normalize_advantage: Whether the reward's scale is divided out.
        num_trials: Children of the controller, and of the random baseline.
        batch_size: Children for one update of the controller.
        seed: Of all chance in the run.
        random_baseline: Whether to run random search with the same budget.
        evaluate_again: Whether an architecture that is met again is trained
            again.
        evaluator: `"scratch"`, a `ChildTrainer`; or `"shared"`, ENAS'
            `SharedWeights`.
        num_phases: Phases of training shared weights.
        steps_per_phase: Updates of the controller after each.
        windows_per_reward: Windows of the validation text, or batches of the
            validation images, of a reward by shared weights; 0: all.
        derive_trials: Architectures of the trained controller to score on the
            whole validation part by shared weights; the best are retrained.
        reward: Of text `"c/ppl^2"`, `"c/ppl"` or `"-loss"`; of images
            `"accuracy^3"` or `"accuracy"`.
        reward_constant: The c of the first two.
        child: Model and training of a child, or of the shared weights. Of a
            training on images its network, data set and seed are not looked
            at.
        retrain: Likewise, of the best architectures and of the published. On
            images, its split must be that of `child`.
        retrain_parameters: Weights of each retrained model; 0: those of the
            model of an LSTM of `retrain.units` units.
        retrain_top: Best distinct architectures to retrain, of each search.
        retrain_published: Published cells or networks to retrain beside them,
            by name or path. `"resnet"`: a ResNet of about the multiply-adds
            of the best found network.
        retrain_seeds: Trainings of each retrained architecture.
        num_threads: Of a worker's TensorFlow operations; 0: one for each core.
            The last digits of a loss depend on it.
        image_dir: Folder of image files, with `dataset="folder"`.
        layers: Of a network of `nas_conv` or `enas_macro`.
        cells: Normal cells of a network of `enas_micro`.
        filters: Of the first layers or cells of the spaces of ENAS.
        kernels: Sides of a kernel to choose from, of `nas_conv`.
        strides: Sides of a stride to choose from, of `nas_conv`.
        pooling: Layers after which the map is halved, of `nas_conv`.
        block: Layers that each one of `nas_conv` stands for.
        filter_options: Numbers of filters to choose from, of `nas_conv`.
        skip_target: Wished rate of skip connections, in (0, 1).
        skip_weight: Of the divergence from it, in the controller's loss.
        skip_scale: A skip connection has the probability sigmoid(skip_scale *
            logit).
        depth_first: Layers that a search over `nas_conv` begins with, to end
            with `layers`; each depth has its share of the children. 0: all
            networks have `layers`.
        depth_step: Layers more at each further depth.
        retrain_random: Networks drawn at random, not selected, to retrain.
        retrain_filters: Of a retrained network of the spaces of ENAS, in the
            place of `filters`; 0: as there. Those of `enas_macro` double them
            where they halve the map, which they do not in the search.
        retrain_num_cells: Likewise, in the place of `cells`.

    Raises:
        ValueError: If a value is out of range, or of another kind of search
            or another space.
    """

    NEEDS = {
        name: need
        for names, need in (
            ("base combines activations", ("space", ("tree",))),
            ("nodes", ("space", ("enas_recurrent", "enas_micro"))),
            ("average", ("space", ("enas_recurrent",))),
            (_LEARNING, ("controller", LOSSES)),
            ("ppo_clip ppo_epochs ppo_minibatches", ("controller", ("ppo",))),
            (_SHARED, ("evaluator", ("shared",))),
            ("reward_constant", ("reward", OF_CONSTANT)),
        )
        for name in names.split()
    }

    preset: str
    dataset: str = "embedded"
    text_file: str | None = None
    level: str = "char"
    max_vocabulary: int = 10_000
    space: str = "tree"
    base: int = 8
    combines: tuple[str, ...] = ("add", "mul")
    activations: tuple[str, ...] = ("identity", "tanh", "sigmoid", "relu")
    nodes: int = 8
    average: str = "loose_ends"
    controller: str = "reinforce"
    controller_units: int = 35
    controller_layers: int = 2
    controller_init_scale: float = 0.08
    controller_learning_rate: float = 0.01
    entropy_weight: float = 0.0
    entropy_bonus: str = "exact"
    temperature: float = 1.0
    tanh_constant: float = 0.0
    ppo_clip: float = 0.2
    ppo_epochs: int = 4
    ppo_minibatches: int = 4
    baseline_decay: float = 0.95
    normalize_advantage: bool = True
    num_trials: int = 100
    batch_size: int = 8
    seed: int = 0
    random_baseline: bool = True
    evaluate_again: bool = False
    evaluator: str = "scratch"
    num_phases: int = 10
    steps_per_phase: int = 10
    windows_per_reward: int = 1
    derive_trials: int = 50
    reward: str = "c/ppl^2"
    reward_constant: float = 80.0
    # A type variable has no default before Python 3.13.
    child: _Training = LanguageModelConfig()  # type: ignore[assignment]
    retrain: _Training = LanguageModelConfig()  # type: ignore[assignment]
    retrain_parameters: int = 0
    retrain_top: int = 2
    retrain_published: tuple[str, ...] = ("lstm", "gru", "nascell")
    retrain_seeds: int = 2
    num_threads: int = 1
    image_dir: str | None = None
    layers: int = 12
    cells: int = 6
    filters: int = 36
    kernels: tuple[int, ...] = (1, 3, 5, 7)
    strides: tuple[int, ...] = (1,)
    pooling: tuple[int, ...] = ()
    block: int = 1
    filter_options: tuple[int, ...] = (24, 36, 48, 64)
    skip_target: float = 0.4
    skip_weight: float = 0.0
    skip_scale: float = 1.0
    depth_first: int = 0
    depth_step: int = 2
    retrain_random: int = 0
    retrain_filters: int = 0
    retrain_num_cells: int = 0

    def __post_init__(self):
        self._check_choice("space", SPACES)
        self._check_kind()
        for name, allowed in (
            ("controller", CONTROLLERS),
            ("entropy_bonus", ENTROPY_BONUSES),
            ("evaluator", EVALUATORS),
            ("average", AVERAGES),
            ("level", LEVELS),
            ("reward", KINDS[self.kind].rewards),
        ):
            self._check_choice(name, allowed)
        for name, low in _INTS.items():
            self._check_int(name, low, bits=32)
        self._check_threads("num_threads")
        for name in _POSITIVE:
            self._check_number(name, is_zero_good=False)
        for name in ("entropy_weight", "skip_weight", "tanh_constant"):
            self._check_number(name, is_zero_good=True)
        self._check_in_unit("baseline_decay")
        self._check(0 < self.skip_target < 1, "skip_target", "in (0, 1)")
        KINDS[self.kind].check(self)
        for layers, _ in self.stages():
            self.make_space(layers)
        self.make_retrain_space()

    def _check_kind(self) -> None:
        """Refuses what belongs to another kind of search."""
        kind = KINDS[self.kind]
        if not kind.is_dataset(self.dataset):
            raise ValueError(
                f"dataset must be one of {[*kind.datasets]} or 'tfds:NAME'. "
                f"Received: dataset={self.dataset!r}."
            )
        for name in ("child", "retrain"):
            value = getattr(self, name)
            if not isinstance(value, kind.training):
                raise ValueError(
                    f"{name} must be of {kind.training.__name__} for "
                    f"space={self.space!r}, a search on {self.kind}. "
                    f"Received: {type(value).__name__}."
                )
        check_left_out(self, self._foreign(), f"a search on {self.kind}")

    @property
    def kind(self) -> str:
        """What is trained on: `TEXT` or `IMAGES`."""
        return SPACES[self.space].kind

    def in_space(self, space: str, **changes: Any) -> "SearchConfig":
        """Returns a configuration for a space, with changes.

        What of this one only other spaces of image networks have becomes
        what it is by default, unless it is among the changes.

        Args:
            space: One of `SPACES`.
            **changes: Attributes and their values.

        Raises:
            ValueError: As `SearchConfig` does.
        """
        left_out = defaults_of(self, foreign_to(space))
        return dataclasses.replace(
            self, **{**left_out, **changes, "space": space}
        )

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
        if self.evaluator == "shared" and num > 1 and batch_size % num:
            raise ValueError(
                "The number of workers must divide the batch that they train "
                f"shared weights on, {batch_size}. Received: {num} workers."
            )

    def stages(self) -> tuple[tuple[int, int], ...]:
        """Returns (layers, children) of each depth; one if there is no more."""
        if not self.depth_first:
            return ((self.layers, self.num_trials),)
        return DepthSchedule(
            self.depth_first,
            self.depth_step,
            self.num_trials // num_depths(self),
            self.layers,
        ).stages()

    def make_space(self, layers: int | None = None) -> Space:
        """Returns the space to search.

        Args:
            layers: In the place of those of the configuration.

        Raises:
            ValueError: If an argument of it is out of range.
        """
        if layers is None:
            layers = self.layers
        return SPACES[self.space].make(self, layers)

    def make_retrain_space(self) -> Space | None:
        """Returns the space that retrained networks are of, by their tokens.

        None: they are what they were in the search.

        Raises:
            ValueError: If an argument of it is out of range.
        """
        return SPACES[self.space].make_retrained(self)

    def used(self) -> dict[str, Any]:
        """Returns the attributes that mean something, JSON-able."""
        foreign = self._foreign()
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in foreign
        }

    def settings(self) -> dict[str, Any]:
        """Returns what the run's results depend on, JSON-able."""
        settings = self.used()
        if self.evaluator == "scratch" and not self.depth_first:
            del settings["num_trials"]  # Such a run may be made longer.
        return settings

    def _foreign(self) -> list[str]:
        """Returns the attributes that belong to other kinds of search."""
        return [
            name
            for key, kind in KINDS.items()
            if key != self.kind
            for name in kind.attributes
        ]
