r"""Training a language model: ours, plain Keras, PyTorch; tokens per second.

The sizes are those of training presets. At each of them these take turns in
one process, round after round:

  lstm       `LanguageModelSteps.updates` with the cell lstm, as a training
             calls it: several updates a call, carried states, each loss read
  nascell    the same with the cell nascell, of as many units
  keras      `keras.layers.LSTM`, stateful; a round is a call of `model.fit`
             without a display
  keras_xla  the same with `jit_compile=True`, which Keras omits on a CPU
  torch      `torch.nn.LSTM` in the loop of PyTorch's own word language model;
             left out where PyTorch is not installed

Equal in all: units, layers, the softmax, with its bias, tied to the embedding
or not, batch, steps, random tokens, carried states, gradients clipped by their
global norm, SGD and its rate, float32, threads. First weights are uniform, in
Keras the very ones of lstm, so that losses are the same. Of the biases of a
cell, if it has any, PyTorch adds two. Nothing is dropped out: each framework
would do so in another way.

  python benchmarks/language_model.py
  python benchmarks/language_model.py --sizes=zaremba_small --units=32 --steps=2

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
# PyTorch's OpenMP takes this by itself if it has more threads than cores; with
# TensorFlow's there are. Else threads that wait keep a core busy for
# milliseconds, and where others need it PyTorch was 20 times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import keras
import measuring
import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags

from nas_keras.cells.language.spec import load_spec
from nas_keras.data import Corpus
from nas_keras.tasks import TRAINING_PRESETS
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import TrainingConfig
from nas_keras.tasks.language_model.config import DROPOUTS
from nas_keras.tasks.language_model.model import cell_model
from nas_keras.tasks.language_model.steps import LanguageModelSteps
from nas_keras.tasks.language_model.steps import stream_array
from nas_keras.tasks.language_model.steps import windows_of
from nas_keras.tasks.training.loop import MOST_AT_ONCE
from nas_keras.tasks.training.variables import initial_weights

try:
    import torch
except ImportError:
    torch = None

# Those of words, by SGD, of one width, without penalties.
_PRESETS = [f"zaremba_{name}" for name in ("small", "medium", "large")]
_PRESETS += [f"zoph2016_ptb_{name}" for name in ("25m", "32m", "54m")]
_SIZES = flags.DEFINE_list(
    "sizes", ["zaremba_small", "zoph2016_ptb_25m"], f"Of {_PRESETS}."
)
_REPEATS = flags.DEFINE_integer("repeats", 11, "Timed rounds.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "steps", 20, "Training steps of a round.", lower_bound=1
)
_THREADS = flags.DEFINE_integer(
    "threads", 0, "Of each framework; 0: all cores.", lower_bound=0
)
_UNITS = flags.DEFINE_integer(
    "units", None, "Instead of the presets' units.", lower_bound=1
)

_VOCABULARY_SIZE = 10_000
_UNIFORM_NATS = math.log(_VOCABULARY_SIZE)
_TOLERANCE_NATS = 0.1  # First weights are small, not zero.
_GOALS = {"lstm_over_keras": ">= 1", "nascell_time_over_lstm": "<= 1.5"}


@dataclasses.dataclass(frozen=True)
class Size:
    """What all candidates have in common.

    Attributes:
        training: A preset without dropout, its units decided.
        corpus: Random tokens.
        windows: int32 [B, T+1] each, as a training cuts them.
    """

    training: TrainingConfig
    corpus: Corpus
    windows: list[np.ndarray]

    @property
    def config(self) -> LanguageModelConfig:
        """Model and training step."""
        return self.training.model

    def multiply_adds(self, cell: str) -> int:
        """Returns those of our matrix products, forward, for a token."""
        units = self.config.units
        cost = load_spec(cell).cost(units, units)
        layers = self.config.num_layers * cost.multiply_adds
        return layers + units * _VOCABULARY_SIZE


@dataclasses.dataclass
class Candidate:
    """A model in training, and what was measured of it.

    Attributes:
        train: Trains on so many windows, from the first on, and returns the
            mean loss in nats.
        parameters: Trainable weights.
        first_nats: Loss before the first step.
        last_nats: Mean loss of the last round.
        times: Of each round.
    """

    train: Callable[[int], float]
    parameters: int
    first_nats: float = math.nan
    last_nats: float = math.nan
    times: measuring.Times = dataclasses.field(default_factory=measuring.Times)

    def run_round(self) -> None:
        """Trains for a round."""
        self.last_nats = self.train(_STEPS.value)


def size_of(preset: str) -> Size:
    """Returns a preset's size, at the units that its cell gives it."""
    training = TRAINING_PRESETS[preset]
    config = training.model
    length = config.batch_size * (_STEPS.value * config.num_steps + 1)
    rng = np.random.default_rng(0)
    tokens = rng.integers(_VOCABULARY_SIZE, size=length, dtype=np.int32)
    names = tuple(map(str, range(_VOCABULARY_SIZE)))
    corpus = Corpus("random", "word", names, tokens, tokens, tokens)
    if _UNITS.value:
        config = config.replace(units=_UNITS.value)
    else:
        config = training.sized(load_spec(training.cell), corpus)
    config = config.replace(schedule="constant", **dict.fromkeys(DROPOUTS, 0.0))
    training = training.replace(model=config, parameters=0)
    text = stream_array(tokens, config.batch_size)
    places = windows_of(text.shape[1], config.num_steps, 0, 0, vary=False)
    windows = [text[:, begin : begin + t + 1] for begin, t in places]
    return Size(training, corpus, windows)


