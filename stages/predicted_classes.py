"""Stage `predicted_classes`: the predictions of a suite's runs without scores, small enough for Git.

python stages/predicted_classes.py tricks
"""

from pathlib import Path

import _start  # noqa: F401
from trainlab.cli import Suite, run_stage
from trainlab.evaluation.comparison import read_suite
from trainlab.evaluation.predicted_classes import DIRECTORY, PredictedClasses
from trainlab.files import directory_written_whole


def main(suite: Suite) -> None:
    """Write the predicted classes of each run of a suite, so that `trainlab compare` needs no predictions of them."""
    with directory_written_whole(Path(DIRECTORY) / suite) as directory:
        for run in read_suite(Path("configs") / suite).against:
            predicted = PredictedClasses.of(Path("predictions") / suite / f"{run}.safetensors")
            predicted.save(directory / f"{run}.safetensors")


if __name__ == "__main__":
    run_stage(main)
