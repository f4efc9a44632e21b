r"""Trains a translation model of a cell from a JSON file, and translates.

The file is what a search leaves (`best_cell.json`) or what `save_spec` writes;
without one, a small cell is made here. The program does the same, with the
preset's whole training:

  nas-translation --preset=demo --cell=cell.json --workdir=runs/demo_mt

This takes some updates of it, under a minute: the translations are bad.

  python examples/translate_with_cell.py
  python examples/translate_with_cell.py --cell=runs/demo/best_cell.json
"""

import os
import pathlib
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app
from absl import flags

from nas_keras.cells import CellSpec
from nas_keras.cells import save_spec
from nas_keras.data import open_pairs
from nas_keras.tasks import TRANSLATION_PRESETS
from nas_keras.tasks import Translator
from nas_keras.tasks import train_translation

_CELL = flags.DEFINE_string("cell", None, "JSON file of a cell, or a name.")
_PRESET = flags.DEFINE_enum(
    "preset", "demo", sorted(TRANSLATION_PRESETS), "Of the model and training."
)
_UPDATES = flags.DEFINE_integer("updates", 300, "Of the training.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/example_mt", "Of all results.")


def small_cell(path: pathlib.Path) -> str:
    """Writes a cell, in place of one that was found; returns its path."""
    spec = CellSpec(
        "minimal_gate",
        [
            "f = sigmoid(linear(x) + linear(h))",
            "next_h = (1 - f) * h + f * tanh(linear(x) + linear(f * h))",
        ],
        states=["h"],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_spec(spec, path)
    return str(path)


def main(argv: Sequence[str]) -> None:
    """Trains, loads what the training has left, translates."""
    del argv
    workdir = pathlib.Path(_WORKDIR.value)
    preset = TRANSLATION_PRESETS[_PRESET.value]
    config = preset.replace(
        cell=_CELL.value or small_cell(workdir / "cell.json"),
        training=preset.training.replace(
            num_epochs=0, num_updates=_UPDATES.value
        ),
    )
    for epoch in train_translation(config, open_pairs(), workdir / "training"):
        print(
            f"epoch {epoch.epoch}: {epoch.validation_loss_nats:.3f} nats, BLEU "
            f"{epoch.validation_bleu:.1f} on validation"
        )
    translator = Translator.load(workdir / "training" / "model")
    for line in ("3 hours ago", "Italy or Spain"):
        (translation,) = translator.translate([line])
        print(f"{line} -> {translation.text}")


if __name__ == "__main__":
    app.run(main)
