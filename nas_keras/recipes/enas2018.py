"""P: Pham et al. 2018, https://arxiv.org/abs/1802.03268.

T: its authors' first program, github.com/melodyguan/enas. Its script of the
final training of text has a language model that they later called wrong; see
`enas_lm`.
"""

from nas_keras.controllers.config import PolicyGradient
from nas_keras.data.image_sources import ImageData
from nas_keras.data.sources import TextData
from nas_keras.evaluators.config import Shared
from nas_keras.experiment.config import Finals
from nas_keras.experiment.config import SearchConfig
from nas_keras.spaces.enas_macro import EnasMacro
from nas_keras.spaces.enas_micro import EnasMicro
from nas_keras.spaces.enas_recurrent import RecurrentDag
from nas_keras.tasks.images.config import ImageConfig
from nas_keras.tasks.images.config import ImageTraining
from nas_keras.tasks.images.config import Sgd
from nas_keras.tasks.language_model.config import LanguageModelConfig
from nas_keras.tasks.language_model.config import TrainingConfig
from nas_keras.tasks.training.schedules import Cosine
from nas_keras.tasks.training.schedules import CosineRestarts

PTB = TrainingConfig(
    preset="enas2018",
    cell="enas_ptb",  # P.
    model=LanguageModelConfig(
        units=748,  # T.
        tied=True,  # P.
        batch_size=64,  # T.
        num_steps=35,  # T.
        num_updates=0,
        num_epochs=2_000,  # T.
        optimizer="sgd",  # T.
        learning_rate=20.0 * 35,  # T: 20 of the sum over 35 steps.
        schedule="step",  # T.
        decay=1 / 0.9991,  # T.
        decay_epoch=15,  # T: for the first time after epoch 15.
        clip_norm=0.25 / 35,  # T: 0.25 of the sum.
        init_scale=0.04,  # T.
        embedding_dropout=0.21,  # T.
        input_dropout=0.75,  # T.
        output_dropout=0.76,  # T.
        recurrent_dropout=0.25,  # T.
        weight_decay=2 * 5e-7 / 35,  # T: 5e-7 of the squares, before clipping.
        slowness_penalty=1e-3 * 748 * 34 / 35,  # T: 1e-3 of the sum over H, T.
        select="best",
    ),
)

# T: scripts/cifar10_macro_final.sh, src/cifar10 and src/utils.py. Its penalty
# is l2 times the sum of squares, whose gradient is twice l2 times the weight,
# and is of all weights, ours of kernels. It clips nothing: what it computes as
# clipped is not used. It trains on all 50,000 images, and reports the weights
# it ends with.
MACRO_IMAGES = ImageConfig(
    preset="enas_macro",
    network="enas_macro",  # T, with its 96 filters.
    data=ImageData(
        dataset="cifar10",  # T.
        num_validation=0,  # T.
    ),
    training=ImageTraining(
        dropout=0.5,  # T: keep_prob 0.5.
        batch_size=100,  # T.
        num_epochs=310,  # T: up to the end of the fifth run of the cosine.
        optimizer=Sgd(momentum=0.9, nesterov=True),  # T.
        learning_rate=0.05,  # T.
        schedule=CosineRestarts(
            min_learning_rate=1e-3,  # T.
            restart_epochs=10,  # T.
            restart_factor=2,  # T.
        ),
        weight_decay=4e-4,  # T: l2 2e-4.
        padding=4,  # T.
        flip=True,  # T.
        normalization="channel",  # T.
        select="last",  # T.
    ),
)
# T: scripts/cifar10_micro_final.sh.
MICRO_IMAGES = MACRO_IMAGES.replace(
    preset="enas_micro",
    network="enas_micro",  # T, with its 36 filters.
    training=MACRO_IMAGES.training.replace(
        dropout=0.2,  # T: keep_prob 0.8.
        drop_path=0.4,  # T: drop_path_keep_prob 0.6.
        auxiliary_weight=0.4,  # T.
        batch_size=144,  # T.
        num_epochs=630,  # T: the sixth run.
        schedule=MACRO_IMAGES.training.schedule.replace(
            min_learning_rate=1e-4  # T.
        ),
        cutout=16,  # T; its squares begin where ours have their middle.
    ),
)

# P, and T for what P leaves open.
PTB_SEARCH = SearchConfig(
    preset="enas2018_ptb",
    space=RecurrentDag(
        nodes=11,  # P: 12 with node 0.
        average="loose_ends",  # P.
    ),
    controller=PolicyGradient(
        units=100,  # P.
        num_layers=1,  # P.
        init_scale=0.1,  # T.
        learning_rate=3.5e-4,  # P.
        entropy_weight=1e-4,  # P.
        entropy_bonus="sampled",  # T, L.
        temperature=5.0,  # P.
        tanh_constant=2.5,  # P.
        baseline_decay=0.95,  # P, by carpedm20; T has 0.99.
        normalize_advantage=False,  # P.
    ),
    evaluator=Shared(
        reward="c/ppl",  # P.
        c=80.0,  # P.
        num_phases=150,  # P.
        steps_per_phase=2_000,  # P.
        windows_per_reward=1,  # T.
        derive_trials=100,  # P, by carpedm20.
    ),
    data=TextData(dataset="ptb", level="word"),
    num_trials=300_000,  # P: 2,000 for each of 150 epochs.
    batch_size=1,  # P: M = 1.
    child=LanguageModelConfig(
        units=1_000,  # P, by carpedm20.
        tied=True,  # P.
        batch_size=64,  # P.
        num_steps=35,  # P.
        num_updates=0,
        num_epochs=150,  # P.
        optimizer="sgd",  # P.
        learning_rate=20.0,  # P.
        schedule="step",  # P.
        decay=1 / 0.96,  # P.
        decay_epoch=15,  # P.
        clip_norm=0.25,  # P.
        init_scale=0.04,  # T.
        input_dropout=0.75,  # T.
        output_dropout=0.75,  # T.
        recurrent_dropout=0.25,  # T.
        embedding_dropout=0.25,  # T.
        weight_decay=2e-7 / 35,  # T: 1e-7 of the squares, of a sum of losses.
    ),
    finals=Finals(
        training=PTB.model,
        parameters=24_000_000,  # P.
    ),
    num_threads=0,
)

