"""The search as a DVC project of its own in search/, and its space queued as DVC experiments."""

import json

import pytest

from pipeline.scratch import PROJECT, Result, Scratch

RATE = {"name": "log_uniform", "low": 1e-4, "high": 1e-1}
DECAY = {"name": "log_uniform", "low": 1e-5, "high": 1e-2}


@pytest.fixture
def small_search(data_repo: Scratch) -> Scratch:
    """Return a repository whose search takes a few seconds."""
    with data_repo.params("search/params.yaml") as params:
        params["base"] |= {"threads": 1, "device": "cpu"}
        params["space"] = {"lr": RATE, "optimizer.weight_decay": DECAY}
        small = {"vary": ["lr", "optimizer.weight_decay"], "trials": 1, "epochs": 1}
        params |= {
            "moves": 0,
            "rounds": [
                {"name": "first", "judged_by": "train_loss", "subset": 60, **small},
                {"name": "second", "judged_by": "validation_loss", **small},
            ],
        }
    data_repo.commit("a small search")
    return data_repo


def trials(result: Result) -> list[str]:
    """Return the lines about trials that were run."""
    return [line for line in result.stdout.splitlines() if line.startswith("    ") and "lr " in line]


def test_finished_trials_are_kept_and_the_winner_is_a_run_of_params_yaml(small_search: Scratch) -> None:
    done = small_search.dvc("--cd", "search", "repro")
    assert len(trials(done)) == 2
    assert [row["round"] for row in small_search.table("search/trials.csv")] == ["1", "2"]
    assert small_search.dvc("--cd", "search", "repro").ran_stages() == set()
    small_search.commit("searched")
    tracked = set(small_search.git("ls-files", "search").stdout.split())
    written = ("best.yaml", "dvc.lock", "ranges.json", "resolved.yaml", "result.json", "trials.csv")
    assert {f"search/{name}" for name in written} <= tracked
    assert "search/plots/history.png" in tracked
    assert not [name for name in tracked if "trials.db" in name]
    for command in (("metrics", "show"), ("plots", "show")):  # of the main pipeline
        assert "search" not in small_search.dvc(*command).stdout.replace(str(small_search.root), "")
    # The report shows the search, and nothing else depends on it.
    depending = [line for line in small_search.dvc("status").stdout.splitlines() if "search" in line]
    assert [line.split()[-1] for line in depending] == ["search/dvc.lock"]

    # Code and comments that change no trial: the results stay valid.
    small_search.append("src/trainlab/models/resnet18.py", "\nUNUSED = 1\n")
    small_search.append("src/trainlab/training/loop.py", "\n# a comment\n")
    small_search.append("search/params.yaml", "\n# a comment\n")
    assert small_search.dvc("--cd", "search", "repro").ran_stages() == {"resolve"}
    # A new color draws the pictures again, and needs no trial.
    small_search.append("src/trainlab/evaluation/plots.py", "\nUNUSED = 1\n")
    small_search.append("src/trainlab/search/plots.py", "\nUNUSED = 1\n")
    assert small_search.dvc("--cd", "search", "repro").ran_stages() == {"draw"}
    # The search's own code: the stage runs again, and its trials are done.
    small_search.append("src/trainlab/search/engine.py", "\nUNUSED = 1\n")
    again = small_search.dvc("--cd", "search", "repro")
    assert again.ran_stages() == {"search", "draw"}
    assert trials(again) == []
    results = ("search/best.yaml", "search/trials.csv", "search/result.json", "search/plots")
    assert small_search.git("status", "--porcelain", *results).stdout == ""

    best = small_search.path("search/best.yaml").read_text()
    text = small_search.path("params.yaml").read_text()
    small_search.path("params.yaml").write_text(text.replace("runs:\n", f"runs:\n{best}", 1))
    small_search.stage("resolve")
    found = json.loads(small_search.path("search/result.json").read_text())
    assert small_search.config("best")["lr"] == found["values"]["lr"]

    # Code that the trials run: they are trained again, unless it is adopted.
    small_search.append("src/trainlab/training/replicas.py", "\nif False:\n    print()\n")
    adopted = small_search.run("python", str(PROJECT / "benchmarks/adopt.py"), "search", timeout=600)
    assert "search: resolved.yaml" in adopted.stdout
    assert small_search.dvc("--cd", "search", "repro").ran_stages() == set()
    small_search.append("src/trainlab/training/replicas.py", "\nprint('imported')\n")
    again = small_search.dvc("--cd", "search", "repro")
    assert {"resolve", "search"} <= again.ran_stages()
    assert len(trials(again)) == 2


def test_random_points_are_queued_as_experiments(small_search: Scratch) -> None:
    queued = small_search.run("python", "search/enqueue.py", "baseline", "--points", "2", "--vary", "lr")
    points = [line.split()[1] for line in queued.stdout.splitlines()[:2]]
    assert len(set(points)) == 2
    assert "2 queued: `dvc queue start -j 2` runs them" in queued.stdout
    shown = json.loads(small_search.dvc("exp", "show", "--json").stdout)
    found = [experiment["revs"][0]["data"]["params"]["params.yaml"]["data"] for experiment in shown[1]["experiments"]]
    runs = [params["runs"]["baseline"] for params in found]
    assert sorted(run["lr"] for run in runs) == sorted(map(float, points))
    assert {run["validation"] for run in runs} == {0.1}
    assert small_search.changed_files() == []


def test_what_cannot_be_queued_is_one_line_and_nothing_is_queued(small_search: Scratch) -> None:
    with small_search.params("search/params.yaml") as params:
        params["space"]["schedule.gamma"] = params["space"].pop("optimizer.weight_decay")
        for each in params["rounds"]:
            each["vary"] = ["lr", "schedule.gamma"]
    for arguments, expected in (
        (("basline",), "params.yaml: no run 'basline' (did you mean baseline?)"),
        (("baseline",), "params.yaml: runs.baseline.schedule.gamma is not a parameter"),
    ):
        refused = small_search.run("python", "search/enqueue.py", *arguments, check=False)
        assert refused.code == 1
        [line] = refused.messages()
        assert line.startswith(f"trainlab: {expected}")
    assert "baseline" not in small_search.dvc("queue", "status").stdout
