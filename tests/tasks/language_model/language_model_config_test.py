"""Tests of the widths, sizes and costs of language models; what is refused."""

import dataclasses
import math
import re

import numpy as np
import pytest

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.text import build_corpus
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from tests.language_model_testing import child_config
from tests.language_model_testing import child_task


def test_an_embedding_and_a_last_layer_have_widths_of_their_own():
    task = child_task(embedding_units=3, last_units=5, num_layers=3, tied=True)
    model = task.model(load_spec("lstm"))
    assert model.embedding.embeddings.shape == (task.corpus.vocabulary_size, 3)
    assert [layer.cell.units for layer in model.recurrent] == [4, 4, 5]
    assert model.projection_kernel.shape == (5, 3)
    tokens = np.zeros((3, 5), np.int32)
    found = model(tokens, model.initial_states(3))
    kernel = (
        np.array(model.projection_kernel)
        @ np.array(model.embedding.embeddings).T
    )
    np.testing.assert_allclose(
        found.logits,
        np.array(found.outputs) @ kernel + np.array(model.softmax_bias),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "widths",
    [
        {"embedding_units": 3},
        {"embedding_units": 3, "tied": True},
        {"embedding_units": 4, "last_units": 4, "tied": True},
        {"last_units": 6, "tied": True},
        {"last_units": 6},
    ],
)
def test_the_cost_counts_all_widths(widths):
    task, spec = child_task(num_layers=2, **widths), load_spec("nascell")
    model = task.model(spec)
    shapes = [v.shape for v in model.trainable_variables]
    assert task.size(spec).parameters == sum(map(math.prod, shapes))
    products = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
    if not task.config.tied:  # Else the table is the softmax's matrix too.
        products -= math.prod(model.embedding.embeddings.shape)
    assert task.size(spec).multiply_adds == products


def _count(task, spec, units):
    config = dataclasses.replace(task.config, units=units)
    return dataclasses.replace(task, config=config).size(spec).parameters


@pytest.mark.parametrize("cell", ["lstm", "gru", "nascell"])
@pytest.mark.parametrize(
    ("tied", "use_bias", "num_layers"),
    [(False, False, 1), (True, True, 2), (True, False, 3), (False, True, 1)],
)
def test_the_parameters_are_those_of_the_built_model(
    cell, tied, use_bias, num_layers
):
    task = child_task(tied=tied, use_bias=use_bias, num_layers=num_layers)
    spec = load_spec(cell)
    shapes = [v.shape for v in task.model(spec).trainable_variables]
    want = sum(math.prod(shape) for shape in shapes)
    assert task.size(spec).parameters == want
    wider = child_task(
        tied=tied, use_bias=use_bias, num_layers=num_layers, units=7
    )
    assert _count(task, spec, 7) == wider.size(spec).parameters


@pytest.mark.parametrize("cell", ["lstm", "gru", "nascell"])
@pytest.mark.parametrize("num", [300, 1_000, 99_999, 100_000])
def test_a_resized_task_has_the_most_units_that_fit(cell, num):
    task, spec = child_task(), load_spec(cell)
    sized = task.resized(spec, num)
    units = sized.config.units
    assert sized.size(spec).parameters <= num
    assert _count(sized, spec, units + 1) > num
    assert dataclasses.replace(sized.config, units=4) == task.config


def test_a_resized_task_fits_exactly():
    task, spec = child_task(), load_spec("lstm")
    for units in (1, 2, 3, 64):
        num = _count(task, spec, units)
        assert task.resized(spec, num).config.units == units


