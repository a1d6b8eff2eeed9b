"""The history of a run: one row per epoch and replica, written after each epoch, so that plots can follow training."""

import bisect
import csv
import io
from pathlib import Path

from trainlab.files import write_text
from trainlab.training.loop import Row


class History:
    """A CSV file that is rewritten completely with each new row, in the order of replicas and epochs.

    Parameters
    ----------
    path
        The CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a row and write the file. Replicas that are trained side by side may report in any order."""
        bisect.insort(self._rows, row, key=lambda row: (row["replica"], row["epoch"]))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self._rows)
        write_text(self._path, text.getvalue())
