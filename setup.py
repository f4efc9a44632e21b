"""What the package nas_keras is: its metadata, packages and programs."""

import pathlib
import runpy

import setuptools

_ROOT = pathlib.Path(__file__).parent
_VERSION = runpy.run_path(str(_ROOT / "nas_keras" / "version.py"))

# The lowest versions are those of tools/lower_bounds.txt, which are tested.
_DOCS = ["pdoc==16.*"]  # Its pages may change from one to the next.
_IMAGES = ["pillow>=10.1", "scikit-learn>=1.3.1"]
_REPORT = ["matplotlib>=3.8", "scipy>=1.13"]
_TENSORBOARD = ["tensorboard>=2.20"]
_TRANSLATION = ["babel>=2.13", "sacrebleu>=2.4", "sentencepiece>=0.2.3"]
_TEST = [
    "hypothesis>=6.90",
    "mypy==2.4.*",  # What it finds may change from one minor to the next.
    "pre-commit>=3.5",
    "pytest>=8.0",
    "pytest-xdist>=3.6.1",
    "pyyaml>=6.0.1",
    "selenium>=4.20",  # Chromium is looked for where it is installed.
    "ruff==0.17.*",  # Its formatting may change from one minor to the next.
    "setuptools>=77.0.1",  # As in pyproject.toml: a test builds the package.
    *_IMAGES,
    *_REPORT,
    *_TENSORBOARD,
    *_TRANSLATION,
]

# Packages that are folders of their own here.
_MAPPED = {
    "nas_keras.cells.published": "cells",
    "nas_keras.convnets.published": "convnets",
    "nas_keras.train": "train",
}

setuptools.setup(
    name="nas_keras",
    version=_VERSION["__version__"],
    description="Neural architecture search for Keras 3: cells, image networks",
    long_description=(_ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The nas_keras authors",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords="keras tensorflow neural architecture search recurrent nascell",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    packages=[
        *setuptools.find_packages(_ROOT, include=["nas_keras", "nas_keras.*"]),
        *_MAPPED,
    ],
    package_dir=_MAPPED,
    package_data={
        "nas_keras.cells.published": ["*.json", "README.md"],
        "nas_keras.convnets.published": ["*.json", "README.md"],
    },
    install_requires=[
        "absl-py>=2.0",
        "filelock>=4.2",  # May refuse a lock that outlives its process.
        "importlib_resources>=6.0",  # TFDS needs it, but does not say so.
        "keras>=3.12",
        "lazy_loader>=0.3",
        "numpy>=1.26",
        "rich>=13.6",
        "tensorflow>=2.20",
        "tensorflow-datasets>=4.9.10",
    ],
    extras_require={
        "docs": _DOCS,
        "images": _IMAGES,
        "report": _REPORT,
        "tensorboard": _TENSORBOARD,
        "test": _TEST,
        "translation": _TRANSLATION,
        "all": _TEST,
    },
    entry_points={
        "console_scripts": [
            "nas-draw = nas_keras.train.draw:run",
            "nas-image-classification = "
            "nas_keras.train.image_classification:run",
            "nas-language-model = nas_keras.train.language_model:run",
            "nas-report = nas_keras.train.report:run",
            "nas-search = nas_keras.train.search:run",
            "nas-translation = nas_keras.train.translation:run",
        ],
    },
)
