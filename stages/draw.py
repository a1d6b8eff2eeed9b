"""Stage `draw`: all pictures of one suite, from the numbers of the other stages; needs neither models nor images.

python stages/draw.py tricks
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pandas import DataFrame

import _start  # noqa: F401
from trainlab.cli import Suite, run_stage
from trainlab.evaluation import comparison, plots
from trainlab.evaluation.comparison import RunMetrics
from trainlab.evaluation.tables import read_csv
from trainlab.files import directory_written_whole


def main(suite: Suite) -> None:
    """Draw the scores, curves and comparisons of one suite, and the confusion matrix, layers and logs of each run."""
    compared = comparison.read_suite(Path("configs") / suite)
    runs = compared.runs
    metrics = comparison.read_metrics(Path("metrics") / suite, runs)
    histories = comparison.read_histories(Path("plots/history") / suite, runs)

    with directory_written_whole(Path("plots/pictures") / suite) as pictures:
        draw_suite(suite, metrics, histories, pictures)
        draw_differences(suite, compared, comparison.caption(comparison.table(metrics)), pictures)
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
        caption=f"{caption}.\n{comparison.interval_note(table)}",
    ).save(pictures / "f1.png")
    plots.curves(comparison.curves(histories), title=suite, caption=caption).save(pictures / "curves.png")
    title = f"{suite}: reliability on the test images"
    plots.reliability(read_reliability(suite, metrics), title=title, caption=caption).save(pictures / "reliability.png")


def draw_differences(suite: str, compared: comparison.Suite, caption: str, pictures: Path) -> None:
    """Draw the comparisons of a suite, and all pairs of its runs; a suite may have no comparison, or only one run."""
    columns, stage = ["run", "against", "effect", "low", "high", "p_holm"], f"compare@{suite}"
    title = f"{suite}: differences of test accuracy"
    if compared.pairs:
        of_effects = [*columns, "seeds", "seeds_against", "margin", "verdict"]
        path = Path("metrics") / f"{suite}-comparisons.csv"
        effects = read_csv(path, of_effects, stage, names=["run", "against", "verdict"])
        forest = plots.forest(effects, margin=compared.margin, title=title, caption=caption)
        forest.save(pictures / "effects.png")
    if len(compared.runs) > 1:
        pairs = read_csv(Path("metrics") / f"{suite}-pairs.csv", columns, stage, names=["run", "against"])
        matrix = plots.pairs(pairs, compared.runs, title=f"{title}, all pairs", caption=caption)
        matrix.save(pictures / "pairs.png")


def read_reliability(suite: str, runs: Iterable[str]) -> DataFrame:
    """Return the reliability of all runs of a suite in one table."""
    columns, directory = ["replica", "bin", "images", "confidence", "accuracy"], Path("plots/reliability") / suite
    tables = {run: read_csv(directory / f"{run}.csv", columns, f"compare@{suite}") for run in runs}
    return pd.concat([of_run.assign(run=run) for run, of_run in tables.items()], ignore_index=True)


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
