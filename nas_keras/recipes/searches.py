"""The searches of `nas-search` by name. No TensorFlow, no Keras."""

from nas_keras.recipes import demo
from nas_keras.recipes import enas2018
from nas_keras.recipes import enas_lm
from nas_keras.recipes import tiny
from nas_keras.recipes import zoph2016

SEARCHES = {
    config.preset: config
    for config in (
        demo.SEARCH,
        tiny.SEARCH,
        zoph2016.PTB_SEARCH,
        demo.ENAS_SEARCH,
        enas2018.PTB_SEARCH,
        enas_lm.SEARCH,
        tiny.CONV_SEARCH,
        demo.CONV_SEARCH,
        enas2018.MACRO_DEMO,
        zoph2016.CIFAR10_SEARCH,
        enas2018.MACRO_SEARCH,
        enas2018.MICRO_SEARCH,
    )
}
