"""Stage `compute`: the arithmetic of each run's training beside its accuracy, of the two suites and of the record recipe.

python ../stages/compute.py
"""

from pathlib import Path

import pandas as pd

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, run_stage
from trainlab.data import stored
from trainlab.evaluation import comparison
from trainlab.evaluation.tables import read_csv, write_csv
from trainlab.studies import compute

SUITES = {"tricks": "..", "objectives": "..", "record_without": ".", "record": "."}
METRICS = ["run", "accuracy", "accuracy_low", "accuracy_high", "replicas"]


def main(data: DataDirectory = Path("data/normalized")) -> None:
    """Count the operations of each run's training, and write them beside its accuracy to measures/compute.csv."""
    images = stored.load(data / "train.safetensors")
    tables = []
    for suite, project in SUITES.items():
        directory = Path(project) / "configs" / suite
        configs = {run: config.load(directory / f"{run}.yaml") for run in comparison.read_suite(directory).runs}
        metrics = read_csv(Path(project) / "metrics" / f"{suite}.csv", METRICS, f"compare@{suite}")
        tables.append(compute.compute(configs, metrics, images))
    write_csv(Path("measures/compute.csv"), pd.concat(tables))


if __name__ == "__main__":
    run_stage(main)
