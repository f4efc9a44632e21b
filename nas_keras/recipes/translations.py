"""Trainings of translation models by name, each constant with its source.

Frozen values; no TensorFlow, no Keras.
"""

import dataclasses

from nas_keras.tasks.translation.config import TranslationConfig
from nas_keras.tasks.translation.config import TranslationModelConfig

# Seconds in all, for tests of the whole path.
_TINY = TranslationConfig(
    preset="tiny",
    vocabulary_size=300,
    model=TranslationModelConfig(units=8, num_layers=2, dropout=0.1),
    batch_tokens=2_000,
    num_epochs=0,
    num_updates=6,
    beam=2,
    num_scored=20,
    snapshot_updates=2,
    num_threads=1,
)

# Minutes on two cores. All constants are ours.
_DEMO = TranslationConfig(
    preset="demo",
    vocabulary_size=900,
    model=TranslationModelConfig(
        units=96,
        num_layers=2,
        dropout=0.05,
        init_scale=0.25,
    ),
    batch_tokens=400,
    num_epochs=10,
    learning_rate=4e-3,
    warmup_updates=50,
    label_smoothing=0.05,
)

# Elliott et al. 2016, https://arxiv.org/abs/1605.00459: 29,000 pairs. A small
# GNMT; all constants are ours, chosen on validation for two hours of two cores.
_MULTI30K = TranslationConfig(
    preset="multi30k",
    dataset="files",
    vocabulary_size=4_000,
    parameters=8_000_000,
    model=TranslationModelConfig(
        num_layers=3,
        dropout=0.2,
        output_dropout=0.2,
    ),
    batch_tokens=1_000,
    num_epochs=10,
    learning_rate=8e-3,
    warmup_updates=200,
    average_epochs=3,
)

# N: github.com/tensorflow/nmt, standard_hparams/wmt16_gnmt_4_layer.json and
# its programs. Its embeddings are of one joint BPE; ours of one for each
# language. Its dropout is drawn anew for each step, ours once a sentence. Its
# forget gates have a bias of 1 at first, ours of 0.
_GNMT_WMT16_4 = TranslationConfig(
    preset="gnmt_wmt16_4",
    dataset="tfds:wmt16_translate/de-en",
    source="de",  # N.
    target="en",  # N.
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
    schedule="halving",  # N: luong10.
    decay_from=0.5,  # N.
    num_halvings=10,  # N.
    clip_norm=5.0,  # N.
    loss_mean="sentences",  # N.
    label_smoothing=0.0,  # N.
    beam=10,  # N.
    length_penalty=1.0,  # N.
    snapshot_updates=1_000,
)
# N: wmt16_gnmt_8_layer.json, for the data and direction of W: Wu et al. 2016,
# https://arxiv.org/abs/1609.08144, section 8.
_GNMT_WMT14_8 = dataclasses.replace(
    _GNMT_WMT16_4,
    preset="gnmt_wmt14_8",
    dataset="tfds:wmt14_translate/de-en",  # W.
    source="en",  # W.
    target="de",  # W.
    model=dataclasses.replace(_GNMT_WMT16_4.model, num_layers=8),  # N, W.
)

# N: iwslt15.json, English to Vietnamese. Its attention is queried by the top
# layer and its text is cut into words; ours is that of GNMT, and subwords.
_IWSLT15 = dataclasses.replace(
    _GNMT_WMT16_4,
    preset="iwslt15",
    dataset="files",
    source="en",  # N.
    target="vi",  # N.
    vocabulary_size=8_000,  # Ours.
    model=dataclasses.replace(
        _GNMT_WMT16_4.model,
        units=512,  # N.
        num_layers=2,  # N.
        attention="scaled_luong",  # N.
    ),
    num_updates=12_000,  # N.
    decay_from=2 / 3,  # N: luong234.
    num_halvings=4,  # N.
    length_penalty=0.0,  # N.
)

TRANSLATION_PRESETS = {
    config.preset: config
    for config in (
        _TINY,
        _DEMO,
        _MULTI30K,
        _GNMT_WMT14_8,
        _GNMT_WMT16_4,
        _IWSLT15,
    )
}
