"""Stage `evaluate`: score one trained run on the test images.

python stages/evaluate.py dropout_conv
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, Run, run_stage
from trainlab.data import stored
from trainlab.errors import UserError
from trainlab.evaluation.metrics import Predictions, evaluate, training_record
from trainlab.training import model_file


def main(run: Run, data: DataDirectory = Path("data/normalized")) -> None:
    """Score one trained run on the test images: metrics, report per class, confusion matrix, calibration, predictions."""
    settings = config.load(config.find(Path("configs"), run))
    suite, path = settings.suite, Path("models") / f"{run}.safetensors"
    trained = model_file.load(path)
    model_file.check_run(trained, settings, path)
    test = stored.load(data / "test.safetensors")

    try:
        predictions = Predictions(trained.scores(test), test.labels, tuple(test.classes))
    except ValueError as error:
        raise UserError(
            f"run {run} cannot be scored: {error}; its training diverged: set lr to a tenth of its value"
        ) from error
    metrics = evaluate(predictions.scores, test.labels, test.classes)

    predictions.save(Path("predictions") / suite / f"{run}.safetensors")
    metrics.save(Path("metrics") / suite / f"{run}.json", training_record(trained))
    metrics.save_classes(Path("metrics") / suite / f"{run}-classes.csv")
    metrics.save_reliability(Path("plots/reliability") / suite / f"{run}.csv")
    metrics.save_confusion(Path("plots/confusion") / suite / f"{run}.csv")


if __name__ == "__main__":
    run_stage(main)
