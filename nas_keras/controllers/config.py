"""The settings of each controller, written once. No TensorFlow, no Keras."""

from nas_keras import settings
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import RandomController
from nas_keras.settings import Settings
from nas_keras.settings import setting
from nas_keras.spaces.space import Space

LOSSES = ("reinforce", "ppo")
ENTROPY_BONUSES = ("exact", "sampled")

_ZOPH = "Zoph & Le, 2017"
_NASNET = "NASNet, Zoph et al., 2018"
_ENAS = "ENAS, Pham et al., 2018"
_REAL = "Real et al., 2019"


class ControllerSettings(Settings):
    """What makes a controller, whatever the space."""

    def make(self, space: Space, seed: int = 0) -> Controller:
        """Returns a new controller.

        Args:
            space: The `Space` to propose from.
            seed: Int >= 0, seed of the initial weights, if there are any.
        """
        raise NotImplementedError


class PolicyGradient(ControllerSettings):
    """Settings of a `PolicyGradientController`.

    Example:

    >>> PolicyGradient(loss="ppo", clip=0.1).num_epochs
    4
    """

    loss: str = setting(
        "reinforce",
        "Loss: REINFORCE takes one step a batch; PPO takes several against "
        "the clipped ratio to the policy that proposed.",
        settings.one_of(LOSSES),
        source=_ZOPH,
    )
    units: int = setting(
        35,
        "Width of each LSTM layer and of the token embeddings.",
        settings.whole(1),
        source=_ZOPH,
    )
    num_layers: int = setting(
        2, "Number of LSTM layers.", settings.whole(1), source=_ZOPH
    )
    init_scale: float = setting(
        0.08,
        "All weights begin uniform in [-init_scale, init_scale].",
        settings.positive(),
        source=_ZOPH,
    )
    learning_rate: float = setting(
        0.01,
        "Learning rate of Adam. The papers' 3.5e-4 to 6e-4 are made for "
        "thousands of updates, the default for some dozens.",
        settings.positive(),
    )
    entropy_weight: float = setting(
        0.0,
        "Weight of the entropy bonus, per nat of the whole sequence. ENAS: "
        "1e-4; NASNet: 1e-5.",
        settings.not_negative(),
        unit="reward / nat",
    )
    entropy_bonus: str = setting(
        "exact",
        "Entropy bonus: 'exact' is the policy's entropy, in the loss, with "
        "its gradient; 'sampled' is -p log p of the sampled tokens, in the "
        "reward, as in the programs of ENAS.",
        settings.one_of(ENTROPY_BONUSES),
    )
    temperature: float = setting(
        1.0,
        "Temperature that divides the logits. ENAS: 5.",
        settings.positive(),
    )
    tanh_constant: float = setting(
        0.0,
        "Logits become tanh_constant * tanh(logits); 0 disables this. ENAS: "
        "2.5.",
        settings.not_negative(),
    )
    clip: float = setting(
        0.2,
        "Clipping range of the PPO probability ratio.",
        settings.positive(),
        source="Schulman et al., 2017",
    )
    num_epochs: int = setting(
        4, "Passes of PPO over a batch.", settings.whole(1)
    )
    num_minibatches: int = setting(
        4,
        "Parts of whole architectures that each pass of PPO is split into.",
        settings.whole(1),
    )
    skip_target: float = setting(
        0.4,
        "Wished rate of the links of a space, its skip connections.",
        settings.open_fraction(),
        source=_ENAS,
    )
    skip_weight: float = setting(
        0.0,
        "Weight in the loss of the divergence of the links from skip_target. "
        "ENAS: 0.8.",
        settings.not_negative(),
    )
    skip_scale: float = setting(
        1.0,
        "A link has the probability sigmoid(skip_scale * logit). The program "
        "of ENAS, a softmax of [-logit, logit]: 2.",
        settings.positive(),
        source=_ZOPH,
    )
    baseline_decay: float = setting(
        0.95,
        "Decay of the moving average of rewards, the baseline.",
        settings.fraction(),
        source=_NASNET,
    )
    normalize_advantage: bool = setting(
        True,
        "Whether advantages are divided by the moving standard deviation of "
        "the rewards, so that the scale of the reward has no effect.",
        settings.boolean(),
    )

    def make(self, space: Space, seed: int = 0) -> Controller:
        # It needs TensorFlow.
        from nas_keras.controllers.policy_gradient import (
            PolicyGradientController,
        )

        return PolicyGradientController(space, seed, **self.to_dict())


class Evolution(ControllerSettings):
    """Settings of an `EvolutionController`."""

    population_size: int = setting(
        100,
        "Size of the population, P. The first P architectures are random.",
        settings.whole(1),
        source=_REAL,
    )
    sample_size: int = setting(
        25,
        "Size of a tournament, S: members drawn, with replacement, the best "
        "of which is mutated.",
        settings.whole(1),
        source=_REAL,
    )

    def make(self, space: Space, seed: int = 0) -> Controller:
        from nas_keras.controllers.evolution import EvolutionController

        return EvolutionController(space, **self.to_dict())


class Random(ControllerSettings):
    """Settings of a `RandomController`: it has none."""

    def make(self, space: Space, seed: int = 0) -> Controller:
        return RandomController(space)


CONTROLLERS: dict[str, ControllerSettings] = {
    "reinforce": PolicyGradient(),
    "ppo": PolicyGradient(loss="ppo"),
    "evolution": Evolution(),
    "random": Random(),
}
