"""What tests of language models share: a text, configurations, trainings."""

from nas_keras.cells.language.spec import load_spec
from nas_keras.data.sources import TextData
from nas_keras.data.text import build_corpus
from nas_keras.tasks import LanguageModelConfig
from nas_keras.tasks import LanguageModelTask
from nas_keras.tasks import LanguageModelTrainer
from nas_keras.tasks import TrainingConfig
from nas_keras.tasks import train_language_model
from nas_keras.tasks.language_model.model import cell_model
from nas_keras.tasks.language_model.steps import LanguageModelSteps


def sentences(fractions=(0.8, 0.1, 0.1)):
    sentence = "a cell that reads, writes and forgets; in that order. "
    text = "\n".join(sentence[k % 9 :] for k in range(40))
    return build_corpus(text, name="sentences", fractions=fractions)


# Children of a search.


def child_config(**changes):
    arguments = {
        "units": 4,
        "batch_size": 3,
        "num_steps": 5,
        "num_updates": 3,
        "init_scale": 0.5,
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelConfig(**arguments)


def child_task(corpus=None, **changes):
    corpus = corpus or sentences((0.9, 0.05, 0.05))
    return LanguageModelTask(child_config(**changes), corpus)


def child_trainer(corpus=None, **changes):
    task = child_task(corpus, **changes)
    return LanguageModelTrainer(task, task.model(load_spec("lstm")))


# Long trainings.


def model_config(**changes):
    arguments = {
        "units": 4,
        "batch_size": 4,
        "num_steps": 12,
        "num_updates": 0,
        "num_epochs": 2,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "init_scale": 0.5,
        "clip_norm": 0.5,
        "select": "best",
        "snapshot_updates": 7,
        "jit_compile": False,  # Compiling would take longer than running.
        **changes,
    }
    return LanguageModelConfig(**arguments)


def training_config(model=None, **changes):
    arguments = {
        "preset": "test",
        "data": TextData(),
        "model": model_config(**(model or {})),
        "num_threads": 1,
        **changes,
    }
    return TrainingConfig(**arguments)


def steps_of(config):
    """Returns the compiled steps of an LSTM, after their first values."""
    spec, corpus = load_spec("lstm"), sentences()
    sized = config.sized(spec, corpus)
    model = cell_model(sized, corpus.vocabulary_size, spec)
    steps = LanguageModelSteps(model, len(corpus.train))
    steps.begin(config.seed)
    return steps


def train(config, workdir, **options):
    return list(train_language_model(config, sentences(), workdir, **options))
