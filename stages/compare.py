"""Stage `compare`: the runs of one suite side by side, as tables, and each against another one, with an answer in words.

python stages/compare.py tricks
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _start  # noqa: F401
from trainlab.cli import Suite, run_stage
from trainlab.evaluation import comparison, effects, mistakes
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.tables import write_csv
from trainlab.files import write_json

SHOWN = 3  # files of deleted runs that are named


def main(suite: Suite) -> None:
    """Compare the runs of one suite: tables, answers in words, and the numbers that `dvc metrics` and `dvc plots` show."""
    compared = comparison.read_suite(Path("configs") / suite)
    against = compared.against
    table = comparison.table(comparison.read_metrics(Path("metrics") / suite, against))
    histories = comparison.read_histories(Path("plots/history") / suite, against)
    predictions = {run: Predictions.load(Path("predictions") / suite / f"{run}.safetensors") for run in against}
    timings = {run: comparison.read_timing(Path("timings") / suite / f"{run}.json") for run in against}
    minutes = {run: timing.minutes_per_replica for run, timing in timings.items()}

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

    found = effects.compare_all(compared.pairs, predictions, compared.margin)
    write_csv(Path("metrics") / f"{suite}-comparisons.csv", effects.table(found))
    right = {run: effects.correct(of_run) for run, of_run in predictions.items()}
    write_csv(Path("metrics") / f"{suite}-pairs.csv", effects.pairs(right))
    write_csv(Path("metrics") / f"{suite}-seeds.csv", effects.seeds(found, right, minutes))
    write_csv(Path("plots/effects") / f"{suite}.csv", effects.plotted(found))

    # What the report shows of files that are not in Git.
    training = {run: timing._replace(minutes=round(timing.minutes, 1))._asdict() for run, timing in timings.items()}
    write_json(Path("metrics") / f"{suite}-details.json", {"training": training, **mistakes.to_dict(predictions)})

    comparison.show(table, comparison.caption(table))
    print("", *(effect.sentence() for effect in found), sep="\n")
    per_run = ("metrics", "plots/history", "plots/confusion", "plots/reliability")
    directories = [Path(directory) / suite for directory in per_run]
    if old := comparison.leftovers(against, directories):
        more = f" and {len(old) - SHOWN} more" if len(old) > SHOWN else ""
        names = ", ".join(map(str, old[:SHOWN]))
        print(f"left over from runs that params.yaml no longer names, not compared: {names}{more}")


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers with six digits, which exceeds the resolution of any test set."""
    return {run: round(number, 6) for run, number in numbers.items()}


if __name__ == "__main__":
    run_stage(main)
