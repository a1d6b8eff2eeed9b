"""Stage `picture`: what one study is understood by, beside its table: numbers and pictures.

python stages/picture.py rates learning_rate
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pandas import DataFrame

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, run_stage
from trainlab.data import stored
from trainlab.evaluation import comparison
from trainlab.files import directory_written_whole, write_text
from trainlab.studies import measures
from trainlab.studies import plots as study_plots

Kind = Literal["rates", "capacity", "layers", "sparsity", "per_sample_loss"]


def main(
    kind: Annotated[Kind, typer.Argument(help="What to draw.")],
    name: Annotated[str, typer.Argument(help="Name of the study; of the run for `per_sample_loss`.")],
    data: DataDirectory = Path("data/normalized"),
) -> None:
    """Draw what a study is understood by into plots/pictures/NAME."""
    with directory_written_whole(Path("plots/pictures") / name) as pictures:
        if kind == "per_sample_loss":
            draw_losses(name, pictures)
        else:
            draw_study(kind, name, data, pictures)


def draw_study(kind: Kind, name: str, data: Path, pictures: Path) -> None:
    """Draw what the runs of a study show together."""
    runs = comparison.runs_of(Path("configs") / name)
    settings = {run: config.load(Path("configs") / name / f"{run}.yaml") for run in runs}
    curves = comparison.curves(comparison.read_histories(Path("plots/history") / name, runs))
    metrics = comparison.read_metrics(Path("metrics") / name, runs)
    images = comparison.count_images(Path("plots/confusion") / name, metrics)
    table = comparison.table(metrics, images, comparison.settings_of(Path("configs") / name, runs))
    caption = comparison.caption(table, images)

    if kind == "rates":
        turns = measures.turns(curves)
        save(turns, pictures / "turns.csv")
        study_plots.rates(curves, title=name, caption=caption).save(pictures / "rates.png")
        picture = study_plots.loss_and_error(curves, turns, title=name, caption=caption)
        picture.save(pictures / "loss_and_error.png")
    elif kind == "capacity":
        counted = measures.read_weights(Path("weights") / name, runs)
        networks = measures.capacity(settings, counted, measures.ends(curves))
        save(networks, pictures / "capacity.csv")
        study_plots.capacity(networks, title=name, caption=caption).save(pictures / "capacity.png")
    elif kind == "layers":
        statistics = measures.layers_at_start(settings, stored.load(data / "train.safetensors"))
        save(statistics, pictures / "layers.csv")
        study_plots.layers(statistics, table, title=name, caption=caption).save(pictures / "layers.png")
    elif kind == "sparsity":
        counted = measures.read_weights(Path("weights") / name, runs).merge(table[["run", "accuracy"]], on="run")
        save(counted, pictures / "sparsity.csv")
        study_plots.sparsity(counted, title=name, caption=caption).save(pictures / "sparsity.png")


def draw_losses(run: str, pictures: Path) -> None:
    """Draw the distributions of the losses of single images, side by side and one after the other."""
    histograms = measures.read_histograms(Path("plots/per_sample_loss") / f"{run}.csv")
    caption = measures.caption_of(histograms)
    study_plots.per_sample_losses(histograms, title=run, caption=caption).save(pictures / "losses.png")
    study_plots.per_sample_animation(histograms, title=run, caption=caption).save(pictures / "losses.gif")


def save(numbers: DataFrame, path: Path) -> None:
    """Write the numbers behind a picture."""
    write_text(path, comparison.as_csv(numbers))


if __name__ == "__main__":
    run_stage(main)
