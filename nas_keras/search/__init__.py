"""The search: the loop, what scores, and what a run leaves on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    "nas_keras",
    submod_attrs={
        "distribute.cluster": ["Cluster"],
        "distribute.rendezvous": ["PeerLostError"],
        "distribute.topology": ["Topology"],
        "evaluators.evaluator": ["Evaluator"],
        "evaluators.from_scratch": ["ChildTrainer"],
        "evaluators.function": ["FunctionEvaluator"],
        "evaluators.shared": ["SharedWeights"],
        "evaluators.trial": [
            "Architecture",
            "Evaluation",
            "SearchError",
            "Trial",
        ],
        "search.loop": ["search"],
    },
)
