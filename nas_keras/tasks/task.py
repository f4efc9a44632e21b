"""`Task`: what architectures are good for, and the only thing that trains.

Of a task's inside, whether it is about text, images or series, nothing else
knows: a search, its finals and its report ask the task. No TensorFlow, no
Keras.
"""

import abc
import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Self

import numpy as np

from nas_keras.cells.language.spec import Cost
from nas_keras.spaces.space import Space
from nas_keras.tasks.training.loop import Update

Metrics = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Metric:
    """The figure that architectures of a task are compared by.

    Attributes:
        name: Its name; `validation_` and `test_` before it make its keys in
            `Metrics`.
        unit: Its unit, "" for a number without one. "%": values are fractions,
            shown times 100.
        is_more_better: Whether more of it is better.

    Example:

    >>> accuracy = Metric("accuracy", "%", is_more_better=True)
    >>> accuracy.describe({"validation_accuracy": 0.875})
    'validation accuracy 87.5 %'
    """

    name: str
    unit: str
    is_more_better: bool

    @property
    def validation(self) -> str:
        """Its key for the validation data."""
        return f"validation_{self.name}"

    def describe(self, metrics: Metrics) -> str:
        """Returns the validation figure in words."""
        value = metrics[self.validation] * (100 if self.unit == "%" else 1)
        unit = f" {self.unit}" if self.unit else ""
        return f"validation {self.name} {value:.4g}{unit}"


class Program(abc.ABC):
    """One compiled training for all architectures of a space.

    The architecture is data to it, so that it is compiled once.
    """

    @property
    @abc.abstractmethod
    def num_traces(self) -> int:
        """How often the training step has been traced: 1, once used."""

    @abc.abstractmethod
    def train(self, tokens: Sequence[int], seed: int) -> Metrics:
        """Trains an architecture from scratch, as the task's `train` does.

        Args:
            tokens: The architecture, int [A], an option of every choice.
            seed: Seed of all chance.

        Returns:
            Metrics of the validation data.

        Raises:
            FloatingPointError: If the training diverges.
        """


class SharedProgram(abc.ABC):
    """A model whose weights all architectures of a space share.

    The architecture is data to an update, which trains the weights on one
    minibatch, and to a score. Workers have rows of a minibatch each, and
    whoever runs the program averages their gradients. TensorFlow only. Axes: A
    decisions, B examples of a minibatch.

    Attributes:
        model: Keras model or layer that owns the weights and the generators of
            random numbers.
        optimizer: Keras optimizer of `model.trainable_variables`, not built.
        batch_size: B.
        num_updates: Updates of the weights in a whole training.
        num_classes: Classes that are predicted.
        num_batches: Minibatches of the validation data.
    """

    model: Any
    optimizer: Any
    batch_size: int
    num_updates: int
    num_classes: int
    num_batches: int

    @abc.abstractmethod
    def take(self, rows: Sequence[int]) -> None:
        """Has this worker train on consecutive rows of every minibatch."""

    @abc.abstractmethod
    def begin(self, seed: int, worker: int) -> Sequence[np.ndarray]:
        """Returns the first weights, and seeds the model's generators.

        Args:
            seed: Seed of the weights, which are equal on all workers.
            worker: Index of this worker, whose dropout has masks of its own.
        """

    @abc.abstractmethod
    def inputs(self, number: int) -> tuple[Any, ...]:
        """Returns the tensors of an update, of equal shapes for all updates.

        Args:
            number: Updates before it.
        """

    @abc.abstractmethod
    def loss_and_gradients(
        self, tokens: Any, *inputs: Any
    ) -> tuple[Any, list[Any]]:
        """Returns the mean loss of this worker's rows, and its gradients.

        To be called while a `tf.function` is traced. It sets the optimizer's
        learning rate.

        Args:
            tokens: The architecture, int32 [A].
            *inputs: What `inputs` returned.

        Returns:
            The loss in nats, float32 []; and a gradient for each trainable
            variable, some of them `tf.IndexedSlices`.
        """

    @abc.abstractmethod
    def regularized(self, gradients: list[Any]) -> tuple[list[Any], Any]:
        """Returns the gradients clipped and decayed, and their norm before."""

    @abc.abstractmethod
    def metrics(self, tokens: Sequence[int], first: int, num: int) -> Metrics:
        """Returns the validation metrics of an architecture.

        Args:
            tokens: The architecture, int [A].
            first: First minibatch of the validation data; after the last
                comes the first again.
            num: Minibatches.

        Raises:
            FloatingPointError: If the loss is of no use.
        """


