"""Stage `weights`: how many weights a trained run has, and how many of them are near zero.

python stages/weights.py l1
"""

import json
from pathlib import Path

import _start  # noqa: F401
from trainlab.cli import Run, run_stage
from trainlab.files import write_text
from trainlab.studies import measures
from trainlab.training import model_file


def main(run: Run) -> None:
    """Count the parameters of one trained run, and its weights near zero."""
    trained = model_file.load(Path("models") / f"{run}.safetensors")
    counted = measures.count_weights(trained)
    write_text(Path("weights") / trained.config.suite / f"{run}.json", json.dumps(counted, indent=2) + "\n")


if __name__ == "__main__":
    run_stage(main)
