"""Queue random points of the search's space as DVC experiments, so that `dvc exp show` lists them side by side.

python search/enqueue.py dropout_conv --points 20
python search/enqueue.py baseline --points 20 --vary lr --vary optimizer.weight_decay
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

# The src/ of this checkout, as in stages/_start.py.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import optuna
import typer

from trainlab import config
from trainlab.cli import Run, run_stage
from trainlab.config.inheritance import merge
from trainlab.config.messages import suggest
from trainlab.errors import UserError
from trainlab.search import params
from trainlab.search.params import nested


def main(
    run: Run,
    points: Annotated[int, typer.Option(min=1, help="How many experiments to queue.")] = 10,
    vary: Annotated[
        list[str] | None, typer.Option(help="Key of the space to vary; may be repeated. Default: all keys.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random points.")] = 0,
) -> None:
    """Queue random points of the space in search/params.yaml as DVC experiments with RUN; `dvc queue start` runs them."""
    settings = params.load(Path("search/params.yaml"))
    if unknown := [key for key in vary or [] if key not in settings.space]:
        hint = suggest(unknown[0], settings.space)
        raise UserError(f"search/params.yaml: no {unknown[0]!r} in space{hint}; one of: {', '.join(settings.space)}")
    pipeline = config.load_params(Path("params.yaml"))
    known = config.resolve(pipeline)
    if run not in known:
        raise UserError(f"params.yaml: no run {run!r}{suggest(run, known)}; one of: {', '.join(known)}")
    key = "students" if run in pipeline["students"] else "runs"

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    space = {name: settings.space[name] for name in vary or settings.space}
    distributions = {name: range_.distribution() for name, range_ in space.items()}
    experiments = []
    for _ in range(points):
        drawn = study.ask(distributions).params
        values = {name: range_.value(drawn[name]) for name, range_ in space.items()}
        own = pipeline[key][run]
        # Experiments are compared by held-out images, never by the test images.
        for name, value in {**values, "validation": settings.validation}.items():
            own = merge(own, nested(name, value))
        config.resolve({**pipeline, key: {**pipeline[key], run: own}})
        experiments.append(values)

    for values in experiments:
        # Two pluses: add the key to the run, or change it if the run has it.
        changes = {**values, "validation": settings.validation}
        options = [f"--set-param=++{key}.{run}.{name}={value}" for name, value in changes.items()]
        command = ["dvc", "exp", "run", "--quiet", "--queue", *options, f"compare@{known[run].suite}"]
        if subprocess.run(command, check=False).returncode:
            raise UserError("DVC did not queue the experiment: see its message above")
        print(", ".join(f"{name} {value}" for name, value in values.items()))
    print(
        f"{points} queued: `dvc queue start -j 2` runs them, `dvc exp show` lists them, `dvc queue remove --all` removes them"
    )


if __name__ == "__main__":
    run_stage(main)
