"""A whole run: search, random baseline of the same budget, retraining.

Each phase continues where an earlier call was stopped.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_keras import libraries
from nas_keras.cells.language.spec import CellSpec
from nas_keras.distribute.cluster import Cluster
from nas_keras.distribute.share import Record
from nas_keras.experiment.config import SearchConfig
from nas_keras.experiment.finals import Candidate
from nas_keras.experiment.finals import Trainings
from nas_keras.experiment.finals import remove_begun
from nas_keras.experiment.finals import retrain
from nas_keras.experiment.image_search import ImageSearch
from nas_keras.experiment.named_spaces import IMAGES
from nas_keras.experiment.named_spaces import TEXT
from nas_keras.experiment.searches import MakeProgress
from nas_keras.experiment.searches import Searches
from nas_keras.experiment.settings import SearchData
from nas_keras.experiment.subject import Subject
from nas_keras.experiment.text_search import TextSearch
from nas_keras.programs.progress import Progress
from nas_keras.search.workdir import held
from nas_keras.storage import finished
from nas_keras.storage import run_config
from nas_keras.tasks.images.config import NetSpec

_SUBJECTS: dict[str, type[Subject]] = {TEXT: TextSearch, IMAGES: ImageSearch}


def run(
    config: SearchConfig,
    data: SearchData,
    workdir: Path,
    progress: MakeProgress = Progress,
    cluster: Cluster | None = None,
) -> CellSpec | NetSpec | None:
    """Runs a search to its end, or continues it.

    Each worker of a cluster calls this function with the same arguments.

    Args:
        config: `SearchConfig`.
        data: The text or the images.
        workdir: Folder of all results. The random baseline has a folder
            `random` in it; what is derived with shared weights, `derived` in
            each; a search whose networks grow, `depth_06` and so on in each;
            retrained architectures are in `retrained.jsonl`; the best found
            one, by validation after retraining, in `best_cell.json` or
            `best_network.json`.
        progress: Makes the display of a phase.
        cluster: The workers; default: this process alone.

    Returns:
        The best found cell or network, or None if none could be retrained;
        then the file of the best is the search's own. With `depth_first` there
        is none then: each depth has its own, in its folder.

    Raises:
        ValueError: As `search` does, or if Keras's backend is not TensorFlow.
        SearchError: As `search` does.
        PeerLostError: As `search` does.
    """
    libraries.check_tensorflow("to search")
    cluster = cluster or Cluster()
    subject = _SUBJECTS[config.kind](config, data)
    with held(workdir, cluster):
        if config.depth_first and cluster.is_chief:
            # Each depth has its own; this one is of the whole.
            whole = {"settings": subject.settings}
            run_config.check(workdir, whole)
            run_config.write(workdir, whole)
        found = Searches(subject, progress, cluster).found(workdir)
        retraining = _Retraining(subject, workdir, progress, cluster)
        others = [*subject.drawn(), *subject.published()]
        records = retraining.run("retraining", [*found, *others])
        best = _best_found(subject, records, found, workdir)
        if best is not None:
            equals = subject.matched_to(best)
            retraining.run("retraining of equal cost", equals)
        if cluster.is_chief:
            remove_begun(workdir)
            if best is not None:
                subject.save(best, workdir)
            finished.mark(workdir, subject.whole)
        cluster.broadcast(b"")  # Nobody leaves before all is written.
    return best


class _Retraining:
    """The retraining of a run, in one journal."""

    def __init__(
        self,
        subject: Subject,
        workdir: Path,
        progress: MakeProgress,
        cluster: Cluster,
    ):
        self._subject = subject
        self._trainings: Trainings = subject.trainings()
        self._workdir = workdir
        self._progress = progress
        self._cluster = cluster

    def run(self, label: str, candidates: Sequence[Candidate]) -> list[Record]:
        """Returns the records of candidates, trained now or earlier."""
        if not candidates:
            return []
        num_seeds = self._subject.config.retrain_seeds
        total, size = len(candidates) * num_seeds, self._cluster.size
        with self._progress(label, total, "trainings", size) as display:

            def show(place: int, record: dict[str, Any]) -> None:
                text = str(record["infeasible"])
                if record["infeasible"] is None:
                    text = self._subject.describe(record["metrics"])
                text = f"{record['cell']} seed {record['seed']}: {text}"
                display.advance(place, record["elapsed_s"], text=text)

            records = []
            for place, record in enumerate(
                retrain(
                    candidates,
                    self._trainings,
                    num_seeds,
                    self._workdir,
                    self._cluster,
                    show,
                )
            ):
                show(place, record)
                records.append(record)
        return records


def _best_found(
    subject: Subject,
    records: Sequence[Mapping[str, Any]],
    found: list[Candidate],
    workdir: Path,
) -> CellSpec | NetSpec | None:
    """Returns what was found that is best by the mean over seeds.

    What failed with one of its seeds is not a candidate.
    """
    figures: dict[tuple[str, int | None], list[Any]] = {}
    for record in records:
        key = (record["origin"], record["trial"])
        figure = record["metrics"].get(subject.figure)
        figures.setdefault(key, []).append(figure)
    sign = -1 if subject.is_more_better else 1
    ranked = [
        (sign * sum(values) / len(values), index)
        for index, candidate in enumerate(found)
        for values in [figures[candidate.origin, candidate.trial]]
        if None not in values
    ]
    if not ranked:
        return None
    figure, index = min(ranked)
    candidate = found[index]
    provenance = {
        **candidate.spec.provenance,
        "run": str(workdir),
        "found_by": candidate.origin,
        "trial": candidate.trial,
        "reward": candidate.reward,
        f"retrained_{subject.figure}": sign * figure,
    }
    return dataclasses.replace(candidate.spec, provenance=provenance)
