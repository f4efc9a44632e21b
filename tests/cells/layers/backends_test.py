"""Cells on Keras's other backends, where those are installed.

Each runs in a process of its own, which Keras wants, without TensorFlow.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest

from nas_keras.controllers import PolicyGradientController
from nas_keras.distribute.topology import Topology
from nas_keras.experiment.run import run
from nas_keras.programs import worker
from nas_keras.search import ChildTrainer
from nas_keras.spaces import tree_space
from nas_keras.tasks import Translator
from nas_keras.tasks import train_translation
from tests.shared_weights_testing import small_task

PROGRAM = """
import random
import sys
import keras
import numpy as np
from tests import oracles
from nas_keras.cells import NASRNN, load_spec, published_cells

# Keras draws its seeds from here; its `set_random_seed` imports TensorFlow.
random.seed(0)
draw = np.random.default_rng(0).normal
mask = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)
for name in published_cells():
    x = draw(size=(2, 4, 5)).astype("float32")
    layer = NASRNN(3, name, return_state=True, use_bias=True)
    layer.build(x.shape)
    for weight in layer.weights:
        weight.assign(draw(size=weight.shape))
    weights = {w.name: keras.ops.convert_to_numpy(w) for w in layer.weights}
    want = [np.zeros((2, 3)) for _ in load_spec(name).states]
    for step in range(4):
        new = oracles.CELLS[name](x[:, step], *want, weights)
        keep = mask[:, step : step + 1]
        want = [np.where(keep, a, b) for a, b in zip(new, want)]
    _, *states = layer(x, mask=mask)
    for state, expected in zip(states, want):
        found = keras.ops.convert_to_numpy(state)
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)

layers = [
    NASRNN(3, "gru", return_sequences=True, dropout=0.1, recurrent_dropout=0.1),
    NASRNN(3, "nascell"),
]
model = keras.Sequential([keras.Input((4, 5)), *layers])
model.compile("adam", "mse")
x, y = draw(size=(8, 4, 5)), 0.1 * draw(size=(8, 3))
losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert "tensorflow" not in sys.modules
print(keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_cells_run_without_tensorflow(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed.")
    root = str(pathlib.Path(__file__).resolve().parents[3])
    path = os.pathsep.join([root, *filter(None, sys.path)])
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": path,
    }
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, f"{backend}\n"), (
        result.stderr
    )


def _joined(*addresses):
    workers = Topology(addresses, index=0)
    with worker.joined("program", workers, num_threads=1) as cluster:
        return cluster.size


def _trained_translation():
    return next(train_translation(None, None, None))


@pytest.mark.parametrize(
    ("call", "purpose"),
    [
        (lambda: run(None, None), "to search"),
        (lambda: PolicyGradientController(tree_space(2)),
         "for a controller that learns"),
        (lambda: ChildTrainer(tree_space(2), small_task()),
         "where the architecture is data"),
        (_trained_translation, "to train a translation model"),
        (lambda: Translator.load("model"), "to translate"),
        (lambda: _joined("a:1", "b:1"), "where several workers train"),
    ],
)  # fmt: skip
def test_what_tensorflow_alone_can_do_is_refused(call, purpose, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    message = f"KERAS_BACKEND must be 'tensorflow' {purpose}. Received: 'torch'"
    with pytest.raises(ValueError, match=message):
        call()


def test_one_worker_may_have_another_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert _joined("a:1") == 1


_TRAINING = """
import pathlib
import sys

from nas_keras.data import build_corpus
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import TrainingConfig
from nas_keras.tasks import train_language_model

def train(workdir, **changes):
    text = "".join("a cell that reads and forgets"[k % 7 :] for k in range(99))
    model = LanguageModelConfig(
        units=6, num_layers=2, batch_size=4, num_steps=12, num_updates=0,
        num_epochs=2, optimizer="adam", learning_rate=0.02, weight_decay=1e-3,
        activation_penalty=0.1, slowness_penalty=0.1, jit_compile=False,
        average="nonmonotone", average_patience=1, dynamic_rate=0.01,
        select="best", snapshot_updates=5, **changes,
    )
    config = TrainingConfig("test", cell="nascell", model=model)
    corpus = build_corpus(text, name="cells")
    return list(train_language_model(config, corpus, pathlib.Path(workdir)))
"""
_ON_JAX = """
for epoch in train(sys.argv[1]):
    print(epoch.train_loss_nats, epoch.validation_loss_nats)
for epoch in train(sys.argv[1] + "_parts", micro_batches=2):
    print(epoch.train_loss_nats, epoch.validation_loss_nats)
for epoch in train(sys.argv[1] + "_dropout", recurrent_dropout=0.2,
                   output_dropout=0.2, embedding_dropout=0.1):
    assert epoch.train_loss_nats < 4
assert "tensorflow" not in sys.modules
"""


def test_a_language_model_trains_on_jax_as_on_tensorflow(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed.")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    result = subprocess.run(
        [sys.executable, "-c", _TRAINING + _ON_JAX, str(tmp_path / "jax")],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    names = {}
    exec(_TRAINING, names)
    epochs = names["train"](tmp_path / "tensorflow")
    epochs += names["train"](tmp_path / "parts", micro_batches=2)
    for line, epoch in zip(result.stdout.splitlines(), epochs, strict=True):
        got = [float(number) for number in line.split()]
        want = [epoch.train_loss_nats, epoch.validation_loss_nats]
        assert got == pytest.approx(want, rel=1e-4)
    metrics = [
        json.loads((tmp_path / name / "result.json").read_text())["metrics"]
        for name in ("jax", "tensorflow")
    ]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
