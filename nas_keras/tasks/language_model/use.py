"""What a trained language model is for: samples of text, a `.keras` file.

On TensorFlow and on JAX. Axes: B batch, T time steps, V vocabulary.
"""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nas_keras.cells.language.spec import load_spec
from nas_keras.cells.layers.nas_rnn import NASRNN
from nas_keras.data.text import Corpus
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.language_model.model import LanguageModel
from nas_keras.tasks.language_model.model import cell_model
from nas_keras.tasks.training import compilation
from nas_keras.tasks.training.files import Folder
from nas_keras.tasks.training.files import save_model


def trained_model(
    config: TrainingConfig, corpus: Corpus, workdir: str | os.PathLike
) -> LanguageModel:
    """Returns the model of a training, with the weights that it selected.

    Args:
        config: Configuration of the training.
        corpus: Its text.
        workdir: Its folder.

    Raises:
        ValueError: If the workdir has no weights that are whole.
    """
    weights = _selected_weights(config, Folder(Path(workdir)))
    spec = load_spec(config.cell)
    sized = config.sized(spec, corpus)
    model = cell_model(sized, corpus.vocabulary_size, spec)
    for variable, array in zip(model.trainable_variables, weights, strict=True):
        variable.assign(array)
    return model


def _selected_weights(
    config: TrainingConfig, folder: Folder
) -> list[np.ndarray]:
    if config.model.select == "best":
        return folder.best_arrays()
    group = "weight" if config.model.average == "none" else "average"
    arrays = folder.latest() or {}
    names = sorted(name for name in arrays if name.startswith(f"{group}/"))
    if not names:
        raise ValueError("The workdir must have a snapshot. Received: none.")
    return [arrays[name] for name in names]


def generate(
    model: LanguageModel,
    corpus: Corpus,
    num_tokens: int,
    prompt: str = "",
    temperature: float = 1.0,
    seed: int = 0,
) -> str:
    """Returns a sample of text from a model, without the prompt.

    Args:
        model: A trained model.
        corpus: The text it was trained on.
        num_tokens: Words or characters to return.
        prompt: Text that the sample continues; if blank, the end of a line.
        temperature: Temperature of the softmax; 0 takes the likeliest token.
        seed: Seed of the choices.

    Raises:
        ValueError: If `num_tokens` or `temperature` is out of range, or the
            prompt has a character that the vocabulary lacks.
    """
    if num_tokens < 1:
        raise ValueError(
            f"num_tokens must be positive. Received: num_tokens={num_tokens}."
        )
    if not 0 <= temperature < np.inf:
        raise ValueError(
            "temperature must be finite and not negative. Received: "
            f"temperature={temperature}."
        )
    # A token for each number: a function of the seed and the place alone.
    uniform = np.random.default_rng(seed).random(num_tokens)

    def step(token: Any, states: list[list[Any]]) -> tuple[Any, Any]:
        prediction = model(token, states, training=False)
        return prediction.logits[0, 0], prediction.states

    compiled = compilation.compiled(step, model.variables)

    def after(token: int, states: list[list[Any]]) -> tuple[np.ndarray, Any]:
        token = keras.ops.convert_to_tensor([[token]], "int32")
        logits, states = compiled(token, states)
        return np.array(logits, np.float64), states

    states = model.initial_states(1)
    for token in corpus.encode(prompt if prompt.strip() else "\n"):
        logits, states = after(token, states)
    ids = []
    for number in uniform:
        ids.append(choice(logits, temperature, number))
        logits, states = after(ids[-1], states)
    return corpus.decode(np.array(ids, np.int32))


def choice(logits: np.ndarray, temperature: float, number: float) -> int:
    """Returns a token by inverting the distribution at a number in [0, 1).

    Args:
        logits: float64 [V].
        temperature: Of the softmax; 0 takes the likeliest token.
        number: Uniform, for tokens of that distribution.
    """
    if temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()) / temperature
    cumulated = np.cumsum(np.exp(scaled))
    place = np.searchsorted(cumulated, number * cumulated[-1], side="right")
    return int(min(place, len(logits) - 1))


def export(model: LanguageModel, path: str | os.PathLike) -> None:
    """Saves a model as a plain Keras model, tokens [B, T] to logits [B, T, V].

    The file has Keras's own layers and `NASRNN`; loading it needs
    `import nas_keras`. States begin with zeros at every call. What a tied
    softmax shares with the embedding stands in the file twice.

    Args:
        model: A trained model.
        path: Of the file.

    Raises:
        ValueError: If the path does not end in `.keras`.
    """
    if Path(path).suffix != ".keras":
        raise ValueError(
            f"path must end in '.keras'. Received: path={str(path)!r}."
        )
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(*model.embedding.embeddings.shape)(tokens)
    for layer in model.recurrent:
        config = layer.get_config()
        config |= {"return_state": False, "name": None, "jit_compile": "auto"}
        x = NASRNN.from_config(config)(x)
    logits = keras.layers.Dense(model.vocabulary_size, name="logits")(x)
    plain = keras.Model(tokens, logits, name="language_model")
    kernel = keras.ops.convert_to_numpy(model.softmax_matrix())
    arrays = [np.array(model.embedding.embeddings)]
    arrays += [
        np.array(w) for r in model.recurrent for w in r.trainable_weights
    ]
    plain.set_weights([*arrays, kernel, np.array(model.softmax_bias)])
    save_model(plain, path)
