"""Rewards: what a controller maximizes, as a function of a task's metrics.

Pure functions; no TensorFlow, no Keras.
"""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping

from nas_keras.settings import refuse
from nas_keras.tasks.task import Metric


@dataclasses.dataclass(frozen=True)
class Reward:
    """A reward of one metric.

    Attributes:
        metric: Name of the task's metric that it is for.
        figure: Name of the figure that it reads, among a training's metrics.
        of: Takes the figure and the constant c.
    """

    metric: str
    figure: str
    of: Callable[[float, float], float]


_LOSS, _ACCURACY = "validation_loss_nats", "validation_accuracy"
REWARDS = {
    "c/ppl^2": Reward(
        "perplexity", _LOSS, lambda nats, c: c * math.exp(-2 * nats)
    ),
    "c/ppl": Reward("perplexity", _LOSS, lambda nats, c: c * math.exp(-nats)),
    "-loss": Reward("perplexity", _LOSS, lambda nats, c: -nats),
    "accuracy^3": Reward(
        "accuracy", _ACCURACY, lambda accuracy, c: accuracy**3
    ),
    "accuracy": Reward("accuracy", _ACCURACY, lambda accuracy, c: accuracy),
}
METRIC = "metric"  # The reward of a task whose metric has none of its own.


def rewards_for(metric: Metric) -> tuple[str, ...]:
    """Returns the names of the rewards of a metric, the default first."""
    own = (name for name, its in REWARDS.items() if its.metric == metric.name)
    return (*own, METRIC)


def check_reward(name: str, c: float, metric: Metric) -> None:
    """Refuses a reward that the metric lacks, or a bad constant.

    Raises:
        ValueError: If `name` is not one of the metric's, or `c` not positive.
    """
    allowed = rewards_for(metric)
    if name not in allowed:
        refuse("reward", f"one of {list(allowed)}", name)
    if not 0 < c < math.inf:
        refuse("c", "positive and finite", c)


def reward_of(
    name: str, c: float, metric: Metric, metrics: Mapping[str, float]
) -> float:
    """Returns the reward of a training.

    Args:
        name: One of `rewards_for(metric)`.
        c: The constant of `"c/ppl^2"` and `"c/ppl"`.
        metric: The task's metric.
        metrics: The training's figures.
    """
    if name == METRIC:
        value = metrics[metric.validation]
        return value if metric.is_more_better else -value
    reward = REWARDS[name]
    return reward.of(metrics[reward.figure], c)
