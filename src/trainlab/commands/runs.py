"""The names of runs: for the shell's completion, and for the model file that a run has."""

from pathlib import Path

from trainlab.config.names import NAME
from trainlab.errors import UserError

SUFFIX = ".safetensors"


def configurations() -> list[Path]:
    """Return the configuration files of all runs."""
    return [path for path in Path("configs").glob("*/[a-z]*.yaml") if path.parent.name != "checks"]


def complete(incomplete: str) -> list[str]:
    """Return the runs with a configuration, a model or predictions whose names start like this."""
    found = [*configurations(), *Path("models").glob(f"*{SUFFIX}"), *Path("predictions").glob(f"*/*{SUFFIX}")]
    return sorted({path.stem for path in found if path.stem.startswith(incomplete)})


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
