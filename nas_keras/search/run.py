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
from nas_keras.controllers.controller import FrozenController
from nas_keras.controllers.controller import RandomController
from nas_keras.controllers.policy_gradient import PolicyGradientController
from nas_keras.data.text import Corpus
from nas_keras.search import configuration
from nas_keras.search import finished
from nas_keras.search.child_trainer import ChildTrainer
from nas_keras.search.cluster import Cluster
from nas_keras.search.evaluator import Evaluator
from nas_keras.search.loop import search
from nas_keras.search.presets import SearchConfig
from nas_keras.search.presets import parameters_of_retrained
from nas_keras.search.progress import Progress
from nas_keras.search.retrain import Candidate
from nas_keras.search.retrain import best_distinct
from nas_keras.search.retrain import retrain
from nas_keras.search.shared_weights import SharedWeights
from nas_keras.search.trial import Trial
from nas_keras.search.workdir import held
from nas_keras.spaces.space import Space
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
            `random` in it; what is derived with shared weights, `derived` in
            each; retrained cells are in `retrained.jsonl`; the best
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
    space = config.make_space()
    searches = _Searches(config, corpus, space, progress, cluster)
    is_random = config.controller == "random"
    own = best_distinct(
        searches.best(
            "search", _controller(config, space), workdir, config.seed, True
        ),
        config.retrain_top,
        "random" if is_random else "controller",
    )
    if is_random or not config.random_baseline:
        return own, []
    trials = searches.best(
        "random search",
        RandomController(space),
        workdir / "random",
        # Other noise than the controller's, the same seed of the children.
        config.seed + 1_000_003,
        False,
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
        entropy_bonus=config.entropy_bonus,
        temperature=config.temperature,
        tanh_constant=config.tanh_constant,
        clip=config.ppo_clip,
        num_epochs=config.ppo_epochs,
        num_minibatches=config.ppo_minibatches,
    )


def _evaluator(
    config: SearchConfig, corpus: Corpus, space: Space
) -> ChildTrainer | SharedWeights:
    task = LanguageModelTask(config.child, corpus)
    if config.evaluator == "scratch":
        return ChildTrainer(space, task, config.reward, config.reward_constant)
    return SharedWeights(
        space,
        task,
        config.reward,
        config.reward_constant,
        num_phases=config.num_phases,
        steps_per_phase=config.steps_per_phase,
        windows_per_reward=config.windows_per_reward,
        seed=config.seed,
    )


class _Searches:
    """The searches of a run: they share evaluator, settings and cluster."""

    def __init__(
        self,
        config: SearchConfig,
        corpus: Corpus,
        space: Space,
        progress: MakeProgress,
        cluster: Cluster,
    ):
        self._config = config
        self._corpus = corpus
        self._evaluator = _evaluator(config, corpus, space)
        self._progress = progress
        self._cluster = cluster

    def best(
        self,
        label: str,
        controller: Controller,
        workdir: Path,
        seed: int,
        is_held: bool,
    ) -> list[Trial]:
        """Returns the trials of a search that its best cells are among.

        Those of children trained from scratch are all of them. Rewards by
        shared weights are on little text and of changing weights: there, they
        are architectures derived from the controller once it is trained.
        """
        config, evaluator = self._config, self._evaluator
        num = config.num_trials
        trials = self._search(
            label, controller, evaluator, num, workdir, seed, is_held
        )
        if isinstance(evaluator, ChildTrainer):
            return trials
        return self._search(
            f"{label} derived",
            FrozenController(controller),
            evaluator.scorer(),
            config.derive_trials,
            workdir / "derived",
            seed + 2_000_003,
            False,
        )

    def _search(
        self,
        label: str,
        controller: Controller,
        evaluator: Evaluator,
        num_trials: int,
        workdir: Path,
        seed: int,
        is_held: bool,
    ) -> list[Trial]:
        config, cluster = self._config, self._cluster
        with self._progress(
            label, num_trials, "children", cluster.size
        ) as display:

            def show(trial: Trial) -> None:
                score = trial.evaluation
                display.advance(trial.id, score.elapsed_s, score.reward)

            if isinstance(evaluator, SharedWeights):
                evaluator.on_updated = lambda done, total: display.note(
                    f"training shared weights, {done:,} of {total:,} updates"
                )
            trials = []
            for trial in search(
                controller,
                evaluator,
                num_trials,
                workdir,
                batch_size=config.batch_size,
                cluster=cluster,
                seed=seed,
                evaluation_seed=config.seed,
                baseline=EMABaseline(
                    config.baseline_decay, config.normalize_advantage
                ),
                settings=configuration.settings_of(config, self._corpus),
                evaluate_again=config.evaluate_again,
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
