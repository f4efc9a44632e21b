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
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import measuring
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.subwords import BEGIN
from nas_keras.data.subwords import END
from nas_keras.tasks import TranslationModel
from nas_keras.tasks import TranslationModelConfig
from nas_keras.tasks import TranslationTraining
from nas_keras.tasks.translation.steps import TranslationSteps
from nas_keras.tasks.translation.steps import compiled_search

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
    training = TranslationTraining(
        model=shape, clip_norm=_CLIP_NORM, label_smoothing=0.0
    )
    size, spec = _VOCABULARY.value, load_spec(cell)
    return TranslationSteps(
        lambda: TranslationModel(shape, spec, size, size), training, seed=0
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


class _KerasLayers:
    """Keras's layers of the size of GNMT's, and how data goes through them."""

    def __init__(self, units: int, num_layers: int) -> None:
        layers = keras.layers

        def lstm() -> keras.layers.Layer:
            return layers.LSTM(units, return_sequences=True, return_state=True)

        self.embedding = layers.ReversibleEmbedding(_VOCABULARY.value, units)
        self.both = layers.Bidirectional(lstm())
        self.encoder = [lstm() for _ in range(num_layers - 1)]
        self.decoder = [lstm() for _ in range(num_layers)]
        self.attention = layers.AdditiveAttention()
        self.join = layers.Concatenate()

    def encode(self, source: Any) -> tuple[Any, list[Any]]:
        """Returns memory and last states."""
        x, _, _, *states = self.both(self.embedding(source))
        states = [states]
        for place, layer in enumerate(self.encoder):
            outputs, *after = layer(x)
            x = keras.layers.add([outputs, x]) if place else outputs
            states.append(after)
        return x, states

    def decode(self, target: Any, memory: Any, states: Any) -> tuple[Any, Any]:
        """Returns logits and last states."""
        bottom, *upper = self.decoder
        x, *after = bottom(self.embedding(target), initial_state=states[0])
        context, new = self.attention([x, memory]), [after]
        for place, layer in enumerate(upper, start=1):
            outputs, *after = layer(
                self.join([x, context]), initial_state=states[place]
            )
            x = keras.layers.add([outputs, x]) if place > 1 else outputs
            new.append(after)
        return self.embedding(x, reverse=True), new


def keras_translation() -> KerasTranslation:
    """Returns the model of GNMT's size from Keras's layers."""
    units, num = _UNITS.value, _LAYERS.value
    layers = _KerasLayers(units, num)
    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    memory, states = layers.encode(source)
    logits, _ = layers.decode(target, memory, states)
    given = keras.Input((None, units))
    carried = [[keras.Input((units,)) for _ in range(2)] for _ in range(num)]
    found = KerasTranslation(
        keras.Model([source, target], logits),
        keras.Model(source, [memory, states]),
        keras.Model(
            [target, given, carried],
            list(layers.decode(target, given, carried)),
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


def trainings(data: Sequence[Any]) -> dict[str, Callable[[], float]]:
    """Returns what trains on all batches and gives the loss of the first."""

    def ours(cell: str) -> Callable[[], float]:
        steps = our_steps(cell)
        return lambda: [steps.update(*pair, _RATE, 0) for pair in data][0]

    peer = keras_translation().model

    def train() -> float:
        losses = []
        for source, target in data:
            begins = np.full_like(target[:, :1], BEGIN)
            inputs = np.concatenate([begins, target[:, :-1]], axis=1)
            losses.append(peer.train_on_batch([source, inputs], target))
        return float(losses[0])

    return {"lstm": ours("lstm"), "nascell": ours("nascell"), "keras": train}


def searches(data: Sequence[Any]) -> dict[str, Callable[[], None]]:
    """Returns what searches for all sources."""
    model = our_steps("lstm").model
    # No sentence may end before the others do: none does.
    table = np.array(model.target_embedding.embeddings)
    table[END] = 0.0
    model.target_embedding.embeddings.assign(table)

    def ours(beam: int) -> Callable[[], None]:
        search = compiled_search(model, beam, 0.0, 0.0)

        def run() -> None:
            for source, _ in data:
                limits = np.full(len(source), source.shape[1], np.int32)
                np.array(search(source, limits).ids)

        return run

    peer = keras_beam_search(keras_translation())

    def plain() -> None:
        for source, _ in data:
            peer(source, source.shape[1])

    return {
        f"lstm, beam {_BEAM}": ours(_BEAM),
        f"keras, beam {_BEAM}": plain,
        "lstm, greedy": ours(1),
    }


def _check_first_losses(training: Mapping[str, Callable[[], float]]) -> None:
    """Trains once, which compiles, and ends if it began elsewhere."""
    uniform = math.log(_VOCABULARY.value)
    for name, train in training.items():
        loss_nats = train()
        if not abs(loss_nats - uniform) < _TOLERANCE_NATS:
            measuring.fail(
                f"{name} begins at {loss_nats:.3f} nats; uniform guess: "
                f"{uniform:.3f}.",
                status=1,
            )


def _print_table(
    groups: Sequence[tuple[str, int, Mapping[str, measuring.Times]]],
) -> None:
    """Prints units, how many a round has, and the times of candidates."""
    table = rich.table.Table("", "per second", "ms a round", "CPU s a round")
    for unit, num, candidates in groups:
        for name, times in candidates.items():
            wall_s = statistics.median(times.wall_s)
            table.add_row(
                name,
                f"{num / wall_s:,.0f} {unit}",
                f"{1e3 * wall_s:,.0f}",
                f"{statistics.median(times.cpu_s):.2f}",
            )
    rich.console.Console().print(table)


def main() -> None:
    """Measures, prints a table and a line of headline figures."""
    if _THREADS.value:
        tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    data = batches()
    training, searching = trainings(data), searches(data)
    _check_first_losses(training)
    trained = measuring.in_turn(training, _REPEATS.value)
    measuring.in_turn(searching, 1)  # Compiles.
    searched = measuring.in_turn(searching, _REPEATS.value)
    tokens = sum(target.size for _, target in data)
    sentences = len(data) * _SENTENCES.value
    _print_table(
        [
            ("target tokens", tokens, trained),
            ("sentences", sentences, searched),
        ]
    )
    lstm, nascell, peer = trained.values()
    beam, beam_of_peer, greedy = searched.values()
    ratios = {
        "lstm_over_keras": peer.over(lstm),
        "nascell_time_over_lstm": nascell.over(lstm),
        "beam_over_keras": beam_of_peer.over(beam),
        "beam_time_over_greedy": beam.over(greedy),
    }
    measuring.print_figures(
        {name: f"{statistics.median(its):.2f}" for name, its in ratios.items()}
    )


if __name__ == "__main__":
    measuring.run(main)
