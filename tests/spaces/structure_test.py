"""Tests of `Structure` and `SPACES`: spaces as settings, by name."""

import re

import keras
import pytest

from nas_keras import spaces
from nas_keras.cells.language.spec import CellSpec
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import MicroNetSpec
from nas_keras.convnets.spec import NetSpec
from nas_keras.spaces import SPACES
from nas_keras.spaces import Choice
from nas_keras.spaces import Space
from nas_keras.spaces import tree_space

_EVERY = pytest.mark.parametrize("name", SPACES)
_ARCHITECTURES = {
    "tree": CellSpec,
    "enas_recurrent": CellSpec,
    "nas_conv": ConvNetSpec,
    "enas_macro": ConvNetSpec,
    "enas_micro": MicroNetSpec,
}


@_EVERY
def test_settings_make_the_space_that_its_function_makes(name):
    structure = SPACES[name]()
    space, other = structure.make(), getattr(spaces, f"{name}_space")()
    assert space.structure == other.structure == structure
    assert space.choices == other.choices == tuple(structure.choices())
    assert space.name == other.name == structure.name
    assert space.name.startswith(f"{name}(") and structure.prefix == name
    tokens = (0,) * len(space.choices)
    assert space.decode(tokens) == other.decode(tokens)


@_EVERY
def test_a_space_knows_what_its_architectures_are(name):
    space = SPACES[name]().make()
    spec = space.decode((0,) * len(space.choices))
    assert type(spec) is space.architecture is _ARCHITECTURES[name]
    is_cell = isinstance(spec, CellSpec)
    assert space.structure.noun == ("cell" if is_cell else "network")


@_EVERY
def test_settings_survive_their_dict(name):
    structure = SPACES[name]()
    assert SPACES[name](**structure.to_dict()) == structure
    assert hash(SPACES[name](**structure.to_dict())) == hash(structure)


@pytest.mark.parametrize(
    ("name", "class_name", "architecture"),
    [
        ("tree", "TreeRNN", CellSpec),
        ("enas_recurrent", "DagRNN", CellSpec),
        ("enas_macro", "MacroNetwork", ConvNetSpec),
        ("enas_micro", "MicroNetwork", MicroNetSpec),
    ],
)
def test_a_supernet_is_a_keras_layer(name, class_name, architecture):
    space = SPACES[name]().make()
    loaded = space.load_supernet(architecture)
    assert issubclass(loaded, keras.layers.Layer)
    assert loaded.__name__ == class_name
    assert space.load_supernet() is loaded
    space.check_supernet(architecture)


_CELLS = "tree_space and enas_recurrent_space"
_NETWORKS = "enas_macro_space and enas_micro_space"


@pytest.mark.parametrize(
    ("space", "architecture", "makers"),
    [
        (spaces.nas_conv_space(3), object, f"{_CELLS} and {_NETWORKS}"),
        (spaces.nas_conv_space(3), NetSpec, _NETWORKS),
        (tree_space(2), NetSpec, _NETWORKS),
        (spaces.enas_macro_space(2), CellSpec, _CELLS),
        (Space([Choice("a", (1, 2))], name="mine"), CellSpec, _CELLS),
    ],
)
def test_a_space_without_the_supernet_is_refused(space, architecture, makers):
    message = (
        f"The architecture can be data in spaces made by {makers}. Received: "
        f"space={space.name!r}. For others use FunctionEvaluator."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        space.load_supernet(architecture)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        space.check_supernet(architecture)


def test_a_space_of_a_users_may_name_its_supernet():
    space = Space(
        [Choice("a", (1, 2))],
        architecture=CellSpec,
        supernet="nas_keras.supernets.trees:TreeRNN",
    )
    assert space.load_supernet(CellSpec).__name__ == "TreeRNN"
    assert Space([Choice("a", (1, 2))]).supernet is None
