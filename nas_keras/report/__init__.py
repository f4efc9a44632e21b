"""Tables, figures and the one-file HTML report of a run.

Needs no TensorFlow and no Keras; the figures need matplotlib, which the extra
`nas_keras[report]` installs.
"""

from nas_keras.report.html import write_report
from nas_keras.report.run_files import RunFiles
from nas_keras.report.run_files import read_run
from nas_keras.report.tables import RetrainedRow
from nas_keras.report.tables import format_table
from nas_keras.report.tables import summarise_retrained

__all__ = (
    "RetrainedRow",
    "RunFiles",
    "format_table",
    "read_run",
    "summarise_retrained",
    "write_report",
)
