"""``trainlab compare`` on runs at Git revisions, in a scratch repository."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.console import Call
from pipeline.scratch import Scratch
from pipeline.servers import BUCKET, s3_server
from trainlab.evaluation.metrics import Predictions
from trainlab.evaluation.predicted_classes import PredictedClasses

pytestmark = pytest.mark.slow

PIPELINE = """\
stages:
  evaluate:
    foreach: [{runs}]
    do:
      cmd: cp made/${{item}}.safetensors predictions/tricks/${{item}}.safetensors
      deps:
        - made/${{item}}.safetensors
      outs:
        - predictions/tricks/${{item}}.safetensors
"""


def make(project: Path, run: str, accuracy: float) -> None:
    """Write predictions of a run with this accuracy, from which the pipeline copies."""
    labels = np.arange(100) % 2
    wrong = np.arange(100) >= 100 * accuracy
    Predictions(np.eye(2, dtype=np.float32)[(labels + wrong) % 2][None], labels, ("ant", "bee")).save(
        project / f"made/{run}.safetensors"
    )


def pipeline(project: Path, *runs: str) -> None:
    (project / "predictions/tricks").mkdir(parents=True, exist_ok=True)
    (project / "dvc.yaml").write_text(PIPELINE.format(runs=", ".join(runs)))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Return a repository with three commits and a project in `studies/`; its working tree has no predictions.

    `first`: the accuracy of `plain` is 0.6, that of `better` 0.9; both are in the remote. `second`: that of `plain` is 0.7,
    in the cache only. `third`: a run `later` was added and not reproduced.
    """
    root = tmp_path_factory.mktemp("revisions") / "repo"
    for project in (root, root / "studies"):
        (project / ".dvc").mkdir(parents=True)
        (project / ".dvc/.gitignore").write_text("/tmp\n/cache\n")
        (project / ".dvc/config").write_text(
            f"[core]\n    remote = s\n['remote \"s\"']\n    url = {root.parent}/storage\n"
        )
    scratch = Scratch(root)
    scratch.git("init", "--quiet", "--initial-branch", "main")

    pipeline(root, "plain", "better")
    make(root, "plain", 0.6)
    make(root, "better", 0.9)
    pipeline(root / "studies", "wide")
    make(root / "studies", "wide", 0.8)
    scratch.dvc("repro")
    scratch.dvc("--cd", "studies", "repro")
    scratch.dvc("push", "--quiet")
    scratch.commit("first")
    scratch.git("tag", "first")
    make(root, "plain", 0.7)
    scratch.dvc("repro")
    scratch.commit("second")
    scratch.git("tag", "second")
    pipeline(root, "plain", "better", "later")
    scratch.commit("third")
    shutil.rmtree(root / "predictions")
    shutil.rmtree(root / "studies/predictions")
    return scratch


