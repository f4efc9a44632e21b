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
from nas_keras.search import finished
from nas_keras.search.child_trainer import ChildTrainer
from nas_keras.search.cluster import Cluster
from nas_keras.search.loop import search
from nas_keras.search.presets import SearchConfig
from nas_keras.search.presets import parameters_of_retrained
from nas_keras.search.progress import Progress
from nas_keras.search.retrain import Candidate
from nas_keras.search.retrain import best_distinct
from nas_keras.search.retrain import retrain
from nas_keras.search.trial import Trial
from nas_keras.search.workdir import held
from nas_keras.spaces.space import Space
from nas_keras.spaces.tree import tree_space
from nas_keras.tasks.language_model import LanguageModelTask

# Label, total, what an item is, number of workers -> the display of a phase.
MakeProgress = Callable[[str, int, str, int], Progress]


def run(
    config: SearchConfig,
    corpus: Corpus,
    workdir: Path,
    progress: MakeProgress = Progress,
    cluster: Cluster | None = None,
) -> CellSpec | None:
    """Runs a search to its end, or continues it.

    Each worker of a cluster calls this function with the same arguments.

    Args:
        config: `SearchConfig`.
        corpus: The text.
        workdir: Folder of all results. The random baseline has a folder
            `random` in it; retrained cells are in `retrained.jsonl`; the best
            found cell, by validation after retraining, in `best_cell.json`.
        progress: Makes the display of a phase.
        cluster: The workers; default: this process alone.

    Returns:
        The best found cell, or None if no found cell could be retrained;
        then `best_cell.json` is the search's own.

    Raises:
        ValueError: As `search` does.
        SearchError: As `search` does.
        PeerLostError: As `search` does.
    """
    cluster = cluster or Cluster()
    with held(workdir, cluster):
        own, others = _found(config, corpus, workdir, progress, cluster)
        published = [
            Candidate(load_spec(name), "published")
            for name in config.retrain_published
        ]
        candidates = [*own, *others, *published]
        records = _retrain(
            config, corpus, workdir, candidates, progress, cluster
        )
        best = _best_found(records, [*own, *others], workdir)
        if cluster.is_chief:
            if best is not None:
                save_spec(best, workdir / "best_cell.json")
            finished.mark(workdir, configuration.whole_of(config, corpus))
        cluster.broadcast(b"")  # Nobody leaves before all is written.
    return best


def _found(
    config: SearchConfig,
    corpus: Corpus,
    workdir: Path,
    progress: MakeProgress,
    cluster: Cluster,
) -> tuple[list[Candidate], list[Candidate]]:
    """Returns the best cells of the search and of the random baseline."""
    space = tree_space(config.base, config.combines, config.activations)
    evaluator = ChildTrainer(
        space,
        LanguageModelTask(config.child, corpus),
        config.reward,
        config.reward_constant,
    )
    is_random = config.controller == "random"
    own = best_distinct(
        _search(
            "search",
            config,
            _controller(config, space),
            evaluator,
            workdir,
            config.seed,
            progress,
            cluster,
        ),
        config.retrain_top,
        "random" if is_random else "controller",
    )
    if is_random or not config.random_baseline:
        return own, []
    trials = _search(
        "random search",
        config,
        RandomController(space),
        evaluator,
        workdir / "random",
        # Other noise than the controller's, the same seed of the children.
        config.seed + 1_000_003,
        progress,
        cluster,
        is_held=False,
    )
    return own, best_distinct(trials, config.retrain_top, "random")


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
    progress: MakeProgress,
    cluster: Cluster,
    is_held: bool = True,
) -> list[Trial]:
    with progress(
        label, config.num_trials, "children", cluster.size
    ) as display:

        def show(trial: Trial) -> None:
            evaluation = trial.evaluation
            display.advance(trial.id, evaluation.elapsed_s, evaluation.reward)

        trials = []
        for trial in search(
            controller,
            evaluator,
            config.num_trials,
            workdir,
            batch_size=config.batch_size,
            cluster=cluster,
            seed=seed,
            evaluation_seed=config.seed,
            baseline=EMABaseline(
                config.baseline_decay, config.normalize_advantage
            ),
            settings=configuration.settings_of(config, evaluator.task.corpus),
            is_held=is_held,
            on_evaluated=show,
        ):
            show(trial)
            trials.append(trial)
    return trials


def _retrain(
    config: SearchConfig,
    corpus: Corpus,
    workdir: Path,
    candidates: list[Candidate],
    progress: MakeProgress,
    cluster: Cluster,
) -> list[dict[str, Any]]:
    total = len(candidates) * config.retrain_seeds
    with progress("retraining", total, "trainings", cluster.size) as display:

        def show(place: int, record: dict[str, Any]) -> None:
            perplexity = record["metrics"].get("validation_perplexity")
            text = f"{record['cell']} seed {record['seed']}: " + (
                f"validation perplexity {perplexity:.4g}"
                if perplexity
                else str(record["infeasible"])
            )
            display.advance(place, record["elapsed_s"], text=text)

        records = []
        for place, record in enumerate(
            retrain(
                candidates,
                LanguageModelTask(config.retrain, corpus),
                parameters_of_retrained(config, corpus),
                config.retrain_seeds,
                workdir,
                cluster,
                show,
            )
        ):
            show(place, record)
            records.append(record)
    return records


def _best_found(
    records: list[Mapping[str, Any]], found: list[Candidate], workdir: Path
) -> CellSpec | None:
    """Returns the found cell of the lowest mean validation loss.

    A cell that failed with one of its seeds is not a candidate.
    """
    losses: dict[tuple[str, int | None], list[float | None]] = {}
    for record in records:
        key = (record["origin"], record["trial"])
        loss_nats = record["metrics"].get("validation_loss_nats")
        losses.setdefault(key, []).append(loss_nats)
    ranked = [
        (sum(values) / len(values), index)
        for index, candidate in enumerate(found)
        for values in [losses[candidate.origin, candidate.trial]]
        if None not in values
    ]
    if not ranked:
        return None
    loss_nats, index = min(ranked)
    candidate = found[index]
    provenance = {
        **candidate.spec.provenance,
        "run": str(workdir),
        "found_by": candidate.origin,
        "trial": candidate.trial,
        "retrained_validation_loss_nats": loss_nats,
    }
    return dataclasses.replace(candidate.spec, provenance=provenance)
