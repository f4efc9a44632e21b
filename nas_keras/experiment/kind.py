"""`Kind`: what a kind of search may be configured with, and its data.

No TensorFlow, no Keras: what needs them is a `Subject`.
"""

import abc
import dataclasses
import os
from collections.abc import Iterable
from typing import Any


class Kind(abc.ABC):
    """A kind of search, of which there is one object.

    Where it takes a configuration, that is a `SearchConfig`; data are what it
    opens.

    Attributes:
        training: The class of `child` and `retrain`.
        rewards: Names of rewards.
        datasets: Names of data sets.
        attributes: Of `SearchConfig`, those that mean nothing to other kinds.
    """

    training: type
    rewards: tuple[str, ...]
    datasets: tuple[str, ...]
    attributes: tuple[str, ...]

    @abc.abstractmethod
    def is_dataset(self, name: str) -> bool:
        """Returns whether a data set of a name can be opened."""

    @abc.abstractmethod
    def check(self, config: Any) -> None:
        """Refuses a configuration whose attributes do not go together."""

    @abc.abstractmethod
    def open(self, config: Any, data_dir: str | os.PathLike | None) -> Any:
        """Returns the data of a search."""

    @abc.abstractmethod
    def check_data(self, config: Any, data: Any) -> None:
        """Refuses data that the trainings have no use for."""

    @abc.abstractmethod
    def known_by(self, data: Any) -> dict[str, Any]:
        """Returns what settings hold of data, in the place of paths."""

    @abc.abstractmethod
    def published(self, config: Any) -> list[Any]:
        """Returns the specs that are named to be retrained."""

    def fingerprints(self, config: Any) -> dict[str, str]:
        """Returns what settings hold of what is named to be retrained."""
        return {spec.name: spec.fingerprint for spec in self.published(config)}


def defaults_of(config: Any, names: Iterable[str]) -> dict[str, Any]:
    """Returns the values that attributes have where they are left out.

    Args:
        config: A dataclass, or an object of one.
        names: Of the attributes.
    """
    defaults = {
        field.name: field.default for field in dataclasses.fields(config)
    }
    return {name: defaults[name] for name in names}


def check_left_out(config: Any, names: Iterable[str], which: str) -> None:
    """Refuses attributes that a search has no use for.

    Args:
        config: `SearchConfig`.
        names: Of the attributes.
        which: Says of the space why it has none of them.

    Raises:
        ValueError: If one is not what it is by default.
    """
    for name, default in defaults_of(config, names).items():
        value = getattr(config, name)
        if value != default:
            raise ValueError(
                f"{name} must be left out for space={config.space!r}, {which}. "
                f"Received: {name}={value!r}."
            )
