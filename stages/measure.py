"""Stage `measure`: the numbers of one study beside its table.

python stages/measure.py capacity capacity
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pandas import DataFrame

import _start  # noqa: F401
from trainlab import config
from trainlab.cli import DataDirectory, Suite, run_stage
from trainlab.data import stored
from trainlab.evaluation import comparison
from trainlab.evaluation.tables import write_csv
from trainlab.studies.capacity import capacity
from trainlab.studies.layers import layers_at_start
from trainlab.studies.learning_curves import last_epoch, turning_points
from trainlab.studies.sparsity import sparsity

Kind = Literal["turning_points", "capacity", "layers", "sparsity"]


def main(
    kind: Annotated[Kind, typer.Argument(help="What to measure.")],
    study: Suite,
    data: DataDirectory = Path("data/normalized"),
) -> None:
    """Measure what the runs of one study show together, and write it to measures/SUITE.csv."""
    write_csv(Path("measures") / f"{study}.csv", measure(kind, study, data))


def measure(kind: Kind, study: str, data: Path) -> DataFrame:
    """Return the numbers of one kind."""
    runs = comparison.read_suite(Path("configs") / study).runs
    if kind == "sparsity":
        return sparsity(comparison.read_metrics(Path("metrics") / study, runs))
    if kind == "turning_points":
        return turning_points(curves_of(study, runs))
    configs = {run: config.load(Path("configs") / study / f"{run}.yaml") for run in runs}
    if kind == "layers":
        return layers_at_start(configs, stored.load(data / "train.safetensors"))
    metrics = comparison.read_metrics(Path("metrics") / study, runs)
    return capacity(configs, metrics, last_epoch(curves_of(study, runs)))


def curves_of(study: str, runs: list[str]) -> DataFrame:
    """Return the learning curves of all runs of a study."""
    return comparison.curves(comparison.read_histories(Path("plots/history") / study, runs))


if __name__ == "__main__":
    run_stage(main)
