"""Trainings that are stopped, and where they are: for tests of all tasks."""

import itertools
import json
import pathlib
from collections.abc import Callable
from typing import Any

from nas_keras.storage import checkpoints


class Stop(Exception):
    """Ends a training from outside."""


def stop_at(number: int) -> Callable[[Any], None]:
    """Returns an `on_update` that raises `Stop` at an update, from 1."""
    count = itertools.count(1)

    def tell(update: Any) -> None:
        if next(count) == number:
            raise Stop

    return tell


def snapshot(workdir: pathlib.Path) -> tuple[int, dict, dict]:
    """Returns step, place, less all times, and arrays of the newest one."""
    step, arrays = checkpoints.latest(workdir / "checkpoints")
    place = json.loads(arrays.pop("place").tobytes())
    for record in (place, *place["history"]):
        del record["elapsed_s"]
    return step, place, arrays