def test_too_few_parameters_are_refused():
    task, spec = child_task(), load_spec("lstm")
    least = _count(task, spec, 1)
    message = (
        f"A model of one unit of cell 'lstm' has {least} parameters. "
        f"Received: {least - 1} parameters."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        task.resized(spec, least - 1)


@pytest.mark.parametrize(
    ("fractions", "part"),
    [
        ((0.05, 0.5, 0.45), "train"),
        ((0.6, 0.05, 0.35), "validation"),
        ((0.6, 0.35, 0.05), "test"),
    ],
)
def test_a_part_shorter_than_a_batch_is_refused(fractions, part):
    # A batch is 3 * (5 + 1) = 18 tokens; 5 % of 340 are 17.
    corpus = build_corpus("ab" * 170, name="ab", fractions=fractions)
    message = f"The {part} part of the text 'ab' has 17 tokens; one batch takes"
    with pytest.raises(ValueError, match=re.escape(message) + ".* = 18"):
        LanguageModelTask(child_config(), corpus)
    corpus = build_corpus("ab" * 180, name="ab", fractions=fractions)
    LanguageModelTask(child_config(), corpus)


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("units", 0, "must be an int of at least 1, below 2**63"),
        ("units", 2.5, "must be an int of at least 1, below 2**63"),
        ("units", True, "must be an int of at least 1, below 2**63"),
        ("num_layers", 0, "must be an int of at least 1, below 2**63"),
        ("batch_size", -1, "must be an int of at least 1, below 2**63"),
        ("num_steps", "35", "must be an int of at least 1, below 2**63"),
        ("num_updates", -1, "must be an int of at least 0, below 2**63"),
        ("num_epochs", 0.5, "must be an int of at least 0, below 2**63"),
        ("decay_epoch", -1, "must be an int of at least 0, below 2**63"),
        ("embedding_units", -1, "must be an int of at least 0, below 2**63"),
        ("last_units", 1.5, "must be an int of at least 0, below 2**63"),
        ("last_units", 5, "must be 0 with one layer"),
        ("weight_decay", -0.1, "must be finite and not negative"),
        ("activation_penalty", math.inf, "must be finite and not negative"),
        ("slowness_penalty", math.nan, "must be finite and not negative"),
        ("input_dropout", 1.0, "must be in [0, 1)"),
        ("layer_dropout", 1.5, "must be in [0, 1)"),
        ("max_validation_tokens", -1,
         "must be an int of at least 0, below 2**63"),
        ("learning_rate", 0.0, "must be positive and finite"),
        ("learning_rate", math.nan, "must be positive and finite"),
        ("decay", -1.0, "must be positive and finite"),
        ("clip_norm", 0, "must be positive and finite"),
        ("init_scale", -0.1, "must be positive and finite"),
        ("output_dropout", 1.0, "must be in [0, 1)"),
        ("recurrent_dropout", -0.1, "must be in [0, 1)"),
        ("embedding_dropout", math.nan, "must be in [0, 1)"),
        ("average", "always", "must be one of ['none', 'nonmonotone']"),
        ("precision", "float16",
         "must be one of ['float32', 'mixed_bfloat16']"),
        ("select", "first", "must be one of ['last', 'best']"),
        ("average_patience", 0, "must be an int of at least 1, below 2**63"),
        ("micro_batches", 3, "must be a divisor of batch_size=32"),
        ("micro_batches", True, "must be an int of at least 1, below 2**63"),
        ("evaluation_batch_size", 0,
         "must be an int of at least 1, below 2**63"),
        ("snapshot_updates", 1.5, "must be an int of at least 1, below 2**63"),
        ("dynamic_rate", math.inf, "must be finite and not negative"),
        ("optimizer", "lamb", "must be one of ['sgd', 'adam']"),
        ("schedule", "linear", "must be one of ['constant', 'cosine', 'step']"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(argument, value, rule):
    message = f"{argument} {rule}. Received: {argument}={value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        LanguageModelConfig(**{argument: value})


@pytest.mark.parametrize(("num_updates", "num_epochs"), [(0, 0), (10, 1)])
def test_either_updates_or_epochs_are_given(num_updates, num_epochs):
    message = (
        "One of num_updates and num_epochs must be positive, the other 0. "
        f"Received: num_updates={num_updates}, num_epochs={num_epochs}."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        LanguageModelConfig(num_updates=num_updates, num_epochs=num_epochs)
