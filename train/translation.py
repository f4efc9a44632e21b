r"""Trains a translation model of any cell, to its BLEU on the test set.

The same command again goes on where it was stopped, or prints the result of a
finished training. WORKDIR then has result.json, history.csv, a learning curve,
the translations of the test set, and the folder model/, which translates.

Examples:
  nas-translation --preset=demo --workdir=runs/demo_mt
  nas-translation --preset=multi30k --data_dir=multi30k --workdir=runs/de
  nas-translation --preset=multi30k --data_dir=multi30k --workdir=runs/nas \
      --cell=nascell --init_scale=0.25
  nas-translation --model=runs/de/model --translate=english.txt
  nas-translation --model=runs/de/model --translate=english.txt \
      --alignment=first_line.png

--data_dir is a folder with two files for each part, train.en and train.de and
so on, perhaps with .gz, or en.train.txt and de.train.txt; or of prepared
TensorFlow Datasets. The other flags override values of the preset. Where the
environment names several workers (TF_CONFIG, Slurm), they train together, and
so do the GPUs of one machine.

Exit status: 0 done (and again 0 when run again), 1 the training diverged or
memory was short, 2 bad input, 74 the disk failed. From 128 on, the same command
goes on from there: 130 interrupted, 143 stopped by SIGTERM, 144 another worker
was lost.
"""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import rich.console
from absl import app
from absl import flags

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.data.parallel import has_text
from nas_keras.data.sources import read_text_file
from nas_keras.distribute import cluster
from nas_keras.distribute import exits
from nas_keras.distribute import topology
from nas_keras.programs import flags as command_line
from nas_keras.programs import worker
from nas_keras.programs.progress import Progress
from nas_keras.programs.progress import TrainingSpeed
from nas_keras.recipes.trainings import TRANSLATION_PRESETS
from nas_keras.storage import run_config
from nas_keras.tasks.training.loop import TrainingError
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.task import TranslationTask

_NAME = "nas-translation"
_PLAIN_INTERVAL_S = 30.0  # Between lines, where there is no terminal.

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of snapshots and results."
)
_PRESET = flags.DEFINE_enum(
    "preset",
    "demo",
    sorted(TRANSLATION_PRESETS),
    "Values that the other flags override.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of the pairs' files, or of prepared TensorFlow Datasets.",
)
_TENSORBOARD = flags.DEFINE_boolean(
    "tensorboard", False, "Whether to write events to WORKDIR/tensorboard."
)
_DEVICES = flags.DEFINE_list(
    "devices",
    [],
    "Devices of this machine that train together, such as GPU:0,GPU:1; "
    "default: its GPUs, if there are several.",
)
_CLUSTER = flags.DEFINE_enum(
    "cluster",
    "auto",
    topology.RESOLVERS,
    "Where the environment says who trains together.",
)
_MODEL = flags.DEFINE_string(
    "model", None, "Folder model/ of a training, to translate with."
)
_TRANSLATE = flags.DEFINE_string(
    "translate", None, "Text file to translate with --model, line by line."
)
_ALIGNMENT = flags.DEFINE_string(
    "alignment",
    None,
    "Path of a .png file for the attention of the first line's translation.",
)


_FLAGS = command_line.define(
    flags,
    TranslationConfig,
    without=["preset"],
    short=command_line.short_names(TranslationConfig),
    either=[
        ("training.num_updates", "training.num_epochs"),
        ("training.num_epochs", "training.num_updates"),
        ("training.batch_tokens", "training.batch_sentences"),
        ("training.batch_sentences", "training.batch_tokens"),
        ("training.model.units", "training.parameters"),
    ],
)
# Flags that also say how --model translates.
_OF_SEARCH = ("beam", "length_penalty", "coverage_penalty")


def config_from_flags() -> TranslationConfig:
    """Returns the preset with the flags that were given put in.

    Raises:
        ValueError: If a value is out of range.
    """
    return _FLAGS.apply(TRANSLATION_PRESETS[_PRESET.value])


def main(argv: Sequence[str]) -> None:
    """Trains the model that the flags describe, or translates with one.

    Raises:
        SystemExit: With the status of the module's docstring.
    """
    with exits.one_line(_NAME, TrainingError):
        command_line.check_no_arguments(argv)
        command_line.check_printable(
            flags, ("workdir", "data_dir", "model", "translate", "alignment")
        )
        if _MODEL.value or _TRANSLATE.value or _ALIGNMENT.value:
            _translate()
            return
        config, corpus, workdir = _checked_arguments()
        workers = topology.from_environment(os.environ, _CLUSTER.value)
        num_workers = len(workers.addresses) if workers else 1
        cluster.check_dataset(config.data.dataset, num_workers)
        if not (workdir / "result.json").exists():
            task = TranslationTask.of(config.training, corpus)
            config.training.sized(load_spec(config.cell), *task.sizes)
            _train(config, task, workdir, workers)
        if workers is None or workers.index == 0:
            _print_result(workdir)
        if workers is not None:
            exits.end(exits.DONE)


def _checked_arguments() -> tuple[
    TranslationConfig, ParallelCorpus, pathlib.Path
]:
    """Returns what to train; fails before anything is loaded or written."""
    if not _WORKDIR.value:
        raise ValueError("--workdir must be given, or --model to translate.")
    if _TENSORBOARD.value:
        command_line.check_library("tensorboard", "tensorboard", "tensorboard")
    config = config_from_flags()
    spec = load_spec(config.cell)
    cluster.prepare_to_read(config.data.dataset, config.num_threads)
    corpus = config.data.open(_DATA_DIR.value)
    workdir = pathlib.Path(_WORKDIR.value)
    settings = {"settings": config.settings(spec, corpus)}
    run_config.check(workdir, settings)
    return config, corpus, workdir


