"""`trainlab search`: the trials of the hyperparameter search on a Ray cluster."""

from pathlib import Path
from typing import Annotated

import typer

from trainlab.errors import UserError


def search(
    address: Annotated[str, typer.Option(help="HOST:PORT of the cluster's head; run this on one of its nodes.")],
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Trials to train at the same time [default: all that fit]."),
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs per trial; a fraction lets several trials share one.")] = 0,
    params: Annotated[Path, typer.Option(help="What to search.")] = Path("search/params.yaml"),
    trials: Annotated[
        Path,
        typer.Option(envvar="SEARCH_TRIALS", help="SQLite file of the trials, which `dvc --cd search repro` uses."),
    ] = Path("search/trials.db"),
    data: Annotated[Path, typer.Option(help="Directory of the normalized images.")] = Path("data/normalized"),
) -> None:
    """Train the trials of the search on a Ray cluster, side by side.

    The images travel once per node, and results are stored by this process. Afterwards, `dvc --cd search repro` writes the
    results; it finds all trials stored and trains nothing. After an interruption, the same command resumes.
    """
    from trainlab.data import stored
    from trainlab.scale.cluster import Workplace, connected
    from trainlab.search import engine
    from trainlab.search.params import load
    from trainlab.training.progress import SearchProgress

    settings = load(params)
    if settings.cohort_size == 1:
        raise UserError(
            f"{params}: with a pruner or the sampler tpe, trials that run at the same time must not look at each other: set"
            f" `cohort` to their number, such as `cohort: 8`, or remove the pruner"
        )
    images = stored.load_data(data)
    resources = {"num_cpus": settings.run({}).threads, "num_gpus": gpus}
    with connected(address) as cluster, SearchProgress() as progress:
        workplace = Workplace(cluster, images, jobs, resources)
        try:
            outcome = engine.run(settings, images, trials, progress, workplace)
        except KeyboardInterrupt:
            progress.say(f"finished trials are stored in {trials}: the same command resumes the search")
            raise
    values = ", ".join(f"{key} {value}" for key, value in outcome.winner.values.items())
    print(f"winner: {values}; `dvc --cd search repro` writes the results, and trains nothing")
