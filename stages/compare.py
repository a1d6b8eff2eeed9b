"""Stage `compare`: a suite's runs side by side, as tables and pictures.

python stages/compare.py tricks
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import _start  # noqa: F401
from trainlab.cli import run_stage
from trainlab.evaluation import comparison, plots
from trainlab.files import write_text


def main(suite: Annotated[str, typer.Argument(help="Name of the suite, as in params.yaml.")]) -> None:
    """Compare the runs of SUITE."""
    configs = Path("configs") / suite
    runs = comparison.runs_of(configs)
    metrics = comparison.read_metrics(Path("metrics") / suite, runs)
    images = comparison.count_images(Path("plots/confusion") / suite, metrics)
    histories = comparison.read_histories(Path("plots/history") / suite, runs)
    curves = comparison.curves(histories)
    table = comparison.table(metrics, images, comparison.settings_of(configs, runs))
    caption = comparison.caption(table, images)

    # What `dvc metrics` and `dvc exp show` put into a line: one number a run, and one to choose by where images are held
    # out, under a key that no run can have.
    numbers: dict[str, Any] = rounded(dict(zip(table["run"], table["accuracy"], strict=True)))
    if validation := comparison.validation_accuracies(histories):
        numbers["validation-accuracy"] = rounded(validation)
    write_text(Path("metrics") / f"{suite}.json", json.dumps(numbers, indent=2) + "\n")
    write_text(Path("metrics") / f"{suite}.csv", comparison.as_csv(table))

    pictures = Path("plots/comparison") / suite
    write_text(pictures / "curves.csv", comparison.as_csv(curves))
    plots.curves(curves, title=suite, caption=caption).save(pictures / "curves.png")
    write_text(pictures / "f1.csv", comparison.as_csv(table[["run", "f1_micro", "accuracy_low", "accuracy_high"]]))
    plots.bars(
        {run: metrics[run]["f1_micro"]["values"] for run in runs},
        comparison.intervals(table),
        score="micro-F1 (= accuracy)",
        title=f"{suite}: micro-F1 on the test images",
        caption=caption,
    ).save(pictures / "f1.png")
    for run, history in histories.items():
        of_run = comparison.caption(table[table["run"] == run], images)
        if names := comparison.log_names(history.columns):
            plots.logs(history, names, title=run, caption=of_run).save(pictures / f"logs-{run}.png")
        if comparison.has_dashboard(history):
            plots.dashboard(history, title=run, caption=of_run).save(pictures / f"dashboard-{run}.png")

    comparison.show(table, caption)
    directories = ("metrics", "plots/history", "plots/confusion", "plots/confusion_pictures")
    if old := comparison.leftovers(runs, [Path(directory) / suite for directory in directories]):
        print(f"left over from runs that params.yaml no longer names, not compared: {', '.join(map(str, old))}")


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    """Six digits: more would differ where nothing that matters does."""
    return {run: round(number, 6) for run, number in numbers.items()}


if __name__ == "__main__":
    run_stage(main)
