"""Stage `draw_measure`: pictures of the numbers of `measure` and `per_sample_loss`; needs neither models nor images.

python stages/draw_measure.py capacity capacity
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pandas import DataFrame

import _start  # noqa: F401
from trainlab.cli import run_stage
from trainlab.evaluation import comparison
from trainlab.evaluation.tables import read_csv
from trainlab.files import directory_written_whole
from trainlab.studies import capacity, compute, layers, learning_curves, per_sample_loss, plots, sparsity

Kind = Literal["turning_points", "capacity", "layers", "sparsity", "per_sample_loss", "compute"]
COLUMNS: dict[Kind, list[str]] = {
    "turning_points": learning_curves.COLUMNS,
    "capacity": capacity.COLUMNS,
    "layers": layers.COLUMNS,
    "sparsity": sparsity.COLUMNS,
    "per_sample_loss": per_sample_loss.COLUMNS,
    "compute": compute.COLUMNS,
}


def main(
    kind: Annotated[Kind, typer.Argument(help="What was measured.")],
    name: Annotated[str, typer.Argument(help="Name of the study; of the run for `per_sample_loss`; or `compute`.")],
) -> None:
    """Draw measures/NAME.csv into plots/measures/NAME."""
    stage = kind if kind in ("per_sample_loss", "compute") else f"measure@{name}"
    numbers = read_csv(Path("measures") / f"{name}.csv", COLUMNS[kind], stage)
    with directory_written_whole(Path("plots/measures") / name) as pictures:
        if kind == "per_sample_loss":
            draw_losses(name, numbers, pictures)
        elif kind == "compute":
            plots.compute(numbers).save(pictures / "compute.png")
        else:
            draw_study(kind, name, numbers, pictures)


def draw_study(kind: Kind, study: str, numbers: DataFrame, pictures: Path) -> None:
    """Draw what the runs of one study show together."""
    runs = comparison.read_suite(Path("configs") / study).runs
    table = comparison.table(comparison.read_metrics(Path("metrics") / study, runs))
    caption = comparison.caption(table)
    if kind == "turning_points":
        curves = comparison.curves(comparison.read_histories(Path("plots/history") / study, runs))
        plots.rates(curves, title=study, caption=caption).save(pictures / "rates.png")
        plots.loss_and_error(curves, numbers, title=study, caption=caption).save(pictures / "loss_and_error.png")
    elif kind == "capacity":
        plots.capacity(numbers, title=study, caption=caption).save(pictures / "capacity.png")
    elif kind == "layers":
        plots.layers(numbers, table, title=study, caption=caption).save(pictures / "layers.png")
    elif kind == "sparsity":
        plots.sparsity(numbers, title=study, caption=caption).save(pictures / "sparsity.png")


def draw_losses(run: str, histograms: DataFrame, pictures: Path) -> None:
    """Draw the distributions of the losses of single images: all epochs side by side, and as an animation."""
    caption = per_sample_loss.caption(histograms)
    plots.per_sample_losses(histograms, title=run, caption=caption).save(pictures / "losses.png")
    plots.per_sample_animation(histograms, title=run, caption=caption).save(pictures / "losses.gif")


if __name__ == "__main__":
    run_stage(main)
