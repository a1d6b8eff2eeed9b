import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from trainlab.evaluation.metrics import evaluate

STAGE = Path(__file__).parents[2] / "stages/compare.py"
ACCURACY = {"plain": [0.5], "worse": [0.25], "better": [0.75, 0.5, 0.5]}  # not in the alphabet's order
CLASSES = ("ant", "bee")


@pytest.fixture
def project(tmp_path):
    """What the stages before `compare` leave: three runs, scored on four images; `better` logged its reward."""
    write_results(tmp_path)
    return tmp_path


def write_results(project):
    labels = np.array([0, 0, 1, 1])
    (project / "configs/tricks").mkdir(parents=True)
    for run, accuracies in ACCURACY.items():
        predicted = [np.where(np.arange(4) < 4 * accuracy, labels, 1 - labels) for accuracy in accuracies]
        metrics = evaluate(np.eye(2)[np.array(predicted)], labels, CLASSES)
        metrics.save(project / f"metrics/tricks/{run}.json", trained_on="cpu (AVX2), 1 threads")
        metrics.save_classes(project / f"metrics/tricks/{run}-classes.csv")
        metrics.save_confusion(project / f"plots/confusion/tricks/{run}.csv")
        history = project / f"plots/history/tricks/{run}.csv"
        history.parent.mkdir(parents=True, exist_ok=True)
        log, value = (",reward", ",0.5") if run == "better" else ("", "")
        history.write_text(
            f"replica,epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy{log}\n"
            + "".join(
                f"{r},{e},0.001,{1 / e},0.5,{2 / e},{accuracies[r]}{value}\n"
                for r in range(len(accuracies))
                for e in (1, 2)
            )
        )
        config = {"run": run, "suite": "tricks", "epochs": 2, "precision": "float32"}
        (project / f"configs/tricks/{run}.yaml").write_text(yaml.safe_dump(config))
    (project / "configs/tricks/_runs.yaml").write_text("".join(f"- {run}\n" for run in ACCURACY))


def compare(project, suite="tricks", *more):
    command = [sys.executable, STAGE, suite, *more]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def written(project):
    files = [project / "metrics/tricks.json", project / "metrics/tricks.csv"]
    pictures = ("curves.csv", "curves.png", "f1.csv", "f1.png", "logs-better.png")
    files += [project / "plots/comparison/tricks" / name for name in pictures]
    return {file: file.read_bytes() for file in files}


def test_compare_writes_tables_and_pictures(project):
    done = compare(project)
    assert (done.returncode, done.stderr) == (0, "")
    accuracies = json.loads((project / "metrics/tricks.json").read_text())
    assert list(accuracies.items()) == [("plain", 0.5), ("worse", 0.25), ("better", 0.583333)]
    with (project / "metrics/tricks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == list(ACCURACY)
    assert [row["replicas"] for row in rows] == ["1", "1", "3"]
    how = "1 to 3 replicas a run; 2 epochs of all training images; float32; trained on cpu (AVX2), 1 threads."
    assert f"4 test images; {how}" in done.stdout
    pictures = {path.name for path in (project / "plots/comparison/tricks").iterdir()}
    assert pictures == {path.name for path in written(project) if path.parent.name == "tricks"}
    assert "left over" not in done.stdout

    with (project / "plots/comparison/tricks/f1.csv").open(newline="") as file:
        assert {row["run"]: float(row["f1_micro"]) for row in csv.DictReader(file)} == accuracies
    with (project / "plots/comparison/tricks/curves.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 5
    assert sorted(path.name for path in (project / "metrics").iterdir()) == ["tricks", "tricks.csv", "tricks.json"]

    # The same files again from the same files, and a deleted run's files change none of them.
    before = written(project)
    for name in ("metrics/tricks/old.json", "metrics/tricks/old-classes.csv", "plots/history/tricks/old.csv"):
        (project / name).write_text("old")
    again = compare(project)
    assert "left over" in again.stdout.splitlines()[-1]
    assert "metrics/tricks/old-classes.csv, metrics/tricks/old.json, plots/history/tricks/old.csv" in again.stdout
    assert written(project) == before


def test_what_there_is_to_watch_becomes_a_dashboard(project):
    history = project / "plots/history/tricks/plain.csv"
    header, *rows = history.read_text().splitlines()
    more = "validation_loss,validation_accuracy,accuracy_gap,gradient_norm.head,update_ratio.head"
    history.write_text(
        "".join(f"{line}\n" for line in [f"{header},{more}", *(f"{r},1.5,0.4,0.1,0.5,0.001" for r in rows)])
    )
    assert compare(project).returncode == 0
    pictures = project / "plots/comparison/tricks"
    assert [path.name for path in pictures.glob("dashboard-*")] == ["dashboard-plain.png"]
    assert [path.name for path in pictures.glob("logs-*")] == ["logs-better.png"]
    numbers = json.loads((project / "metrics/tricks.json").read_text())
    assert numbers.pop("validation-accuracy") == {"plain": 0.4}
    assert list(numbers) == list(ACCURACY)


def test_compare_of_a_study_reads_and_writes_below_its_directory(tmp_path):
    write_results(tmp_path / "studies")
    (tmp_path / "studies/metrics/tricks/old.json").write_text("old")
    done = compare(tmp_path, "tricks", "--under", "studies")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]
    assert "not compared: studies/metrics/tricks/old.json" in done.stdout

    # The same bytes as for the same runs in the main pipeline.
    write_results(tmp_path / "main")
    assert compare(tmp_path / "main").returncode == 0
    assert list(written(tmp_path / "studies").values()) == list(written(tmp_path / "main").values())

    (tmp_path / "studies/configs/tricks/worse.yaml").unlink()
    (tmp_path / "studies/dvc.yaml").touch()
    failed = compare(tmp_path, "tricks", "--under", "studies")
    assert failed.returncode == 1
    assert failed.stderr == (
        "trainlab: studies/configs/tricks/worse.yaml is missing: run `dvc repro studies/dvc.yaml:resolve`\n"
    )


@pytest.mark.parametrize(
    ("missing", "suite", "advice"),
    [
        ("metrics/tricks/worse.json", "tricks", "run `dvc repro compare@tricks`"),
        ("configs/tricks/worse.yaml", "tricks", "run `dvc repro resolve`"),
        ("configs/objectives/_runs.yaml", "objectives", "is there a suite objectives in params.yaml?"),
    ],
)
def test_what_is_missing_is_said_in_one_line(project, missing, suite, advice):
    (project / missing).unlink(missing_ok=True)
    done = compare(project, suite)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"trainlab: {missing} is missing")
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project / "plots/comparison").exists()
