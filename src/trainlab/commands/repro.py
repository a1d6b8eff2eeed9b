"""`trainlab repro`: `dvc repro`, with independent stages side by side."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from trainlab.errors import UserError
from trainlab.scale.retries import RETRIES


def repro(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Stages or files, as for `dvc repro` [default: all stages of dvc.yaml].")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Stages to run at the same time [default: CPU cores, of the cluster with --address].",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="After a failure, run the stages that do not depend on it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Run stages that are up to date, too.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would run and why; run and change nothing.")] = False,
    retries: Annotated[
        int,
        typer.Option(min=0, help="Times that a stage runs again whose process was killed from outside."),
    ] = RETRIES,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster to run the stages on; run this on one of its nodes.")
    ] = None,
) -> None:
    """Run the DVC pipeline, with independent stages side by side.

    It leaves what `dvc repro` leaves: dvc.lock, cache and files. After an interruption, the same command or `dvc repro`
    continues. The environment variable TRAINLAB_WORKERS limits the replicas that a stage trains at the same time.
    """
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise UserError(f"{root} has no dvc.yaml: change to the directory of a DVC project")

    if dry:
        _show(root, targets or [], force)
        return

    import loky

    from trainlab.scale.cluster import connected
    from trainlab.scale.display import Progress
    from trainlab.scale.pipeline import reproduce

    with connected(address) if address else nullcontext() as cluster:
        jobs = jobs or (cluster.capacity({"num_cpus": 1}) if cluster else loky.cpu_count())
        with Progress(root, jobs) as progress:
            tasks = reproduce(
                root,
                targets or [],
                jobs,
                progress,
                keep_going=keep_going,
                force=force,
                retries=retries,
                cluster=cluster,
            )
    print(f"{len(tasks)} stages: {progress.summary()}")
    if any(task.state == "failed" for task in tasks):
        raise typer.Exit(1)


def _show(root: Path, targets: Sequence[str], force: bool) -> None:
    """Print what would run."""
    from trainlab.scale.dry import WORDS, forecast

    found = forecast(root, targets, force=force)
    for one in found:
        if one.fate != "does not change":
            print(one.line(len(found)))
    counts = {fate: sum(one.fate == fate for one in found) for fate in WORDS}
    print(f"{len(found)} stages: {', '.join(f'{count} {WORDS[fate]}' for fate, count in counts.items() if count)}")
