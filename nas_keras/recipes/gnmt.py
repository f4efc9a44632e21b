"""GNMT: Wu et al. 2016, in the form of tensorflow/nmt.

W: the paper, https://arxiv.org/abs/1609.08144, section 8. N:
github.com/tensorflow/nmt, its programs and standard_hparams/. N's embeddings
are of one joint BPE; ours of one for each language. N's dropout is drawn anew
for each step, ours once a sentence. N's forget gates have a bias of 1 at first,
ours of 0.
"""

from nas_keras.data.parallel_sources import PairData
from nas_keras.tasks.training.schedules import Halving
from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig
from nas_keras.tasks.translation.config import TranslationTraining

# N: wmt16_gnmt_4_layer.json.
WMT16_4 = TranslationConfig(
    preset="gnmt_wmt16_4",
    data=PairData(
        dataset="tfds:wmt16_translate/de-en",
        source="de",  # N.
        target="en",  # N.
    ),
    training=TranslationTraining(
        vocabulary_size=32_000,  # N.
        max_length=50,  # N.
        model=TranslationModelConfig(
            units=1_024,  # N.
            num_layers=4,  # N.
            attention="normed_bahdanau",  # N.
            attention_timing="current",  # N: gnmt_v2.
            shared_embeddings=False,  # N.
            tied=False,  # N.
            dropout=0.2,  # N.
            init_scale=0.1,  # N.
        ),
        batch_tokens=0,
        batch_sentences=128,  # N.
        bucket_width=10,  # N: 5 buckets up to 50.
        num_epochs=0,
        num_updates=340_000,  # N.
        optimizer="sgd",  # N.
        learning_rate=1.0,  # N.
        schedule=Halving(decay_from=0.5, num_halvings=10),  # N: luong10.
        clip_norm=5.0,  # N.
        loss_mean="sentences",  # N.
        label_smoothing=0.0,  # N.
        beam=10,  # N.
        length_penalty=1.0,  # N.
        snapshot_updates=1_000,
    ),
)
_TRAINING = WMT16_4.training

# N: wmt16_gnmt_8_layer.json, for the data and direction of W.
WMT14_8 = WMT16_4.replace(
    preset="gnmt_wmt14_8",
    data=PairData(
        dataset="tfds:wmt14_translate/de-en",  # W.
        source="en",  # W.
        target="de",  # W.
    ),
    training=_TRAINING.replace(
        model=_TRAINING.model.replace(num_layers=8)  # N, W.
    ),
)

# N: iwslt15.json, English to Vietnamese. Its attention is queried by the top
# layer and its text is cut into words; ours is that of GNMT, and subwords.
IWSLT15 = WMT16_4.replace(
    preset="iwslt15",
    data=PairData(
        dataset="files",
        source="en",  # N.
        target="vi",  # N.
    ),
    training=_TRAINING.replace(
        vocabulary_size=8_000,  # Ours.
        model=_TRAINING.model.replace(
            units=512,  # N.
            num_layers=2,  # N.
            attention="scaled_luong",  # N.
        ),
        num_updates=12_000,  # N.
        schedule=Halving(decay_from=2 / 3, num_halvings=4),  # N: luong234.
        length_penalty=0.0,  # N.
    ),
)
