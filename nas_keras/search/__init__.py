"""The search: the loop, what scores, and what a run leaves on disk."""

from nas_keras import facade

__getattr__, __dir__, __all__ = facade.attach(
    __name__,
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
