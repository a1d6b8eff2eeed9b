"""The committed results were computed with the committed code and parameters."""

import os
import re
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from pipeline.scratch import PROJECT, Scratch
from trainlab import config

RESULTS = (
    *("train", "distill", "evaluate", "evaluate_student", "compare", "draw", "predicted_classes", "report"),
    *("measure", "draw_measure", "compute", "draw_compute", "search"),
)


def outdated(clone: Scratch, project: str = ".") -> set[str]:
    """Return the stages of models, metrics and pictures that `dvc repro` would run in a clone without data and models."""
    # Not dry: the configurations contain the fingerprints of the code.
    clone.dvc("--cd", project, "repro", "--single-item", "resolve")
    # Fails where data is needed.
    dry = clone.dvc("--cd", project, "repro", "--dry", "--allow-missing", "--keep-going", check=False)
    unchanged = re.findall(r"^Stage '(\S+)' didn't change", dry.stdout, re.MULTILINE)
    stages = clone.dvc("--cd", project, "stage", "list", "--name-only").stdout.split()
    return {stage for stage in stages if stage.partition("@")[0] in RESULTS}.difference(unchanged)


@pytest.mark.parametrize("project", [".", "studies", "search"])
def test_the_committed_results_are_those_of_the_committed_code(project: str, tmp_path: Path) -> None:
    source = Scratch(PROJECT)
    if source.git("cat-file", "-e", f"HEAD:{project}/dvc.lock", check=False).code != 0:
        pytest.skip("no dvc.lock is committed: there are no results yet")
    clone = source.clone(tmp_path / "clone")
    ran = yaml.safe_load(clone.path(f"{project}/dvc.lock").read_text()).get("stages", {})
    old = outdated(clone, project)
    assert old.isdisjoint(ran) if project == "studies" else old == set()  # not all studies have run


def test_the_winner_of_the_search_is_the_run_of_its_study() -> None:
    [winner] = yaml.safe_load((PROJECT / "search/best.yaml").read_text()).values()
    studies = config.load_params(PROJECT / "studies/params.yaml")
    run = config.resolve(studies, where="studies/params.yaml", data=False)["winner"]
    of_study = {"suite", "seed", "replicas", "threads"}
    values = run.model_dump() | {key: value for key, value in winner.items() if key not in of_study}
    assert run == type(run).model_validate(values)


def test_git_tracks_nothing_that_it_ignores() -> None:
    """DVC refuses to run a stage whose cached output Git tracks."""
    assert Scratch(PROJECT).git("ls-files", "--cached", "--ignored", "--exclude-standard").stdout == ""


@pytest.mark.parametrize("project", [".", "studies", "search"])
def test_git_ignores_what_dvc_caches_before_it_is_there(project: str, tmp_path: Path) -> None:
    """Otherwise DVC writes a .gitignore of its own, which Git then shows as a change."""
    clone = Scratch(PROJECT).clone(tmp_path / "clone")
    with Repo(clone.path(project)) as repo:
        cached = {os.path.relpath(out.fs_path, clone.root) for out in repo.index.outs if out.use_cache}
    ignored = clone.git("check-ignore", *sorted(cached)).stdout.split() if cached else []
    assert set(ignored) == cached


def test_outdated_results_are_noticed(repo: Scratch, tmp_path: Path) -> None:
    repo.edit("src/trainlab/schedules.py", "self.gamma ** int(done)", "self.gamma ** done")
    with repo.params() as params:
        params["runs"]["baseline"]["lr"] = 5e-4
    repo.commit("changed, and not reproduced")
    found = outdated(repo.clone(tmp_path / "clone"))
    assert {stage for stage in found if stage.startswith("train@")} == {"train@baseline", "train@dropout_both"}
    assert "evaluate@baseline" in found
    assert "evaluate@norm_inputs" not in found
