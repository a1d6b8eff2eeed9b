"""Stage `compare`: a suite's runs side by side, as tables and pictures.

python stages/compare.py tricks
"""

import json
from pathlib import Path

import _start  # noqa: F401
from trainlab import comparison, plotting
from trainlab.cli import run_stage
from trainlab.files import write_text


def main(suite: str) -> None:
    """Compare the runs of SUITE."""
    runs = comparison.runs_of(Path("configs") / suite)
    metrics = comparison.read_metrics(Path("metrics") / suite, runs)
    images = comparison.count_images(Path("plots/confusion") / suite, metrics)
    histories = comparison.curves(Path("plots/history") / suite, runs)
    table = comparison.table(metrics, images)
    caption = comparison.caption(table, images)

    # The one number a run that `dvc metrics` and `dvc exp show` put into a line.
    accuracies = {run: round(accuracy, 6) for run, accuracy in zip(table["run"], table["accuracy"], strict=True)}
    write_text(Path("metrics") / f"{suite}.json", json.dumps(accuracies, indent=2) + "\n")
    write_text(Path("metrics") / f"{suite}.csv", comparison.as_csv(table))

    pictures = Path("plots/comparison") / suite
    write_text(pictures / "curves.csv", comparison.as_csv(histories))
    plotting.curves(histories, title=suite, caption=caption).save(pictures / "curves.png")
    write_text(pictures / "f1.csv", comparison.as_csv(table[["run", "f1_micro", "accuracy_low", "accuracy_high"]]))
    plotting.bars(
        {run: metrics[run]["f1_micro"]["values"] for run in runs},
        comparison.intervals(table),
        score="micro-F1 (= accuracy)",
        title=f"{suite}: micro-F1 on the test images",
        caption=caption,
    ).save(pictures / "f1.png")

    comparison.show(table, caption)
    directories = (Path("metrics"), Path("plots/history"), Path("plots/confusion"), Path("plots/confusion_pictures"))
    if old := comparison.leftovers(runs, [directory / suite for directory in directories]):
        print(f"left over from runs that params.yaml no longer names, not compared: {', '.join(map(str, old))}")


if __name__ == "__main__":
    run_stage(main)
