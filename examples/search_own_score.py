r"""Searches a space of yours by a score of yours.

The space: cells with one gate, of which the controller chooses the equations.
The score: how well a small Keras model of the cell learns to add the two
marked numbers of a sequence, less a price for each weight. Any function that
returns a number will do; what it raises makes an architecture infeasible.

  python examples/search_own_score.py
  python examples/search_own_score.py --trials=36
"""

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from absl import app
from absl import flags

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.controllers import PolicyGradientController
from nas_keras.search import FunctionEvaluator
from nas_keras.search import search
from nas_keras.spaces import Choice
from nas_keras.spaces import Space

_TRIALS = flags.DEFINE_integer("trials", 12, "Architectures to score.")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Of each model's training.")

_UNITS, _STEPS = 16, 12
_PRICE = 1e-6  # Of a weight, in units of the squared error.
_CHOICES = (
    Choice("gate_reads", ("linear(x)", "linear(h)", "linear(x) + linear(h)")),
    Choice("candidate", ("tanh", "relu", "sin", "identity")),
    Choice("keeps", ("g * h", "h", "(1 - g) * h")),
)


def decode(tokens: Sequence[int]) -> CellSpec:
    """Returns the cell that the tokens stand for."""
    reads, candidate, keeps = (
        choice.options[token]
        for choice, token in zip(_CHOICES, tokens, strict=True)
    )
    return CellSpec(
        f"one_gate_{'_'.join(map(str, tokens))}",
        [
            f"g = sigmoid({reads})",
            f"n = {candidate}(linear(x) + linear(h))",
            f"next_h = {keeps} + g * n",
        ],
        states=["h"],
    )


def adding_problem(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns sequences [B, T, 2] of numbers and marks, and sums [B, 1].

    Reference:
        [Hochreiter & Schmidhuber, 1997](
        https://doi.org/10.1162/neco.1997.9.8.1735), experiment 4.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros((num, _STEPS, 2), np.float32)
    x[..., 0] = rng.random((num, _STEPS))
    for row in x:
        row[rng.choice(_STEPS, size=2, replace=False), 1] = 1
    return x, np.sum(x[..., 0] * x[..., 1], axis=1, keepdims=True)


def score(spec: CellSpec) -> float:
    """Returns what the search maximizes."""
    keras.utils.set_random_seed(0)
    layer = NASRNN(_UNITS, spec, use_bias=True, jit_compile=False)
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2, clipnorm=1.0), "mse")
    model.fit(*adding_problem(800, seed=0), 50, _EPOCHS.value, verbose=0)
    error = model.evaluate(*adding_problem(500, seed=1), verbose=0)
    keras.backend.clear_session()
    return -error - _PRICE * layer.count_params()


def main(argv: Sequence[str]) -> None:
    """Searches and prints the best cell."""
    del argv
    space = Space(_CHOICES, decode, name="one_gate")
    controller = PolicyGradientController(space)
    evaluator = FunctionEvaluator(space, score)
    trials = []
    for trial in search(controller, evaluator, _TRIALS.value, batch_size=4):
        trials.append(trial)
        evaluation = trial.evaluation
        said = evaluation.infeasible or f"{evaluation.reward:.4f}"
        print(trial.id, trial.spec.name, said)
    best = max(
        (trial for trial in trials if trial.evaluation.reward is not None),
        key=lambda trial: trial.evaluation.reward,
    )
    print(
        f"best of {len(trials)}, in a space of {space.size}: "
        f"{best.evaluation.reward:.4f}"
    )
    print("\n".join(best.spec.equations))


if __name__ == "__main__":
    app.run(main)