def ours(size: Size, cell: str) -> Candidate:
    """Returns our training, as `train_language_model` does it."""
    config, tokens = size.config, size.corpus.train
    model = cell_model(config, _VOCABULARY_SIZE, load_spec(cell))
    steps = LanguageModelSteps(model, len(tokens))
    steps.begin(size.training.seed)
    text = tf.constant(stream_array(tokens, config.batch_size), tf.int32)
    states = model.initial_states(config.batch_size)

    def train(num: int) -> float:
        nonlocal states
        losses: list[float] = []
        while len(losses) < num:
            first, count = len(losses), min(num - len(losses), MOST_AT_ONCE)
            some, states = steps.updates(text, first, count, states)
            losses += some.tolist()
        return statistics.fmean(losses)

    return Candidate(train, steps.model.count_params())


class _Bias(keras.layers.Layer):
    """Adds a bias, which `ReversibleEmbedding` has not."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.bias = self.add_weight(shape=input_shape[-1:])

    def call(self, inputs: Any) -> Any:
        return inputs + self.bias


def keras_model(config: LanguageModelConfig, seed: int) -> keras.Model:
    """Returns the same model from Keras's layers, its weights those of ours."""
    units, shape = config.units, (config.batch_size, config.num_steps)
    tokens = keras.Input(batch_shape=shape, dtype="int32")
    embedding = keras.layers.ReversibleEmbedding(_VOCABULARY_SIZE, units)
    x = embedding(tokens)
    for _ in range(config.num_layers):
        x = keras.layers.LSTM(
            units,
            use_bias=config.use_bias,
            return_sequences=True,
            stateful=True,
        )(x)
    head = _Bias() if config.tied else keras.layers.Dense(_VOCABULARY_SIZE)
    x = embedding(x, reverse=True) if config.tied else x
    model = keras.Model(tokens, head(x))
    body = len(model.trainable_weights) - len(head.trainable_weights)
    # In the order of ours, the head's before those of the layers.
    weights = model.trainable_weights[body:] + model.trainable_weights[:body]
    arrays = initial_weights(
        [weight.shape for weight in weights], config.init_scale, seed
    )
    for weight, array in zip(weights, arrays, strict=True):
        weight.assign(array)
    return model


