"""`Measure`: what retrained architectures are compared by, in words."""

import dataclasses
import fnmatch


@dataclasses.dataclass(frozen=True)
class Measure:
    """What the figure of a retrained architecture is called.

    Attributes:
        noun: What an architecture is.
        name: Of the figure.
        short: The same, as a heading.
        unit: Written behind a figure, with its blank.
        metric: In the metrics, behind `validation_` and `test_`.
        factor: What a metric is multiplied by to be shown.
        is_more_better: Whether more of it is better.
        baseline: Name of the published architecture to compare with.
        baselines: Pattern of the names that count as it.
    """

    noun: str
    name: str
    short: str
    unit: str
    metric: str
    factor: float
    is_more_better: bool
    baseline: str
    baselines: str

    def is_baseline(self, name: str) -> bool:
        """Returns whether a published architecture is to be compared with."""
        return fnmatch.fnmatchcase(name, self.baselines)

    @property
    def best(self) -> str:
        """What the best figure of several is."""
        return "highest" if self.is_more_better else "lowest"


PERPLEXITY = Measure(
    noun="cell",
    name="perplexity",
    short="ppl",
    unit="",
    metric="perplexity",
    factor=1.0,
    is_more_better=False,
    baseline="lstm",
    baselines="lstm",
)
ACCURACY = Measure(
    noun="network",
    name="accuracy",
    short="accuracy, %",
    unit=" %",
    metric="accuracy",
    factor=100.0,
    is_more_better=True,
    baseline="ResNet",
    baselines="resnet*",
)
