"""``dvc repro`` from nothing, a second time, and after changes of params.yaml and of the code."""

import json

import yaml

from pipeline.scratch import RUNS, Result, Scratch

INHERIT_THE_RATE = {"baseline", "norm_inputs"}
PICTURES = {f"{name}.png" for name in ("curves", "effects", "f1", "pairs", "reliability")}
PICTURES |= {f"{kind}-{run}.png" for kind in ("confusion", "layers") for run in RUNS}


def test_everything_is_built(reproduced: Scratch) -> None:
    directories = ("checks", "configs", "metrics", "models", "plots", "predictions", "timings")
    assert {directory: set(reproduced.digests(directory)) for directory in directories} == {
        "checks": {f"{run}.passed" for run in RUNS},
        "configs": {f"{directory}/{run}.yaml" for directory in ("tricks", "checks") for run in RUNS}
        | {"tricks/_suite.yaml"},
        "metrics": {
            "tricks.json",
            "tricks.csv",
            "tricks-details.json",
            *(f"tricks-{kind}.csv" for kind in ("comparisons", "pairs", "seeds")),
            *(f"tricks/{run}{end}" for run in RUNS for end in (".json", "-classes.csv")),
            *(f"checks/tricks/{run}.json" for run in RUNS),
        },
        "models": {f"{run}.safetensors" for run in RUNS},
        "plots": {
            *(f"{kind}/tricks.csv" for kind in ("curves", "effects", "f1", "logs")),
            *(f"{kind}/tricks/{run}.csv" for kind in ("confusion", "history", "reliability") for run in RUNS),
            *(f"pictures/tricks/{name}" for name in PICTURES),
        },
        "predictions": {f"tricks/{run}.safetensors" for run in RUNS},
        "timings": {f"tricks/{run}.json" for run in RUNS},
    }


def test_runs_are_compared_in_the_order_of_params(reproduced: Scratch) -> None:
    accuracies = json.loads(reproduced.path("metrics/tricks.json").read_text())
    table = reproduced.table("metrics/tricks.csv")
    assert list(accuracies) == [row["run"] for row in table] == list(RUNS)
    assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())
    # A comparison of one model with itself would pass without this.
    assert len({row["loss"] for row in table}) == len(RUNS)


def test_results_are_in_git_and_models_are_not(reproduced: Scratch) -> None:
    tracked = set(reproduced.git("ls-files").stdout.split())
    assert {"dvc.lock", "metrics/tricks.json", "plots/history/tricks/baseline.csv", "plots/f1/tricks.csv"} <= tracked
    cached = ("configs/", "data/normalized/", "data/raw/", "models/", "predictions/", "timings/")
    assert [name for name in tracked if name.startswith(cached)] == []
    assert reproduced.changed_files() == []


def test_dvc_adds_no_gitignore(reproduced: Scratch) -> None:
    """DVC adds one to the directory of each cached output that Git does not ignore yet."""
    ignored = reproduced.git("ls-files", "--cached", "--others", "*.gitignore").stdout.split()
    assert set(ignored) == {".gitignore", ".dvc/.gitignore", "studies/.dvc/.gitignore", "search/.dvc/.gitignore"}


def test_a_second_time_does_nothing(repo: Scratch) -> None:
    again = repo.dvc("repro")
    assert "Data and pipelines are up to date." in again.stdout
    assert again.ran_stages() == set()
    assert repo.changed_files() == []


def test_a_value_retrains_the_runs_that_inherit_it(reproduced: Scratch, changed: Scratch, experiment: Result) -> None:
    assert experiment.ran("train") == experiment.ran("evaluate") == INHERIT_THE_RATE
    assert experiment.ran("compare") == experiment.ran("draw") == {"tricks"}
    assert experiment.ran("download") | experiment.ran("normalize") == set()
    before = reproduced.models()
    assert {run for run, digest in changed.models().items() if digest != before[run]} == INHERIT_THE_RATE
    assert [changed.config(run)["lr"] for run in RUNS] == [0.002, 0.002, 0.002]  # the last has a rate of its own


def test_returning_to_a_trained_configuration_trains_nothing(
    reproduced: Scratch, changed_repo: Scratch, experiment: Result
) -> None:
    assert experiment.ran("train")  # at the other rate
    changed_repo.edit("params.yaml", "\nlr: 0.002\n", "\nlr: 0.001\n")
    back = changed_repo.dvc("repro", *(f"train@{run}" for run in RUNS))
    assert (back.ran("train"), back.restored("train")) == (set(), INHERIT_THE_RATE)
    assert changed_repo.models() == reproduced.models()
    for directory in ("plots/history", "timings"):
        assert changed_repo.digests(directory) == reproduced.digests(directory)


def test_a_deleted_run_leaves_the_comparison(repo: Scratch) -> None:
    repo.keep("baseline", "dropout_both")
    again = repo.dvc("repro")
    assert again.ran_stages() == {"resolve", "compare", "draw", "predicted_classes", "report"}
    assert list(json.loads(repo.path("metrics/tricks.json").read_text())) == ["baseline", "dropout_both"]
    for file in ("metrics/tricks.csv", "plots/curves/tricks.csv", "plots/f1/tricks.csv"):
        assert "norm_inputs" not in repo.path(file).read_text()
    assert not [name for name in repo.digests("plots/pictures/tricks") if "norm_inputs" in name]
    [line] = [line for line in again.stdout.splitlines() if line.startswith("left over")]
    for directory in ("metrics", "plots/history"):
        [left] = repo.path(f"{directory}/tricks").glob("norm_inputs.*")
        assert str(left.relative_to(repo.root)) in line
    assert line.endswith(" and 2 more")


def test_a_color_draws_again_and_computes_nothing(repo: Scratch) -> None:
    before, pictures = yaml.safe_load(repo.path("dvc.lock").read_text()), repo.digests("plots/pictures/tricks")
    repo.edit("src/trainlab/evaluation/plots.py", '"#e4e4e4"', '"#e40404"')
    again = repo.dvc("repro")
    assert again.ran_stages() == {"draw"}
    lock = yaml.safe_load(repo.path("dvc.lock").read_text())
    assert {stage for stage, entry in lock["stages"].items() if entry != before["stages"][stage]} == {"draw@tricks"}
    assert repo.digests("plots/pictures/tricks")["f1.png"] != pictures["f1.png"]
    allowed = ("dvc.lock", "src/", "plots/pictures/")
    assert [name for name in repo.changed_files() if not name.startswith(allowed)] == []
