"""What setup.py asks for: its extras, its lowest versions, what needs which."""

import ast
import pathlib
import re
import runpy
import sys
import tomllib
from unittest import mock

import numpy as np
import pytest

from nas_keras import report
from nas_keras.data.embedded_pairs import embedded_pairs
from nas_keras.data.image_folder import read_image_folder
from nas_keras.data.image_sources import open_images
from nas_keras.data.subwords import Subwords
from nas_keras.distribute import exits
from nas_keras.drawing.cells import draw
from nas_keras.report import curves
from nas_keras.report.ranking import rank_correlation
from nas_keras.storage.events import ScalarLog
from nas_keras.tasks.translation.scores import scores_of

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FEATURES = ("images", "report", "tensorboard", "translation")
# Name to import -> distribution, where they differ.
_DISTRIBUTIONS = {
    "absl": "absl-py",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
}
# Keras's other backends are the user's to choose.
_BACKENDS = {"jax", "torch"}


@pytest.fixture(scope="module")
def package():
    """Returns what setup.py says."""
    setuptools = pytest.importorskip(
        "setuptools", reason="Needs pip install 'nas_keras[test]'."
    )
    with mock.patch.object(setuptools, "setup") as setup:
        runpy.run_path(str(_ROOT / "setup.py"))
    return setup.call_args.kwargs


def _names(requirements):
    return {re.match(r"[\w-]+", text).group() for text in requirements}


def test_each_feature_has_an_extra_and_two_have_all_of_them(package):
    extras = package["extras_require"]
    assert sorted(extras) == sorted([*_FEATURES, "all", "docs", "test"])
    for name in _FEATURES:
        assert set(extras[name]) <= set(extras["test"])
    assert sorted(extras["all"]) == sorted(extras["test"])


def _lower_bounds():
    text = (_ROOT / "tools" / "lower_bounds.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def _without_zeros(version):
    return re.sub(r"(\.0)+$", "", version)


def test_every_requirement_has_the_lower_bound_that_is_tested(package):
    requirements = {*package["install_requires"]}
    requirements.update(*package["extras_require"].values())
    found = {}
    for text in sorted(requirements):
        match = re.fullmatch(r"([\w-]+)(?:>=([\d.]+)|==([\d.]+)\.\*)", text)
        assert match, f"{text!r} has no lower bound"
        found[match[1]] = _without_zeros(match[2] or match[3])
    tested = {k: _without_zeros(v) for k, v in _lower_bounds().items()}
    assert found == tested


def test_the_build_asks_for_the_setuptools_that_is_tested():
    pyproject = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    (requirement,) = pyproject["build-system"]["requires"]
    assert requirement == f"setuptools>={_lower_bounds()['setuptools']}"


def _third_party(node):
    """Returns the distributions that a node of a module imports."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module]
    tops = {name.split(".")[0] for name in names}
    tops -= {"nas_keras", "train", *sys.stdlib_module_names}
    return {_DISTRIBUTIONS.get(top, top) for top in tops}


def _trees():
    for folder in ("nas_keras", "train"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_what_is_imported_is_required_and_what_an_extra_has_only_lazily(
    package,
):
    required = _names(package["install_requires"])
    optional = {
        name
        for extra in _FEATURES
        for name in _names(package["extras_require"][extra])
    }
    used = set()
    for path, tree in _trees():
        at_once = set().union(*map(_third_party, tree.body))
        found = set().union(*map(_third_party, ast.walk(tree)))
        assert at_once <= required, (path, at_once - required)
        assert found <= required | optional | _BACKENDS, (path, found)
        used |= found
    assert optional <= used  # None is asked for in vain.
    # TFDS 4.9 needs it and does not ask for it.
    assert required - used == {"importlib_resources"}


def _plot_history(folder):
    epoch = {"epoch": 1, "train_loss_nats": 1.0, "validation_loss_nats": 1.0}
    report.plot_history([epoch], folder / "curve.png")


def _plot_alignment(folder):
    report.plot_alignment(["a"], ["b"], np.ones((1, 1)), folder / "a.png")


def _plot_rewards(_):
    curves.reward_curve({"controller": [1.0]})


# Module that is not there, its extra, what a user does with it in a folder.
_USES = [
    ("matplotlib", "report", lambda path: draw("gru", path / "gru.png")),
    ("matplotlib", "report", _plot_history),
    ("matplotlib", "report", _plot_alignment),
    ("matplotlib", "report", _plot_rewards),
    ("scipy", "report", lambda _: rank_correlation([1, 2, 3], [3, 1, 2])),
    ("tensorboard", "tensorboard", ScalarLog),
    ("sklearn", "images", lambda _: open_images("digits")),
    ("PIL", "images", read_image_folder),
    ("babel", "translation", lambda _: embedded_pairs()),
    ("sentencepiece", "translation", lambda _: Subwords(b"model")),
    ("sacrebleu", "translation", lambda _: scores_of(["a"], ["a"], "de")),
]


@pytest.mark.parametrize(("module", "extra", "use"), _USES)
def test_what_is_absent_names_its_extra(module, extra, use, tmp_path):
    absent = {
        name: None
        for name in [module, *sys.modules]
        if name.split(".")[0] == module
    }
    words = rf"pip install 'nas_keras\[{extra}\]'.*Import failed: "
    with (
        mock.patch.dict(sys.modules, absent),
        pytest.raises(ImportError, match=words),
    ):
        use(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_program_says_in_one_line_what_it_lacks(capsys):
    with (
        pytest.raises(SystemExit, match="2"),
        exits.one_line("nas-test", RuntimeError),
    ):
        raise ImportError("A test needs\na library")
    assert capsys.readouterr().err == "nas-test: A test needs a library\n"


def test_each_module_of_an_extra_is_among_those_uses(package):
    told = {
        (_DISTRIBUTIONS.get(module, module), extra)
        for module, extra, _ in _USES
    }
    assert told == {
        (name, extra)
        for extra in _FEATURES
        for name in _names(package["extras_require"][extra])
    }
