"""Tables, figures and the one-file HTML report of a run.

Needs no TensorFlow and no Keras; the figures need matplotlib and the rank
correlations scipy, which the extra `nas_keras[report]` installs.
"""

from nas_keras.report.figures import plot_alignment
from nas_keras.report.figures import plot_history
from nas_keras.report.html import describe_result
from nas_keras.report.html import write_report
from nas_keras.report.ranking import RankCorrelation
from nas_keras.report.ranking import describe_ranking
from nas_keras.report.ranking import rank_correlation
from nas_keras.report.run_files import RunFiles
from nas_keras.report.run_files import read_run
from nas_keras.report.tables import RetrainedRow
from nas_keras.report.tables import format_table
from nas_keras.report.tables import summarise_retrained
from nas_keras.report.training import recorded
from nas_keras.report.training import write_epochs
from nas_keras.report.training import write_history
from nas_keras.report.workers import WorkerRow
from nas_keras.report.workers import describe_workers
from nas_keras.report.workers import summarise_workers

__all__ = (
    "RankCorrelation",
    "RetrainedRow",
    "RunFiles",
    "WorkerRow",
    "describe_ranking",
    "describe_result",
    "describe_workers",
    "format_table",
    "plot_alignment",
    "plot_history",
    "rank_correlation",
    "read_run",
    "summarise_retrained",
    "summarise_workers",
    "recorded",
    "write_epochs",
    "write_history",
    "write_report",
)
