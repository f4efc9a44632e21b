"""Tests of models that are loaded, by other processes too, and of imports."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from nas_keras.cells import NASRNN
from nas_keras.cells import CellSpec
from nas_keras.cells import NASCell
from nas_keras.cells import register_cell
from nas_keras.cells.language import spec as spec_module
from tests.layer_testing import near
from tests.layer_testing import normal
from tests.layer_testing import randomize

B, T, D, H, P = 3, 5, 4, 6, 2


def make_model():
    spec = CellSpec(
        "only_here",
        [
            "a = relu(linear(x) * linear(h))",
            "next_h = tanh(a - sin(linear(a)))",
        ],
        ["h"],
        {"tokens": [1, 2]},
    )
    register_cell(spec)
    initializer = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    return keras.Sequential(
        [
            keras.Input((T, D)),
            NASRNN(
                H,
                return_sequences=True,
                projection=P,
                kernel_initializer=initializer,
            ),
            keras.layers.RNN(NASCell(H, "only_here", use_bias=True)),
        ]
    )


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A folder with a model of a cell that is known to this process only."""
    folder = tmp_path_factory.mktemp("saved")
    model = randomize(make_model())
    del spec_module._registered["only_here"]
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    np.save(folder / "x.npy", normal(B, T, D))
    np.save(folder / "y.npy", model.predict(normal(B, T, D), verbose=0))
    return folder


def test_saved_model_loads_equal(saved_model):
    model = keras.models.load_model(saved_model / "model.keras")
    x, want = (np.load(saved_model / name) for name in ("x.npy", "y.npy"))
    near([model(x)], [want])
    assert model.layers[1].cell.spec.provenance == {"tokens": [1, 2]}


def test_saved_weights_load_equal(saved_model):
    model = make_model()
    del spec_module._registered["only_here"]
    x, want = (np.load(saved_model / name) for name in ("x.npy", "y.npy"))
    assert np.abs(np.asarray(model(x)) - want).max() > 1e-3
    model.load_weights(saved_model / "model.weights.h5")
    near([model(x)], [want])


def start_python(*lines, folder="."):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("NAS_KERAS_CELLS", None)
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process):
    output, errors = process.communicate()
    return output if process.returncode == 0 else errors


# The layers, which are imported here, load no library that Keras does not.
KERAS_FIRST = """
import sys
import keras
before = set(sys.modules)
import nas_keras
assert "nas_keras.cells.layers.nas_rnn" in sys.modules
new = {name.split(".")[0] for name in set(sys.modules) - before}
new -= {name.split(".")[0] for name in before}
assert new - sys.stdlib_module_names <= {"lazy_loader", "nas_keras"}, new
"""


def test_saved_model_loads_in_processes_that_only_import(saved_model):
    orders = {
        "import nas_keras; import keras": "keras.models.load_model",
        KERAS_FIRST: "keras.models.load_model",
        "import nas_keras, tensorflow as tf": "tf.keras.models.load_model",
    }
    processes = [
        start_python(
            imports,
            "import numpy as np",
            f"model = {load_model}('model.keras')",
            "got = model(np.load('x.npy'))",
            "np.testing.assert_allclose(got, np.load('y.npy'), rtol=1e-5)",
            folder=saved_model,
        )
        for imports, load_model in orders.items()
    ]  # All at once: each takes seconds.
    assert [output_of(process) for process in processes] == ["", "", ""]


def test_cell_may_be_the_first_import_of_a_program():
    program = (
        "from nas_keras import NASCell\n"
        "NASCell(4)\n"
        "import keras\n"
        "keras.saving.get_registered_object('nas_keras>NASRNN')(4)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr


def test_specs_spaces_and_loop_import_neither_keras_nor_tensorflow():
    process = start_python(
        "import sys",
        "import nas_keras",
        "import nas_keras.cells.language.spec",
        "import nas_keras.spaces",
        "import nas_keras.search.loop",
        "nas_keras.load_spec('lstm').fingerprint",
        "nas_keras.spaces.tree_space(8).decode([0] * 34)",
        "print({'keras', 'tensorflow'} & set(sys.modules))",
    )
    assert output_of(process) == "set()\n"


def test_what_packages_name_leaves_the_modules_of_the_library_alone():
    code = (
        "import nas_keras.search, types\n"
        "from nas_keras.search import search\n"
        "assert isinstance(nas_keras.search, types.ModuleType)\n"
        "assert nas_keras.search.search is search\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
