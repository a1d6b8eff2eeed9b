"""What DVC's own tools show of two commits between which one run, `baseline`, changed."""

import csv
import io
import json

from pipeline.scratch import TRICKS


def test_metrics_show_has_one_column_a_run(changed_repo):
    shown = json.loads(changed_repo.dvc("metrics", "show", "--json").stdout)
    [(file, found)] = shown[""]["data"].items()
    assert file == "metrics/tricks.json"
    assert list(found["data"]) == list(TRICKS)
    assert all(isinstance(accuracy, float) for accuracy in found["data"].values())


def test_metrics_diff_shows_the_run_that_changed(changed_repo):
    diff = json.loads(changed_repo.dvc("metrics", "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert {file: set(values) for file, values in diff.items()} == {"metrics/tricks.json": {"baseline"}}


def test_exp_diff_shows_parameter_and_metric(changed_repo):
    diff = json.loads(changed_repo.dvc("exp", "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert diff["metrics"]["metrics/tricks.json"]["baseline"]["diff"] != 0
    assert diff["params"]["params.yaml"]["runs.baseline.epochs"]["new"] == 15


def test_exp_show_has_the_metrics_of_each_run(changed_repo):
    accuracies = json.loads(changed_repo.path("metrics/tricks.json").read_text())
    table = list(csv.DictReader(io.StringIO(changed_repo.dvc("exp", "show", "--csv", "--num", "2").stdout)))
    for run, accuracy in accuracies.items():
        [column] = [name for name in table[0] if name == run or name.endswith(f":{run}")]
        assert float(table[0][column]) == accuracy
    shown = json.loads(changed_repo.dvc("exp", "show", "--json").stdout)
    assert shown[0]["data"]["metrics"]["metrics/tricks.json"]["data"] == accuracies


def test_plots_show_writes_a_page_with_all_runs(changed_repo, tmp_path):
    changed_repo.dvc("plots", "show", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert all(run in page for run in TRICKS)


def test_plots_diff_writes_a_page_with_both_commits(changed_repo, tmp_path):
    changed_repo.dvc("plots", "diff", "HEAD~1", "HEAD", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page/index.html").read_text()
    assert '"rev": "HEAD~1"' in page
    assert '"rev": "HEAD"' in page
