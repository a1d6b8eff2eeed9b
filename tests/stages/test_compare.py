"""Stage `compare`: numbers only."""

import json
from pathlib import Path

import pytest

from suite_results import ACCURACY, digests, modules, rows, stage, succeed, watch, write_results

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_results(tmp_path)
    return tmp_path


def written(project: Path) -> dict[str, str]:
    """Return the digests of what `compare` writes."""
    all_files = {
        name: digest for directory in ("metrics", "plots") for name, digest in digests(project / directory).items()
    }
    return {name: digest for name, digest in all_files.items() if "/tricks/" not in f"/{name}"}


def test_compare_writes_tables(project: Path) -> None:
    said = succeed(project, "compare", "tricks")
    assert set(written(project)) == {
        "tricks.json",
        "tricks.csv",
        "tricks-comparisons.csv",
        "tricks-details.json",
        "tricks-pairs.csv",
        "tricks-seeds.csv",
        "effects/tricks.csv",
        "f1/tricks.csv",
        "curves/tricks.csv",
        "logs/tricks.csv",
    }
    accuracies = json.loads((project / "metrics/tricks.json").read_text())
    assert list(accuracies.items()) == [("plain", 0.5), ("worse", 0.25), ("better", 0.583333)]
    table = rows(project / "metrics/tricks.csv")
    assert [row["run"] for row in table] == list(ACCURACY)
    assert [row["replicas"] for row in table] == ["1", "1", "3"]
    assert {row["torch"] for row in table} == {"2.15.0"}
    assert (
        "4 test images; 1 to 3 replicas per run; 2 epochs of all training images; float32; trained on CPU (AVX2), 1 thread; "
        "torch 2.15.0.\n"
    ) in said
    assert "left over" not in said

    f1 = rows(project / "plots/f1/tricks.csv")
    assert {row["run"]: float(row["f1_micro"]) for row in f1} == accuracies
    assert list(f1[0]) == ["run", "f1_micro", "accuracy_low", "accuracy_high"]
    assert len(rows(project / "plots/curves/tricks.csv")) == 2 * 5
    logs = rows(project / "plots/logs/tricks.csv")
    assert [row["log"] for row in logs if row["run"] == "plain"] == ["lr"] * 2
    assert [row["log"] for row in logs if row["run"] == "better"] == ["lr"] * 6 + ["reward"] * 6

    compared = rows(project / "metrics/tricks-comparisons.csv")
    assert [(row["run"], row["against"], row["margin"]) for row in compared] == [
        ("worse", "plain", "0.01"),
        ("better", "worse", "0.01"),
    ]
    for row in compared:
        assert row["answer"] in said
    assert [(row["run"], row["against"]) for row in rows(project / "metrics/tricks-pairs.csv")] == [
        ("worse", "plain"),
        ("better", "plain"),
        ("better", "worse"),
    ]
    assert [row["seeds"] for row in rows(project / "metrics/tricks-seeds.csv")] == ["", ""]  # a run has a single seed
    details = json.loads((project / "metrics/tricks-details.json").read_text())
    assert list(details) == ["training", "pairs", "mistakes"]
    assert details["training"]["better"] == {"minutes": 1.0, "replicas": 3, "workers": 1}
    assert [len(details["mistakes"][run]) for run in ACCURACY] == [2, 3, 2]
    plotted = rows(project / "plots/effects/tricks.csv")
    assert [row["comparison"] for row in plotted] == ["worse − plain", "better − worse"]
    assert [float(row["effect"]) for row in plotted] == pytest.approx([100 * float(row["effect"]) for row in compared])

    # The same files give the same files, and the files of a deleted run change none of them.
    before = written(project)
    old = ("metrics/tricks/old-classes.csv", "metrics/tricks/old.json", "plots/history/tricks/old.csv")
    for name in old:
        (project / name).write_text("old")
    said = succeed(project, "compare", "tricks")
    assert said.splitlines()[-1] == (
        f"left over from runs that params.yaml no longer names, not compared: {', '.join(old)}"
    )
    for number in range(4):
        (project / f"metrics/tricks/z{number}.json").write_text("old")
    assert (
        succeed(project, "compare", "tricks")
        .splitlines()[-1]
        .endswith(f"not compared: {', '.join(old[:2])}, metrics/tricks/z0.json and 4 more")
    )
    assert written(project) == before


def test_runs_that_are_compared_with_none(project: Path) -> None:
    suite = project / "configs/tricks/_suite.yaml"
    suite.write_text("margin: 0.01\nruns: {plain: , worse: , better: worse}\n")
    succeed(project, "compare", "tricks")
    [compared] = rows(project / "metrics/tricks-comparisons.csv")
    assert (compared["run"], compared["p_holm"]) == ("better", compared["p_value"])  # one comparison: not adjusted
    suite.write_text("margin: 0.01\nruns: {plain: , worse: , better: }\n")
    said = succeed(project, "compare", "tricks")
    assert "points" not in said
    for name in ("metrics/tricks-comparisons.csv", "metrics/tricks-seeds.csv", "plots/effects/tricks.csv"):
        assert rows(project / name) == []
        assert (project / name).read_text().count("\n") == 1
    assert len(rows(project / "metrics/tricks-pairs.csv")) == 3


def test_validation_accuracy_has_a_key_of_its_own(project: Path) -> None:
    watch(project, "plain")
    succeed(project, "compare", "tricks")
    numbers = json.loads((project / "metrics/tricks.json").read_text())
    assert numbers.pop("validation-accuracy") == {"plain": 0.4}
    assert list(numbers) == list(ACCURACY)


def test_compare_needs_neither_configurations_nor_confusion_matrices_nor_drawing_code(project: Path) -> None:
    for path in (project / "plots/confusion/tricks").iterdir():
        path.unlink()
    assert [path.name for path in (project / "configs/tricks").iterdir()] == ["_suite.yaml"]
    assert modules(project, "compare", "tricks") == set()


@pytest.mark.parametrize(
    ("missing", "suite", "advice"),
    [
        ("metrics/tricks/worse.json", "tricks", "run `dvc repro compare@tricks`"),
        ("plots/history/tricks/worse.csv", "tricks", "run `dvc repro compare@tricks`"),
        ("predictions/tricks/worse.safetensors", "tricks", "run `dvc repro compare@tricks`"),
        ("timings/tricks/worse.json", "tricks", "run `dvc repro train@worse` or `distill@worse`"),
        ("configs/objectives/_suite.yaml", "objectives", "is there a suite objectives in params.yaml?"),
    ],
)
def test_a_missing_file_is_reported_on_one_line(project: Path, missing: str, suite: str, advice: str) -> None:
    (project / missing).unlink(missing_ok=True)
    done = stage(project, "compare", suite)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"trainlab: {missing} is missing")
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
    assert written(project) == {}
