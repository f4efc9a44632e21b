"""The settings of each evaluator, written once. No TensorFlow, no Keras."""

from collections.abc import Callable

from nas_keras.evaluators.evaluator import Evaluator
from nas_keras.evaluators.rewards import METRIC
from nas_keras.evaluators.rewards import REWARDS
from nas_keras.settings import Settings
from nas_keras.settings import one_of
from nas_keras.settings import positive
from nas_keras.settings import setting
from nas_keras.settings import whole
from nas_keras.spaces.space import Space
from nas_keras.tasks.task import Task


class FromScratch(Settings):
    """Children are trained from their first weights on: `ChildTrainer`."""

    reward: str = setting(
        "c/ppl^2",
        "The reward: a function of the task's metric.",
        one_of([*REWARDS, METRIC]),
        source="Zoph & Le, 2017, section 4.2",
    )
    c: float = setting(
        80.0,
        "The constant c of the rewards 'c/ppl^2' and 'c/ppl'.",
        positive(),
        source="Zoph & Le, 2017, section 4.2",
    )

    def make(
        self,
        space: Space,
        task: Task,
        seed: int = 0,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> Evaluator:
        """Returns the evaluator of a space; see `Shared.make`."""
        from nas_keras.evaluators.from_scratch import ChildTrainer

        return ChildTrainer(space, task, self.reward, self.c)


class Shared(Settings):
    """Children share one set of weights: `SharedWeights`.

    Reference:
        [Pham et al., 2018](https://arxiv.org/abs/1802.03268), section 2.2.
    """

    reward: str = setting(
        "c/ppl",
        "The reward: a function of the task's metric.",
        one_of([*REWARDS, METRIC]),
        source="Pham et al., 2018",
    )
    c: float = setting(
        80.0,
        "The constant c of the rewards 'c/ppl^2' and 'c/ppl'.",
        positive(),
        source="Pham et al., 2018",
    )
    num_phases: int = setting(
        10,
        "Phases of training the weights; in later steps of the search the "
        "weights stay as they are.",
        whole(1),
    )
    steps_per_phase: int = setting(
        10, "Updates of the controller after each phase.", whole(1)
    )
    windows_per_reward: int = setting(
        1,
        "Windows of the validation text, or batches of the validation images, "
        "that a reward is measured on, the same for all architectures of an "
        "update; the next update takes the next ones. 0: all.",
        whole(0),
    )
    derive_trials: int = setting(
        50,
        "Architectures of the trained controller to score on all validation "
        "data; the best go to the finals.",
        whole(1),
    )

    def make(
        self,
        space: Space,
        task: Task,
        seed: int = 0,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> Evaluator:
        """Returns the evaluator of a space.

        Args:
            space: The space.
            task: The task.
            seed: Seed of the first weights, and of the architectures that they
                are trained with.
            on_note: Called with a text on what is going on.
        """
        from nas_keras.evaluators.shared import SharedWeights  # TensorFlow.

        return SharedWeights(
            space,
            task,
            self.reward,
            self.c,
            self.num_phases,
            self.steps_per_phase,
            self.windows_per_reward,
            seed,
            lambda done, total: on_note(
                f"training shared weights, {done:,} of {total:,} updates"
            ),
        )


EVALUATORS = {"scratch": FromScratch, "shared": Shared}
