"""Controllers: what proposes architectures and learns from their rewards."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baseline": ["BaselineState", "EMABaseline"],
        "config": ["CONTROLLERS", "Evolution", "PolicyGradient", "Random"],
        "controller": [
            "Controller",
            "FrozenController",
            "RandomController",
            "Proposals",
        ],
        "evolution": ["EvolutionController"],
        "growth": ["DepthSchedule", "grown"],
        "losses": ["ppo_loss", "reinforce_loss", "skip_kl"],
        "policy_gradient": ["PolicyGradientController"],
    },
)
