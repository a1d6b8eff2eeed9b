"""Stage `train`: train one run.

python stages/train.py dropout_conv
"""

import sys
import time
from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, Run, run_stage
from trainlab.data import stored
from trainlab.files import write_json
from trainlab.training import devices, model_file
from trainlab.training.history import History
from trainlab.training.loop import Row
from trainlab.training.progress import TrainingProgress
from trainlab.training.replicas import train


def main(run: Run, data: DataDirectory = Path("data/normalized")) -> None:
    """Train one run or student of params.yaml and write its model, its history and its timing."""
    settings = config.load(config.find(Path("configs"), run))
    suite = settings.suite
    if note := devices.slow_arithmetic(devices.choose(settings.device), settings.precision):
        print(f"{run}: {note}", file=sys.stderr)
    images = stored.load_data(data)
    teacher_outputs = None
    if settings.teacher:  # once for all images: they are the same in each epoch
        path = Path("models") / f"{settings.teacher}.safetensors"
        teacher = model_file.load(path)
        model_file.check_run(teacher, config.load(config.find(Path("configs"), settings.teacher)), path)
        teacher_outputs = teacher.scores(images.train)
    history = History(Path("plots/history") / suite / f"{run}.csv")

    checkpoints = Path(".work/checkpoints") / suite / run
    began = time.perf_counter()
    with TrainingProgress(run, epochs=settings.epochs, replicas=settings.replicas) as progress:

        def on_epoch(row: Row) -> None:
            history.add(row)
            progress.epoch(row)

        trained = train(
            settings,
            images,
            teacher_outputs=teacher_outputs,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
            on_step=progress.step,
        )
    elapsed = time.perf_counter() - began

    trained.save(Path("models") / f"{run}.safetensors")
    rate = round(progress.images / elapsed)
    seconds = elapsed / progress.share if progress.share else 0.0  # of all epochs, where a part came from checkpoints
    side_by_side = devices.workers(settings.replicas, settings.threads, devices.choose(settings.device))
    timing = {
        "seconds": round(seconds, 1),
        "images_per_second": rate,
        "replicas": settings.replicas,
        "workers": side_by_side,
        **trained.trained_on,
    }
    write_json(Path("timings") / suite / f"{run}.json", timing)


if __name__ == "__main__":
    run_stage(main)