def _train(
    config: TranslationConfig,
    task: TranslationTask,
    workdir: pathlib.Path,
    workers: topology.Topology | None,
) -> None:
    if workers is not None:
        workers.check_port()
    exits.leave_on_signals(_NAME)
    worker.quieten_tensorflow(workers is not None)
    with worker.joined(_NAME, workers, config.num_threads) as joined:
        _train_together(config, task, workdir, joined)


def _train_together(
    config: TranslationConfig,
    task: TranslationTask,
    workdir: pathlib.Path,
    joined: cluster.Cluster,
) -> None:
    from nas_keras import report
    from nas_keras.distribute import replicas
    from nas_keras.tasks.translation import training as translation

    console = rich.console.Console(
        soft_wrap=True, highlight=False, quiet=not joined.is_chief
    )
    together = replicas.replicas_of(joined, _DEVICES.value)
    num_epochs = config.training.num_epochs
    with Progress(
        load_spec(config.cell).name,
        num_epochs or 1,
        "epochs" if num_epochs else "training",
        console=console,
        plain_interval_s=_PLAIN_INTERVAL_S,
    ) as display:
        speed = TrainingSpeed(display)
        epochs = translation.train_translation(
            config, task.corpus, workdir, speed.tell, together, task
        )
        for epoch in report.recorded(
            epochs,
            workdir,
            speed.has_been_told,
            joined.is_chief,
            _TENSORBOARD.value,
        ):
            if num_epochs:
                display.advance(epoch.epoch, epoch.elapsed_s, text="")
            console.print(_line_of(epoch), markup=False)


def _line_of(epoch: Any) -> str:
    return (
        f"epoch {epoch.epoch}  training {epoch.train_loss_nats:.4f}"
        f"  validation {epoch.validation_loss_nats:.4f} nats"
        f"  BLEU {epoch.validation_bleu:.2f}"
        f"  rate {epoch.learning_rate:.4g}  {epoch.elapsed_s:.0f} s"
    )


def _print_result(workdir: pathlib.Path) -> None:
    with command_line.reading_result(workdir) as result:
        metrics = result["metrics"]
        print(
            f"{result['cell']['name']}, {result['units']} units, "
            f"{result['parameters']:,} weights, {result['training_pairs']:,} "
            f"pairs, {result['epochs']} epochs; weights of {result['weights']}"
        )
        for part in ("validation", "test"):
            print(
                f"{part}: perplexity {metrics[f'{part}_perplexity']:.2f}"
                f"  BLEU greedy {metrics[f'{part}_greedy_bleu']:.2f}"
                f"  beam {metrics[f'{part}_beam_bleu']:.2f}"
                f"  chrF beam {metrics[f'{part}_beam_chrf']:.2f}"
            )
        print(f"BLEU: {result['signatures']['bleu']}")
        print(f"Model: {workdir / 'model'}")


def _translate() -> None:
    """Prints the translation of each line of a file."""
    folder, lines = _checked_translation()
    worker.quieten_tensorflow(has_peers=False)
    config, given = config_from_flags(), _FLAGS.given()
    cluster.limit_threads(config.num_threads if "num_threads" in given else 0)
    from nas_keras.tasks.translation.translator import Translator

    translator = Translator.load(folder)
    options = {
        name: getattr(config.training, name)
        for name in _OF_SEARCH
        if f"training.{name}" in given
    }
    found = translator.translate(lines, **options)
    for translation in found:
        print(translation.text)
    if _ALIGNMENT.value:
        from nas_keras import report

        alignment = translator.align(lines[0], found[0].text)
        report.plot_alignment(
            alignment.source,
            alignment.target,
            alignment.weights,
            pathlib.Path(_ALIGNMENT.value),
        )


def _checked_translation() -> tuple[str, list[str]]:
    """Returns the folder of the model and the lines to translate."""
    folder, path = _MODEL.value, _TRANSLATE.value
    if not folder or not path:
        name = "translate" if folder else "model"
        raise ValueError(
            f"--{name} must be given to translate: --model=FOLDER "
            "--translate=FILE."
        )
    ours = {"model", "translate", "alignment", "num_threads", *_OF_SEARCH}
    ours |= {f"training.{name}" for name in _OF_SEARCH}
    others = [name for name in _names_of_flags() if name not in ours]
    command_line.check_left_out(flags, others, "with --model")
    config_from_flags()  # Refuses a value that is out of range.
    command_line.check_output(flags, "alignment", ".png")
    text = read_text_file(path, "translate")
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if not has_text(line):
            raise ValueError(
                "Each line of --translate must have text. Received: "
                f"--translate={path!r}, whose line {number} of {len(lines)} is "
                "empty."
            )
    if not (pathlib.Path(folder) / "model.keras").is_file():
        raise ValueError(
            "--model must be a folder that a training has written, with "
            f"model.keras in it. Received: --model={folder!r}."
        )
    return folder, lines


def _names_of_flags() -> list[str]:
    every = flags.FLAGS.get_key_flags_for_module(sys.modules[__name__])
    return [flag.name for flag in every] + [*_FLAGS.holders]


def run() -> None:
    """Runs the program; the console script `nas-translation`."""
    app.run(main, flags_parser=command_line.parser(flags, _NAME, __name__))


if __name__ == "__main__":
    run()
