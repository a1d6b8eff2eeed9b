"""The committed results were computed with the committed code and parameters."""

import re
from pathlib import Path

import pytest

from pipeline.scratch import PROJECT, Scratch

RESULTS = ("train", "distill", "evaluate", "evaluate_student", "compare", "draw", "report")


def outdated(clone: Scratch) -> set[str]:
    """Return the stages of models, metrics and pictures that `dvc repro` would run in a clone without data and models."""
    # Not dry: the configurations contain the fingerprints of the code.
    clone.dvc("repro", "--single-item", "resolve")
    dry = clone.dvc("repro", "--dry", "--allow-missing", "--keep-going", check=False)  # fails where data is needed
    unchanged = re.findall(r"^Stage '(\S+)' didn't change", dry.stdout, re.MULTILINE)
    stages = clone.dvc("stage", "list", "--name-only").stdout.split()
    return {stage for stage in stages if stage.partition("@")[0] in RESULTS}.difference(unchanged)


def test_the_committed_results_are_those_of_the_committed_code(tmp_path: Path) -> None:
    project = Scratch(PROJECT)
    if project.git("cat-file", "-e", "HEAD:dvc.lock", check=False).code != 0:
        pytest.skip("no dvc.lock is committed: there are no results yet")
    assert outdated(project.clone(tmp_path / "clone")) == set()


def test_git_tracks_nothing_that_it_ignores() -> None:
    """DVC refuses to run a stage whose cached output Git tracks."""
    assert Scratch(PROJECT).git("ls-files", "--cached", "--ignored", "--exclude-standard").stdout == ""


def test_outdated_results_are_noticed(repo: Scratch, tmp_path: Path) -> None:
    repo.edit("src/trainlab/schedules.py", "self.gamma ** int(done)", "self.gamma ** done")
    with repo.params() as params:
        params["runs"]["baseline"]["lr"] = 5e-4
    repo.commit("changed, and not reproduced")
    found = outdated(repo.clone(tmp_path / "clone"))
    assert {stage for stage in found if stage.startswith("train@")} == {"train@baseline", "train@dropout_both"}
    assert "evaluate@baseline" in found
    assert "evaluate@norm_inputs" not in found
