"""Stage `per_sample_loss`: histograms of the losses of single images during the training of one run.

python stages/per_sample_loss.py then_5e_2
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, Run, run_stage
from trainlab.data import stored
from trainlab.evaluation.tables import write_csv
from trainlab.studies.per_sample_loss import Histograms
from trainlab.training.progress import TrainingProgress
from trainlab.training.replicas import train


def main(run: Run, data: DataDirectory = Path("data/normalized")) -> None:
    """Train one run, as stage `train` does, and write histograms of the losses of all images, but no model."""
    settings = config.load(config.find(Path("configs"), run))
    images = stored.load_data(data)
    histograms = Histograms(settings, images)

    with TrainingProgress(run, epochs=settings.epochs, replicas=settings.replicas) as progress:
        train(settings, images, on_epoch=progress.epoch, on_step=progress.step, on_network=histograms.add)

    write_csv(Path("measures") / f"{run}.csv", histograms.table())


if __name__ == "__main__":
    run_stage(main)
