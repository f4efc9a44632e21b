r"""Training and searching translations: ours and plain Keras, side by side.

These take turns in one process, round after round, on batches of random ids of
the lengths of a corpus of captions:

  lstm, nascell   `TranslationSteps.update`, as a training calls it
  keras           a `keras.Model` of the same size: `Embedding`, `Bidirectional`
                  and `LSTM` layers with residuals, `AdditiveAttention` over the
                  bottom layer's outputs, which feeds all upper layers; trained
                  by `train_on_batch`

Equal in all: units, layers, vocabulary, tied softmax, batches, Adam, clipping,
float32, threads. The attention of Keras's model is not fed to its bottom layer,
which that of GNMT is: its LSTMs run over whole sequences, ours has one loop
over cell and attention.

Then sentences are translated with a beam of 5: ours by `beam_search`, compiled
as one loop; Keras's by the loop that one writes without it: a compiled step for
all hypotheses of a batch, the search in NumPy. Both go on for the same number
of steps, as random weights end no sentence. A last row has our greedy search.

  python benchmarks/translation.py
  python benchmarks/translation.py --units=32 --repeats=2

Times are medians; a ratio is the median of the ratios of rounds. Exit status:
0 done, 1 a first loss was not that of a uniform guess, 2 bad flags.
"""

import dataclasses
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import app
from absl import flags

from nas_keras.cells.spec import load_spec
from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.tasks import TranslationConfig
from nas_keras.tasks import TranslationModel
from nas_keras.tasks import TranslationModelConfig
from nas_keras.tasks.translation_steps import TranslationSteps
from nas_keras.tasks.translation_steps import compiled_search

_REPEATS = flags.DEFINE_integer("repeats", 7, "Timed rounds.", lower_bound=1)
_UNITS = flags.DEFINE_integer("units", 256, "H.", lower_bound=1)
_LAYERS = flags.DEFINE_integer(
    "layers", 3, "Of the encoder and of the decoder.", lower_bound=2
)
_VOCABULARY = flags.DEFINE_integer("vocabulary", 4_000, "V.", lower_bound=10)
_SENTENCES = flags.DEFINE_integer("sentences", 64, "B.", lower_bound=1)
_LENGTHS = flags.DEFINE_list(
    "lengths", ["10", "14", "18", "24"], "Steps of each batch of a round."
)
_THREADS = flags.DEFINE_integer(
    "threads", 0, "Of TensorFlow; 0: all cores.", lower_bound=0
)
_BEAM, _RATE, _CLIP_NORM = 5, 1e-3, 1.0
_TOLERANCE_NATS = 0.1  # First weights are small, not zero.


@dataclasses.dataclass
class Candidate:
    """Work of a round, and what it took.

    Attributes:
        run: Does it and returns a loss in nats, or 0 for a search.
        wall_s, cpu_s: Of each round; CPU of all threads.
    """

    run: Callable[[], float]
    wall_s: list[float] = dataclasses.field(default_factory=list)
    cpu_s: list[float] = dataclasses.field(default_factory=list)

    def run_round(self) -> None:
        """Runs and keeps the times."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.run()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)

    def times_of(self, other: "Candidate") -> list[float]:
        """Returns how many times as long as the other each round took."""
        pairs = zip(self.wall_s, other.wall_s, strict=True)
        return [a / b for a, b in pairs]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns sources and targets int32 [B, T] of a round."""
    rng = np.random.default_rng(0)
    found = []
    for length in map(int, _LENGTHS.value):
        shape = (_SENTENCES.value, length)
        ids = rng.integers(END + 1, _VOCABULARY.value, (2, *shape), np.int32)
        ids[:, :, -1] = END
        found.append((ids[0], ids[1]))
    return found


def our_steps(cell: str) -> TranslationSteps:
    """Returns a model of a cell and its steps, without dropout."""
    shape = TranslationModelConfig(
        units=_UNITS.value, num_layers=_LAYERS.value, dropout=0.0
    )
    config = TranslationConfig(
        "benchmark", model=shape, clip_norm=_CLIP_NORM, label_smoothing=0.0
    )
    size, spec = _VOCABULARY.value, load_spec(cell)
    return TranslationSteps(
        lambda: TranslationModel(shape, spec, size, size), config
    )


