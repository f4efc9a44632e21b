"""Numbers as TensorBoard events; needs the package tensorboard, no TensorFlow.

For looking at a run while it lasts. Nothing is read back from events, so what
a kill takes of them is lost.
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_keras import libraries

_NUMBERS = itertools.count()  # Of the logs of this process.


class ScalarLog:
    """Writes numbers by step as TensorBoard events.

    Each log is a new file; TensorBoard shows those of a folder as one.

    Args:
        folder: Of the event files; it is made with the first event.

    Raises:
        ImportError: If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        with libraries.needed("Events need tensorboard", "tensorboard"):
            from tensorboard.compat.proto import event_pb2
            from tensorboard.compat.proto import summary_pb2

            # Not its `EventFileWriter`, which loads TensorFlow.
            from tensorboard.summary.writer import record_writer

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._make_writer = record_writer.RecordWriter
        self._folder = folder
        self._writer: Any = None  # A `RecordWriter`, once there is an event.

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the numbers of a step, by their names.

        Raises:
            OSError: If they cannot be written.
        """
        if self._writer is None:
            self._writer = self._new_writer()
            self._write(self._event(file_version="brain.Event:2"))
        summary = self._summary(
            value=[
                self._summary.Value(tag=name, simple_value=float(value))
                for name, value in values.items()
            ]
        )
        self._write(self._event(step=step, summary=summary))

    def close(self) -> None:
        """Ends the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _new_writer(self) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = (
            f"events.out.tfevents.{int(time.time()):010d}."
            f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        )
        return self._make_writer(open(self._folder / name, "xb"))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())
        self._writer.flush()
