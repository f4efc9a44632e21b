"""`Choice` and `Space`: an architecture is one option of every choice.

A controller sees the number of options of each choice and nothing else; only
`Space.decode` turns its tokens into what they mean. No TensorFlow, no Keras.
"""

import dataclasses
import importlib
import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from nas_keras.checks import is_int


@dataclasses.dataclass(frozen=True)
class Choice:
    """One decision of a controller.

    Args:
        name: Non-empty.
        options: The distinct things to choose from, at least one; each a str,
            an int or a float.
        anchors: For each option the place, among the choices of its space, of
            the earlier choice that it points back to. -1 is the beginning,
            before all choices; -2, -3 and so on are further things that
            nothing is chosen of, for each of which a policy learns a vector.
            A policy then attends to what it remembers of those places, instead
            of learning one weight vector for each option. None: the options
            are mere labels.
        link: Of a choice between two options, no and yes in this order: the
            place of the earlier choice that yes links back to. Links that
            follow each other, such as a layer's skip connections, are decided
            at once, each for itself, by attention to those places. None: the
            choice is no link.

    Raises:
        ValueError: If a rule is broken.

    Example:

    >>> Choice("activation", ("tanh", "relu")).options
    ('tanh', 'relu')
    >>> Choice("layer_1_reads_0", (0, 1), link=0).link
    0

    Reference:
        [Zoph & Le, 2017](https://arxiv.org/abs/1611.01578), section 3.3
        (anchor points).
    """

    name: str
    options: tuple[str | int | float, ...]
    anchors: tuple[int, ...] | None = None
    link: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be a non-empty str. Received: name={self.name!r}."
            )
        if isinstance(self.options, str) or not isinstance(
            self.options, Sequence
        ):
            raise ValueError(
                f"options of {self.name!r} must be a tuple. Received: "
                f"options={self.options!r}."
            )
        object.__setattr__(self, "options", tuple(self.options))
        for option in self.options:
            if not isinstance(option, str | int | float):
                raise ValueError(
                    f"An option of {self.name!r} must be a str, an int or a "
                    f"float. Received: {option!r}."
                )
        distinct = {(type(option), option) for option in self.options}
        if not self.options or len(distinct) < len(self.options):
            raise ValueError(
                f"options of {self.name!r} must be distinct and at least one. "
                f"Received: options={self.options!r}."
            )
        if self.anchors is not None:
            self._check_anchors(self.anchors)
            object.__setattr__(self, "anchors", tuple(self.anchors))
        if self.link is not None:
            self._check_link(self.link)

    def _check_anchors(self, anchors: Sequence[int]) -> None:
        is_sequence = isinstance(anchors, Sequence)
        is_whole = is_sequence and len(anchors) == len(self.options)
        if not is_whole or not all(is_int(anchor) for anchor in anchors):
            raise ValueError(
                f"anchors of {self.name!r} must be one int for each of the "
                f"{len(self.options)} options. Received: "
                f"anchors={anchors!r}."
            )

    def _check_link(self, link: int) -> None:
        if not is_int(link) or link < 0:
            raise ValueError(
                f"link of {self.name!r} must be an int of at least 0. "
                f"Received: link={link!r}."
            )
        if len(self.options) != 2 or self.anchors is not None:
            raise ValueError(
                f"A link, {self.name!r}, must have two options, no and yes, "
                f"and no anchors. Received: options={self.options!r}, "
                f"anchors={self.anchors!r}."
            )


