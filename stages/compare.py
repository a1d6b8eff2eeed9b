"""Stage `compare`: a suite's runs side by side, as tables and pictures.

python stages/compare.py tricks
"""

import json
from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab import comparison, plotting
from trainlab.cli import Under, run_stage
from trainlab.files import write_text


def main(
    suite: Annotated[str, typer.Argument(help="Name of the suite, as in params.yaml.")], under: Under = Path()
) -> None:
    """Compare the runs of SUITE."""
    configs, histories = under / "configs" / suite, under / "plots/history" / suite
    runs = comparison.runs_of(configs)
    metrics = comparison.read_metrics(under / "metrics" / suite, runs)
    images = comparison.count_images(under / "plots/confusion" / suite, metrics)
    curves = comparison.curves(histories, runs)
    table = comparison.table(metrics, images, comparison.settings_of(configs, runs))
    caption = comparison.caption(table, images)

    # The one number a run that `dvc metrics` and `dvc exp show` put into a line.
    accuracies = {run: round(accuracy, 6) for run, accuracy in zip(table["run"], table["accuracy"], strict=True)}
    write_text(under / "metrics" / f"{suite}.json", json.dumps(accuracies, indent=2) + "\n")
    write_text(under / "metrics" / f"{suite}.csv", comparison.as_csv(table))

    pictures = under / "plots/comparison" / suite
    write_text(pictures / "curves.csv", comparison.as_csv(curves))
    plotting.curves(curves, title=suite, caption=caption).save(pictures / "curves.png")
    write_text(pictures / "f1.csv", comparison.as_csv(table[["run", "f1_micro", "accuracy_low", "accuracy_high"]]))
    plotting.bars(
        {run: metrics[run]["f1_micro"]["values"] for run in runs},
        comparison.intervals(table),
        score="micro-F1 (= accuracy)",
        title=f"{suite}: micro-F1 on the test images",
        caption=caption,
    ).save(pictures / "f1.png")
    for run, history in comparison.logs(histories, runs).items():
        of_run = comparison.caption(table[table["run"] == run], images)
        names = comparison.log_names(history.columns)
        plotting.logs(history, names, title=run, caption=of_run).save(pictures / f"logs-{run}.png")
    for run, history in comparison.dashboards(histories, runs).items():
        of_run = comparison.caption(table[table["run"] == run], images)
        plotting.dashboard(history, title=run, caption=of_run).save(pictures / f"dashboard-{run}.png")

    comparison.show(table, caption)
    directories = ("metrics", "plots/history", "plots/confusion", "plots/confusion_pictures")
    if old := comparison.leftovers(runs, [under / directory / suite for directory in directories]):
        print(f"left over from runs that params.yaml no longer names, not compared: {', '.join(map(str, old))}")


if __name__ == "__main__":
    run_stage(main)
