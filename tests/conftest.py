"""Settings that hold for every test."""

import gc
import os
import pathlib
import sys

# Before TensorFlow is imported: its log would hide that of the tests.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()  # pytest parses its own; absl's temp files ask.

# The same examples on every machine, however slow it is.
hypothesis.settings.register_profile(
    "nas_keras", deadline=None, derandomize=True, max_examples=50
)
hypothesis.settings.load_profile("nas_keras")

_TESTS = pathlib.Path(__file__).parent
# Folders whose files take longest.
_FIRST = (
    "programs",
    "experiment",
    "search",
    "evaluators",
    "tasks",
    "distribute",
    "supernets",
    "layers",
)


def pytest_collection_modifyitems(items):
    """Runs long files first: processes that share files then end together."""

    def rank(item):
        folders = item.path.relative_to(_TESTS).parts[:-1]
        return min(
            map(_FIRST.index, {*_FIRST} & {*folders}), default=len(_FIRST)
        )

    items.sort(key=rank)


def pytest_collection_finish():
    """Has Python and TensorFlow leave alone what tests do not need.

    Graphs are run as they are traced, here in this process: to rewrite one
    takes longer than to run it a few times. The processes that tests begin,
    among them all programs, do rewrite theirs. And modules are kept: to look
    for garbage among them takes 0.4 s each time.
    """
    gc.freeze()
    tf = sys.modules.get("tensorflow")
    if tf:
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )


@pytest.fixture(autouse=True, scope="module")
def _forget_graphs():
    """Has TensorFlow forget what a module of tests has traced.

    It keeps, as long as the process lives, all graphs around an operation with
    a gradient of its own, and the loops of `NASRNN` are kept for other layers
    of the same cell: in all, gigabytes.
    """
    yield
    loop = sys.modules.get("nas_keras.cells.layers.loops.tensorflow")
    if loop:
        loop.loop_function.cache_clear()
    ops = sys.modules.get("tensorflow.python.framework.ops")
    if ops:
        gradients = ops.gradient_registry._registry
        traced = [n for n in gradients if n.startswith("CustomGradient-")]
        for name in traced:
            del gradients[name]
        if traced:
            gc.collect()


@pytest.fixture
def eagerly():
    """Has TensorFlow compile nothing: it takes longer than a few calls."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
