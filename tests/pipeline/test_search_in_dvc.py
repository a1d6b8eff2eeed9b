"""The search as DVC runs it, and its space queued as DVC experiments."""

import json

import pytest
import yaml

from pipeline.scratch import Scratch

RATE = {"name": "log_uniform", "low": 1e-4, "high": 1e-1}
DECAY = {"name": "log_uniform", "low": 1e-5, "high": 1e-2}


@pytest.fixture
def small_search(data_repo: Scratch) -> Scratch:
    """A search of a few seconds."""
    path = data_repo.path("search/params.yaml")
    params = yaml.safe_load(path.read_text())
    params["base"] |= {"threads": 1, "device": "cpu"}
    params["space"] = {"lr": RATE, "optimizer.weight_decay": DECAY}
    common = {"vary": ["lr", "optimizer.weight_decay"], "trials": 2, "epochs": 1}
    params |= {
        "moves": 0,
        "rounds": [
            {"name": "first", "judged_by": "train_loss", "subset": 60, **common},
            {"name": "second", "judged_by": "validation_loss", **common},
        ],
    }
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    data_repo.commit("a small search")
    return data_repo


def ran_trials(text):
    return [line for line in text.splitlines() if line.startswith("    ") and "lr " in line]


def test_the_search_is_a_stage_of_its_own_whose_trials_outlive_its_outputs(small_search):
    assert (
        "search/dvc.yaml" not in small_search.dvc("repro", "--dry", check=False).stdout
    )  # dry, it misses what checks write
    done = small_search.dvc("repro", "search/dvc.yaml")
    assert len(ran_trials(done.stdout)) == 4
    assert small_search.table("search/trials.csv")[-1]["round"] == "2"
    assert not small_search.dvc("repro", "search/dvc.yaml").ran_anything()
    assert "search" not in small_search.dvc("metrics", "show").stdout
    small_search.commit("searched")
    tracked = small_search.git("ls-files", "search").stdout.split()
    assert {"search/best.yaml", "search/dvc.lock", "search/plots/history.png", "search/result.json"} <= set(tracked)
    assert not [name for name in tracked if "trials.db" in name]

    # Code that no trial uses: the stage runs again, and finds its trials done.
    small_search.append("src/trainlab/evaluation/comparison.py", "\nUNUSED = 1\n")
    again = small_search.dvc("repro", "search/dvc.yaml")
    assert again.ran_anything()
    assert ran_trials(again.stdout) == []
    assert (
        small_search.git("status", "--porcelain", "search/best.yaml", "search/trials.csv", "search/plots").stdout == ""
    )

    # The winner becomes a run with a paste.
    best = small_search.path("search/best.yaml").read_text()
    small_search.keep("baseline")
    text = small_search.path("params.yaml").read_text()
    small_search.path("params.yaml").write_text(text.replace("runs:\n", f"runs:\n{best}", 1))
    small_search.stage("resolve")
    assert (
        small_search.config("best")["lr"]
        == json.loads(small_search.path("search/result.json").read_text())["values"]["lr"]
    )


def test_random_points_are_queued_as_experiments(small_search):
    queued = small_search.run("python", "search/enqueue.py", "baseline", "--points", "2", "--vary", "lr")
    points = [line.split()[1] for line in queued.stdout.splitlines()[:2]]
    assert len(set(points)) == 2
    assert "2 queued: `dvc queue start -j 2` runs them" in queued.stdout
    shown = json.loads(small_search.dvc("exp", "show", "--json").stdout)
    found = [experiment["revs"][0]["data"]["params"]["params.yaml"]["data"] for experiment in shown[1]["experiments"]]
    runs = [params["runs"]["baseline"] for params in found]
    assert sorted(run["lr"] for run in runs) == sorted(map(float, points))
    assert {run["validation"] for run in runs} == {0.1}
    assert small_search.git("status", "--porcelain").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("basline",), "params.yaml: no run 'basline' (did you mean baseline?)"),
        (("baseline", "--vary", "rl"), "search/params.yaml: no 'rl' in space"),
    ],
)
def test_what_cannot_be_queued_is_told_in_a_line(small_search, arguments, told):
    refused = small_search.run("python", "search/enqueue.py", *arguments, check=False)
    assert refused.code == 1
    [line] = refused.said()
    assert line.startswith(f"trainlab: {told}")


def test_a_point_that_the_run_cannot_have_is_told_before_any_is_queued(small_search):
    small_search.edit("search/params.yaml", "  optimizer.weight_decay:", "  schedule.gamma:")
    small_search.path("search/params.yaml").write_text(
        small_search.path("search/params.yaml").read_text().replace("- optimizer.weight_decay", "- schedule.gamma")
    )
    refused = small_search.run("python", "search/enqueue.py", "baseline", check=False)
    assert refused.code == 1
    assert refused.said()[0].startswith("trainlab: params.yaml: runs.baseline.schedule.gamma is not a parameter")
    assert "baseline" not in small_search.dvc("queue", "status").stdout
