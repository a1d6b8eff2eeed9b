"""`trainlab repro --dry` says what would run, and changes nothing."""

import re
from pathlib import Path

import pytest

from scale.example import content, copy, run
from scale.test_repro import repro

pytestmark = pytest.mark.slow


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """Return a copy of `reproduced` to change."""
    return copy(reproduced, tmp_path)


def dry(root: Path, *arguments: str) -> dict[str, str]:
    """Run it, which must change no file; return what it says of each stage, and the summary under an empty name."""
    before, status = content(root), run(root, "git", "status", "--porcelain")
    *lines, summary = repro(root, "--dry", *arguments).splitlines()
    assert content(root) == before
    assert run(root, "git", "status", "--porcelain") == status
    numbers = [int(re.findall(r"\d+", line)[0]) for line in lines]
    assert numbers == sorted(set(numbers))
    found = [re.fullmatch(r"stage \d+ of \d+: (\S+) (.*)", line) for line in lines]
    return {**{one[1]: one[2] for one in found if one}, "": summary}


def test_before_the_first_time_all_stages_run(empty: Path, tmp_path: Path) -> None:
    root = copy(empty, tmp_path)
    (root / ".gitignore").write_text("")  # to which DVC adds the outputs of a stage that runs
    said = dry(root)
    assert said.pop("") == "16 stages: 13 run, 1 are stored as they are, 2 do not change"
    assert said.pop("frozen") == "is stored as it is: not in dvc.lock"
    assert set(said.values()) == {"runs: not in dvc.lock"}
    assert not (root / "data").exists()


def test_what_is_up_to_date_is_not_named(project: Path) -> None:
    said = dry(project)
    assert said == {
        "always": "runs: always changed",
        "zlast": "may run: always.txt may change (by always)",
        "": "16 stages: 1 run, 1 may run, 14 do not change",
    }


def test_a_change_runs_a_stage_and_may_run_those_that_depend_on_it(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("k: 3", "k: 4"))
    said = dry(project, "all", "report")
    assert said["part@a"] == "runs: params.yaml:k modified"
    assert said["all"] == "may run: parts may change (by part@a); plots/parts may change (by part@a)"
    assert "report" not in said
    assert [line for line in repro(project, "all", "report").splitlines() if "done in" in line and "part@a" in line]


def test_what_the_cache_has_does_not_run(project: Path) -> None:
    (project / "parts/a.txt").unlink()
    assert dry(project, "part@a")["part@a"] == "comes from the cache: parts/a.txt deleted"
    params = project / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("k: 3", "k: 4"))
    repro(project, "part@a")
    params.write_text(before)
    assert dry(project, "part@a")["part@a"] == "comes from the cache: params.yaml:k modified"
    assert "wrote parts/a.txt" not in repro(project, "part@a")
    params.write_text(before.replace("k: 3", "k: 5"))
    assert dry(project, "part@a")["part@a"] == "runs: params.yaml:k modified"


def test_data_and_frozen_stages_have_no_command(project: Path) -> None:
    (project / "raw.csv").write_text("a,b\n3,4\n")
    (project / "frozen.txt").write_text("otherwise\n")
    said = dry(project, "prepare", "frozen")
    assert said["raw.csv.dvc"] == "is stored as it is: raw.csv modified"
    assert said["frozen"] == "is stored as it is: frozen.txt modified"
    assert said["prepare"] == "runs: raw.csv modified"
    (project / "raw.csv").unlink()
    assert dry(project, "prepare")["raw.csv.dvc"] == "fails: raw.csv is missing, see `dvc checkout`"
    repro(project, "prepare", code=1)


def test_targets_and_force(project: Path) -> None:
    said = dry(project, "--force", "part@b")
    assert said["part@b"] == said["prepare"] == "runs: --force"
    assert "part@a" not in said
    assert "`dvc stage list` shows all stages" in repro(project, "--dry", "missing", code=1)
