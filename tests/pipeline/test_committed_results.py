"""The results in Git belong to the code and the parameters in Git."""

import re

import pytest

from pipeline.scratch import PROJECT, TRICKS, Scratch

JUDGED = ("train", "distill", "evaluate", "evaluate_student", "compare")


def outdated(clone):
    """The stages of models and metrics that `dvc repro` would run in a clone, which has no data and no models."""
    # Not dry: only the configurations tell which runs a change of the code concerns.
    clone.dvc("repro", "--single-item", "resolve")
    dry = clone.dvc("repro", "--dry", "--allow-missing", "--keep-going", check=False)  # fails where data is needed
    unchanged = re.findall(r"^Stage '(\S+)' didn't change", dry.stdout, re.MULTILINE)
    stages = clone.dvc("stage", "list", "--name-only").stdout.split()
    return {stage for stage in stages if stage.partition("@")[0] in JUDGED}.difference(unchanged)


def test_the_committed_results_are_of_the_committed_code(tmp_path):
    project = Scratch(PROJECT)
    if project.git("cat-file", "-e", "HEAD:dvc.lock", check=False).code != 0:
        pytest.skip("no dvc.lock is committed: there are no results yet")
    assert outdated(project.clone(tmp_path / "clone")) == set()


def test_outdated_results_would_be_noticed(repo, tmp_path):
    assert outdated(repo.clone(tmp_path / "unchanged")) == set()
    repo.edit("src/trainlab/schedules.py", "self.gamma ** int(done)", "self.gamma ** done")
    with repo.params() as params:
        params["runs"]["baseline"]["lr"] = 5e-4
    repo.commit("changed, and not reproduced")
    found = outdated(repo.clone(tmp_path / "changed"))
    assert {stage for stage in found if stage.startswith("train@")} == {
        f"train@{run}" for run in TRICKS if run != "norm_inputs"
    }
    assert {"evaluate@baseline", "compare@tricks"} <= found
