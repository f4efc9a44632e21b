"""The trainings of programs by name; each is in the module of its source."""

from nas_keras.recipes import demo
from nas_keras.recipes import enas2018
from nas_keras.recipes import gnmt
from nas_keras.recipes import multi30k
from nas_keras.recipes import tiny
from nas_keras.recipes import zoph2016

IMAGE_PRESETS = {
    config.preset: config
    for config in (
        tiny.IMAGES,
        demo.IMAGES,
        zoph2016.CIFAR10_IMAGES,
        enas2018.MACRO_IMAGES,
        enas2018.MICRO_IMAGES,
    )
}
TRANSLATION_PRESETS = {
    config.preset: config
    for config in (
        tiny.TRANSLATION,
        demo.TRANSLATION,
        multi30k.TRANSLATION,
        gnmt.WMT14_8,
        gnmt.WMT16_4,
        gnmt.IWSLT15,
    )
}