# T: scripts/cifar10_macro_search.sh, src/cifar10. Its Adam has beta1 0 and
# epsilon 1e-3, ours Keras's. What it trains to its end has 24 layers, and was
# found by another search than its script's. Its penalty is of sigmoid(logit),
# as ours, while it links with sigmoid(2 logit): where the penalty is least the
# rate of links is 0.31, not the 0.4 of `skip_target`.
MACRO_SEARCH = SearchConfig(
    preset="enas_macro",
    space=EnasMacro(
        layers=12,  # T.
        filters=36,  # T.
    ),
    controller=PolicyGradient(
        units=64,  # T.
        num_layers=1,  # T.
        init_scale=0.1,  # T.
        learning_rate=1e-3,  # T.
        tanh_constant=1.5,  # T.
        entropy_weight=1e-4,  # T.
        entropy_bonus="sampled",  # T.
        skip_target=0.4,  # T.
        skip_weight=0.8,  # T.
        skip_scale=2.0,  # T: a softmax of two opposite logits.
        baseline_decay=0.99,  # T.
        normalize_advantage=False,  # T.
    ),
    evaluator=Shared(
        reward="accuracy",  # T.
        num_phases=310,  # T.
        steps_per_phase=50,  # T.
        windows_per_reward=1,  # T.
        derive_trials=100,  # Ours.
    ),
    data=ImageData(
        dataset="cifar10",  # T.
        num_validation=5_000,  # T; for the finals ours, to choose by.
    ),
    num_trials=310_000,  # T: 50 updates of 20 for each of 310 epochs.
    batch_size=20,  # T.
    random_baseline=False,  # T.
    child=MACRO_IMAGES.training.replace(
        dropout=0.1,  # T: keep_prob 0.9.
        batch_size=128,  # T.
        schedule=MACRO_IMAGES.training.schedule.replace(
            min_learning_rate=5e-4  # T.
        ),
        weight_decay=5e-4,  # T: l2 2.5e-4.
    ),
    finals=Finals(
        space=EnasMacro(
            layers=12,
            filters=96,  # T.
            doubling=True,  # T.
        ),
        training=MACRO_IMAGES.training,
        top=1,  # T.
        published=("enas_macro", "resnet"),
        seeds=1,
        random=1,
    ),
    num_threads=0,
)
# Under two hours on two cores. All constants are ours but the controller's, and
# the recipe of the finals, which is that of T but shorter.
MACRO_DEMO = MACRO_SEARCH.replace(
    preset="enas_macro_demo",
    space=MACRO_SEARCH.space.replace(filters=16),
    controller=MACRO_SEARCH.controller.replace(
        learning_rate=0.005,  # For hundreds of updates, not thousands.
        baseline_decay=0.95,
        normalize_advantage=True,
    ),
    evaluator=MACRO_SEARCH.evaluator.replace(
        num_phases=10, steps_per_phase=10, derive_trials=40
    ),
    data=ImageData(dataset="cifar10", num_validation=1_000, max_train=4_000),
    num_trials=1_000,
    batch_size=10,
    child=MACRO_IMAGES.training.replace(
        dropout=0.1,
        batch_size=100,
        num_epochs=30,
        schedule=Cosine(min_learning_rate=1e-3),  # T.
    ),
    finals=MACRO_SEARCH.finals.replace(
        space=EnasMacro(layers=12, filters=16, doubling=True),
        training=MACRO_IMAGES.training.replace(
            dropout=0.1,
            num_epochs=6,
            schedule=Cosine(min_learning_rate=1e-3),  # T.
        ),
        published=("resnet",),
        seeds=3,
        random=10,
    ),
)
# T: scripts/cifar10_micro_search.sh. Its shared weights have drop path and an
# auxiliary head, its controller a first bias towards convolutions and one more
# step of its LSTM behind each node; ours do not. Its entropy, of the whole
# softmax as ours, is a part of the reward; ours is one of the loss, with its
# gradient.
MICRO_SEARCH = MACRO_SEARCH.replace(
    preset="enas_micro",
    space=EnasMicro(
        nodes=5,  # T.
        cells=6,  # T.
        filters=20,  # T.
    ),
    controller=MACRO_SEARCH.controller.replace(
        learning_rate=3.5e-3,  # T.
        tanh_constant=1.1,  # T.
        entropy_bonus="exact",  # T, in the reward; ours in the loss.
        skip_weight=0.0,  # There is no skip connection to choose.
        skip_scale=1.0,
    ),
    evaluator=MACRO_SEARCH.evaluator.replace(
        num_phases=150,  # T.
        steps_per_phase=30,  # T.
    ),
    num_trials=45_000,  # T: 30 updates of 10 for each of 150 epochs.
    batch_size=10,  # T.
    child=MACRO_SEARCH.child.replace(
        batch_size=160,  # T.
        num_epochs=150,  # T.
        weight_decay=2e-4,  # T: l2 1e-4.
    ),
    finals=MACRO_SEARCH.finals.replace(
        space=EnasMicro(
            nodes=5,
            cells=18,  # The paper's 4.6 M weights; T: 15.
            filters=36,  # T.
        ),
        training=MICRO_IMAGES.training,
        published=("enas_micro", "resnet"),
    ),
)
