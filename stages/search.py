"""Stage `search`: search for good hyperparameters on a validation split of the training images.

cd search && python ../stages/resolve_search.py && python ../stages/search.py --data ../data/normalized
"""

from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab.cli import DataDirectory, run_stage
from trainlab.data import stored
from trainlab.evaluation.tables import as_csv
from trainlab.files import write_json, write_text
from trainlab.search import engine, params
from trainlab.training.progress import SearchProgress


def main(
    trials: Annotated[
        Path,
        typer.Option(
            envvar="SEARCH_TRIALS", help="SQLite file that stores the trials; stored trials are not run again."
        ),
    ] = Path("trials.db"),
    data: DataDirectory = Path("data/normalized"),
) -> None:
    """Run the search that resolved.yaml describes and write the winner to best.yaml, as a run of the project's params.yaml."""
    settings = params.load_resolved(Path("resolved.yaml"))
    images = stored.load_data(data)

    with SearchProgress() as progress:
        try:
            outcome = engine.run(settings, images, trials, progress)
        except KeyboardInterrupt:
            progress.say(f"finished trials are stored in {trials}: the same command resumes the search")
            raise

    winner, table, result = outcome.winner, outcome.table(), outcome.result()
    write_text(Path("trials.csv"), as_csv(table))
    write_text(Path("best.yaml"), winner.to_yaml())
    write_json(Path("ranges.json"), outcome.ranges())
    write_json(Path("result.json"), result)
    timing = {"seconds": round(outcome.seconds(), 1), "trials": len(table), "trained_on": winner.trained_on}
    write_json(Path("timings.json"), timing)

    print(
        f"winner: {', '.join(f'{key} {value}' for key, value in winner.values.items())}: validation loss"
        f" {result['validation_loss']:.4f}, accuracy {result['validation_accuracy']:.2%}; trained again on all training"
        f" images: test accuracy {result['test_accuracy']:.2%}"
    )
    print("to adopt it, paste best.yaml under `runs:` in the project's params.yaml")


if __name__ == "__main__":
    run_stage(main)
