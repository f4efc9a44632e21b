"""The search: evaluators, the loop, and what a run leaves on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "child_trainer": ["ChildTrainer"],
        "cluster": ["Cluster"],
        "evaluator": ["Evaluator", "FunctionEvaluator"],
        "loop": ["search"],
        "shared_weights": ["SharedWeights"],
        "rendezvous": ["PeerLostError"],
        "topology": ["Topology"],
        "trial": ["Evaluation", "SearchError", "Trial"],
    },
)
