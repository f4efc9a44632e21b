r"""Trains a language model of any cell, to its perplexity on the test text.

The same command again goes on where it was stopped, or prints the result of a
finished training. WORKDIR then has result.json, history.csv, the weights and a
learning curve.

Examples:
  nas-language-model --preset=demo --workdir=runs/demo_lm
  nas-language-model --preset=zaremba_small --data_dir=ptb --workdir=runs/small
  nas-language-model --preset=zaremba_small --data_dir=ptb --cell=gru \
      --parameters=4.65e6 --workdir=runs/gru
  nas-language-model --preset=demo --text_file=book.txt --workdir=runs/book \
      --cell=runs/mine/best_cell.json --generate=500 --export=book.keras

--data_dir is a folder of ptb.train.txt, ptb.valid.txt and ptb.test.txt, or,
with --dataset=folder, of a file for each part of any text. Flags override the
values of the preset.

Exit status: 0 done (and again 0 when run again), 1 the training diverged or
memory was short, 2 bad input, 74 the disk failed. From 128 on, the same command
goes on from there: 130 interrupted, 143 stopped by SIGTERM.
"""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import rich.console
from absl import app
from absl import flags

from nas_keras import data
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.sources import TextData
from nas_keras.distribute import cluster
from nas_keras.distribute import exits
from nas_keras.programs import flags as command_line
from nas_keras.programs import worker
from nas_keras.programs.progress import Progress
from nas_keras.programs.progress import TrainingSpeed
from nas_keras.recipes.language_models import TRAINING_PRESETS
from nas_keras.settings import fields_of
from nas_keras.storage import run_config
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.training.loop import TrainingError

_NAME = "nas-language-model"
_PLAIN_INTERVAL_S = 30.0  # Between lines, where there is no terminal.

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of snapshots and results."
)
_PRESET = flags.DEFINE_enum(
    "preset",
    "demo",
    sorted(TRAINING_PRESETS),
    "Values that the other flags override.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the data set's files, or of prepared TensorFlow Datasets.",
)
_GENERATE = flags.DEFINE_integer(
    "generate", 0, "Tokens of text to generate at the end.", lower_bound=0
)
_PROMPT = flags.DEFINE_string("prompt", "", "Text that --generate continues.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature",
    1.0,
    "Temperature of --generate; 0: the likeliest token.",
    lower_bound=0.0,
)
_EXPORT = flags.DEFINE_string(
    "export", None, "Path of a .keras file for the trained model."
)
_TENSORBOARD = flags.DEFINE_boolean(
    "tensorboard", False, "Whether to write events to WORKDIR/tensorboard."
)


_CONFIG = command_line.define(
    flags,
    TrainingConfig,
    without=["preset"],
    short={
        **{field.name: f"data.{field.name}" for field in fields_of(TextData)},
        **{
            field.name: f"model.{field.name}"
            for field in fields_of(LanguageModelConfig)
        },
    },
    either=[
        ("model.num_updates", "model.num_epochs"),
        ("model.num_epochs", "model.num_updates"),
        ("model.units", "parameters"),
    ],
)


def config_from_flags() -> TrainingConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    implied = {}
    if "data.text_file" in _CONFIG.given():
        implied["data.dataset"] = "embedded"
    return _CONFIG.apply(TRAINING_PRESETS[_PRESET.value], implied)


