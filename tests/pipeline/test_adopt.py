"""A refactoring is adopted without the models at hand, and nothing else is."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.scratch import PROJECT, RUNS, Result, Scratch
from pipeline.test_committed_results import outdated

OLD, NEW = "self.gamma ** int(done)", "pow(self.gamma, int(done))"  # the same number


@pytest.fixture
def clone(reproduced: Scratch, tmp_path: Path) -> Scratch:
    """Return a clone without data and models."""
    return reproduced.clone(tmp_path / "clone")


def adopt(repo: Scratch, *arguments: str) -> Result:
    return repo.run("python", str(PROJECT / "benchmarks/adopt.py"), *arguments, check=False, timeout=600)


def test_a_refactoring_is_adopted_without_models(clone: Scratch) -> None:
    clone.edit("src/trainlab/schedules.py", OLD, NEW)
    clone.append("stages/evaluate.py", "\n# A comment: the stage lists this file.\n")
    clone.edit(
        "dvc.yaml", "        - stages/evaluate.py\n", "        - stages/evaluate.py\n        - stages/train.py\n"
    )  # a new one
    assert {"train@dropout_both", "evaluate@baseline"} <= outdated(clone)
    before = clone.path("dvc.lock").read_text()
    done = adopt(clone)
    assert done.code == 0, done.stdout + done.stderr
    assert "train@dropout_both: configs/tricks/dropout_both.yaml" in done.stdout
    assert "train@baseline" not in done.stdout  # it has no schedule that changed
    assert outdated(clone) == set()
    assert before != clone.path("dvc.lock").read_text()
    assert clone.git("worktree", "list").stdout.count("\n") == 1
    assert not any(clone.path(f"models/{run}.safetensors").exists() for run in RUNS)


def test_a_study_depends_on_configurations_of_the_main_pipeline(clone: Scratch) -> None:
    reads = {"cmd": "echo > probed", "deps": ["../configs/tricks"], "outs": ["probed"]}
    pipeline = yaml.safe_load(clone.path("studies/dvc.yaml").read_text())
    stages = {"resolve": pipeline["stages"]["resolve"], "probe": reads}
    clone.path("studies/dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    clone.dvc("repro", "--single-item", "resolve")
    clone.dvc("--cd", "studies", "repro")
    clone.commit("One more stage")
    clone.edit("src/trainlab/schedules.py", OLD, NEW)
    done = adopt(clone, "studies")
    assert done.code == 0, done.stdout + done.stderr
    assert "probe: ../configs/tricks" in done.stdout
    assert "adopted 1 stages" in done.stdout


def test_anything_but_code_is_refused(clone: Scratch) -> None:
    clone.edit("src/trainlab/schedules.py", OLD, NEW)
    clone.edit("params.yaml", "lr: 0.001", "lr: 0.002")
    clone.edit("plots/history/tricks/baseline.csv", "0", "1")
    clone.edit("dvc.yaml", "stages/evaluate.py ${key}", "stages/evaluate.py ${key} --help")
    before = entries(clone)
    done = adopt(clone)
    assert done.code == 1
    for stage, reason in (
        ("train@baseline", "configs/tricks/baseline.yaml differs in lr"),
        ("draw@tricks", "plots/history/tricks changed"),
        ("evaluate@baseline", "its command or parameters"),
    ):
        assert f"{stage}: {reason}" in done.stdout
    assert "nothing is recorded" in done.stdout
    assert entries(clone) == before


def entries(repo: Scratch) -> dict[str, Any]:
    """Return what dvc.lock records, without the stage `resolve`, which runs in any case."""
    recorded: dict[str, Any] = yaml.safe_load(repo.path("dvc.lock").read_text())["stages"]
    return {stage: entry for stage, entry in recorded.items() if stage != "resolve"}
