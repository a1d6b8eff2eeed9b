"""Stage `compare`: the runs of one suite side by side, as tables.

python stages/compare.py tricks
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _start  # noqa: F401
from trainlab.cli import Suite, run_stage
from trainlab.evaluation import comparison
from trainlab.evaluation.tables import write_csv
from trainlab.files import write_json


def main(suite: Suite) -> None:
    """Compare the runs of one suite: a table, and the numbers that `dvc metrics` and `dvc plots` show."""
    runs = comparison.runs_of(Path("configs") / suite)
    table = comparison.table(comparison.read_metrics(Path("metrics") / suite, runs))
    histories = comparison.read_histories(Path("plots/history") / suite, runs)

    # `dvc metrics` and `dvc exp show` show one column per number: the test accuracy of each run and, under a key that is
    # not the name of a run, the validation accuracy, by which runs may be selected.
    numbers: dict[str, Any] = rounded(dict(zip(table["run"], table["accuracy"], strict=True)))
    if validation := comparison.validation_accuracies(histories):
        numbers["validation-accuracy"] = rounded(validation)
    write_json(Path("metrics") / f"{suite}.json", numbers)
    write_csv(Path("metrics") / f"{suite}.csv", table)
    write_csv(Path("plots/f1") / f"{suite}.csv", table[["run", "f1_micro", "accuracy_low", "accuracy_high"]])
    write_csv(Path("plots/curves") / f"{suite}.csv", comparison.curves(histories))
    write_csv(Path("plots/logs") / f"{suite}.csv", comparison.logs(histories))

    comparison.show(table, comparison.caption(table))
    directories = [Path(directory) / suite for directory in ("metrics", "plots/history", "plots/confusion")]
    if old := comparison.leftovers(runs, directories):
        print(f"left over from runs that params.yaml no longer names, not compared: {', '.join(map(str, old))}")


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers with six digits, which exceeds the resolution of any test set."""
    return {run: round(number, 6) for run, number in numbers.items()}


if __name__ == "__main__":
    run_stage(main)
