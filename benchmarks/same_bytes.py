"""Prove that a change of the code changes no result: train every run in two checkouts and compare the bytes.

python benchmarks/same_bytes.py ../before . --data data/normalized
python benchmarks/same_bytes.py ../before . --data data/normalized --params studies/params.yaml --subset 2000

Each checkout runs its own stages/resolve.py and stages/train.py on the same params.yaml. Compared are all tensors of each
model and the history; a model file's record names the code, which differs.
"""

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from ruamel.yaml import YAML
from safetensors.numpy import load_file

CHECKS = {"initial_loss_tolerance": 1.0, "overfit_lr": 1e-3, "overfit_epochs": 1, "overfit_accuracy": 1.0}
DATA = {"source": "digits", "path": "data/folder", "image_size": 32}


def main(
    before: Annotated[Path, typer.Argument(help="A checkout with the old code.")],
    after: Annotated[Path, typer.Argument(help="A checkout with the new code.")],
    data: Annotated[Path, typer.Option(help="Directory of the normalized data set.")],
    params: Annotated[Path, typer.Option(help="The runs to train.")] = Path("params.yaml"),
    epochs: Annotated[int, typer.Option(help="Epochs per run.")] = 2,
    subset: Annotated[int, typer.Option(help="Training images per run; 0 for as many as the run has.")] = 0,
) -> None:
    """Train every run of PARAMS for a few epochs in two checkouts, and exit with code 1 if any byte differs."""
    console = Console(highlight=False)
    values = shortened(YAML(typ="safe").load(params), epochs, subset)
    differing = []
    with tempfile.TemporaryDirectory() as directory:
        old, new = (prepared(Path(directory) / name, values, data) for name in ("before", "after"))
        stage(before, old, "resolve")
        stage(after, new, "resolve")
        for run in (*values["runs"], *values["students"]):
            stage(before, old, "train", run)
            stage(after, new, "train", run)
            found = list(differences(old, new, run))
            console.print(f"{run}: {'; '.join(found) or 'same bytes'}")
            differing += [run] if found else []
    count = len(values["runs"]) + len(values["students"])
    console.print(f"{count - len(differing)} of {count} runs give the same bytes")
    if differing:
        raise typer.Exit(1)


def shortened(values: dict[str, Any], epochs: int, subset: int) -> dict[str, Any]:
    """Return params.yaml's values with fewer epochs and images, and with the blocks that old code requires."""
    values = {"checks": CHECKS, "data": DATA, **values}
    for own in (*values["runs"].values(), *values["students"].values()):
        own["epochs"] = epochs
        images = own.get("subset", values["suites"][own["suite"]].get("subset", values.get("subset", 0)))
        if subset and not 0 < images < subset:
            own["subset"] = subset
    return values


def prepared(place: Path, values: dict[str, Any], data: Path) -> Path:
    """Make a directory in which stages can run."""
    (place / "data").mkdir(parents=True)
    (place / "data/normalized").symlink_to(data.resolve())
    YAML(typ="safe").dump(values, place / "params.yaml")
    return place


def stage(checkout: Path, place: Path, name: str, *arguments: str) -> None:
    """Run a stage of a checkout in a directory."""
    command = [sys.executable, str(checkout.resolve() / "stages" / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=place, env={**os.environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def differences(before: Path, after: Path, run: str) -> Iterator[str]:
    """Yield what differs between the results of a run in two directories."""
    old, new = (load_file(place / "models" / f"{run}.safetensors") for place in (before, after))
    if old.keys() != new.keys():
        yield f"tensors {sorted(old.keys() ^ new.keys())}"
    changed = [name for name in old.keys() & new.keys() if old[name].tobytes() != new[name].tobytes()]
    if changed:
        yield f"{len(changed)} of {len(old)} tensors differ"
    [old_history], [new_history] = (list(place.glob(f"plots/history/*/{run}.csv")) for place in (before, after))
    if old_history.read_bytes() != new_history.read_bytes():
        old_rows, new_rows = (list(csv.DictReader(path.open())) for path in (old_history, new_history))
        pairs = [(a, b) for a, b in zip(old_rows, new_rows, strict=True) if a != b]
        columns = dict.fromkeys(name for a, b in pairs for name in {**a, **b} if a.get(name) != b.get(name))
        yield f"the histories differ in {', '.join(columns)}"


if __name__ == "__main__":
    typer.run(main)
