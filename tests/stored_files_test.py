"""Tests of files that an earlier version has saved: they give its numbers.

The files are in `stored/`, written by commit 2b8b1d8. They are not to
be written anew where one of these tests fails: what users have saved cannot
be, either.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

import nas_keras  # noqa: F401  (for models that have layers of its own)
from nas_keras import spaces
from nas_keras.cells import load_spec
from nas_keras.cells import published_cells
from nas_keras.cells import save_spec
from nas_keras.controllers import FrozenController
from nas_keras.controllers import PolicyGradientController
from nas_keras.controllers import RandomController
from nas_keras.convnets import build_convnet
from nas_keras.convnets import load_convnet
from nas_keras.convnets import published_convnets
from nas_keras.convnets import save_convnet
from nas_keras.search import Evaluator
from nas_keras.search import search
from nas_keras.tasks import TranslationModel  # noqa: F401  (is registered)
from nas_keras.tasks import Translator

_FOLDER = pathlib.Path(__file__).resolve().parent / "stored"


def _names(folder, suffix):
    """Returns the names of the files of a kind; there must be some."""
    names = sorted(p.stem for p in (_FOLDER / folder).glob(f"*{suffix}"))
    assert names
    return names


def _read(*path):
    return json.loads(_FOLDER.joinpath(*path).read_text(encoding="utf-8"))


def _read_lines(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# Models.


def _loaded(name):
    path = _FOLDER / "models" / f"{name}.keras"
    return keras.models.load_model(path, compile=False)


def _near(value, want):
    value, want = np.asarray(value), np.asarray(want)
    assert value.dtype == want.dtype
    scale = np.abs(want).max()
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("name", _names("models", ".keras"))
def test_stored_model_gives_its_numbers(name):
    with np.load(_FOLDER / "models" / f"{name}.npz") as arrays:
        inputs = [arrays[key] for key in arrays if key.startswith("input_")]
        wanted = [arrays[key] for key in arrays if key.startswith("output_")]
    model = _loaded(name)
    outputs = model(inputs[0] if len(inputs) == 1 else inputs)
    outputs = keras.tree.flatten(outputs)
    assert wanted
    for output, want in zip(outputs, wanted, strict=True):
        assert np.abs(want).max() > 1e-2  # Or else the numbers say little.
        _near(output, want)


@pytest.mark.parametrize("name", ["cell_own", "rnn_own"])
def test_stored_layer_has_its_arguments(name):
    layer = _loaded(name).layers[-1]
    assert layer.cell.spec == load_spec(_FOLDER / "cells" / "stored_own.json")
    config = layer.cell.get_config()
    want = {"units": 4, "projection": 2, "use_bias": True, "dropout": 0.2}
    want |= {"recurrent_dropout": 0.3 if name == "cell_own" else 0.0}
    assert {key: config[key] for key in want} == want
    assert layer.return_sequences


def test_stored_network_drops_paths():
    model = _loaded("convnet_micro")
    x = np.random.default_rng(0).normal(size=(16, *model.input_shape[1:]))
    outputs = np.asarray(model(x)), np.asarray(model(x, training=True))
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-2
    (layer,) = [k for k in model.layers if k.name == "drop_path"]
    assert float(layer.progress) == 1.0


def test_stored_translator_translates_alike():
    pytest.importorskip("sentencepiece")
    translator = Translator.load(_FOLDER / "translator")
    languages = (translator.source_language, translator.target_language)
    assert languages == ("en", "de")
    want = _read("translator", "translations.json")
    for name, options in (("greedy", {"beam": 1}), ("beam", {})):
        found = translator.translate(want["sources"], **options)
        for one, (text, *figures) in zip(found, want[name], strict=True):
            assert one.text == text
            _near([one.log_prob_nats, one.score], figures)
    weights = translator.align("one cat", "eins Katze").weights
    _near(weights, np.array(want["alignment"], "float32"))


# Cells and networks.


def _about_cell(spec):
    return {
        "fingerprint": spec.fingerprint,
        "states": list(spec.states),
        "parameters": spec.cost(input_width=3, units=8).parameters,
    }


def _about_network(spec):
    model = build_convnet(spec, (32, 32, 3), 8)
    return {
        "fingerprint": spec.fingerprint,
        "parameters": model.count_params(),
    }


def test_published_cells_are_what_they_were():
    stored = _read("fingerprints.json")["published_cells"]
    assert set(stored) <= set(published_cells())
    assert {name: _about_cell(load_spec(name)) for name in stored} == stored


def test_published_networks_are_what_they_were():
    stored = _read("fingerprints.json")["published_networks"]
    assert set(stored) <= set(published_convnets())
    found = {name: _about_network(load_convnet(name)) for name in stored}
    assert found == stored


@pytest.mark.parametrize("name", _names("cells", ".json"))
def test_stored_cell_is_what_it_was(name, tmp_path):
    path = _FOLDER / "cells" / f"{name}.json"
    spec = load_spec(path)
    assert spec.name == name
    assert _about_cell(spec) == _read("fingerprints.json")["cells"][name]
    save_spec(spec, tmp_path / "cell.json")
    assert load_spec(tmp_path / "cell.json") == spec


@pytest.mark.parametrize("name", _names("networks", ".json"))
def test_stored_network_is_what_it_was(name, tmp_path):
    path = _FOLDER / "networks" / f"{name}.json"
    spec = load_convnet(path)
    assert spec.name == name
    assert _about_network(spec) == _read("fingerprints.json")["networks"][name]
    save_convnet(spec, tmp_path / "network.json")
    assert load_convnet(tmp_path / "network.json") == spec


# Journals. How rewards come about is not tested here: that their last digits
# are the same is not sure on another machine. What is made of them is.

_SPACES = {
    "tiny": spaces.tree_space(2),
    "tiny_ppo": spaces.tree_space(2),
    "tiny_shared": spaces.enas_recurrent_space(3),
    "tiny_conv": spaces.enas_macro_space(3, 4),
    "demo": spaces.tree_space(8),
}
_SEARCHES = [
    (name, part)
    for name in _SPACES
    for part in ("", "random")
    if (_FOLDER / "journals" / name / part).is_dir()
]


class _Stored(Evaluator):
    """Gives the scores of a journal back, those of a row in its order."""

    def __init__(self, space, records, is_repeatable):
        super().__init__(space)
        self.is_repeatable = is_repeatable
        self._records = {}
        for record in records:
            if record["same_as"] is None:
                row = tuple(record["tokens"])
                self._records.setdefault(row, []).append(record)

    def score(self, architecture, seed):
        record = self._records[architecture.tokens].pop(0)
        if record["infeasible"] is not None:
            kind, _, message = record["infeasible"].partition(": ")
            assert kind == "FloatingPointError"
            raise FloatingPointError(message)
        return record["reward"], record["metrics"]


class _Recorded(PolicyGradientController):
    """Remembers the figures of its updates."""

    def feedback(self, proposals, evaluations):
        figures = super().feedback(proposals, evaluations)
        self.figures = [*getattr(self, "figures", []), figures]
        return figures


def _controller(space, config, baseline):
    arguments = {key: v for key, v in config.items() if key != "class"}
    if config["class"] == "RandomController":
        return RandomController(space, **arguments)
    assert config["class"] == "PolicyGradientController"
    return _Recorded(
        space,
        **arguments,
        baseline_decay=baseline["decay"],
        normalize_advantage=baseline["normalize"],
    )


def _check_replay(folder, space, controller):
    """Searches once more with the rewards of a journal, and compares."""
    about = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    choices = [[choice.name, list(choice.options)] for choice in space.choices]
    assert (space.name, choices) == (about["space"], about["choices"])
    records = _read_lines(folder / "trials.jsonl")
    trials = search(
        controller,
        _Stored(space, records, about["is_repeatable"]),
        about["num_trials"],
        batch_size=about["batch_size"],
        seed=about["seed"],
        evaluation_seed=about["evaluation_seed"],
        evaluate_again=about["evaluate_again"],
    )
    found = [
        {
            "id": trial.id,
            "tokens": list(trial.tokens),
            "fingerprint": trial.spec.fingerprint,
            "reward": trial.evaluation.reward,
            "metrics": dict(trial.evaluation.metrics),
            "infeasible": trial.evaluation.infeasible,
            "same_as": trial.same_as,
        }
        for trial in trials
    ]
    assert found == records


@pytest.mark.parametrize(("name", "part"), _SEARCHES)
def test_stored_rewards_lead_to_the_same_search(name, part):
    folder, space = _FOLDER / "journals" / name / part, _SPACES[name]
    about = _read("journals", name, part, "search.json")
    controller = _controller(space, about["controller"], about["baseline"])
    _check_replay(folder, space, controller)
    if (folder / "derived").is_dir():
        frozen = FrozenController(controller)
        _check_replay(folder / "derived", space, frozen)
    if part:
        return
    steps = _read_lines(folder / "steps.jsonl")
    for figures, step in zip(controller.figures, steps, strict=True):
        del step["step"]
        assert figures == pytest.approx(step, rel=1e-4, abs=1e-6)