@pytest.fixture
def repo(history: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of :func:`history` to change, which is the working directory."""
    scratch = history.copy(tmp_path / "repo")
    for name, value in scratch.environment.items():
        if name.startswith(("DVC_", "GIT_")):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(scratch.root)
    return scratch.root


def accuracies(call: Call, *arguments: str) -> tuple[float, float]:
    shown = call("compare", *arguments, "--json")
    assert (shown.code, shown.err) == (0, "")
    content: dict[str, Any] = json.loads(shown.out)
    return content["run"]["accuracy"], content["against"]["accuracy"]


def refused(call: Call, *arguments: str) -> str:
    """Return the message of a comparison that is refused on one line."""
    shown = call("compare", *arguments)
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    return shown.err.removeprefix("trainlab: ").removesuffix("\n")


@pytest.mark.usefixtures("repo")
def test_a_run_at_two_revisions(call: Call) -> None:
    assert accuracies(call, "second:plain", "main~2:plain") == (0.7, 0.6)
    assert accuracies(call, "first:predictions/tricks/better.safetensors", "HEAD:plain") == (0.9, 0.7)
    assert call("compare", "second:plain", "HEAD:plain").out.startswith(
        "`second:plain` and `HEAD:plain` have identical predictions."
    )


def test_a_run_in_the_working_tree_and_at_a_revision(repo: Path, call: Call) -> None:
    (repo / "predictions/tricks").mkdir(parents=True)
    shutil.copy(repo / "made/better.safetensors", repo / "predictions/tricks/plain.safetensors")
    assert accuracies(call, "plain", "first:plain") == (0.9, 0.6)
    assert refused(call, "first:plain").startswith("first:plain: name what to compare it with; ")


def test_a_run_of_a_project_below_the_root(repo: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(repo / "studies")
    make(repo / "studies", "wide", 0.5)
    assert accuracies(call, "HEAD:wide", "made/wide.safetensors") == (0.8, 0.5)


@pytest.mark.usefixtures("repo")
def test_an_unknown_revision_or_run_is_reported(call: Call) -> None:
    assert refused(call, "nowhere:plain", "first:better") == (
        "nowhere:plain: unknown Git revision 'nowhere'; `git log --oneline` lists commits, `git fetch` gets those of others"
    )
    step = "name a revision whose dvc.lock has its predictions"
    assert refused(call, "first:later", "first:better") == f"first:later: no run 'later' at first; {step}"
    assert refused(call, "first:beter", "first:better") == (
        f"first:beter: no run 'beter' at first (did you mean better?); {step}"
    )
    assert refused(call, "HEAD:later", "first:better") == (
        "HEAD:later: predictions/tricks/later.safetensors is not in dvc.lock there: name a revision whose results are "
        "committed"
    )
    assert refused(call, "HEAD:predictions/none.safetensors", "first:better").startswith(
        "HEAD:predictions/none.safetensors: predictions/none.safetensors is not in dvc.lock there: "
    )


def test_what_is_not_in_the_cache_comes_from_the_default_remote(repo: Path, call: Call) -> None:
    shutil.rmtree(repo / ".dvc/cache")
    assert accuracies(call, "first:plain", "first:better") == (0.6, 0.9)
    assert refused(call, "second:plain", "first:plain") == (
        "second:plain: predictions/tricks/plain.safetensors is neither in the cache nor in the default remote: "
        "`dvc fetch --all-commits --remote NAME` gets it from another remote; else run `dvc repro` in a checkout of second"
    )


def test_a_remote_that_asks_for_credentials(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    shutil.rmtree(repo / ".dvc/cache")
    with s3_server(tmp_path) as address:
        remote = f"    url = s3://{BUCKET}/trainlab\n    endpointurl = {address}\n"
        (repo / ".dvc/config.local").write_text(f"['remote \"s\"']\n{remote}")
        assert refused(call, "first:plain", "first:better") == (
            "first:plain: predictions/tricks/plain.safetensors cannot be read (Unable to locate credentials): check it with "
            "`dvc fetch`"
        )


def keep(repo: Path, message: str) -> None:
    """Commit the predicted classes of the predictions in the working tree."""
    for path in (repo / "predictions/tricks").glob("*.safetensors"):
        PredictedClasses.of(path).save(repo / f"predicted_classes/tricks/{path.name}")
    scratch = Scratch(repo)
    scratch.commit(message)
    scratch.git("tag", message)


@pytest.fixture
def kept(repo: Path) -> Path:
    """Return a repository whose last two revisions have predicted classes in Git; no cache and no remote has anything."""
    scratch = Scratch(repo)
    (repo / ".gitignore").write_text("/predictions\n")
    scratch.dvc("checkout", "predictions/tricks/plain.safetensors", "predictions/tricks/better.safetensors")
    keep(repo, "kept")
    make(repo, "plain", 0.8)
    scratch.dvc("repro", "evaluate@plain")
    keep(repo, "changed")
    shutil.rmtree(repo / "predictions")
    shutil.rmtree(repo / ".dvc/cache")
    (repo / ".dvc/config.local").write_text("['remote \"s\"']\n    url = /nowhere\n")
    return repo


@pytest.mark.usefixtures("kept")
def test_revisions_are_compared_by_the_classes_in_git(call: Call) -> None:
    [change] = differences(call, "kept", "changed")["changed"]
    assert (change["run"], change["before"], change["after"]) == ("plain", 0.7, 0.8)
    assert accuracies(call, "changed:plain", "kept:plain") == (0.8, 0.7)
    assert accuracies(call, "changed:plain", "kept:predicted_classes/tricks/better.safetensors") == (0.8, 0.9)
    assert refused(call, "changed:plain", "first:plain").startswith(
        "first:plain: predictions/tricks/plain.safetensors is neither in the cache nor in the default remote: "
    )


def test_nothing_is_read_from_a_remote_if_git_has_the_classes(kept: Path, call: Call) -> None:
    """Predictions there are damaged."""
    for revision in ("kept", "changed"):
        lock = Scratch(kept).git("show", f"{revision}:dvc.lock").stdout
        for checksum in re.findall(r"md5: (\w+)", lock):
            file = kept.parent / "damaged/files/md5" / checksum[:2] / checksum[2:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("no tensors")
    (kept / ".dvc/config.local").write_text(f"['remote \"s\"']\n    url = {kept.parent}/damaged\n")
    assert "does not contain predictions, or is damaged" in refused(call, "changed:plain", "kept:plain")
    assert [change["run"] for change in differences(call, "kept", "changed")["changed"]] == ["plain"]


def test_classes_of_other_predictions_are_not_used(kept: Path, call: Call) -> None:
    """A commit of new predictions with the old classes beside them."""
    (kept / "predictions/tricks").mkdir(parents=True)
    make(kept, "plain", 0.5)
    Scratch(kept).dvc("repro", "evaluate@plain")
    Scratch(kept).commit("forgotten")
    assert accuracies(call, "HEAD:plain", "changed:plain") == (0.5, 0.8)
    [change] = differences(call, "changed", "HEAD")["changed"]
    assert change["after"] == 0.5
    shutil.rmtree(kept / ".dvc/cache")
    assert refused(call, "HEAD:plain", "changed:plain").startswith(
        "HEAD:plain: predictions/tricks/plain.safetensors is neither"
    )
    assert refused(call, "changed", "HEAD").startswith("HEAD:plain: predictions/tricks/plain.safetensors is neither")


def test_a_damaged_file_of_classes_at_a_revision_is_reported(kept: Path, call: Call) -> None:
    (kept / "predicted_classes/tricks/plain.safetensors").write_text("no tensors")
    Scratch(kept).commit("damaged")
    assert refused(call, "HEAD:plain", "changed:plain").startswith(
        "HEAD:plain: predicted_classes/tricks/plain.safetensors does not contain predictions, or is damaged: name another"
    )


def test_a_file_of_another_kind_is_reported(repo: Path, call: Call) -> None:
    (repo / "text.safetensors").write_text("no tensors")
    Scratch(repo).commit("a file that Git tracks")
    assert refused(call, "HEAD:text.safetensors", "first:plain") == (
        "HEAD:text.safetensors: text.safetensors does not contain predictions, or is damaged: run "
        "`dvc fetch --all-commits`"
    )


def test_a_directory_without_git_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(call, "HEAD:plain", "first:plain") == (
        f"{tmp_path} is in no Git repository: run this in a clone of the project"
    )


def differences(call: Call, *arguments: str) -> dict[str, Any]:
    shown = call("compare", *arguments, "--json")
    assert (shown.code, shown.err) == (0, "")
    content: dict[str, Any] = json.loads(shown.out)
    return content


@pytest.mark.usefixtures("repo")
def test_two_revisions_without_a_run_show_every_run_that_changed(call: Call) -> None:
    found = differences(call, "first", "second")
    [change] = found["changed"]
    assert (change["run"], change["before"], change["after"]) == ("plain", 0.6, 0.7)
    assert change["effect"] == pytest.approx(0.1)  # the second minus the first
    assert change["low"] < change["effect"] < change["high"]
    assert change["p_holm"] == change["p_value"]  # one comparison
    assert (found["unchanged"], found["added"], found["removed"]) == (["better"], [], [])
    back = differences(call, "second", "first")["changed"][0]
    assert back["effect"] == pytest.approx(-0.1)


@pytest.mark.usefixtures("repo")
def test_two_revisions_in_markdown(call: Call) -> None:
    change = differences(call, "first", "HEAD")["changed"][0]
    interval = " to ".join(f"{100 * change[end]:+.1f}".replace("-", "−") for end in ("low", "high"))
    assert call("compare", "first", "HEAD", "--markdown").out.splitlines() == [
        "| run | first, % | HEAD, % | change | 95 % interval | p | answer |",
        "| --- | --: | --: | --: | --: | --: | --- |",
        f"| plain | 60.00 | 70.00 | +10.0 | {interval} | 0.002 | better |",
        "",
        "Change: test accuracy at HEAD minus that at first, percentage points. p-values by Holm's method for all rows. Runs "
        "with one seed: the answer is about these two models, not about other seeds.",
        "",
        "Unchanged: `better`.",
    ]


@pytest.mark.usefixtures("repo")
def test_two_revisions_in_a_terminal(call: Call) -> None:
    lines = call("compare", "first", "HEAD").out.splitlines()
    markdown = call("compare", "first", "HEAD", "--markdown").out.splitlines()
    for cells in (markdown[0], markdown[2]):
        words = [cell.strip() for cell in cells.strip("|").split("|")]
        assert re.compile(" +".join(map(re.escape, words))).search("\n".join(lines))
    assert lines[-2:] == [markdown[4], markdown[6]]


@pytest.mark.usefixtures("repo")
def test_revisions_with_the_same_predictions(call: Call) -> None:
    assert call("compare", "second", "HEAD", "--markdown").out.splitlines() == [
        "No run has other predictions at HEAD than at second.",
        "",
        "Unchanged: `better`, `plain`.",
    ]


def test_runs_that_are_only_at_one_revision_are_named(repo: Path, call: Call) -> None:
    (repo / "dvc.yaml").write_text(PIPELINE.format(runs="plain, later"))
    make(repo, "later", 0.8)
    Scratch(repo).dvc("repro")
    Scratch(repo).commit("fourth")
    found = differences(call, "second", "HEAD")
    assert (found["changed"], found["unchanged"], found["added"], found["removed"]) == (
        [],
        ["plain"],
        ["later"],
        ["better"],
    )
    out = call("compare", "second", "HEAD").out
    assert "Added: `later`." in out
    assert "Removed: `better`." in out


def test_a_run_that_is_called_like_a_branch_is_the_run(repo: Path, call: Call) -> None:
    Scratch(repo).git("branch", "better")
    (repo / "predictions/tricks").mkdir(parents=True)
    for run in ("better", "plain"):
        shutil.copy(repo / f"made/{run}.safetensors", repo / f"predictions/tricks/{run}.safetensors")
    Scratch(repo).git("branch", "plain")
    assert accuracies(call, "plain", "better") == (0.7, 0.9)


@pytest.mark.usefixtures("repo")
def test_a_revision_and_no_revision_are_reported(call: Call) -> None:
    assert refused(call, "main", "nowhere").startswith("no run 'main' in ")
