"""Stage `search`: look for good hyperparameters by a validation split of the training images.

python stages/search.py
"""

import json
from pathlib import Path
from typing import Annotated

import typer

import _start  # noqa: F401
from trainlab.cli import DataDirectory, run_stage
from trainlab.data import stored
from trainlab.evaluation.comparison import as_csv
from trainlab.files import directory_written_whole, write_text
from trainlab.search import engine, params, plots
from trainlab.training.progress import SearchProgress


def main(
    trials: Annotated[
        Path,
        typer.Option(envvar="SEARCH_TRIALS", help="SQLite file that keeps the trials; what is in it is not run again."),
    ] = Path("trials.db"),
    data: DataDirectory = Path("data/normalized"),
) -> None:
    """Run the rounds of search/params.yaml and write the winner to search/best.yaml, as a run of params.yaml."""
    settings = params.load(Path("params.yaml"))
    images = stored.load_data(data)

    with SearchProgress() as progress:
        try:
            outcome = engine.run(settings, images, trials, progress)
        except KeyboardInterrupt:
            progress.say(f"finished trials are kept in {trials}: the same command goes on")
            raise

    winner, table = outcome.winner, outcome.table()
    write_text(Path("trials.csv"), as_csv(table))
    write_text(Path("best.yaml"), winner.to_yaml())
    result = outcome.result()
    write_text(Path("result.json"), json.dumps(result, indent=2) + "\n")
    timing = {"seconds": round(outcome.seconds(), 1), "trials": len(table), "trained_on": winner.trained_on}
    write_text(Path("timings.json"), json.dumps(timing, indent=2) + "\n")

    caption = f"{result['validation_images']:,} validation images; one seed a trial; trained on {winner.trained_on}"
    with directory_written_whole(Path("plots")) as directory:
        plots.history(outcome, caption=caption).save(directory / "history.png")
        plots.slices(outcome, caption=caption).save(directory / "slices.png")
        if picture := plots.importance(outcome, seed=settings.seed, caption=caption):
            picture.save(directory / "importance.png")
        else:
            print(f"importance is not drawn: no round varies two parameters in {plots.ENOUGH} complete trials or more")

    print(
        f"winner: {', '.join(f'{key} {value}' for key, value in winner.values.items())}: validation loss"
        f" {result['validation_loss']:.4f}, accuracy {result['validation_accuracy']:.2%}; trained again on all training"
        f" images: test accuracy {result['test_accuracy']:.2%}"
    )
    print(f"best.yaml goes under `runs:` of params.yaml as it is")


if __name__ == "__main__":
    run_stage(main)
