"""A whole run: search, random baseline of the same budget, retraining.

Each phase continues where an earlier call was stopped.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_keras.cells.spec import CellSpec
from nas_keras.cells.spec import load_spec
from nas_keras.cells.spec import save_spec
from nas_keras.controllers.baseline import EMABaseline
from nas_keras.controllers.controller import Controller
from nas_keras.controllers.controller import RandomController
from nas_keras.controllers.policy_gradient import PolicyGradientController
from nas_keras.data.text import Corpus
from nas_keras.search import configuration
from nas_keras.search import files
from nas_keras.search.child_trainer import ChildTrainer
from nas_keras.search.journal import Journal
from nas_keras.search.loop import search
from nas_keras.search.presets import SearchConfig
from nas_keras.search.progress import Progress
from nas_keras.search.retrain import Candidate
from nas_keras.search.retrain import best_distinct
from nas_keras.search.retrain import retrain
from nas_keras.search.trial import Trial
from nas_keras.spaces.space import Space
from nas_keras.spaces.tree import tree_space
from nas_keras.tasks.language_model import LanguageModelTask


def run(
    config: SearchConfig,
    corpus: Corpus,
    workdir: Path,
    progress: Callable[[str, int, str], Progress] = Progress,
) -> CellSpec | None:
    """Runs a search to its end, or continues it.

    Args:
        config: `SearchConfig`.
        corpus: The text.
        workdir: Folder of all results. The random baseline has a folder
            `random` in it; retrained cells are in `retrained.jsonl`; the best
            found cell, by validation after retraining, in `best_cell.json`.
        progress: Makes the display of a phase.

    Returns:
        The best found cell, or None if no child was feasible.

    Raises:
        ValueError: As `search` does.
        SearchError: As `search` does.
    """
    space = tree_space(config.base, config.combines, config.activations)
    evaluator = ChildTrainer(
        space,
        LanguageModelTask(config.child, corpus),
        config.reward,
        config.reward_constant,
    )

    def phase(label: str, controller: Controller, folder: Path, seed: int):
        return _search(label, config, controller, evaluator, folder, seed,
                       progress)  # fmt: skip

    trials = phase("search", _controller(config, space), workdir, config.seed)
    origin = "random" if config.controller == "random" else "controller"
    own = best_distinct(trials, config.retrain_top, origin)
    others = []
    if config.random_baseline and config.controller != "random":
        # Other noise than the controller's, the same seed of the children.
        random_trials = phase(
            "random search",
            RandomController(space),
            workdir / "random",
            config.seed + 1_000_003,
        )
        others = best_distinct(random_trials, config.retrain_top, "random")
    published = [
        Candidate(load_spec(name), "published")
        for name in config.retrain_published
    ]
    with files.exclusive(workdir):
        records = _retrain(
            config, corpus, workdir, [*own, *others, *published], progress
        )
        best = _best_found(records, own, workdir)
        if best is not None:
            save_spec(best, workdir / "best_cell.json")
    return best


def _controller(config: SearchConfig, space: Space) -> Controller:
    if config.controller == "random":
        return RandomController(space)
    return PolicyGradientController(
        space,
        loss=config.controller,
        seed=config.seed,
        units=config.controller_units,
        num_layers=config.controller_layers,
        init_scale=config.controller_init_scale,
        learning_rate=config.controller_learning_rate,
        entropy_weight=config.entropy_weight,
    )


def _search(
    label: str,
    config: SearchConfig,
    controller: Controller,
    evaluator: ChildTrainer,
    workdir: Path,
    seed: int,
    progress: Callable[[str, int, str], Progress],
) -> list[Trial]:
    trials: list[Trial] = []
    with progress(label, config.num_trials, "children") as display:
        for trial in search(
            controller,
            evaluator,
            config.num_trials,
            workdir,
            batch_size=config.batch_size,
            seed=seed,
            evaluation_seed=config.seed,
            baseline=EMABaseline(
                config.baseline_decay, config.normalize_advantage
            ),
            settings=configuration.settings_of(config, evaluator.task.corpus),
        ):
            trials.append(trial)
            rewards = [t.evaluation.reward for t in trials]
            best = max((r for r in rewards if r is not None), default=None)
            text = "no feasible child" if best is None else f"best {best:.4g}"
            display.advance(trial.evaluation.elapsed_s, text)
    return trials


def _retrain(
    config: SearchConfig,
    corpus: Corpus,
    workdir: Path,
    candidates: list[Candidate],
    progress: Callable[[str, int, str], Progress],
) -> list[dict[str, Any]]:
    task = LanguageModelTask(config.retrain, corpus)
    journal = Journal(workdir / "retrained.jsonl")
    total = len(candidates) * config.retrain_seeds
    records = []
    with progress("retraining", total, "trainings") as display:
        for record in retrain(
            candidates,
            task,
            config.retrain_parameters,
            config.retrain_seeds,
            journal,
        ):
            records.append(record)
            perplexity = record["metrics"].get("validation_perplexity")
            text = f"{record['cell']} seed {record['seed']}: " + (
                f"validation perplexity {perplexity:.4g}"
                if perplexity
                else str(record["infeasible"])
            )
            display.advance(record["elapsed_s"], text)
    return records


def _best_found(
    records: list[Mapping[str, Any]], found: list[Candidate], workdir: Path
) -> CellSpec | None:
    """Returns the found cell of the lowest mean validation loss."""
    losses: dict[tuple[str, int | None], list[float]] = {}
    for record in records:
        key = (record["origin"], record["trial"])
        loss_nats = record["metrics"].get("validation_loss_nats")
        losses.setdefault(key, []).append(
            float("inf") if loss_nats is None else loss_nats
        )
    ranked = sorted(
        (sum(values) / len(values), candidate.trial, candidate)
        for candidate in found
        for values in [losses[candidate.origin, candidate.trial]]
    )
    if not ranked:
        return None
    loss_nats, trial, candidate = ranked[0]
    provenance = {
        **candidate.spec.provenance,
        "run": str(workdir),
        "trial": trial,
        "retrained_validation_loss_nats": loss_nats,
    }
    return dataclasses.replace(candidate.spec, provenance=provenance)
