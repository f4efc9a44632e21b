"""What was measured to reward. Pure functions; no TensorFlow, no Keras."""

import math
from collections.abc import Callable
from collections.abc import Mapping

# Validation loss in nats and the constant c -> what a controller maximises.
REWARDS: dict[str, Callable[[float, float], float]] = {
    "c/ppl^2": lambda loss_nats, c: c * math.exp(-2 * loss_nats),
    "c/ppl": lambda loss_nats, c: c * math.exp(-loss_nats),
    "-loss": lambda loss_nats, c: -loss_nats,
}
OF_CONSTANT = ("c/ppl^2", "c/ppl")  # Of them, those that c is in.
# Validation accuracy, in [0, 1], of an image network -> likewise.
IMAGE_REWARDS: dict[str, Callable[[float], float]] = {
    "accuracy": lambda accuracy: accuracy,
    "accuracy^3": lambda accuracy: accuracy**3,
}


def reward_of(name: str, c: float, metrics: Mapping[str, float]) -> float:
    """Returns a reward of a model's figures.

    Args:
        name: One of `REWARDS` or of `IMAGE_REWARDS`.
        c: The constant of the former.
        metrics: With `validation_loss_nats` or `validation_accuracy`.
    """
    if name in IMAGE_REWARDS:
        return IMAGE_REWARDS[name](metrics["validation_accuracy"])
    return REWARDS[name](metrics["validation_loss_nats"], c)


def check_reward(name: str, c: float, is_of_images: bool) -> None:
    """Refuses an unknown reward, or a constant that is not positive.

    Raises:
        ValueError: If the reward is not of the kind, or `c` not positive.
    """
    allowed = IMAGE_REWARDS if is_of_images else REWARDS
    if name not in allowed:
        raise ValueError(
            f"reward must be one of {list(allowed)}. Received: reward={name!r}."
        )
    if not c > 0:
        raise ValueError(f"c must be positive. Received: c={c!r}.")
