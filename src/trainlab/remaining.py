"""What `dvc repro` cannot say while a run is trained: how many other runs are out of date, and how long they take.

It is printed and nothing else: no result depends on what is read here, so no stage lists it as a dependency.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

STAGES = ("train", "distill")  # they run stages/train.py


def line(stage: str, root: Path = Path()) -> str:
    """Return one line about the other runs of this project.

    A run is out of date if dvc.lock has other inputs of it than there are now, or if its teacher is, and missing if its model
    is. Whether this `dvc repro` trains them is not known: it may have targets, and DVC's cache may have their results.

    Parameters
    ----------
    stage
        Address of the stage that is starting, such as `train@baseline`.
    root
        The directory of dvc.lock.

    Returns
    -------
    str
        The line, or an empty string if the stage trains no run.
    """
    name, _, current = stage.rpartition(":")[2].partition("@")
    if name not in STAGES:
        return ""
    suites = {path.stem: path.parent.name for path in root.glob("configs/*/*.yaml") if _is_run(path)}
    stages = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    made = {out["path"]: out["md5"] for entry in stages.values() for out in entry.get("outs", []) if "md5" in out}
    left = {run for run in suites if run == current or not _is_up_to_date(run, stages, made, root)}
    left |= {run for run in suites if any(_model(other) in _inputs(run, stages) for other in left)}
    left.discard(current)
    if not left:
        return f"{stage}: the other {len(suites) - 1} runs are up to date"
    text = f"{stage}: {len(left)} more of {len(suites)} runs {'is' if len(left) == 1 else 'are'} out of date or missing"
    seconds = [_seconds(root / "timings" / suites[run] / f"{run}.json") for run in left]
    known = [each for each in seconds if each is not None]
    if len(known) < len(left):
        return text
    minutes = max(1, math.ceil(sum(known) / 60))
    return f"{text}, about {minutes} minute{'s' * (minutes > 1)} by their last timings"


def _is_run(path: Path) -> bool:
    return path.parent.name != "checks" and not path.stem.startswith("_")


def _is_up_to_date(run: str, stages: Mapping[str, Any], made: Mapping[str, str], root: Path) -> bool:
    """Return whether a run has its model, and the inputs in dvc.lock; ``made`` has the hashes of what stages wrote."""
    inputs = _inputs(run, stages)
    if not inputs or not (root / _model(run)).is_file():
        return False
    return all((made.get(path) or _md5(root / path)) in (md5, None) for path, md5 in inputs.items())


def _inputs(run: str, stages: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs that a run was trained with, with their hashes."""
    entries: Iterator[Any] = (stages[f"{name}@{run}"] for name in STAGES if f"{name}@{run}" in stages)
    return {dep["path"]: dep.get("md5", "") for entry in entries for dep in entry["deps"]}


def _model(run: str) -> str:
    return f"models/{run}.safetensors"


def _md5(path: Path) -> str | None:
    """Return the hash of a file that no stage writes as such; None for a directory, and an empty string for nothing."""
    if path.is_dir():
        return None
    return hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else ""


def _seconds(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
