"""The studies of docs/protocol.md: the same stages, and pictures of their own, with results under studies/protocol/."""

import shutil
import subprocess
import sys

import pytest
import yaml

from pipeline.scratch import PROJECT, Scratch
from trainlab import config

UNDER = "studies/protocol"


@pytest.fixture
def small_protocol(data_repo: Scratch) -> Scratch:
    """Two studies of two runs, nothing trained yet. The other scratch repositories are quicker without these files."""
    path = data_repo.path(UNDER)
    path.mkdir(exist_ok=True)
    shutil.copy2(PROJECT / UNDER / "dvc.yaml", path)
    params = yaml.safe_load((PROJECT / UNDER / "params.yaml").read_text())
    regularized = {**params["suites"]["regularization"], "epochs": 1, "subset": 50, "layer_statistics": True}
    params |= {
        "threads": 1,
        "suites": {"rate_step": {"epochs": 1}, "regularization": regularized},
        "runs": {run: params["runs"][run] for run in ("unchanged", "then_5e_2", "unregularized", "l1")},
    }
    (path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return data_repo


def targets(*stages):
    return [f"{UNDER}/dvc.yaml:{stage}" for stage in stages]


def test_studies_build_their_pictures_and_leave_the_pipeline_alone(small_protocol):
    drawn = ("picture@rate_step", "picture@regularization", "per_sample_loss_picture")
    wanted = targets("compare@rate_step", "compare@regularization", *drawn)
    built = small_protocol.dvc("repro", *wanted, timeout=600)
    assert built.ran("train") == built.ran("evaluate") == set()  # those of the main pipeline
    small_protocol.commit("studies")
    tracked = set(small_protocol.git("ls-files", UNDER).stdout.split())
    pictures = {
        "comparison/rate_step/curves.png",
        "comparison/regularization/dashboard-l1.png",
        "comparison/regularization/dashboard-unregularized.png",
        "per_sample_loss/then_5e_2.csv",
        "pictures/rate_step/loss_and_error.png",
        "pictures/rate_step/rates.png",
        "pictures/regularization/sparsity.png",
        "pictures/then_5e_2/losses.gif",
        "pictures/then_5e_2/losses.png",
    }
    assert {f"{UNDER}/plots/{name}" for name in pictures} <= tracked
    assert {f"{UNDER}/dvc.lock", f"{UNDER}/metrics/rate_step.csv"} <= tracked
    assert not [name for name in tracked if name.endswith((".safetensors", "-classes.csv"))]
    of_runs = [name for name in tracked if name.startswith((f"{UNDER}/weights/", f"{UNDER}/plots/history/"))]
    assert {name.rpartition("/")[2] for name in of_runs} == {".gitignore"}
    assert "protocol" not in small_protocol.dvc("metrics", "show").stdout
    assert not small_protocol.dvc("repro", *wanted).ran_anything()

    # A picture drawn otherwise trains nothing.
    small_protocol.append("src/trainlab/study_pictures.py", "\nUNUSED = 1\n")
    again = small_protocol.dvc("repro", *wanted)
    ran = {line for line in again.stdout.splitlines() if line.startswith("Running stage")}
    assert ran == {f"Running stage '{stage}':" for stage in targets("resolve", *drawn)}
    assert small_protocol.git("status", "--porcelain", f"{UNDER}/plots", f"{UNDER}/metrics").stdout == ""


def test_the_projects_studies_are_valid_documented_and_drawn():
    params = config.load_params(PROJECT / UNDER / "params.yaml")
    runs = config.resolve(params, where=f"{UNDER}/params.yaml", data=False)
    told = (PROJECT / "docs/protocol.md").read_text()
    for suite in params["suites"]:
        assert f"<!-- {suite} -->\n" in told
        assert f"<!-- /{suite} -->\n" in told
        assert f"{UNDER}/dvc.yaml:compare@{suite}" in told
    assert "<!-- then_5e_2 -->" in told
    stages = yaml.safe_load((PROJECT / UNDER / "dvc.yaml").read_text())["stages"]
    assert set(stages["picture"]["foreach"]) <= set(params["suites"])
    assert runs["then_5e_2"].suite == "rate_step"


def test_each_network_of_the_capacity_study_is_there_twice():
    params = config.load_params(PROJECT / UNDER / "params.yaml")
    runs = config.resolve(params, where=f"{UNDER}/params.yaml", data=False)
    of_study = {run: settings for run, settings in runs.items() if settings.suite == "capacity"}
    for run, settings in of_study.items():
        model = settings.model
        network = f"w{model.width}_d{model.depth}_f{model.filter_size}_h{model.hidden_dim}"
        assert run in (f"{network}_few", f"{network}_many")
        assert settings.subset == (200 if run.endswith("_few") else 10000)
        assert {f"{network}_few", f"{network}_many"} <= set(of_study)


def test_results_fill_the_page_and_fill_it_again(tmp_path):
    def fill():
        command = [sys.executable, PROJECT / "docs/fill.py", tmp_path / "docs/page.md", tmp_path / "studies"]
        subprocess.run(command, check=True, timeout=60)
        return page.read_text()

    page = tmp_path / "docs/page.md"
    page.parent.mkdir()
    page.write_text("# Page\n\n<!-- done -->\nold\n<!-- /done -->\nTwo sentences.\n\n<!-- later -->\n<!-- /later -->\n")
    metrics = tmp_path / "studies/metrics/done.csv"
    metrics.parent.mkdir(parents=True)
    header = "run,replicas,accuracy,accuracy_std,accuracy_low,accuracy_high,f1_micro,f1_macro,f1_weighted,loss\n"
    metrics.write_text(f"{header}fast,1,0.7014,,0.692,0.71,0.7014,0.7,0.7,0.91\n")
    for name in ("pictures/done/rates.png", "pictures/done/losses.gif", "comparison/done/curves.png"):
        picture = tmp_path / "studies/plots" / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    filled = fill()
    assert "| `fast` | 70.1 % | 69.2 to 71.0 | 70.0 | 0.910 |" in filled
    assert "![done: rates](../studies/plots/pictures/done/rates.png)" in filled
    assert "losses.gif" in filled
    assert "curves.png" not in filled
    assert "old" not in filled
    assert filled.endswith("<!-- /done -->\nTwo sentences.\n\n<!-- later -->\n<!-- /later -->\n")
    assert fill() == filled
