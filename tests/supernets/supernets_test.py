"""What all supernets have in common: a caller makes them without the space."""

import keras
import numpy as np
import pytest

from nas_keras.cells import NASRNN
from nas_keras.cells.language.spec import CellSpec
from nas_keras.convnets import ConvNetSpec
from nas_keras.convnets import MicroNetSpec
from nas_keras.spaces import enas_macro_space
from nas_keras.spaces import enas_micro_space
from nas_keras.spaces import enas_recurrent_space
from nas_keras.spaces import tree_space

_CELLS = [tree_space(2), enas_recurrent_space(2)]
_NETWORKS = [enas_macro_space(2, filters=4), enas_micro_space(1, 1, filters=4)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("space", _CELLS, ids=repr)
def test_recurrent_supernets_are_made_in_one_way(space, shared):
    supernet = space.load_supernet(CellSpec)
    layer = supernet(
        3,
        space.structure,
        shared=shared,
        recurrent_dropout=0.5,
        seed=1,
        jit_compile=False,
    )
    layer.build((None, None, 4))
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    states = [np.zeros((2, n), "float32") for n in layer.state_size]
    outputs, *last = layer(x, states)
    assert outputs.shape == (2, 5, 3) and len(last) == layer.num_states
    plain = NASRNN(3, space.decode([0] * len(space.choices)))
    plain.build((None, None, 4))
    assert layer.state_size == [3] * len(plain.cell.spec.states)
    assert layer.tokens.shape == (len(space.choices),)
    dropped, *_ = layer(x, states, training=True)
    assert not np.allclose(dropped, outputs)


@pytest.mark.parametrize("space", _NETWORKS, ids=repr)
def test_image_supernets_are_made_in_one_way(space):
    supernet = space.load_supernet(ConvNetSpec | MicroNetSpec)
    network = supernet(space.structure, 3, dropout=0.5, seed=1)
    network.build((None, 8, 8, 1))
    tokens = (0,) * len(space.choices)
    logits = network(np.ones((2, 8, 8, 1), "float32"), tokens=tokens)
    assert logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("space", "arguments"),
    [
        *((space, (3, space.structure)) for space in _CELLS),
        *((space, (space.structure, 3)) for space in _NETWORKS),
    ],
    ids=repr,
)
def test_another_backend_than_tensorflow_is_refused(
    space, arguments, monkeypatch
):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    message = (
        "^KERAS_BACKEND must be 'tensorflow' where the architecture is data. "
        "Received: 'jax'.$"
    )
    with pytest.raises(ValueError, match=message):
        space.load_supernet()(*arguments)
