r"""Searches a cell on a text of yours, by calls of the library.

`nas-search` does this and more: a random baseline, workers, a report. Here is
the loop itself, for a program of your own. With a workdir it goes on where it
was stopped.

  python examples/search_own_text.py
  python examples/search_own_text.py --text_file=book.txt --trials=160
"""

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app
from absl import flags

from nas_keras.cells import load_spec
from nas_keras.cells import save_spec
from nas_keras.controllers import PolicyGradientController
from nas_keras.data import open_corpus
from nas_keras.search import ChildTrainer
from nas_keras.search import search
from nas_keras.spaces import tree_space
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask

_TEXT_FILE = flags.DEFINE_string(
    "text_file", None, "UTF-8 text; default: the embedded one."
)
_BASE = flags.DEFINE_integer("base", 8, "Leaves of the tree.")
_TRIALS = flags.DEFINE_integer("trials", 40, "Children.")
_UPDATES = flags.DEFINE_integer("updates", 120, "Updates of a child.")
_RETRAIN = flags.DEFINE_integer("retrain", 400, "Updates of a retraining.")
_JIT_COMPILE = flags.DEFINE_boolean(
    "jit_compile", True, "Whether XLA compiles: seconds at first, then faster."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Of the journal, if any.")
_SAVE = flags.DEFINE_string("save", "found_cell.json", "Path of the cell.")

# The recipe of the demo preset, which was chosen for characters.
_CHILD = LanguageModelConfig(
    units=32,
    num_steps=20,
    learning_rate=1e-2,
    schedule="cosine",
    clip_norm=0.1,
    init_scale=0.15,
    max_validation_tokens=12_000,
)


def main(argv: Sequence[str]) -> None:
    """Searches, retrains the best beside published cells, saves it."""
    del argv
    corpus = open_corpus(text_file=_TEXT_FILE.value, level="char")
    child = _CHILD.replace(
        num_updates=_UPDATES.value, jit_compile=_JIT_COMPILE.value
    )
    space = tree_space(_BASE.value)
    controller = PolicyGradientController(space, learning_rate=0.03)
    evaluator = ChildTrainer(
        space, LanguageModelTask(child, corpus), reward="c/ppl", c=1.0
    )
    rewards = {}  # Of the feasible children, by cell.
    for trial in search(
        controller, evaluator, _TRIALS.value, _WORKDIR.value, batch_size=5
    ):
        evaluation = trial.evaluation
        print(trial.id, evaluation.infeasible or f"{evaluation.reward:.4f}")
        if evaluation.reward is not None:
            rewards[trial.spec] = evaluation.reward

    # A child's reward is a guess: what counts is a longer training, beside
    # cells that cost no search, with as many weights as an LSTM of 32 units.
    longer = child.replace(num_updates=_RETRAIN.value)
    task = LanguageModelTask(longer, corpus)
    num = task.size(load_spec("lstm")).parameters
    best = max(rewards, key=rewards.get)
    for spec in (best, load_spec("lstm"), load_spec("gru")):
        sized = task.resized(spec, num)
        figures = sized.train(spec, seed=1)
        print(
            f"{spec.name}: {sized.size(spec).parameters:,} weights, perplexity "
            f"{figures['validation_perplexity']:.3f} on validation, "
            f"{figures['test_perplexity']:.3f} on test"
        )
    save_spec(best, _SAVE.value)
    print(f"Cell: {_SAVE.value}")


if __name__ == "__main__":
    app.run(main)
