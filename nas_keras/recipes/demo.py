"""Minutes on two cores. All constants are ours."""

from nas_keras.controllers.config import PolicyGradient
from nas_keras.data.image_sources import ImageData
from nas_keras.data.sources import TextData
from nas_keras.evaluators.config import FromScratch
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.config import Finals
from nas_keras.experiment.config import SearchConfig
from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig
from nas_keras.tasks.translation.config import TranslationTraining

LANGUAGE_MODEL = TrainingConfig(
    preset="demo",
    data=TextData(),
    model=LanguageModelConfig(
        units=128,
        use_bias=True,
        batch_size=32,
        num_steps=50,
        num_updates=0,
        num_epochs=8,
        learning_rate=1e-2,
        schedule="cosine",
        clip_norm=0.25,
        init_scale=0.1,
        input_dropout=0.05,
        output_dropout=0.05,
        select="best",
        snapshot_updates=100,
    ),
)

# A minute; a mirrored digit is none.
IMAGES = ImageConfig(
    preset="demo",
    filters=8,
    data=ImageData(num_validation=180),
    training=ImageTraining(
        batch_size=32,
        num_epochs=15,
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.05,
        padding=1,
        flip=False,
    ),
)

TRANSLATION = TranslationConfig(
    preset="demo",
    training=TranslationTraining(
        vocabulary_size=900,
        model=TranslationModelConfig(
            units=96, num_layers=2, dropout=0.05, init_scale=0.25
        ),
        batch_tokens=400,
        num_epochs=10,
        learning_rate=4e-3,
        warmup_updates=50,
        label_smoothing=0.05,
    ),
)

# Minutes; chosen for that on the validation part of the embedded text.
SEARCH = SearchConfig(
    preset="demo",
    controller=PolicyGradient(learning_rate=0.03),
    # At these perplexities c/ppl^2 hides the good children.
    evaluator=FromScratch(reward="c/ppl", c=1.0),
    num_trials=160,
    batch_size=5,  # Small, for many updates from few children.
    child=LanguageModelConfig(
        units=32,
        batch_size=32,
        num_steps=20,
        num_updates=120,
        learning_rate=1e-2,
        schedule="cosine",
        clip_norm=0.1,
        init_scale=0.15,
        max_validation_tokens=12_000,
    ),
    finals=Finals(
        training=LanguageModelConfig(
            units=100,
            use_bias=True,
            batch_size=32,
            num_steps=32,
            num_updates=1_000,
            learning_rate=1e-2,
            schedule="cosine",
            clip_norm=0.1,  # At 1 some found cells diverge, at this size.
            init_scale=0.15,
        ),
    ),
)

# The controller is that of ENAS; see enas2018.py.
ENAS_SEARCH = SEARCH.replace(
    preset="enas_demo",
    space=RecurrentDag(nodes=6),
    controller=PolicyGradient(
        learning_rate=0.01,
        temperature=5.0,
        tanh_constant=2.5,
        entropy_weight=1e-3,
    ),
    evaluator=Shared(
        c=1.0,
        num_phases=20,
        steps_per_phase=10,
        windows_per_reward=4,
        derive_trials=100,
    ),
    num_trials=2_000,
    batch_size=10,
    child=SEARCH.child.replace(
        num_updates=4_000, learning_rate=5e-3, max_validation_tokens=0
    ),
    finals=SEARCH.finals.replace(
        top=3, published=("lstm", "gru", "enas_ptb", "darts_v2")
    ),
)

# Of digits. The controller is that of ENAS; see enas2018.py.
CONV_SEARCH = SearchConfig(
    preset="conv_demo",
    space=EnasMacro(layers=6, filters=16),
    controller=PolicyGradient(
        tanh_constant=1.5,
        skip_weight=0.8,
        skip_scale=2.0,
        entropy_weight=1e-4,
        learning_rate=0.01,  # For hundreds of updates, not thousands.
    ),
    evaluator=Shared(
        reward="accuracy",
        num_phases=20,
        steps_per_phase=5,
        windows_per_reward=2,
        derive_trials=40,
    ),
    data=ImageData(num_validation=360),
    num_trials=1_000,
    batch_size=10,
    child=ImageTraining(
        batch_size=60,
        num_epochs=40,
        learning_rate=0.05,
        weight_decay=5e-4,
        padding=1,
        flip=False,
    ),
    finals=Finals(
        space=EnasMacro(layers=6, filters=16, doubling=True),
        training=ImageTraining(
            batch_size=60,
            num_epochs=12,
            learning_rate=0.1,
            weight_decay=5e-4,
            padding=1,
            flip=False,
        ),
        top=1,
        published=("resnet",),
        random=2,
    ),
)
