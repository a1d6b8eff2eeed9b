"""What DVC's own commands show of two commits with different learning rates, and of a new suite."""

import csv
import io
import json
from pathlib import Path

import pytest

from pipeline.scratch import RUNS, Scratch


def test_metrics_have_one_number_per_run(changed: Scratch) -> None:
    shown = json.loads(changed.dvc("metrics", "show", "--json").stdout)
    [(file, found)] = shown[""]["data"].items()
    accuracies = json.loads(changed.path("metrics/tricks.json").read_text())
    assert file == "metrics/tricks.json"
    assert list(found["data"].items()) == list(accuracies.items())
    assert list(accuracies) == list(RUNS)


def test_exp_diff_shows_the_runs_and_the_parameter_that_changed(changed: Scratch) -> None:
    diff = json.loads(changed.dvc("exp", "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert set(diff["metrics"]) == {"metrics/tricks.json"}
    changes = {run for run, values in diff["metrics"]["metrics/tricks.json"].items() if values.get("diff")}
    assert changes
    assert changes <= {"baseline", "norm_inputs"}
    assert diff["params"]["params.yaml"] == {"lr": {"old": 0.001, "new": 0.002, "diff": 0.001}}


def test_exp_show_has_a_column_per_run(changed: Scratch) -> None:
    accuracies = json.loads(changed.path("metrics/tricks.json").read_text())
    table = list(csv.DictReader(io.StringIO(changed.dvc("exp", "show", "--csv", "--num", "2").stdout)))
    assert {run: float(table[0][run]) for run in RUNS} == accuracies


def test_plots_diff_shows_both_commits(changed: Scratch, tmp_path: Path) -> None:
    changed.dvc("plots", "diff", "HEAD~1", "HEAD", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert '"rev": "HEAD~1"' in page
    assert '"rev": "HEAD"' in page


@pytest.fixture
def new_suite(repo: Scratch) -> Scratch:
    """Return a repository with another suite in params.yaml, which alone was reproduced."""
    with repo.params() as params:
        params["suites"]["elsewhere"] = dict(params["suites"]["tricks"])
        params["runs"]["apart"] = {"suite": "elsewhere", "lr": 0.01}
        params["lr"] = 2e-3  # makes runs of the other suite stale
    return repo


def test_a_new_suite_is_built_alone_and_plotted_without_an_edit_of_dvc_yaml(new_suite: Scratch, tmp_path: Path) -> None:
    before = new_suite.models()
    built = new_suite.dvc("repro", "draw@elsewhere", "compare@elsewhere")
    assert built.ran("train") == built.ran("evaluate") == built.ran("check") == {"apart"}
    assert built.ran("compare") == built.ran("draw") == {"elsewhere"}
    assert new_suite.models() | before == new_suite.models()
    assert "curves.png" in new_suite.digests("plots/pictures/elsewhere")

    shown = new_suite.dvc("plots", "show", "--out", str(tmp_path / "page"))
    assert shown.stderr == ""
    page = (tmp_path / "page/index.html").read_text()
    expected = [f"plots/{kind}/elsewhere.csv" for kind in ("curves", "f1", "logs")]
    expected += [f"plots/{kind}/elsewhere/apart.csv" for kind in ("confusion", "history", "reliability")]
    expected += ["plots/effects/tricks.csv"]
    assert [name for name in expected if name not in page] == []
    assert [name for name in new_suite.changed_files() if name.endswith(".gitignore")] == []
