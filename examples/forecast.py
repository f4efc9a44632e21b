r"""Forecasts a time series with a recurrent layer of any cell.

The series is that of Mackey and Glass, chaotic and without noise. Models of
equal size, one of `NASRNN` and one of `keras.layers.LSTM`, learn the value
HORIZON steps ahead from the last WINDOW. Whatever they learn is to be held
against a forecast that needs no learning: the last value. The first model is
saved, loaded and asked again.

  python examples/forecast.py
  python examples/forecast.py --cell=gru --weights=2000
"""

import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from absl import app
from absl import flags

from nas_keras.cells import NASRNN
from nas_keras.cells import units_for_parameters

_CELL = flags.DEFINE_string("cell", "nascell", "Name or JSON file of a cell.")
_WEIGHTS = flags.DEFINE_integer("weights", 4_000, "Of each recurrent layer.")
_LENGTH = flags.DEFINE_integer("length", 2_000, "Values of the series.")
_EPOCHS = flags.DEFINE_integer("epochs", 8, "Of each training.")
_SEEDS = flags.DEFINE_integer("seeds", 2, "Trainings of each layer.")
_SAVE = flags.DEFINE_string("save", "forecast.keras", "Path of the model.")

_WINDOW, _HORIZON = 40, 12


def mackey_glass(length: int, delay: int = 17) -> np.ndarray:
    """Returns float32 [length], with mean 0 and standard deviation 1.

    Reference:
        [Mackey & Glass, 1977](https://doi.org/10.1126/science.267326),
        equation 4b, in steps of 1.
    """
    values = [1.2] * (delay + 1)
    for _ in range(500 + length):  # The first 500 are not chaotic yet.
        then = values[-1 - delay]
        values.append(0.9 * values[-1] + 0.2 * then / (1 + then**10))
    series = np.array(values[-length:], np.float32)
    return (series - series.mean()) / series.std()


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs [N, T, 1] and targets [N, 1], T = WINDOW."""
    starts = range(len(series) - _WINDOW - _HORIZON + 1)
    inputs = np.stack([series[k : k + _WINDOW] for k in starts])
    return inputs[..., None], series[_WINDOW + _HORIZON - 1 :, None]


def trained(
    layer: keras.layers.Layer, inputs: np.ndarray, targets: np.ndarray
) -> keras.Model:
    """Returns a model of a recurrent layer, trained."""
    model = keras.Sequential([layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(5e-3, clipnorm=1.0), "mse")
    model.fit(inputs, targets, 64, _EPOCHS.value, verbose=0)
    return model


def rmse(forecast: np.ndarray, targets: np.ndarray) -> float:
    """Returns the root mean square error, in the series' deviations."""
    return float(np.sqrt(np.mean((forecast - targets) ** 2)))


def main(argv: Sequence[str]) -> None:
    """Trains, compares, saves and loads."""
    del argv
    series = mackey_glass(_LENGTH.value)
    split = 2 * len(series) // 3  # Later values are for the test.
    inputs, targets = windows(series[:split])
    test_inputs, test_targets = windows(series[split:])

    def units(cell: str) -> int:
        return units_for_parameters(cell, _WEIGHTS.value, 1, use_bias=True)

    layers: dict[str, Callable[[], keras.layers.Layer]] = {
        f"NASRNN, {_CELL.value}": lambda: NASRNN(
            units(_CELL.value), _CELL.value, use_bias=True
        ),
        "keras.layers.LSTM": lambda: keras.layers.LSTM(units("lstm")),
    }
    kept = None
    for name, make in layers.items():
        errors, start = [], time.perf_counter()
        for seed in range(_SEEDS.value):
            keras.utils.set_random_seed(seed)
            model = trained(make(), inputs, targets)
            forecast = model.predict(test_inputs, verbose=0)
            errors.append(rmse(forecast, test_targets))
            kept = kept or (model, forecast)
        print(
            f"{name}: {model.layers[0].count_params():,} weights, test RMSE "
            f"{statistics.mean(errors):.4f}, {min(errors):.4f} to "
            f"{max(errors):.4f}; {time.perf_counter() - start:.1f} s"
        )
    print(f"last value: test RMSE {rmse(test_inputs[:, -1], test_targets):.4f}")

    model, forecast = kept
    model.save(_SAVE.value)
    loaded = keras.models.load_model(_SAVE.value)  # The cell is in the file.
    np.testing.assert_allclose(
        loaded.predict(test_inputs, verbose=0), forecast, rtol=1e-5, atol=1e-6
    )
    print(f"{_SAVE.value}: loaded, forecasts the same")


if __name__ == "__main__":
    app.run(main)
