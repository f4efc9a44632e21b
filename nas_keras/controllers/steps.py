"""`Steps`: which choices a policy makes at which step of its LSTM.

A step makes one choice, or decides all links that follow each other. What a
policy remembers are rows: row 0 is the beginning, zeros; row s+1 what the LSTM
gave at step s; then come the learned vectors of the anchors -2, -3 and so on.
NumPy only. Axes: A choices, S steps, K options of a choice, L links of a step.
"""

from collections.abc import Sequence

import numpy as np

from nas_keras.spaces.space import Choice


class Steps:
    """Tables of the steps. Where a step has fewer than K or L, they are zero.

    Args:
        choices: The A choices of a space.

    Attributes:
        first: int32 [S], the place of the choice, or of the first link.
        num_options: int32 [S], its options.
        is_anchored: bool [S], whether its options are anchors.
        option_rows: int32 [S, K], the row that each option points back to.
        has_links: bool [S], whether the step decides links.
        link_places: int32 [S, L], the places of the links.
        link_rows: int32 [S, L], the row that each link points back to.
        is_link: bool [S, L], whether there is such a link.
        columns: int32 [A], where each choice is if a step is 1 + L columns,
            of its choice and of its links, and all stand side by side.
        link_columns: int32 [number of links], those of the links alone.
        num_landmarks: The number of learned vectors.
    """

    def __init__(self, choices: Sequence[Choice]):
        runs = _runs(choices)
        heads = [choices[run[0]] for run in runs]
        links = [
            [k for k in run if choices[k].link is not None] for run in runs
        ]
        self._rows = {-1: 0}  # Place -> row.
        for step, run in enumerate(runs):
            self._rows |= dict.fromkeys(run, step + 1)
        anchors = [choice.anchors or () for choice in heads]
        self.num_landmarks = max(-1 - k for k in (-1, *sum(anchors, ())))
        for k in range(self.num_landmarks):
            self._rows[-2 - k] = len(runs) + 1 + k
        self.first = np.array([run[0] for run in runs], np.int32)
        num_options = [len(choice.options) for choice in heads]
        self.num_options = np.array(num_options, np.int32)
        self.is_anchored = np.array([c.anchors is not None for c in heads])
        self.option_rows = self._row_table(anchors, max(num_options))
        counts = np.array([len(places) for places in links])
        self.has_links = counts > 0
        self.is_link = np.arange(counts.max()) < counts[:, None]
        self.link_places = _table(links, counts.max())
        self.link_rows = self._row_table(
            [[choices[k].link or 0 for k in places] for places in links],
            counts.max(),
        )
        width = 1 + counts.max()
        columns = [
            step * width + column
            for step, run in enumerate(runs)
            for column, _ in enumerate(run, start=int(self.has_links[step]))
        ]
        self.columns = np.array(columns, np.int32)
        is_link = [choice.link is not None for choice in choices]
        self.link_columns = self.columns[np.array(is_link)]

    def __len__(self) -> int:
        return len(self.first)

    def _row_table(
        self, places: Sequence[Sequence[int]], width: int
    ) -> np.ndarray:
        return _table([[self._rows[k] for k in row] for row in places], width)


def _runs(choices: Sequence[Choice]) -> list[list[int]]:
    """Returns the places of the choices of each step."""
    runs: list[list[int]] = []
    is_link = False
    for place, choice in enumerate(choices):
        if is_link and choice.link is not None:
            runs[-1].append(place)
        else:
            runs.append([place])
        is_link = choice.link is not None
    return runs


def _table(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
    """Returns int32 [S, width], the rows filled up with zeros."""
    table = np.zeros((len(rows), width), np.int32)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table