def main(argv: Sequence[str]) -> None:
    """Trains the model that the flags describe.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    with exits.one_line(_NAME, TrainingError):
        config, corpus, workdir = _checked_arguments(argv)
        if not (workdir / "result.json").exists():
            _train(config, corpus, workdir)
        _print_result(workdir)
        _use(config, corpus, workdir)


def _checked_arguments(
    argv: Sequence[str],
) -> tuple[TrainingConfig, data.Corpus, pathlib.Path]:
    """Returns what to train; fails before anything is loaded or written."""
    command_line.check_no_arguments(argv)
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given.")
    command_line.check_printable(flags, ("workdir", "data_dir", "export"))
    command_line.check_output(flags, "export", ".keras")
    if not _GENERATE.value:
        its = ("prompt", "temperature")
        command_line.check_left_out(flags, its, "without --generate")
    command_line.check_finite(flags, "temperature")
    if _TENSORBOARD.value:
        command_line.check_library("tensorboard", "tensorboard", "tensorboard")
    config = config_from_flags()
    spec = load_spec(config.cell)
    worker.quieten_tensorflow(has_peers=False)
    cluster.prepare_to_read(config.data.dataset, config.num_threads)
    corpus = config.data.open(_DATA_DIR.value)
    config.sized(spec, corpus)
    if _GENERATE.value:
        corpus.encode(_PROMPT.value if _PROMPT.value.strip() else "\n")
    workdir = pathlib.Path(_WORKDIR.value)
    settings = {"settings": config.settings(spec, corpus)}
    run_config.check(workdir, settings)
    return config, corpus, workdir


def _train(
    config: TrainingConfig, corpus: data.Corpus, workdir: pathlib.Path
) -> None:
    exits.leave_on_signals(_NAME)
    cluster.limit_threads(config.num_threads)
    from nas_keras import report
    from nas_keras.tasks.language_model import training

    console = rich.console.Console(soft_wrap=True, highlight=False)
    spec = load_spec(config.cell)
    with Progress(
        spec.name,
        _num_epochs(config.sized(spec, corpus), corpus),
        "epochs",
        console=console,
        plain_interval_s=_PLAIN_INTERVAL_S,
    ) as display:
        speed = TrainingSpeed(display)
        epochs = training.train_language_model(
            config, corpus, workdir, speed.tell
        )
        for epoch in report.recorded(
            epochs, workdir, speed.has_been_told, events=_TENSORBOARD.value
        ):
            line = _line_of(epoch, corpus.level)
            display.advance(epoch.epoch, epoch.elapsed_s, text="")
            console.print(line, markup=False)


def _num_epochs(model: LanguageModelConfig, corpus: data.Corpus) -> int:
    """Returns the epochs of a training, the last perhaps not whole."""
    length = len(corpus.train) // model.batch_size
    num_windows = (length - 1) // model.num_steps
    return model.num_epochs or math.ceil(model.num_updates / num_windows)


def _line_of(epoch: Any, level: str) -> str:
    return (
        f"epoch {epoch.epoch}  training {_score(epoch.train_loss_nats, level)}"
        f"  validation {_score(epoch.validation_loss_nats, level)}"
        f"  rate {epoch.learning_rate:.4g}  {epoch.elapsed_s:.0f} s"
        + ("  averaged" if epoch.averaged else "")
    )


def _score(loss_nats: float, level: str) -> str:
    from nas_keras.tasks.training.scores import bits_per_char
    from nas_keras.tasks.training.scores import perplexity

    if level == "char":
        return f"{bits_per_char(loss_nats):.4f} bits per character"
    return f"perplexity {perplexity(loss_nats):.2f}"


def _print_result(workdir: pathlib.Path) -> None:
    with command_line.reading_result(workdir) as result:
        metrics = result["metrics"]
        level = result["level"]
        print(
            f"{result['cell']['name']}, {result['units']} units, "
            f"{result['parameters']:,} weights, best of {result['epochs']} "
            f"epochs: {result['best_epoch']}"
        )
        for name in sorted(metrics, reverse=True):
            if name.endswith("_loss_nats"):
                part = name.removesuffix("_loss_nats").replace("_", ", ")
                print(f"{part}: {_score(metrics[name], level)}")
        print(f"Result: {workdir / 'result.json'}")


def _use(
    config: TrainingConfig, corpus: data.Corpus, workdir: pathlib.Path
) -> None:
    if not (_GENERATE.value or _EXPORT.value):
        return
    cluster.limit_threads(config.num_threads)
    from nas_keras.tasks.language_model import use

    model = use.trained_model(config, corpus, workdir)
    if _EXPORT.value:
        use.export(model, _EXPORT.value)
        print(f"Model: {_EXPORT.value}")
    if _GENERATE.value:
        text = use.generate(
            model,
            corpus,
            _GENERATE.value,
            _PROMPT.value,
            _TEMPERATURE.value,
            config.seed,
        )
        is_apart = corpus.level == "word" and not text.startswith("\n")
        print(_PROMPT.value, text, sep=" " if is_apart else "")


def run() -> None:
    """Runs the program; the console script `nas-language-model`."""
    app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))


if __name__ == "__main__":
    run()