class Task(abc.ABC):
    """Data, and how a model of an architecture is trained on them.

    A subclass is final and a frozen dataclass.

    Attributes:
        metric: The figure that architectures are compared by.
        noun: What an architecture is, "cell" or "network".
        baseline: Pattern of the names of published architectures that the
            best found one is compared with first, such as "resnet*".

    Example:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Parabola(Task):  # Its architecture is a number.
    ...     updates: int = 100
    ...     metric = Metric("loss", "", is_more_better=False)
    ...     noun, baseline = "number", "zero"
    ...
    ...     def size(self, spec):
    ...         return Cost(parameters=1, multiply_adds=1)
    ...
    ...     def resized(self, spec, parameters):
    ...         return self
    ...
    ...     def train(self, spec, seed, folder=None, on_progress=None):
    ...         weight = 1.0
    ...         for _ in range(self.updates):
    ...             weight -= 0.1 * (weight - spec)
    ...         return {"validation_loss": (weight - spec) ** 2}
    ...
    ...     def scaled(self, updates=1.0, units=1.0, data=1.0):
    ...         return Parabola(round(updates * self.updates))
    ...
    ...     def load(self, name, like=None):
    ...         return float(name)
    ...
    ...     def settings(self):
    ...         return {"updates": self.updates}
    >>> short = Parabola().scaled(updates=0.1).train(spec=3.0, seed=0)
    >>> round(short["validation_loss"], 3)
    0.486
    """

    metric: Metric
    noun: str
    baseline: str

    @abc.abstractmethod
    def load(self, name: str, like: Any = None) -> Any:
        """Returns an architecture of the kind that the task trains.

        Args:
            name: The name of a published one, or the path of its file.
            like: An architecture; a name may stand for one that is made to
                cost as much.

        Returns:
            The architecture; None for such a name without `like`.

        Raises:
            ValueError: If there is none of that name, or the file is damaged.
        """

    def check(  # noqa: B027  (most tasks take any)
        self, spec: Any, what: str
    ) -> None:
        """Refuses an architecture that does not fit the data.

        Args:
            spec: The architecture.
            what: What it is, for the message.

        Raises:
            ValueError: If it does not fit.
        """

    def check_space(  # noqa: B027  (most tasks have none)
        self, space: Space
    ) -> None:
        """Refuses settings that mean nothing to a space's architectures.

        Raises:
            ValueError: If there is one.
        """

    def labels(self, spec: Any) -> dict[str, int]:
        """Returns what tables show of the size of an architecture's model."""
        return {"parameters": self.size(spec).parameters}

    @abc.abstractmethod
    def size(self, spec: Any) -> Cost:
        """Returns what the model of an architecture costs."""

    @abc.abstractmethod
    def resized(self, spec: Any, parameters: int) -> Self:
        """Returns the task whose model of an architecture has a given size.

        Args:
            spec: The architecture.
            parameters: Most weights of its model; it has as many as fit. 0:
                the task's own size.

        Raises:
            ValueError: If the smallest model has more weights, or the size is
                the architecture's own.
        """

    @abc.abstractmethod
    def train(
        self,
        spec: Any,
        seed: int,
        folder: Path | None = None,
        on_progress: Callable[[Update], None] | None = None,
    ) -> Metrics:
        """Trains an architecture from scratch.

        Args:
            spec: The architecture.
            seed: Seed of all chance.
            folder: Folder of snapshots of this training alone. A training that
                was stopped resumes from there; it need not exist. None: the
                training cannot be resumed.
            on_progress: Called with an `Update` as the training proceeds.

        Returns:
            Metrics of validation and test data; `metric` is among them.

        Raises:
            FloatingPointError: If the training diverges.
            OSError: If the disk fails.
        """

    def program(
        self, space: Space, shared: bool = False
    ) -> Program | SharedProgram | None:
        """Returns one compiled program for a space, or None if there is none.

        Args:
            space: The space whose architectures are trained.
            shared: Whether they share one set of weights: a `SharedProgram`;
                else a `Program`.
        """
        return None

    def check_shared(self, space: Space) -> None:
        """Refuses a space whose architectures cannot share weights here.

        Raises:
            ValueError: If `shared_program` would refuse it.
        """
        raise ValueError(
            f"{type(self).__name__} has no shared weights. Received: "
            f"space={space.name!r}."
        )

    @abc.abstractmethod
    def scaled(
        self, updates: float = 1.0, units: float = 1.0, data: float = 1.0
    ) -> Self:
        """Returns the same task at another fidelity.

        Args:
            updates: Factor of the optimizer's updates.
            units: Factor of the model's width.
            data: Share of the training data, in (0, 1].
        """

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Returns what results depend on, JSON-able.

        That is the configuration, and the name and hash of the data.
        """
