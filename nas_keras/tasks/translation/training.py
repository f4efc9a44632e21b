"""The training of a translation model, to its figures.

    train_translation(config, corpus, workdir) -> TranslationEpoch, ...
    train(task, spec, seed, folder=None) -> metrics

are the same code. Killed anywhere and resumed, it ends with the same weights
but for the last digits: see `TrainingLoop` and `AttentiveRNN`. Axes: B pairs
of a batch, S source and T target subwords.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_keras import libraries
from nas_keras.cells.language.spec import CellSpec
from nas_keras.cells.language.spec import load_spec
from nas_keras.data.parallel import Pair
from nas_keras.data.parallel import ParallelCorpus
from nas_keras.distribute.replicas import OneReplica
from nas_keras.distribute.replicas import Replicas
from nas_keras.storage import files
from nas_keras.storage import run_config
from nas_keras.tasks.task import Metrics
from nas_keras.tasks.training.files import exclusive_workdir
from nas_keras.tasks.training.files import load_weights
from nas_keras.tasks.training.files import save_weights
from nas_keras.tasks.training.loop import MAX_LOSS_NATS
from nas_keras.tasks.training.loop import Diverged
from nas_keras.tasks.training.loop import Record
from nas_keras.tasks.training.loop import TrainingLoop
from nas_keras.tasks.training.loop import Update
from nas_keras.tasks.training.scores import perplexity
from nas_keras.tasks.translation.batches import batches_of
from nas_keras.tasks.translation.batches import places_of_like_length
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig
from nas_keras.tasks.translation.config import known_by
from nas_keras.tasks.translation.model import TranslationModel
from nas_keras.tasks.translation.scores import TranslationScores
from nas_keras.tasks.translation.scores import scores_of
from nas_keras.tasks.translation.steps import TranslationSteps
from nas_keras.tasks.translation.task import TranslationTask
from nas_keras.tasks.translation.translator import Translator

_SCORE_TOKENS = 2_000  # Of a side of a batch that is scored.


@dataclasses.dataclass(frozen=True)
class TranslationEpoch:
    """What one pass over the training pairs came to.

    Attributes:
        epoch: From 1.
        updates: Taken in all.
        learning_rate: Of its last update.
        train_loss_nats: Mean over its updates, of a target subword.
        validation_loss_nats: After it, likewise.
        validation_bleu: Of greedy translations.
        rollbacks: In all.
        elapsed_s: Of training and scoring, sum of all calls that took part.
    """

    epoch: int
    updates: int
    learning_rate: float
    train_loss_nats: float
    validation_loss_nats: float
    validation_bleu: float
    rollbacks: int
    elapsed_s: float


def train_translation(
    config: TranslationConfig,
    corpus: ParallelCorpus,
    workdir: Path,
    on_update: Callable[[Update], None] = lambda update: None,
    replicas: Replicas | None = None,
    task: TranslationTask | None = None,
) -> Iterator[TranslationEpoch]:
    """Trains a translation model to its test figures, or resumes.

    Args:
        config: The cell and its training; its data are not looked at.
        corpus: The pairs.
        workdir: Folder of `config.json`, `checkpoints/`, the best weights in
            `best/`, and at the end `result.json`, the translations of the
            test set and `model/`, which a `Translator` loads. The epochs of
            an earlier call are yielded again.
        on_update: Called with every update.
        replicas: What trains together. All processes call this alike, with
            the same workdir or one of their own, of which only the chief's
            is used.
        task: `TranslationTask.of(config.training, corpus)`, if it is there.

    Yields:
        A `TranslationEpoch` after each pass.

    Raises:
        ValueError: If the workdir belongs to another configuration or is in
            use, or Keras's backend is not TensorFlow.
        TrainingError: If the training diverged again after three times going
            back to a snapshot with half the rate.
    """
    libraries.check_tensorflow("to train a translation model")
    spec = load_spec(config.cell)
    settings = config.settings(spec, corpus)
    task = task or TranslationTask.of(config.training, corpus)
    with _training(
        task, spec, config.seed, Path(workdir), settings, on_update, replicas
    ) as training:
        for record in training.run():
            yield TranslationEpoch(**record)


def train(
    task: TranslationTask,
    spec: CellSpec,
    seed: int,
    folder: Path | None = None,
    on_progress: Callable[[Update], None] | None = None,
) -> Metrics:
    """Trains a model of a cell; see `TranslationTask.train`."""
    libraries.check_tensorflow("to train a translation model")
    settings = {**task.settings(), **known_by(spec, task.corpus), "seed": seed}
    with _training(
        task, spec, seed, folder, settings, on_progress or (lambda update: None)
    ) as run:
        *_, last = run.run()
    result = run.result
    if folder is not None:
        result = files.read_json(folder / "result.json")
    return {
        "train_loss_nats": last["train_loss_nats"],
        **result["metrics"],
        "rollbacks": result["rollbacks"],
        "num_parameters": result["parameters"],
        "elapsed_s": result["elapsed_s"],
    }


@contextlib.contextmanager
def _training(
    task: TranslationTask,
    spec: CellSpec,
    seed: int,
    workdir: Path | None,
    settings: Mapping[str, Any],
    on_update: Callable[[Update], None],
    replicas: Replicas | None = None,
) -> Iterator["_Training"]:
    """Holds the workdir of a training."""
    replicas = replicas or OneReplica()
    # Refuses before any writing.
    model = task.training.sized(spec, *task.sizes)
    with contextlib.ExitStack() as held:
        if workdir is not None and replicas.is_chief:
            folders = ("checkpoints", "best", "epochs", "model")
            held.enter_context(
                exclusive_workdir(workdir, {"settings": settings}, folders)
            )
        yield _Training(
            task, model, spec, seed, workdir, settings, on_update, replicas
        )


class _Training(TrainingLoop):
    """A training on batches of pairs of like length.

    Attributes:
        result: What `result.json` holds, once the training is done.
    """

    # BLEU is 0 until the first word is right.
    best_by = {"validation_bleu": 1, "validation_loss_nats": -1}

    def __init__(
        self,
        task: TranslationTask,
        model: TranslationModelConfig,
        spec: CellSpec,
        seed: int,
        workdir: Path | None,
        settings: Mapping[str, Any],
        on_update: Callable[[Update], None],
        replicas: Replicas,
    ):
        training = task.training
        self._training = training
        self._model = model
        self._spec = spec
        self._task = task
        self._seed = seed
        self._settings = settings
        self.result: dict[str, Any] = {}
        self._lengths = [
            np.array([len(ids) for ids in side])
            for side in (task.pairs.source, task.pairs.target)
        ]
        self._steps = TranslationSteps(
            lambda: TranslationModel(model, spec, *task.sizes),
            training,
            seed,
            replicas,
        )
        self._translator = Translator(
            self._steps.model,
            task.source_subwords,
            task.target_subwords,
            task.corpus.source_language,
            task.corpus.target_language,
            training.beam,
            training.length_penalty,
            training.coverage_penalty,
        )
        # The weights that epochs ended with, where there is no workdir.
        self._ends: dict[int, list[np.ndarray]] = {}
        super().__init__(
            workdir,
            training.num_epochs or training.num_updates / len(self.batches(0)),
            training.num_updates,
            training.snapshot_updates,
            on_update,
            replicas,
        )

    def batches(self, epoch: int) -> list[np.ndarray]:
        source_lengths, target_lengths = self._lengths
        return batches_of(
            source_lengths,
            target_lengths,
            epoch,
            self._seed,
            self._training.batch_tokens,
            self._training.batch_sentences,
            self._training.bucket_width,
        )

    def num_examples(self, batch: np.ndarray) -> int:
        return int(self._lengths[1][batch].sum())

    def begin_epoch(self) -> None:
        """Batches have no state."""

    def update(self, batch: np.ndarray, epochs: float) -> float:
        training, updates = self._training, self.place.updates
        rate = training.schedule.rate_at(
            training.learning_rate, epochs, self.num_epochs
        )
        if updates < training.warmup_updates:
            rate *= (updates + 1) / training.warmup_updates
        self.rate = rate * self.rate_factor()
        arrays = self._task.pairs.batch(batch)
        return self._steps.update(*arrays, self.rate, updates)

    def arrays(self) -> dict[str, np.ndarray]:
        return self._steps.arrays()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._steps.restore(arrays)

    def scores(self) -> Record:
        loss_nats = self._loss_nats(self._task.corpus.validation)
        if not loss_nats < MAX_LOSS_NATS:
            raise Diverged(f"a validation loss of {loss_nats:.4g} nats")
        bleu = self._validation_bleu()
        num, updates = self._training.average_epochs, self.place.updates
        if num > 1:
            weights = self.result_arrays()
            if self.workdir is None:
                self._ends[updates] = weights
            else:
                save_weights(self.workdir / "epochs", updates, weights, num)
        return {"validation_loss_nats": loss_nats, "validation_bleu": bleu}

    def result_arrays(self) -> list[np.ndarray]:
        return self._steps.weights()

    def _validation_bleu(self) -> float:
        pairs = self._task.corpus.validation
        pairs = pairs[: self._training.num_scored or None]
        return self._scored_texts(pairs, beam=1)[0].bleu

    def _scored_texts(
        self, pairs: Sequence[Pair], beam: int
    ) -> tuple[TranslationScores, list[str]]:
        sources = [source for source, _ in pairs]
        found = self._translator.translate(sources, beam)
        texts = [translation.text for translation in found]
        references = [target for _, target in pairs]
        language = self._task.corpus.target_language
        return scores_of(texts, references, language), texts

    def _loss_nats(self, pairs: Sequence[Pair]) -> float:
        """Returns the mean of -log p of a target subword, ends included."""
        encoded = self._task.encoded(pairs)
        total = count = 0.0
        for places in places_of_like_length(encoded.lengths, _SCORE_TOKENS):
            nats, num = self._steps.score(*encoded.batch(places))
            total, count = total + nats, count + num
        return total / count

    # The end.

    def write_result(self) -> None:
        chosen = self._choose_weights()
        metrics, signatures = self._write_translations()
        self.result = {
            "metrics": metrics,
            "signatures": signatures,
            "weights": chosen,
            **self.course(),
            "cell": self._spec.to_dict(),
            "units": self._model.units,
            "parameters": self._model.num_parameters(
                self._spec, *self._task.sizes
            ),
            "vocabulary_sizes": self._task.sizes,
            "training_pairs": len(self._task.pairs),
            "config": self._settings,
            "environment": run_config.environment(),
        }
        if self.workdir is not None:
            self._translator.save(
                self.workdir / "model", config=self._settings, metrics=metrics
            )
            files.write_json(self.workdir / "result.json", self.result)

    def _write_translations(self) -> tuple[dict[str, float], dict[str, str]]:
        """Writes a file of each set and search; returns figures, signatures."""
        corpus = self._task.corpus
        metrics: dict[str, float] = {}
        signatures: dict[str, str] = {}
        for part in ("validation", "test"):
            pairs = getattr(corpus, part)
            loss_nats = self._loss_nats(pairs)
            metrics[f"{part}_loss_nats"] = loss_nats
            metrics[f"{part}_perplexity"] = perplexity(loss_nats)
            for name, beam in (("greedy", 1), ("beam", self._training.beam)):
                scores, texts = self._scored_texts(pairs, beam)
                metrics[f"{part}_{name}_bleu"] = scores.bleu
                metrics[f"{part}_{name}_chrf"] = scores.chrf
                signatures = {
                    "bleu": scores.bleu_signature,
                    "chrf": scores.chrf_signature,
                }
                if self.workdir is not None:
                    file = f"{part}.{name}.{corpus.target_language}"
                    data = "".join(f"{text}\n" for text in texts)
                    files.write_atomically(self.workdir / file, data.encode())
        return metrics, signatures

    def _choose_weights(self) -> str:
        """Takes the best epoch's weights, or the mean if it is no worse."""
        history, best = self.place.history, self.best_epoch()
        self._steps.set_weights(self.best_weights())
        chosen = f"epoch {best['epoch']}"
        num = min(self._training.average_epochs, len(history))
        if num == 1:
            return chosen
        self._steps.set_weights(self._mean_of_epochs(history[-num:]))
        if self._validation_bleu() >= best["validation_bleu"]:
            return f"mean of the last {num} epochs"
        self._steps.set_weights(self.best_weights())
        return chosen

    def _mean_of_epochs(self, records: Sequence[Record]) -> list[np.ndarray]:
        """Returns the mean of the weights that some epochs ended with."""
        sums: list[np.ndarray] = []
        for record in records:
            weights = self._weights_after(record)
            sums = sums or [np.zeros(w.shape, np.float64) for w in weights]
            sums = [a + w for a, w in zip(sums, weights, strict=True)]
        return [(a / len(records)).astype(np.float32) for a in sums]

    def _weights_after(self, record: Record) -> list[np.ndarray]:
        """Returns the weights that an epoch ended with."""
        if self.workdir is None:
            return self._ends[record["updates"]]
        folder = self.workdir / "epochs"
        weights = load_weights(folder, record["updates"])
        if weights is None:
            raise ValueError(
                f"{folder}: the weights of epoch {record['epoch']} are "
                "damaged. Set average_epochs=1, in another workdir."
            )
        return weights