def plain_keras(size: Size, jit_compile: bool | str = "auto") -> Candidate:
    """Returns a training by `model.fit` of a `tf.data.Dataset`."""
    config = size.config
    model = keras_model(config, size.training.seed)
    model.compile(
        keras.optimizers.SGD(
            config.learning_rate, global_clipnorm=config.clip_norm
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    windows = np.stack(size.windows)
    pairs = (windows[..., :-1], windows[..., 1:])
    data = tf.data.Dataset.from_tensor_slices(pairs)

    def train(num: int) -> float:
        batches = data.take(num).prefetch(tf.data.AUTOTUNE)
        history = model.fit(batches, shuffle=False, verbose=0).history
        return history["loss"][0]

    return Candidate(train, model.count_params())


def torch_model(config: LanguageModelConfig) -> Any:
    """Returns embedding, LSTM and softmax, a `torch.nn.ModuleList`."""
    torch.manual_seed(0)
    units, scale = config.units, config.init_scale
    embedding = torch.nn.Embedding(_VOCABULARY_SIZE, units)
    lstm = torch.nn.LSTM(units, units, config.num_layers, config.use_bias)
    softmax = torch.nn.Linear(units, _VOCABULARY_SIZE)
    if config.tied:
        softmax.weight = embedding.weight
    model = torch.nn.ModuleList([embedding, lstm, softmax])
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -scale, scale)
    return model


def plain_torch(size: Size) -> Candidate:
    """Returns a training by the loop that is usual with PyTorch."""
    config = size.config
    model = torch_model(config)
    embedding, lstm, softmax = model
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate)
    loss_of = torch.nn.CrossEntropyLoss()
    # Time first, as its layers are faster.
    windows = [torch.tensor(w.T, dtype=torch.int64) for w in size.windows]
    shape = (config.num_layers, config.batch_size, config.units)
    states = (torch.zeros(shape), torch.zeros(shape))

    def train(num: int) -> float:
        nonlocal states
        losses = []
        for window in windows[:num]:
            optimizer.zero_grad()
            states = tuple(state.detach() for state in states)
            x, states = lstm(embedding(window[:-1]), states)
            loss = loss_of(softmax(x).flatten(0, 1), window[1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            losses.append(loss.item())
        return statistics.fmean(losses)

    return Candidate(train, sum(w.numel() for w in model.parameters()))


def measured(size: Size) -> dict[str, Candidate]:
    """Runs all candidates in turn, `--repeats` times after a warm-up."""
    candidates = {
        "lstm": ours(size, "lstm"),
        "nascell": ours(size, "nascell"),
        "keras": plain_keras(size),
        "keras_xla": plain_keras(size, jit_compile=True),
        **({"torch": plain_torch(size)} if torch else {}),
    }
    for name, candidate in candidates.items():
        candidate.first_nats = candidate.train(1)  # And compiles.
        first = candidate.first_nats
        if not abs(first - _UNIFORM_NATS) < _TOLERANCE_NATS:
            expected = f"uniform guess: {_UNIFORM_NATS:.3f}"
            measuring.fail(
                f"{name} begins at {first:.3f} nats; {expected}.", status=1
            )
        candidate.run_round()
    calls = {name: its.run_round for name, its in candidates.items()}
    for name, times in measuring.in_turn(calls, _REPEATS.value).items():
        candidates[name].times = times
    return candidates


def ratios_of(
    size: Size, candidates: Mapping[str, Candidate]
) -> dict[str, list[float]]:
    """Returns ratios of all rounds: of speeds where no time is named."""
    peers = {name: candidate.times for name, candidate in candidates.items()}
    lstm, nascell = peers.pop("lstm"), peers.pop("nascell")
    products = size.multiply_adds("nascell") / size.multiply_adds("lstm")
    return {
        "nascell_multiply_adds_over_lstm": [products],
        "nascell_time_over_lstm": nascell.over(lstm),
        **{f"lstm_over_{k}": peer.over(lstm) for k, peer in peers.items()},
    }


def report(console: rich.console.Console, preset: str) -> dict[str, str]:
    """Measures a size and prints it; returns its headline figures."""
    size, headline = size_of(preset), {}
    candidates, config = measured(size), size.config
    num_tokens = _STEPS.value * config.batch_size * config.num_steps
    table = rich.table.Table(
        "", "tokens/s", "CPU s/1000 tokens", "parameters", "first nats",
        "last nats",
        title=f"{preset}: {config.num_layers} layers of {config.units} units, "
        f"{config.num_steps} steps, {'tied' if config.tied else 'not tied'}",
    )  # fmt: skip
    for name, of in candidates.items():
        rate = f"{num_tokens / statistics.median(of.times.wall_s):.0f}"
        cpu_s = statistics.median(of.times.cpu_s) * 1000 / num_tokens
        table.add_row(
            name, rate, f"{cpu_s:.3f}", f"{of.parameters:,}",
            f"{of.first_nats:.3f}", f"{of.last_nats:.3f}",
        )  # fmt: skip
        headline[f"{preset}_{name}_tokens_per_s"] = rate
    console.print(table)
    table = rich.table.Table("ratio", "median", "lowest to highest", "goal")
    for name, ratios in ratios_of(size, candidates).items():
        median = f"{statistics.median(ratios):.2f}"
        spread = measuring.range_text(ratios)
        table.add_row(name, median, spread, _GOALS.get(name, ""))
        headline[f"{preset}_{name}"] = median
    console.print(table)
    return headline


def main() -> None:
    """Measures, prints tables and a line of headline figures."""
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    if torch:
        torch.set_num_threads(_THREADS.value or os.cpu_count())
    else:
        print("PyTorch is not installed: torch is left out.")
    console, figures = rich.console.Console(width=120), {}
    for preset in _SIZES.value:
        figures |= report(console, preset)
        keras.backend.clear_session()
    measuring.print_figures(figures)


@flags.validator("sizes", f"must be of {_PRESETS}")
def _are_presets(sizes: Sequence[str]) -> bool:
    return bool(sizes) and set(sizes) <= set(_PRESETS)


if __name__ == "__main__":
    measuring.run(main)
