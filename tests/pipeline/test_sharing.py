"""Results shared through a DVC remote and Git: clones without data, with the results, and with an experiment."""

import csv
import io
from pathlib import Path

import pytest

from pipeline.scratch import RUNS, Result, Scratch

OTHERS = ("studies/", "search/dvc.yaml", "alpha")  # other DVC projects, and what only they contain


@pytest.fixture
def shared(repo: Scratch) -> Scratch:
    """Return a repository whose main pipeline is in a remote. Its studies and its search have no results."""
    repo.dvc("push")
    return repo


def assert_quiet(result: Result) -> None:
    """Assert that a command succeeded without a warning, and named nothing of the studies or the search."""
    assert (result.code, result.stderr) == (0, "")
    assert [word for word in OTHERS if word in result.stdout] == []


def test_commands_are_quiet_in_a_clone_without_data(shared: Scratch, tmp_path: Path) -> None:
    clone = shared.clone(tmp_path / "clone")
    dry = clone.dvc("repro", "--dry", "--allow-missing")
    assert_quiet(dry)
    assert "Data and pipelines are up to date." in dry.stdout
    for command in (
        ("metrics", "show"),
        ("params", "diff"),
        ("push",),
        ("plots", "show", "--out", str(tmp_path / "page")),
    ):
        assert_quiet(clone.dvc(*command))
    page = (tmp_path / "page/index.html").read_text()
    assert [name for name in ("f1", "curves", "logs") if f"plots/{name}/tricks.csv" not in page] == []
    assert [
        run for run in RUNS for kind in ("history", "confusion") if f"plots/{kind}/tricks/{run}.csv" not in page
    ] == []

    shown = clone.dvc("exp", "show", "--csv")
    assert (shown.code, shown.stderr) == (0, "")
    [columns, *rows] = csv.reader(io.StringIO(shown.stdout))
    # The report depends on what the other projects wrote.
    assert {name for name in columns if name.startswith(("studies/", "search/"))} == {
        "search/dvc.lock",
        "studies/dvc.lock",
    }
    assert set(RUNS) < set(columns)
    assert len(columns) < 150  # 662, 317 of them of studies, when these were part of the same DVC project
    assert len(rows) == 2

    checkout = clone.dvc("checkout", check=False)  # an error, because nothing is in the cache: of this project only
    assert "models/baseline.safetensors" in checkout.stderr
    assert [word for word in OTHERS if word in checkout.stderr] == []
    assert clone.changed_files() == []


def test_a_clone_pulls_and_has_nothing_to_do(shared: Scratch, tmp_path: Path) -> None:
    clone = shared.clone(tmp_path / "clone")
    for command in ("pull", "checkout", "push"):
        assert_quiet(clone.dvc(command))
    assert_quiet(again := clone.dvc("repro"))
    assert again.ran_stages() == set()
    assert clone.models() == shared.models()
    assert clone.changed_files() == []


def test_a_new_run_is_compared_with_what_git_has(repo: Scratch, tmp_path: Path) -> None:
    """In a clone without a remote: only the new run is trained."""
    clone = repo.clone(tmp_path / "clone")
    clone.mirror = repo.mirror
    clone.dvc("remote", "modify", "--local", "storage", "url", str(tmp_path / "nowhere"))
    with clone.params() as params:
        params["runs"]["mine"] = {**params["runs"]["norm_inputs"], "seed": 7, "against": "norm_inputs"}
    assert clone.dvc("repro", "evaluate@mine").ran("train") == {"mine"}
    answer = clone.run("trainlab", "compare", "mine").stdout
    assert "`norm_inputs`" in answer.splitlines()[0]
    assert "Of `norm_inputs`, Git has the predicted classes: " in answer
    accuracies = {row["run"]: 100 * float(row["accuracy"]) for row in repo.table("metrics/tricks.csv")}
    [row] = [line.split() for line in answer.splitlines() if line.split()[:1] == ["norm_inputs"]]
    assert float(row[2]) == pytest.approx(accuracies["norm_inputs"], abs=0.01)

    # With another number of epochs for all runs, the committed results are no fair comparison.
    with clone.params() as params:
        params["suites"]["tricks"]["epochs"] += 1
    clone.dvc("repro", "evaluate@mine")
    refused = clone.run("trainlab", "compare", "mine", check=False)
    assert refused.code == 1
    assert "norm_inputs.safetensors was trained with other parameters or code" in refused.stderr


def test_an_experiment_is_shared_and_applied_without_training(changed_repo: Scratch, tmp_path: Path) -> None:
    server = Scratch(tmp_path / "server.git")
    changed_repo.git("init", "--quiet", "--bare", "--initial-branch", "main", str(server.root))
    changed_repo.git("remote", "add", "origin", str(server.root))
    # The commit that the experiment started from, and nothing of the experiment.
    changed_repo.git("push", "--quiet", "origin", "main~1:refs/heads/main")
    storage = ("remote", "modify", "--local", "storage", "url", str(tmp_path / "storage"))  # an empty one
    changed_repo.dvc(*storage)
    changed_repo.dvc("exp", "push", "origin", "warm")

    clone = server.clone(tmp_path / "clone")
    clone.dvc(*storage)
    assert_quiet(clone.dvc("exp", "pull", "origin", "warm"))
    assert_quiet(clone.dvc("exp", "apply", "warm"))
    assert clone.models() == changed_repo.models()
    assert clone.path("metrics/tricks.json").read_text() == changed_repo.path("metrics/tricks.json").read_text()
    assert clone.dvc("repro").ran_stages() == set()


def test_what_is_kept_when_space_is_freed(changed_repo: Scratch) -> None:
    repo, models = changed_repo, changed_repo.models()
    repo.dvc("gc", "--all-commits", "--force")
    repo.git("checkout", "--quiet", "HEAD~1")
    repo.dvc("checkout")
    assert repo.dvc("repro").ran_stages() == set()
    assert repo.models() != models

    repo.dvc("gc", "--workspace", "--force")
    assert repo.dvc("repro").ran_stages() == set()
    repo.git("checkout", "--quiet", "main")
    assert "models/baseline.safetensors" in repo.dvc("checkout", check=False).stderr  # of this commit, and gone


def test_a_clone_trains_only_what_an_experiment_changes(repo: Scratch, tmp_path: Path) -> None:
    repo.dvc("push")
    clone = repo.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert clone.changed_files() == []
    experiment = clone.dvc("exp", "run", "-S", "+runs.baseline.lr=2e-3", "compare@tricks")
    assert experiment.ran("train") == experiment.ran("evaluate") == {"baseline"}
    assert experiment.ran("compare") == {"tricks"}
    before = repo.models()
    assert {run for run, digest in clone.models().items() if digest != before[run]} == {"baseline"}
    assert [row["run"] for row in clone.table("metrics/tricks.csv")] == list(RUNS)  # the others as they are in Git


def test_the_first_experiment_in_a_clone_makes_what_is_missing(repo: Scratch, tmp_path: Path) -> None:
    clone = repo.clone(tmp_path / "clone")
    clone.mirror = repo.mirror
    assert not clone.path("data/normalized").exists()
    experiment = clone.dvc("exp", "run", "-S", "+runs.baseline.lr=2e-3", "compare@tricks")
    assert experiment.ran("train") == set(RUNS)
    before = repo.models()
    assert {run for run, digest in clone.models().items() if digest != before[run]} == {"baseline"}
