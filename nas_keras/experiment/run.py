"""A whole run: search, random baseline of the same budget, finals.

Each phase continues where an earlier call was stopped.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras import libraries
from nas_keras.controllers.controller import RandomController
from nas_keras.controllers.controller import generator_of
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.experiment.experiment import Experiment
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import remove_begun
from nas_keras.experiment.finals import retrain
from nas_keras.experiment.searches import MakeDisplay
from nas_keras.experiment.searches import Searches
from nas_keras.experiment.searches import silent
from nas_keras.search.workdir import held
from nas_keras.search.workdir import save_best
from nas_keras.storage import finished
from nas_keras.storage import run_config

_DRAWING_SEED = 3_000_017  # Apart from the seeds of the searches.


def run(
    experiment: Experiment,
    workdir: Path,
    make_display: MakeDisplay = silent,
    cluster: Cluster | None = None,
) -> Any:
    """Runs a search to its end, or continues it.

    Each worker of a cluster calls this function with the same arguments.

    Args:
        experiment: The configuration and the data.
        workdir: Folder of all results. The random baseline has a folder
            `random` in it; what is derived with shared weights, `derived` in
            each; a search whose networks grow, `depth_06` and so on in each;
            the finals are in `retrained.jsonl`; the best architecture, by the
            mean validation metric of its finals, in `best_cell.json` or
            `best_network.json`.
        make_display: Makes the display of a phase.
        cluster: The workers; default: this process alone.

    Returns:
        The best architecture, or None if none of the search could be trained
        to the end; then the file of the best is the search's own. With growth
        there is none then: each depth has its own, in its folder.

    Raises:
        ValueError: As `search` does, or if Keras's backend is not TensorFlow.
        SearchError: As `search` does.
        PeerLostError: As `search` does.
    """
    libraries.check_tensorflow("to search")
    cluster = cluster or Cluster()
    with held(workdir, cluster):
        if experiment.config.growth and cluster.is_chief:
            # Each depth has its own; this one is of the whole.
            whole = {"settings": experiment.settings}
            run_config.check(workdir, whole)
            run_config.write(workdir, whole)
        searches = Searches(experiment, workdir, make_display, cluster)
        finalists = searches.finalists()
        finals = _Finals(experiment, workdir, make_display, cluster)
        published = [Candidate(s, "published") for s in experiment.published()]
        records = finals.run(
            "retraining", [*finalists, *drawn(experiment), *published]
        )
        best = _best_of(experiment, records, finalists, workdir)
        if best is not None:
            matched = experiment.matched(best)
            finals.run(
                "retraining of equal cost",
                [Candidate(spec, "matched") for spec in matched],
            )
        if cluster.is_chief:
            remove_begun(workdir)
            if best is not None:
                save_best(best, workdir)
            finished.mark(workdir, experiment.whole)
        cluster.broadcast(b"")  # Nobody leaves before all is written.
    return best


def drawn(experiment: Experiment) -> list[Candidate]:
    """Returns architectures drawn at random, not selected."""
    config = experiment.config
    if not config.finals.random:
        return []
    space = config.make_final_space()
    rng = generator_of(config.seed + _DRAWING_SEED, 0)
    proposals = RandomController(space).propose(config.finals.random, rng)
    return [
        Candidate(space.decode(row), "drawn", number)
        for number, row in enumerate(proposals.tokens.tolist())
    ]


class _Finals:
    """The finals of a run, in one journal."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Path,
        make_display: MakeDisplay,
        cluster: Cluster,
    ):
        self._finals = experiment.config.finals
        self._task = experiment.final_task
        self._workdir = workdir
        self._make_display = make_display
        self._cluster = cluster

    def run(self, label: str, candidates: Sequence[Candidate]) -> list[Record]:
        """Returns the records of candidates, trained now or earlier."""
        if not candidates:
            return []
        total = len(candidates) * self._finals.seeds
        with self._make_display(
            label, total, "trainings", self._cluster.size
        ) as display:

            def show(place: int, record: Mapping[str, Any]) -> None:
                text = f"{record['cell']} seed {record['seed']}: "
                if record["infeasible"] is None:
                    text += self._task.metric.describe(record["metrics"])
                else:
                    text += record["infeasible"]
                display.advance(place, record["elapsed_s"], text=text)

            records = []
            for place, record in enumerate(
                retrain(
                    candidates,
                    self._task,
                    self._finals.parameters,
                    self._finals.seeds,
                    self._workdir,
                    self._cluster,
                    show,
                )
            ):
                show(place, record)
                records.append(record)
        return records


def _best_of(
    experiment: Experiment,
    records: Sequence[Mapping[str, Any]],
    finalists: Sequence[Candidate],
    workdir: Path,
) -> Any:
    """Returns the finalist whose mean validation metric is best, or None.

    A finalist that failed with one of its seeds is left out.
    """
    metric = experiment.final_task.metric
    values: dict[Any, list[Any]] = {}
    for record in records:
        key = record["origin"], record["trial"]
        values.setdefault(key, []).append(
            record["metrics"].get(metric.validation)
        )
    means = {
        candidate: float(np.mean(values[candidate.key]))
        for candidate in finalists
        if None not in values[candidate.key]
    }
    if not means:
        return None
    pick = max if metric.is_more_better else min
    best = pick(means, key=means.__getitem__)  # The first of equals.
    provenance = {
        **best.spec.provenance,
        "run": str(workdir),
        "found_by": best.origin,
        "trial": best.trial,
        "reward": best.reward,
        f"retrained_{metric.validation}": means[best],
    }
    return dataclasses.replace(best.spec, provenance=provenance)
