"""What the stages before `compare` and `draw` leave behind, for three small runs; and how tests run a stage's script."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import forked
from trainlab.evaluation.metrics import Predictions, evaluate
from trainlab.files import write_json

STAGES = Path(__file__).parents[1] / "stages"
ACCURACY = {"plain": [0.5], "worse": [0.25], "better": [0.75, 0.5, 0.5]}  # not in alphabetical order
CLASSES = ("ant", "bee")
HOW = {"epochs": 2, "subset": None, "validation": None, "precision": "float32", "trained_on": "CPU (AVX2), 1 thread"}
RECORD = {
    "training": {**HOW, "threads": 1, "torch": "2.15.0"},
    "model": {"parameters": 9, "weights": 8, "near_zero": 0.0},
}


def write_results(project: Path) -> None:
    """Write three runs of the suite `tricks`, scored on four images; `better` logged its reward."""
    labels = np.array([0, 0, 1, 1])
    (project / "configs/tricks").mkdir(parents=True)
    (project / "configs/tricks/_suite.yaml").write_text("margin: 0.01\nruns: {plain: , worse: plain, better: worse}\n")
    for run, accuracies in ACCURACY.items():
        predicted = [np.where(np.arange(4) < 4 * accuracy, labels, 1 - labels) for accuracy in accuracies]
        scores = np.eye(2, dtype=np.float32)[np.array(predicted)]
        Predictions(scores, labels, CLASSES).save(project / f"predictions/tricks/{run}.safetensors")
        timing = {"seconds": 60.0, "replicas": len(accuracies), "workers": 1}
        write_json(project / f"timings/tricks/{run}.json", timing)
        metrics = evaluate(scores, labels, CLASSES)
        metrics.save(project / f"metrics/tricks/{run}.json", RECORD)
        metrics.save_classes(project / f"metrics/tricks/{run}-classes.csv")
        metrics.save_confusion(project / f"plots/confusion/tricks/{run}.csv")
        metrics.save_reliability(project / f"plots/reliability/tricks/{run}.csv")
        rows = [
            {
                "replica": replica,
                "epoch": epoch,
                "lr": 0.001,
                "train_loss": 1 / epoch,
                "train_accuracy": 0.5,
                "test_loss": 2 / epoch,
                "test_accuracy": accuracy,
                **({"reward": 0.5} if run == "better" else {}),
            }
            for replica, accuracy in enumerate(accuracies)
            for epoch in (1, 2)
        ]
        path = project / f"plots/history/tricks/{run}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def watch(project: Path, run: str) -> None:
    """Add validation images and the statistics of one layer to the history of a run."""
    history = project / f"plots/history/tricks/{run}.csv"
    header, *rows = history.read_text().splitlines()
    header += ",validation_loss,validation_accuracy,accuracy_gap,gradient_norm.head,update_ratio.head"
    rows = [f"{row},1.5,0.4,0.1,0.5,0.001" for row in rows]
    history.write_text("".join(f"{line}\n" for line in [header, *rows]))


def check(project: Path, run: str) -> None:
    """Write the result of a run's check."""
    layer = {"mean": 0.1, "std": 1.0, "never_positive": 0.0, "gradient_mean": 0.0, "gradient_std": 1e-3}
    path = project / f"metrics/checks/tricks/{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"layer_images": 250, "layers": {"conv1": layer, "head": layer}}))


def stage(project: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a stage's script in a directory."""
    command = [forked.python(), str(STAGES / f"{name}.py"), *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=120)


def succeed(project: Path, name: str, *arguments: str) -> str:
    """Run a stage's script, which must succeed without warnings, and return what it printed."""
    done = stage(project, name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def modules(project: Path, name: str, *arguments: str) -> set[str]:
    """Run a stage's script and return those of the packages below that it imported."""
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        f"sys.path.insert(0, {str(STAGES)!r})\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('\\n' + ' '.join({'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, str(STAGES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(directory: Path) -> dict[str, str]:
    """Return a digest of each file in a directory, hidden ones included."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}
