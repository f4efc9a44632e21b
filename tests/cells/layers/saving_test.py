"""Tests of what is saved: SavedModels, checkpoints, weights, copies.

`.keras` files are in `keras_files_test.py`; models that other processes load,
in `loading_test.py`.
"""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cell_testing import EVERY_ROLE
from tests.layer_testing import normal
from tests.saving_testing import B
from tests.saving_testing import D
from tests.saving_testing import P
from tests.saving_testing import T
from tests.saving_testing import both_layers
from tests.saving_testing import differs
from tests.saving_testing import each_layer
from tests.saving_testing import model_of
from tests.saving_testing import near

# SavedModel.


def exported(model, folder):
    model.export(folder / "model", verbose=False)
    return tf.saved_model.load(folder / "model")


@pytest.mark.parametrize("length", [T, None])
@each_layer
def test_exported_model_serves_what_the_model_computes(make, length, tmp_path):
    model = model_of(make(projection=P, use_bias=True), length)
    served = exported(model, tmp_path)
    shapes = [(B, T), (1, T), (4, 9)] if length is None else [(B, T), (1, T)]
    for shape in shapes:
        x = normal(*shape, D)
        near(served.serve(x), model(x))


@each_layer
def test_exported_model_has_no_dropout(make, tmp_path):
    model = model_of(make(dropout=0.5, recurrent_dropout=0.5, seed=0))
    x = normal(B, T, D)
    assert differs(model(x, training=True), model(x))
    served = exported(model, tmp_path)
    near(served.serve(x), model(x))


@pytest.mark.parametrize("length", [T, None])
@both_layers
def test_exported_model_skips_masked_steps(make, length, tmp_path):
    model = keras.Sequential(
        [keras.Input((length, D)), keras.layers.Masking(), make("gru")]
    )
    x = normal(B, T, D)
    x[0, 3:] = x[1, :2] = 0
    served = exported(model, tmp_path)
    near(served.serve(x), model(x))


@both_layers
def test_exported_stateful_model_goes_on_where_it_stopped(make, tmp_path):
    model = keras.Sequential(
        [keras.Input(batch_shape=(B, T, D)), make(stateful=True)]
    )
    x = normal(B, T, D)
    first, second = (np.asarray(model(x)) for _ in range(2))
    assert differs(first, second)
    model.layers[-1].reset_state()
    served = exported(model, tmp_path)
    near(served.serve(x), first)
    near(served.serve(x), second)


# tf.train.Checkpoint.


@both_layers
def test_checkpoint_restores_every_weight(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    saved = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    shapes = [
        shape for name, shape in saved.items() if "save_counter" not in name
    ]
    want = [list(weight.shape) for weight in model.weights]
    assert sorted(filter(None, shapes)) == sorted(want)

    x = normal(B, T, D)
    output = np.asarray(model(x))
    model.set_weights([0 * weight for weight in model.get_weights()])
    status = tf.train.Checkpoint(model=model).restore(path)
    status.assert_existing_objects_matched()
    near(model(x), output, 0)


@both_layers
def test_checkpoint_restores_into_a_fresh_model(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    other = model_of(make(projection=P, use_bias=True), seed=99)
    x = normal(B, T, D)
    assert differs(other(x), model(x))
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    for got, want in zip(other.weights, model.weights, strict=True):
        near(got, want, 0)
    near(other(x), model(x), 0)


@both_layers
def test_checkpoint_restores_a_training(make, tmp_path):
    data = normal(B, T, D), normal(B, T, 2, seed=3)

    def trained(path=None, updates=2):
        model = model_of(make())
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        if path is not None:
            tf.train.Checkpoint(model=model).restore(path).assert_consumed()
        model.fit(*data, epochs=updates, shuffle=False, verbose=0)
        return model

    path = tf.train.Checkpoint(model=trained()).save(tmp_path / "checkpoint")
    near(trained(path)(data[0]), trained(updates=4)(data[0]))


# Files of weights, and copies.


@both_layers
def test_weights_file_restores_every_weight(make, tmp_path):
    model = model_of(make(projection=P, use_bias=True))
    model.save_weights(tmp_path / "model.weights.h5")
    other = model_of(make(projection=P, use_bias=True), seed=99)
    x = normal(B, T, D)
    assert differs(other(x), model(x))
    other.load_weights(tmp_path / "model.weights.h5")
    near(other(x), model(x), 0)


@both_layers
def test_weights_of_another_cell_are_refused(make, tmp_path):
    model_of(make()).save_weights(tmp_path / "model.weights.h5")
    for spec, arguments in (("gru", {}), (EVERY_ROLE, {"projection": P})):
        model = model_of(make(spec, **arguments))
        before = model.get_weights()
        with pytest.raises(ValueError, match="(?i)shape|variable|object"):
            model.load_weights(tmp_path / "model.weights.h5")
        for got, want in zip(model.layers[0].weights, before, strict=False):
            near(got, want, 0)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, keras.models.clone_model]
    + [lambda model: pickle.loads(pickle.dumps(model))],
)
@both_layers
def test_copies_of_a_model_compute_the_same(make, duplicate):
    model = model_of(make(use_bias=True))
    other = duplicate(model)
    if duplicate is keras.models.clone_model:
        other.set_weights(model.get_weights())
    near(other(normal(B, T, D)), model(normal(B, T, D)))
    assert other.layers[0].cell.spec == EVERY_ROLE
