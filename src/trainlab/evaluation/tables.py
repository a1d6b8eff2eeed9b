"""Read and write tables as CSV files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from trainlab.files import reading, write_text


def as_csv(rows: DataFrame) -> str:
    """Return a table as CSV; floating-point numbers have six significant digits."""
    text: str = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def write_csv(path: Path, rows: DataFrame) -> None:
    """Write a table as a CSV file completely or not at all, see :func:`as_csv`."""
    write_text(path, as_csv(rows))


def read_csv(path: Path, columns: Sequence[str], stage: str, *, names: Sequence[str] = ()) -> DataFrame:
    """Read a table from a CSV file.

    Parameters
    ----------
    path
        The file.
    columns
        Columns that the table must have; it may have others.
    stage
        The DVC stage that writes the file.
    names
        Columns of names, which are text whatever they look like: a class may be called "NA" or "01". Without such
        columns, empty cells are missing numbers.

    Raises
    ------
    UserError
        If the file is missing, has no rows, or lacks a column.
    """
    with reading(path, stage):
        rows = pd.read_csv(path, dtype=dict.fromkeys(names, str), na_filter=not names)
        if absent := [column for column in columns if column not in rows.columns]:
            raise ValueError(f"it has no column {absent[0]}")
        if rows.empty:
            raise ValueError("it has no rows")
    return rows
