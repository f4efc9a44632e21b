"""ZL: Zoph & Le 2017, https://arxiv.org/abs/1611.01578.

"(ZL)" is what is told of it elsewhere. It is silent on the training of its
final models of words, where we take the large one of Zaremba et al. 2014. (H):
Ha, Dai & Le 2017, https://arxiv.org/abs/1609.09106, whose settings (ZL) takes
for its small model of characters.
"""

from nas_keras.controllers.config import PolicyGradient
from nas_keras.data.image_sources import ImageData
from nas_keras.data.sources import TextData
from nas_keras.evaluators.config import FromScratch
from nas_keras.experiment.config import Finals
from nas_keras.experiment.config import Growth
from nas_keras.experiment.config import SearchConfig
from nas_keras.recipes import zaremba2014
from nas_keras.spaces.nas_conv import NasConv
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import Sgd
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.training.schedules import Step

# Section 4.2.
PTB_25M = zaremba2014.LARGE.replace(
    preset="zoph2016_ptb_25m",
    cell="nascell",  # ZL.
    parameters=25_000_000,  # ZL.
    model=zaremba2014.LARGE.model.replace(
        use_bias=False,  # ZL: its cells have none.
        tied=True,  # ZL: shared embeddings.
        embedding_dropout=0.2,  # (ZL) has it; the rates are ours.
        input_dropout=0.5,
        layer_dropout=0.5,
        output_dropout=0.5,
        recurrent_dropout=0.2,
    ),
)
PTB_32M = PTB_25M.replace(
    preset="zoph2016_ptb_32m",
    parameters=32_000_000,  # ZL.
    model=PTB_25M.model.replace(tied=False),  # ZL.
)
PTB_54M = PTB_25M.replace(
    preset="zoph2016_ptb_54m",
    parameters=54_000_000,  # ZL.
)
CHAR_16M = TrainingConfig(
    preset="zoph2016_char_16m",
    data=TextData(dataset="ptb"),
    cell="nascell",  # ZL.
    model=LanguageModelConfig(
        units=800,  # (ZL): 16.28 M weights; here 16.23 M.
        num_layers=2,  # ZL.
        embedding_units=128,  # (ZL).
        batch_size=32,  # (ZL).
        num_steps=100,  # (ZL).
        num_updates=600_000,  # (ZL).
        optimizer="adam",  # (ZL).
        learning_rate=1e-3,  # (ZL).
        clip_norm=1.0,  # Ours, and the next two.
        init_scale=0.05,
        weight_decay=1e-7,  # (ZL) has 1e-4; of which sum it does not say.
        input_dropout=0.2,  # (ZL) has 0.2 and 0.5; where is ours.
        layer_dropout=0.2,
        output_dropout=0.5,
        recurrent_dropout=0.2,
        select="best",
    ),
)
CHAR_6M = CHAR_16M.replace(
    preset="zoph2016_char_6m",
    parameters=6_570_000,  # ZL.
    model=CHAR_16M.model.replace(
        batch_size=128,  # (H).
        num_updates=80_000,  # (ZL).
        weight_decay=0.0,
        input_dropout=0.1,  # (H), and the next two; (ZL) has masks a sequence.
        layer_dropout=0.1,
        output_dropout=0.1,
        recurrent_dropout=0.1,  # Ours.
    ),
)

# ZL, section 4.1. Where ZL enlarges an image before it is cropped, we put zeros
# around it. ZL's networks are not published, so that the network is a baseline,
# and ZL chose the values of the schedule by a small grid: see `PAPER_GRID`.
CIFAR10_IMAGES = ImageConfig(
    preset="zoph2016_cifar10",
    data=ImageData(
        dataset="cifar10",  # ZL.
        num_validation=5_000,  # ZL.
    ),
    training=ImageTraining(
        batch_size=128,
        num_epochs=50,  # ZL, of a child.
        optimizer=Sgd(momentum=0.9),  # ZL.
        learning_rate=0.1,  # ZL.
        schedule=Step(decay_from=0.5, num_decays=2),
        weight_decay=1e-4,  # ZL.
        padding=4,
        flip=True,  # ZL.
        normalization="whitening",  # ZL.
    ),
)

# Section 4.2; Z: Zaremba et al. 2014, where ZL is silent on the training of
# its children.
PTB_SEARCH = SearchConfig(
    preset="zoph2016_ptb",
    data=TextData(dataset="ptb", level="word"),
    controller=PolicyGradient(
        learning_rate=5e-4,  # (ZL).
        normalize_advantage=False,  # ZL, section 3.2: reward minus baseline.
    ),
    num_trials=15_000,  # ZL: about.
    batch_size=10,  # (ZL): one update for ten children's gradients.
    child=zaremba2014.MEDIUM.model.replace(
        units=537,  # 20 M weights, untied: the size of Z's medium model.
        use_bias=False,  # ZL: its cells have none.
        num_epochs=35,  # (ZL).
        embedding_dropout=0.2,  # (ZL) has both; the rates are ours.
        input_dropout=0.0,
        layer_dropout=0.0,
        output_dropout=0.0,
        recurrent_dropout=0.2,
        select="last",
    ),
    finals=Finals(
        training=PTB_25M.model,
        parameters=PTB_25M.parameters,  # ZL: of three sizes.
    ),
    num_threads=0,  # Large products gain from all cores.
)

# ZL, sections 3 and 4.1. Of its searches, the one that predicts strides: its
# networks are as deep as the growth ends.
CIFAR10_SEARCH = SearchConfig(
    preset="zoph2016_cifar10",
    space=NasConv(
        layers=20,  # ZL.
        strides=(1, 2, 3),  # ZL.
        kernels=(1, 3, 5, 7),  # ZL.
        filters=(24, 36, 48, 64),  # ZL.
    ),
    growth=Growth(
        first=6,  # (ZL).
        step=2,  # (ZL): after every 1,600 children.
    ),
    controller=PolicyGradient(
        learning_rate=6e-4,  # ZL.
        normalize_advantage=False,  # ZL: reward minus baseline.
    ),
    evaluator=FromScratch(
        reward="accuracy^3",  # (ZL): of the best of the last five epochs.
    ),
    data=CIFAR10_IMAGES.data,
    num_trials=12_800,  # ZL.
    batch_size=8,  # ZL: children of a replica of the controller.
    child=CIFAR10_IMAGES.training.replace(scored_epochs=5),
    finals=Finals(
        training=CIFAR10_IMAGES.training.replace(
            num_epochs=300,  # Ours; ZL: until it converges.
        ),
        top=1,  # ZL; then a grid of recipes: `--grid=paper`.
        published=("resnet",),
    ),
    num_threads=0,  # Large convolutions gain from all cores.
)