class Space:
    """A set of architectures, each a token for every choice.

    Args:
        choices: The decisions in the order in which they are made; A of them.
        decode: Function of the tokens, a tuple of A ints, that returns what
            they describe. Default: a dict of choice name to option.
        encode: The inverse of `decode`. Default: that of the default.
        name: How journals and reports call the space.
        structure: What an evaluator may know of the space beyond its choices,
            such as the `Tree` of a tree space.
        architecture: Class of what `decode` returns, such as `CellSpec`.
        supernet: "module:Class" of the Keras layer or network that computes
            all its architectures by one program, tokens as data, called as
            those of `nas_keras.supernets`. None: there is none.

    Raises:
        ValueError: If there is no choice, two have one name, all have a
            single option, or an anchor or a link is not an earlier choice.

    Example:

    >>> space = Space([Choice("width", (8, 16)), Choice("depth", (1, 2, 3))])
    >>> space.size, space.decode([1, 0])
    (6, {'width': 16, 'depth': 1})
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        decode: Callable[[tuple[int, ...]], Any] | None = None,
        name: str = "",
        structure: Any = None,
        encode: Callable[[Any], Sequence[int]] | None = None,
        architecture: Any = object,
        supernet: str | None = None,
    ) -> None:
        self.choices = tuple(choices)
        for choice in self.choices:
            if not isinstance(choice, Choice):
                raise ValueError(
                    f"choices must be Choice objects. Received: {choice!r}."
                )
        names = [choice.name for choice in self.choices]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"The names of choices must differ. Given twice: {repeated}."
            )
        if self.size < 2:
            raise ValueError(
                "A space must have at least two architectures. Received: "
                f"choices={self.choices!r}."
            )
        self._check_places()
        self.name = name or f"space({', '.join(names[:3])}...)"
        self.structure = structure
        self.architecture = architecture
        self.supernet = supernet
        self._decode = decode
        self._encode = encode

    def _check_places(self) -> None:
        begin = 0  # Of the choices that are decided at once.
        for place, choice in enumerate(self.choices):
            wrong = [k for k in choice.anchors or () if k >= place]
            if wrong:
                raise ValueError(
                    f"anchors of {choice.name!r}, choice {place}, must be "
                    f"earlier choices, in [-1, {place - 1}]. Received: "
                    f"{wrong}."
                )
            if choice.link is None:
                begin = place + 1
            elif choice.link >= begin:
                raise ValueError(
                    f"link of {choice.name!r}, choice {place}, must be a "
                    "choice before it and before the links that it follows, "
                    f"in [0, {begin - 1}]. Received: {choice.link}."
                )
        anchors = {k for choice in self.choices for k in choice.anchors or ()}
        below = sorted((k for k in anchors if k < -1), reverse=True)
        if below != list(range(-2, -2 - len(below), -1)):
            raise ValueError(
                "Anchors before the beginning must be -2, -3 and so on. "
                f"Received: {below}."
            )

    @property
    def num_options(self) -> tuple[int, ...]:
        """The number of options of each choice, A ints."""
        return tuple(len(choice.options) for choice in self.choices)

    @property
    def size(self) -> int:
        """The number of architectures, an exact int."""
        return math.prod(self.num_options) if self.choices else 0

    def decode(self, tokens: Sequence[int]) -> Any:
        """Returns what `tokens` describe.

        Raises:
            ValueError: If there are not A tokens, or one is out of range.
        """
        tokens = self.validate(tokens)
        if self._decode is not None:
            return self._decode(tokens)
        return {
            choice.name: choice.options[token]
            for choice, token in zip(self.choices, tokens, strict=True)
        }

    def encode(self, architecture: Any) -> tuple[int, ...]:
        """Returns tokens that decode to an architecture.

        Raises:
            ValueError: If it is none of the space's, or the space has a
                `decode` of its own and no `encode`.
        """
        if self._encode is not None:
            return self.validate(self._encode(architecture))
        names = [choice.name for choice in self.choices]
        if self._decode is not None or not isinstance(architecture, Mapping):
            raise ValueError(
                f"{self.name} cannot encode. Received: "
                f"{type(architecture).__name__}."
            )
        if set(architecture) != set(names):
            raise ValueError(
                f"architecture must have the keys {names}. Received: "
                f"{list(architecture)}."
            )
        tokens = []
        for choice in self.choices:
            option = architecture[choice.name]
            # Of options that are equal, as 1 and 1.0, the type tells.
            matches = [
                token
                for token, other in enumerate(choice.options)
                if (type(other), other) == (type(option), option)
            ]
            if not matches:
                raise ValueError(
                    f"architecture[{choice.name!r}] must be one of "
                    f"{choice.options}. Received: {option!r}."
                )
            tokens += matches
        return tuple(tokens)

    def check_supernet(self, architecture: Any = object) -> None:
        """Refuses a space whose architectures are not data to a program.

        Args:
            architecture: Class of the architectures that the caller can use,
                such as `CellSpec`, or a union of classes.

        Raises:
            ValueError: If the space has no supernet, or one of architectures
                of another class; the message says which spaces have one.
        """
        if self.supernet and issubclass(self.architecture, architecture):
            return
        from nas_keras.spaces import SPACES

        makers = [
            f"{name}_space"
            for name, its in SPACES.items()
            if its.supernet and issubclass(its.architecture, architecture)
        ]
        raise ValueError(
            "The architecture can be data in spaces made by "
            f"{' and '.join(makers)}. Received: space={self.name!r}. For "
            "others use FunctionEvaluator."
        )

    def load_supernet(self, architecture: Any = object) -> Any:
        """Returns the class that `supernet` names; imports its module.

        Args:
            architecture: As for `check_supernet`.

        Raises:
            ValueError: As `check_supernet` does.
        """
        self.check_supernet(architecture)
        module, name = str(self.supernet).split(":")
        return getattr(importlib.import_module(module), name)

    def validate(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Returns the tokens as a tuple of ints.

        Raises:
            ValueError: If there are not A tokens, or one is out of range.
        """
        values = tuple(tokens)
        if len(values) != len(self.choices):
            raise ValueError(
                f"{self.name} takes {len(self.choices)} tokens. Received: "
                f"{len(values)}."
            )
        for choice, token in zip(self.choices, values, strict=True):
            if not is_int(token) or not 0 <= token < len(choice.options):
                raise ValueError(
                    f"The token of {choice.name!r} must be an int in [0, "
                    f"{len(choice.options) - 1}]. Received: {token!r}."
                )
        return tuple(int(token) for token in values)

    def __repr__(self) -> str:
        return f"<Space {self.name}: {self.size:.3g} architectures>"
