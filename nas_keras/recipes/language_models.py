"""The trainings of `nas-language-model` by name. No TensorFlow, no Keras."""

from nas_keras.recipes import awd_lstm
from nas_keras.recipes import darts
from nas_keras.recipes import demo
from nas_keras.recipes import enas2018
from nas_keras.recipes import tiny
from nas_keras.recipes import zaremba2014
from nas_keras.recipes import zoph2016

TRAINING_PRESETS = {
    config.preset: config
    for config in (
        demo.LANGUAGE_MODEL,
        tiny.LANGUAGE_MODEL,
        zaremba2014.SMALL,
        zaremba2014.PTB_5M,
        zaremba2014.MEDIUM,
        zaremba2014.LARGE,
        zoph2016.PTB_25M,
        zoph2016.PTB_32M,
        zoph2016.PTB_54M,
        zoph2016.CHAR_6M,
        zoph2016.CHAR_16M,
        enas2018.PTB,
        awd_lstm.PTB,
        darts.PTB,
    )
}