@dataclasses.dataclass(frozen=True)
class KerasTranslation:
    """Plain Keras's model.

    Attributes:
        model: (source, target inputs) to logits, for training.
        encoder: Source to memory and first states.
        step: (token, memory, states) to logits and states.
    """

    model: keras.Model
    encoder: keras.Model
    step: keras.Model


def keras_translation() -> KerasTranslation:
    """Returns the model of GNMT's size from Keras's layers."""
    units, num = _UNITS.value, _LAYERS.value
    layers = keras.layers
    options = {"return_sequences": True, "return_state": True}
    embedding = layers.ReversibleEmbedding(_VOCABULARY.value, units)
    both = layers.Bidirectional(layers.LSTM(units, **options))
    uni = [layers.LSTM(units, **options) for _ in range(num - 1)]
    decoder = [layers.LSTM(units, **options) for _ in range(num)]
    attention = layers.AdditiveAttention()
    join = layers.Concatenate()

    def encode(source: Any) -> tuple[Any, list[Any]]:
        x, _, _, *states = both(embedding(source))
        states = [states]
        for place, layer in enumerate(uni):
            outputs, *after = layer(x)
            x = layers.add([outputs, x]) if place else outputs
            states.append(after)
        return x, states

    def decode(target: Any, memory: Any, states: Any) -> tuple[Any, Any]:
        x, *after = decoder[0](embedding(target), initial_state=states[0])
        context, new = attention([x, memory]), [after]
        for place, layer in enumerate(decoder[1:], start=1):
            outputs, *after = layer(
                join([x, context]), initial_state=states[place]
            )
            x = layers.add([outputs, x]) if place > 1 else outputs
            new.append(after)
        return embedding(x, reverse=True), new

    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    memory, states = encode(source)
    logits, _ = decode(target, memory, states)
    given = keras.Input((None, units))
    carried = [[keras.Input((units,)) for _ in range(2)] for _ in range(num)]
    found = KerasTranslation(
        keras.Model([source, target], logits),
        keras.Model(source, [memory, states]),
        keras.Model(
            [target, given, carried], list(decode(target, given, carried))
        ),
    )
    rng = np.random.default_rng(0)
    for weight in found.model.trainable_weights:
        weight.assign(rng.uniform(-0.1, 0.1, weight.shape))
    found.model.compile(
        keras.optimizers.Adam(_RATE, global_clipnorm=_CLIP_NORM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return found


def keras_beam_search(peer: KerasTranslation) -> Callable[..., np.ndarray]:
    """Returns a function of sources and a number of steps, to ids."""
    encode = tf.function(peer.encoder, reduce_retracing=True)
    step = tf.function(peer.step, reduce_retracing=True)

    def search(source: np.ndarray, num_steps: int) -> np.ndarray:
        num, beam = len(source), _BEAM
        memory, states = encode(source)
        memory = np.repeat(memory, beam, axis=0)
        states = [[np.repeat(s, beam, axis=0) for s in of] for of in states]
        tokens = np.full((num * beam, 1), BEGIN, np.int32)
        total = np.where(np.arange(beam) == 0, 0.0, -np.inf)
        total = np.repeat(total[None], num, axis=0)
        ids = np.zeros((num, beam, 0), np.int32)
        for _ in range(num_steps):
            logits, states = step([tokens, memory, states])
            log_probs = tf.nn.log_softmax(logits[:, 0]).numpy()
            log_probs[:, : END + 1] = -np.inf  # None ends.
            size = log_probs.shape[-1]
            joint = total[..., None] + log_probs.reshape(num, beam, size)
            joint = joint.reshape(num, -1)
            best = np.argpartition(-joint, beam, axis=1)[:, :beam]
            total = np.take_along_axis(joint, best, axis=1)
            origins, words = best // size, best % size
            rows = (np.arange(num)[:, None] * beam + origins).ravel()
            states = [[tf.gather(s, rows) for s in of] for of in states]
            ids = np.take_along_axis(ids, origins[..., None], axis=1)
            ids = np.concatenate([ids, words[..., None]], axis=-1)
            tokens = words.reshape(-1, 1).astype(np.int32)
        return ids

    return search


def trainings(data: Sequence[Any]) -> dict[str, Candidate]:
    """Returns what trains, each on all batches in a round."""

    def ours(cell: str) -> Candidate:
        steps = our_steps(cell)
        return Candidate(
            lambda: [steps.update(*pair, _RATE, 0) for pair in data][0]
        )

    peer = keras_translation().model

    def train() -> float:
        losses = []
        for source, target in data:
            begins = np.full_like(target[:, :1], BEGIN)
            inputs = np.concatenate([begins, target[:, :-1]], axis=1)
            losses.append(peer.train_on_batch([source, inputs], target))
        return float(losses[0])

    return {
        "lstm": ours("lstm"),
        "nascell": ours("nascell"),
        "keras": Candidate(train),
    }


def searches(data: Sequence[Any]) -> dict[str, Candidate]:
    """Returns what searches, each for all sources in a round."""
    model = our_steps("lstm").model
    # No sentence may end before the others do: none does.
    table = np.array(model.target_embedding.embeddings)
    table[END] = 0.0
    model.target_embedding.embeddings.assign(table)

    def ours(beam: int) -> Candidate:
        search = compiled_search(model, beam, 0.0, 0.0)

        def run() -> float:
            for source, _ in data:
                limits = np.full(len(source), source.shape[1], np.int32)
                np.array(search(source, limits).ids)
            return 0.0

        return Candidate(run)

    peer = keras_beam_search(keras_translation())

    def plain() -> float:
        for source, _ in data:
            peer(source, source.shape[1])
        return 0.0

    return {
        f"lstm, beam {_BEAM}": ours(_BEAM),
        f"keras, beam {_BEAM}": Candidate(plain),
        "lstm, greedy": ours(1),
    }


def run_rounds(candidates: dict[str, Candidate]) -> dict[str, float]:
    """Runs all in turn, after a warm-up; returns their first losses."""
    first = {name: c.run() for name, c in candidates.items()}  # And compiles.
    for _ in range(_REPEATS.value):
        for candidate in candidates.values():
            candidate.run_round()
    return first


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
    if _THREADS.value:
        tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    data = batches()
    tokens = sum(target.size for _, target in data)
    training, searching = trainings(data), searches(data)
    uniform = math.log(_VOCABULARY.value)
    for name, loss_nats in run_rounds(training).items():
        if not abs(loss_nats - uniform) < _TOLERANCE_NATS:
            print(
                f"{name} begins at {loss_nats:.3f} nats; uniform guess: "
                f"{uniform:.3f}.",
                file=sys.stderr,
            )
            sys.exit(1)
    run_rounds(searching)
    sentences = len(data) * _SENTENCES.value
    table = rich.table.Table("", "per second", "ms a round", "CPU s a round")
    for unit, num, candidates in (
        ("target tokens", tokens, training),
        ("sentences", sentences, searching),
    ):
        for name, candidate in candidates.items():
            wall_s = statistics.median(candidate.wall_s)
            table.add_row(
                name,
                f"{num / wall_s:,.0f} {unit}",
                f"{1e3 * wall_s:,.0f}",
                f"{statistics.median(candidate.cpu_s):.2f}",
            )
    rich.console.Console().print(table)
    beam, peer, greedy = searching.values()
    ratios = {
        "lstm_over_keras": training["keras"].times_of(training["lstm"]),
        "nascell_time_over_lstm": training["nascell"].times_of(
            training["lstm"]
        ),
        "beam_over_keras": peer.times_of(beam),
        "beam_time_over_greedy": beam.times_of(greedy),
    }
    print(*(f"{k}={statistics.median(v):.2f}" for k, v in ratios.items()))


if __name__ == "__main__":
    app.run(main)
