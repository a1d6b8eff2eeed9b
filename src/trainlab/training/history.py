"""The history of a run: one row per epoch and replica, written after each epoch, so that plots can follow training."""

import csv
import io
from pathlib import Path

from trainlab.files import write_text
from trainlab.training.loop import Row


class History:
    """A CSV file that is rewritten completely with each new row.

    Parameters
    ----------
    path
        The CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Append a row and write the file."""
        self._rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self._rows)
        write_text(self._path, text.getvalue())
