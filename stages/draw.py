"""Stage `draw`: all pictures of one suite, from the numbers of the other stages; needs neither models nor images.

python stages/draw.py tricks
"""

from pathlib import Path

from pandas import DataFrame

import _start  # noqa: F401
from trainlab.cli import Suite, run_stage
from trainlab.evaluation import comparison, plots
from trainlab.evaluation.comparison import RunMetrics
from trainlab.files import directory_written_whole


def main(suite: Suite) -> None:
    """Draw the scores and learning curves of one suite, and the confusion matrix, layers and logs of each run."""
    runs = comparison.runs_of(Path("configs") / suite)
    metrics = comparison.read_metrics(Path("metrics") / suite, runs)
    histories = comparison.read_histories(Path("plots/history") / suite, runs)

    with directory_written_whole(Path("plots/pictures") / suite) as pictures:
        draw_suite(suite, metrics, histories, pictures)
        for run in runs:
            draw_run(suite, run, metrics[run], histories[run], pictures)


def draw_suite(suite: str, metrics: dict[str, RunMetrics], histories: dict[str, DataFrame], pictures: Path) -> None:
    """Draw all runs of a suite together."""
    table = comparison.table(metrics)
    caption = comparison.caption(table)
    plots.bars(
        {run: of_run["f1_micro"]["values"] for run, of_run in metrics.items()},
        comparison.intervals(table),
        score="micro-F1 (= accuracy)",
        title=f"{suite}: micro-F1 on the test images",
        caption=caption,
    ).save(pictures / "f1.png")
    plots.curves(comparison.curves(histories), title=suite, caption=caption).save(pictures / "curves.png")


def draw_run(suite: str, run: str, metrics: RunMetrics, history: DataFrame, pictures: Path) -> None:
    """Draw one run."""
    counts = comparison.read_confusion(Path("plots/confusion") / suite / f"{run}.csv")
    accuracy = comparison.accuracy_caption(metrics)
    plots.confusion(counts, title=run, caption=accuracy).save(pictures / f"confusion-{run}.png")

    check = Path("metrics/checks") / suite / f"{run}.json"
    if check.is_file():  # the studies have no checks
        layers, images = comparison.read_layers(check)
        note = f"At initialization, {images:,} training images, outputs before the activation function"
        plots.layers(layers, title=run, caption=note).save(pictures / f"layers-{run}.png")

    caption = comparison.caption(comparison.table({run: metrics}))
    if names := comparison.log_names(history.columns):
        plots.logs(history, names, title=run, caption=caption).save(pictures / f"logs-{run}.png")
    if plots.has_dashboard(history):
        plots.dashboard(history, title=run, caption=caption).save(pictures / f"dashboard-{run}.png")


if __name__ == "__main__":
    run_stage(main)
