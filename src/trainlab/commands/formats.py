"""Predictions as a table, CSV or JSON, printed piece by piece: a part of the images at a time."""

import csv
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from trainlab.prediction.classifier import Prediction
from trainlab.prediction.images import shown

WIDE = 1000  # columns of a table that is not printed to a terminal
NARROW = 20  # columns of the images' names on a narrow terminal
DIGITS = 6  # of probabilities in CSV and JSON
RANKS = {1: "most likely", 2: "2nd", 3: "3rd"}


class Printer(Protocol):
    """Prints predictions to standard output."""

    def add(self, names: Sequence[str], prediction: Prediction) -> None:
        """Print the predictions of some images."""

    def close(self) -> None:
        """Print what follows the last image."""


class AsTable:
    """A table for people; its columns have the same width in each piece.

    Parameters
    ----------
    names
        Of all images.
    classes
        The names of the model's classes.
    replicas
        Number of replicas of the model.
    top
        Number of classes per image.
    """

    def __init__(self, names: Sequence[str], classes: Sequence[str], replicas: int, top: int) -> None:
        self._replicas, self._top = replicas, top
        width = None if sys.stdout.isatty() else WIDE
        self._console = Console(markup=False, emoji=False, highlight=False, width=width)
        self._class_width = max(cell_len(name) for name in [*classes, *RANKS.values()])
        others = top * (self._class_width + len("100.0 %") + 4) + len("disagreement") + 2
        longest = max(cell_len(shown(name)) for name in [*names, "image"])
        self._name_width = min(longest, max(self._console.width - others, NARROW))
        self._header = True

    def add(self, names: Sequence[str], prediction: Prediction) -> None:
        """Print the rows of some images."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=self._header, pad_edge=False)
        table.add_column("image", width=self._name_width, overflow="fold")
        for rank in range(1, self._top + 1):
            table.add_column(RANKS.get(rank, f"{rank}th"), width=self._class_width, overflow="fold")
            table.add_column("", width=len("100.0 %"), justify="right")
        table.add_column("disagreement", width=len("disagreement"), justify="right")
        for name, ranked, share in zip(names, prediction.top(self._top), prediction.disagreement, strict=True):
            cells = [cell for label, probability in ranked for cell in (label, f"{100 * probability:.1f} %")]
            votes = "-" if math.isnan(share) else f"{round(share * self._replicas)} of {self._replicas}"
            table.add_row(shown(name), *cells, votes)
        if names:
            self._console.print(table)
            self._header = False

    def close(self) -> None:
        """Print nothing: the table has no last line."""


class AsCsv:
    """Comma-separated values in UTF-8, one line per image."""

    def __init__(self, top: int) -> None:
        self._top = top
        _print_names_as_they_are()
        ranks = ["", *(f"_{rank}" for rank in range(2, top + 1))]
        self._print(
            [["image", *(f"{name}{rank}" for rank in ranks for name in ("class", "probability")), "disagreement"]]
        )

    def add(self, names: Sequence[str], prediction: Prediction) -> None:
        """Print the lines of some images."""
        self._print(self._rows(names, prediction))

    def close(self) -> None:
        """Print nothing."""

    def _rows(self, names: Sequence[str], prediction: Prediction) -> Iterator[list[object]]:
        for name, ranked, share in zip(names, prediction.top(self._top), prediction.disagreement, strict=True):
            cells = [cell for label, probability in ranked for cell in (label, round(probability, DIGITS))]
            yield [name, *cells, _rounded(share)]

    @staticmethod
    def _print(rows: Iterator[list[object]] | list[list[str]]) -> None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


class AsJson:
    """A JSON list of objects, one line per image."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._before = "[\n"

    def add(self, names: Sequence[str], prediction: Prediction) -> None:
        """Print the objects of some images."""
        for name, ranked, share in zip(names, prediction.top(self._top), prediction.disagreement, strict=True):
            row = {
                "image": name,
                "classes": [{"class": label, "probability": round(p, DIGITS)} for label, p in ranked],
                "disagreement": _rounded(share),
            }
            print(self._before + json.dumps(row), end="")  # in ASCII: names of files may be no valid UTF-8
            self._before = ",\n"

    def close(self) -> None:
        """Print the end of the list."""
        print("[]" if self._before == "[\n" else "\n]")


def _rounded(share: float) -> float | None:
    return None if math.isnan(share) else round(float(share), DIGITS)


def _print_names_as_they_are() -> None:
    """Print the bytes of file names that are no valid UTF-8, as other programs do."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
