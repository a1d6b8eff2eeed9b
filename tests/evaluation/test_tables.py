from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from trainlab.errors import UserError
from trainlab.evaluation.tables import as_csv, read_csv, write_csv

ROWS = DataFrame({"run": ["plain", "better, wild"], "loss": [1 / 3, np.nan], "epoch": [1, 2]})


def test_numbers_have_six_significant_digits_and_missing_ones_are_empty() -> None:
    assert as_csv(ROWS) == 'run,loss,epoch\nplain,0.333333,1\n"better, wild",,2\n'
    assert as_csv(DataFrame({"rate": [1.25e-7, 1234567.0]})) == "rate\n1.25e-07\n1.23457e+06\n"


def test_a_table_is_read_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "deep" / "table.csv", ROWS)
    assert (tmp_path / "deep" / "table.csv").read_bytes() == as_csv(ROWS).encode()
    back = read_csv(tmp_path / "deep" / "table.csv", ["run", "loss"], "compare@tricks")
    assert back["run"].tolist() == ["plain", "better, wild"]
    assert back["epoch"].tolist() == [1, 2]
    assert back["loss"].isna().tolist() == [False, True]


def test_names_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("actual,count\nNA,1\n01,2\nnan,3\n")
    rows = read_csv(path, ["actual", "count"], "evaluate@plain", names=["actual"])
    assert rows["actual"].tolist() == ["NA", "01", "nan"]
    assert rows["count"].tolist() == [1, 2, 3]


def test_a_diverged_loss_is_a_missing_number(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n1,nan\n2,inf\n")
    assert read_csv(path, ["epoch"], "train@plain")["loss"].tolist() == [pytest.approx(np.nan, nan_ok=True), np.inf]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "No columns to parse from file"),
        ("run,epoch\n", "it has no rows"),
        ("run\nplain\n", "it has no column epoch"),
        ("run,epoch\na,1\nb,2,3\n", "Error tokenizing data. C error: Expected 2 fields in line 3, saw 3"),
    ],
)
def test_a_damaged_table_is_one_line_with_the_command(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(UserError) as failure:
        read_csv(path, ["run", "epoch"], "compare@tricks")
    assert str(failure.value) == f"{path} is damaged ({reason}): delete it, then run `dvc repro compare@tricks`"


def test_a_missing_table_is_one_line_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError) as failure:
        read_csv(tmp_path / "table.csv", [], "compare@tricks")
    assert str(failure.value) == f"{tmp_path / 'table.csv'} is missing: run `dvc repro compare@tricks`"
