"""The GitHub workflow that compares the runs of a pull request: its commands, run as GitHub runs them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

import forked
from pipeline.scratch import PROJECT, Scratch

[JOB] = yaml.safe_load((PROJECT / ".github/workflows/compare.yml").read_text())["jobs"].values()
STEPS: list[dict[str, Any]] = JOB["steps"]
TRAINLAB = """\
import sys
sys.path.insert(0, {src!r})
from trainlab.commands import main
sys.argv[0] = "trainlab"
main()
"""
TITLE = "## Runs that this pull request changes"
NO_INTERVALS = "No intervals: they need the predicted classes of both revisions"


@dataclass
class PullRequest:
    """A pull request, with the experiment of `changed`, to the branch `stable` on a Git server: a bare repository.

    Parameters
    ----------
    author
        The repository of its author.
    place
        A directory for the server, and for the machine that runs the workflow.
    """

    author: Scratch
    place: Path

    def open(self, without: str | None = None) -> None:
        """Push the pull request to Git, and merge it, as GitHub does for a workflow; its DVC remote is nowhere.

        Parameters
        ----------
        without
            A directory that its author does not commit.
        """
        git = self.author.git
        git("checkout", "--quiet", "-b", "stable", "main~1")
        self.author.dvc("remote", "modify", "storage", "url", str(self.place / "nowhere"))
        self.author.commit("no remote")
        git("checkout", "--quiet", "-b", "request")
        git("cherry-pick", "main")
        if without:
            git("rm", "-r", "--quiet", without)
            self.author.commit("removed")
        git("checkout", "--quiet", "-b", "merged", "stable")
        git("merge", "--quiet", "--no-ff", "--message", "merged", "request")
        git("init", "--quiet", "--bare", str(self.place / "server.git"))
        git("push", "--quiet", str(self.place / "server.git"), "stable", "merged:refs/pull/1/merge")

    def summary(self) -> str:
        """Run the workflow in a new checkout; return the summary of its job, which has succeeded."""
        runner = Scratch(Path(mkdtemp(dir=self.place)))
        [checkout] = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
        runner.git("init", "--quiet")
        depth, url = f"--depth={checkout['with']['fetch-depth']}", (self.place / "server.git").as_uri()
        runner.git("fetch", "--quiet", "--no-tags", depth, url, "refs/pull/1/merge")
        runner.git("checkout", "--quiet", "--detach", "FETCH_HEAD")

        compare, otherwise = (step for step in STEPS if "GITHUB_STEP_SUMMARY" in step.get("run", ""))
        assert compare["continue-on-error"]
        assert otherwise["if"] == f"steps.{compare['id']}.outcome == 'failure'"
        if self._succeeds(compare, runner) or self._succeeds(otherwise, runner):
            return Path(f"{runner.root}.md").read_text()
        raise AssertionError("the job failed")

    def _succeeds(self, step: dict[str, Any], runner: Scratch) -> bool:
        assert step["shell"] == "bash"
        commands = self.place / "commands"
        commands.mkdir(exist_ok=True)
        (commands / "trainlab.py").write_text(TRAINLAB.format(src=str(PROJECT / "src")))
        (commands / "trainlab").write_text(f'#!/bin/sh\nexec python {commands}/trainlab.py "$@"\n')
        (commands / "trainlab").chmod(0o755)
        (commands / "step").write_text(step["run"])
        done = subprocess.run(
            # How GitHub starts `shell: bash`.
            ("bash", "--noprofile", "--norc", "-eo", "pipefail", str(commands / "step")),
            cwd=runner.root,
            env={
                **runner.environment,
                "GITHUB_BASE_REF": "stable",
                "GITHUB_STEP_SUMMARY": f"{runner.root}.md",
                "PATH": f"{commands}:{forked.directory()}:{runner.environment['PATH']}",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture
def pull_request(changed_repo: Scratch, tmp_path: Path) -> PullRequest:
    return PullRequest(changed_repo, tmp_path)


def changed_runs(summary: str) -> set[str]:
    """Return the runs in the table of `trainlab compare`."""
    title, _, header, _, *lines = summary.splitlines()
    assert title == TITLE
    assert header == "| run | stable, % | HEAD, % | change | 95 % interval | p | answer |"
    return {line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("|")}


def test_the_runs_that_a_pull_request_changes(pull_request: PullRequest) -> None:
    pull_request.open()
    assert changed_runs(summary := pull_request.summary()) == {"baseline", "norm_inputs"}
    assert "Unchanged: `dropout_both`." in summary
    assert NO_INTERVALS not in summary


def reason(summary: str) -> str:
    """Return the line that says why there is no table, which the accuracies in Git follow."""
    title, why, no_intervals, *_, last = filter(None, summary.splitlines())
    assert title == TITLE
    assert no_intervals.startswith(NO_INTERVALS)
    assert [cell.strip() for cell in last.split("|")][2:5] == ["norm_inputs", "0.1", "0.2"]
    return why


def test_a_revision_without_predicted_classes(pull_request: PullRequest) -> None:
    pull_request.open("predicted_classes")
    assert reason(pull_request.summary()).startswith(
        "trainlab: HEAD:baseline: predictions/tricks/baseline.safetensors is neither in the cache nor in the default remote"
    )
