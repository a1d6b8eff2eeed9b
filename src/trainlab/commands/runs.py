"""The names of runs: for the shell's completion, and for the model file that a run has."""

import csv
from contextlib import suppress
from pathlib import Path

from trainlab.config.names import NAME
from trainlab.errors import UserError

SUFFIX = ".safetensors"


def configurations() -> list[Path]:
    """Return the configuration files of all runs."""
    return [path for path in Path("configs").glob("*/[a-z]*.yaml") if path.parent.name != "checks"]


def predictions() -> list[Path]:
    """Return the files of the predictions of all runs."""
    return list(Path("predictions").glob(f"*/*{SUFFIX}"))


def in_tables() -> dict[str, list[str]]:
    """Return the suites of each run that a table in metrics/ has; these tables are in Git."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path("metrics").glob("*.csv")):
        if NAME.fullmatch(path.stem):  # not SUITE-pairs.csv
            with path.open(encoding="utf-8", errors="replace", newline="") as file, suppress(csv.Error):  # no table
                for row in csv.DictReader(file):
                    found.setdefault(row.get("run", ""), []).append(path.stem)
    return found


def complete(incomplete: str) -> list[str]:
    """Return the runs with a configuration, a model, predictions or results whose names start like this."""
    files = [*configurations(), *Path("models").glob(f"*{SUFFIX}"), *predictions()]
    return sorted(name for name in {*in_tables(), *(path.stem for path in files)} if name.startswith(incomplete))


def model_file(run: str) -> Path:
    """Return the model file of a run.

    Raises
    ------
    UserError
        If there is none. The message names the stage that writes it.
    """
    path = Path("models", run + SUFFIX)
    if not NAME.fullmatch(run):
        raise UserError(f"{run!r} is not the name of a run, and model files end in {SUFFIX}")
    if path.is_file():
        return path
    params = Path("params.yaml")
    if not params.is_file():
        raise UserError(f"{path} is missing: run this in the root of the project, or name a model file")

    from trainlab.config import reading
    from trainlab.config.messages import suggest

    content = reading.load(params, "restore it with `git checkout params.yaml`")
    runs, students = content.get("runs") or {}, content.get("students") or {}
    if run not in runs and run not in students:
        raise UserError(f"no run {run!r} in {params}{suggest(run, [*runs, *students])}, and no {path}")
    stage = "distill" if run in students else "train"
    raise UserError(f"{path} is missing: `dvc pull {path}` gets it if it was pushed, else `dvc repro {stage}@{run}`")


def restore(path: Path) -> str:
    """Return the next step where the model file of a run is damaged."""
    return f"delete it, then run `dvc checkout {path}` or `dvc repro {path}`"
