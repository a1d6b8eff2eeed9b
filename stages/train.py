"""Stage `train`: train one run.

python stages/train.py dropout_conv
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import run_stage
from trainlab.data import stored
from trainlab.files import write_text
from trainlab.history import History
from trainlab.progress import TrainingProgress
from trainlab.training import Data, Row, train


def main(run: Annotated[str, typer.Argument(help="Name of the run, as in params.yaml.")]) -> None:
    """Train one run of params.yaml and write its model, its history and what it took."""
    settings = config.load(config.find(Path("configs"), run))
    suite = settings.suite
    data = Data(*(stored.load(Path("data/normalized") / f"{split}.safetensors") for split in ("train", "test")))
    history = History(Path("plots/history") / suite / f"{run}.csv")

    began = time.perf_counter()
    with TrainingProgress(run, epochs=settings.epochs, replicas=settings.replicas) as progress:

        def on_epoch(row: Row) -> None:
            history.add(row)
            progress.epoch(row)

        trained = train(settings, data, on_epoch=on_epoch, on_step=progress.step)
    seconds = time.perf_counter() - began

    trained.save(Path("models") / f"{run}.safetensors")
    images = settings.replicas * settings.epochs * len(data.train.labels)
    timing = {"seconds": round(seconds, 1), "images_per_second": round(images / seconds), **trained.trained_on}
    write_text(Path("timings") / suite / f"{run}.json", json.dumps(timing, indent=2) + "\n")


if __name__ == "__main__":
    run_stage(main)
