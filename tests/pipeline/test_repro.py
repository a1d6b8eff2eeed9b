"""`dvc repro` from nothing, again, and after a change of params.yaml."""

import json

from pipeline.scratch import TRICKS

PLOTS = ("plots/history", "plots/confusion", "plots/confusion_pictures")


def test_builds_everything(reproduced):
    made = {
        directory: set(reproduced.digests(directory)) - {".gitignore", "tricks/.gitignore"}
        for directory in ("checks", "configs", "models", *PLOTS, "metrics", "predictions", "timings")
    }
    assert made == {
        "checks": {f"{run}.passed" for run in TRICKS},
        "configs": {f"{directory}/{run}.yaml" for directory in ("tricks", "checks") for run in TRICKS}
        | {"tricks/_runs.yaml"},
        "models": {f"{run}.safetensors" for run in TRICKS},
        "plots/history": {f"tricks/{run}.csv" for run in TRICKS},
        "plots/confusion": {f"tricks/{run}.csv" for run in TRICKS},
        "plots/confusion_pictures": {f"tricks/{run}.png" for run in TRICKS},
        "metrics": {
            "tricks.json",
            "tricks.csv",
            *(f"tricks/{run}{end}" for run in TRICKS for end in (".json", "-classes.csv")),
            *(f"checks/{run}.json" for run in TRICKS),
        },
        "predictions": {f"tricks/{run}.safetensors" for run in TRICKS},
        "timings": {f"tricks/{run}.json" for run in TRICKS},
    }
    assert {"curves.csv", "curves.png", "f1.csv", "f1.png"} <= set(reproduced.digests("plots/comparison/tricks"))


def test_compares_all_runs_in_the_order_of_params(reproduced):
    accuracies = json.loads(reproduced.path("metrics/tricks.json").read_text())
    table = reproduced.table("metrics/tricks.csv")
    curves = reproduced.table("plots/comparison/tricks/curves.csv")
    assert list(accuracies) == [row["run"] for row in table] == [row["run"] for row in curves] == list(TRICKS)
    assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())
    assert len(set(accuracies.values())) > 1  # or a comparison of the same model eight times would pass


def test_results_are_in_git_and_models_are_not(reproduced):
    tracked = set(reproduced.git("ls-files").stdout.split())
    assert {"dvc.lock", "metrics/tricks.json", "plots/history/tricks/baseline.csv"} <= tracked
    assert not [name for name in tracked if name.endswith(".safetensors") or name.startswith(("data/raw/", "configs/"))]
    assert reproduced.git("status", "--porcelain").stdout == ""


def test_a_second_time_does_nothing(repo):
    again = repo.dvc("repro")
    assert "Data and pipelines are up to date." in again.stdout
    assert not again.ran_anything()
    assert repo.git("status", "--porcelain").stdout == ""


def test_a_run_that_changes_is_retrained_alone(repo):
    before = repo.models()
    with repo.params() as params:
        params["runs"]["weight_decay"]["optimizer"]["weight_decay"] = 1e-2
    again = repo.dvc("repro")
    assert again.ran("train") == again.ran("evaluate") == {"weight_decay"}
    assert again.ran("compare") == {"tricks"}
    assert not again.ran("download") | again.ran("normalize")
    assert {run for run, digest in repo.models().items() if digest != before[run]} == {"weight_decay"}


def test_a_deleted_run_leaves_the_comparison(repo):
    repo.keep(*(run for run in TRICKS if run != "lr_schedule"))
    again = repo.dvc("repro")
    assert not again.ran("train") | again.ran("evaluate")
    assert "lr_schedule" not in json.loads(repo.path("metrics/tricks.json").read_text())
    assert "lr_schedule" not in repo.path("metrics/tricks.csv").read_text()
    assert "lr_schedule" not in repo.path("plots/comparison/tricks/curves.csv").read_text()
    [line] = [line for line in again.stdout.splitlines() if line.startswith("left over")]
    for file in (
        "metrics/tricks/lr_schedule.json",
        "plots/history/tricks/lr_schedule.csv",
        "plots/confusion/tricks/lr_schedule.csv",
        "plots/confusion_pictures/tricks/lr_schedule.png",
    ):
        assert file in line
        assert repo.path(file).exists()
