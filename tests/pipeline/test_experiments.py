"""`dvc exp run`: one value changed on the command line, in the workspace, in a copy, and queued."""

import json
import re
import time
from pathlib import Path

import psutil
import pytest

from pipeline.scratch import TRICKS

INHERIT_THE_RATE = {"baseline", "norm_inputs"}


def results(repo):
    """What `dvc exp show` knows of the experiments that branch off HEAD, by name."""
    [of_head] = json.loads(repo.dvc("exp", "show", "--json").stdout)[1:]
    return {experiment["name"]: experiment["revs"][0]["data"] for experiment in of_head["experiments"]}


def rate_of_baseline(result):
    return result["params"]["params.yaml"]["data"]["runs"]["baseline"].get("lr")


def history_of_baseline(repo, experiment):
    [reference] = repo.git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{experiment}").stdout.split()
    return repo.git("show", f"{reference}:plots/history/tricks/baseline.csv").stdout


# In the workspace


def test_the_rate_retrains_the_runs_that_inherit_it(repo):
    before = repo.models()
    experiment = repo.dvc("exp", "run", "-S", "lr=2e-3")
    assert experiment.ran("train") == experiment.ran("evaluate") == INHERIT_THE_RATE
    for run in set(TRICKS) - INHERIT_THE_RATE:
        assert f"Stage 'train@{run}' didn't change, skipping" in experiment.stdout
    assert {run for run, digest in repo.models().items() if digest != before[run]} == INHERIT_THE_RATE
    assert [repo.config(run)["lr"] for run in ("baseline", "norm_inputs")] == [0.002, 0.002]


def test_the_rate_written_by_hand(data_repo):
    repo = data_repo
    before = repo.digests("configs/tricks")
    repo.edit("params.yaml", "\nlr: 0.001\n", "\nlr: 2e-3\n")  # to YAML 1.1 this is a string
    repo.stage("resolve")
    assert repo.config("baseline")["lr"] == 0.002
    changed = {name for name, digest in repo.digests("configs/tricks").items() if digest != before[name]}
    assert changed == {f"{run}.yaml" for run in INHERIT_THE_RATE}


def test_one_suite_alone(repo):
    repo.keep("baseline")
    with repo.params() as params:
        params["suites"]["elsewhere"] = dict(params["suites"]["tricks"])
        params["runs"]["apart"] = {"suite": "elsewhere"}
    repo.commit("another suite")
    experiment = repo.dvc("exp", "run", "-S", "lr=2e-3", "compare@tricks")
    assert experiment.ran("train") == experiment.ran("evaluate") == {"baseline"}
    assert experiment.ran("compare") == {"tricks"}
    assert repo.config("apart")["lr"] == 0.002  # configured, and left for its own suite's turn
    assert "apart" not in repo.models()


def test_held_out_images_give_a_number_to_choose_by(repo):
    repo.dvc("exp", "run", "--name", "held_out", "-S", "+runs.baseline.validation=0.25", "compare@tricks")
    numbers = results(repo)["held_out"]["metrics"]["metrics/tricks.json"]["data"]
    assert set(numbers) == {*TRICKS, "validation-accuracy"}
    assert set(numbers["validation-accuracy"]) == {"baseline"}
    assert numbers["validation-accuracy"]["baseline"] != numbers["baseline"]
    by = ("--sort-by", "validation-accuracy.baseline", "--sort-order", "desc")
    assert "held_out" in repo.dvc("exp", "show", "--csv", *by).stdout
    assert "plots/history/tricks/baseline.csv" in repo.dvc("plots", "show", "--json").stdout


# In copies. The plus gives a run a value that it inherited so far.


def test_a_temporary_copy_leaves_the_workspace_alone(repo):
    before = repo.models(), repo.digests("metrics")
    experiment = repo.dvc("exp", "run", "--temp", "--name", "warm", "-S", "+runs.baseline.lr=2e-3")
    assert experiment.ran("train") == experiment.ran("evaluate") == {"baseline"}
    assert rate_of_baseline(results(repo)["warm"]) == 0.002
    assert history_of_baseline(repo, "warm").splitlines()[1].split(",")[2] == "0.002"
    assert (repo.models(), repo.digests("metrics")) == before
    assert repo.git("status", "--porcelain").stdout == ""


@pytest.fixture
def queue_repo(repo):
    """A repository whose queue's workers, and nobody else's, are ended after the test."""
    yield repo
    repo.dvc("queue", "stop", "--kill", check=False)
    end_processes_in(repo.root)


def end_processes_in(directory):
    """End what still runs there: a worker may outlive the command that stops it."""
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory):
                process.kill()
        except psutil.Error:  # ended by itself, or somebody else's
            continue


def test_two_workers_run_what_was_queued_as_it_was_queued(queue_repo):
    repo = queue_repo
    repo.dvc("exp", "run", "--queue", "--name", "warm", "-S", "+runs.baseline.lr=2e-3")
    repo.dvc("exp", "run", "--queue", "--name", "hot", "-S", "+runs.baseline.lr=3e-2")
    # Whoever goes on working must not change what is queued: each experiment runs its own copy of the code.
    repo.append("src/trainlab/training/loop.py", "\nraise RuntimeError('edited after queueing')\n")
    repo.dvc("queue", "start", "--jobs", "2")

    assert wait_for_queue(repo, seconds=200) == {"warm": "Success", "hot": "Success"}
    found = results(repo)
    assert {name: rate_of_baseline(result) for name, result in found.items()} == {"warm": 0.002, "hot": 0.03}
    assert history_of_baseline(repo, "warm") != history_of_baseline(repo, "hot")
    for name in ("warm", "hot"):
        assert "Running stage 'train@baseline'" in repo.dvc("queue", "logs", name).stdout
    assert repo.stage("train", "baseline", check=False).code != 0  # the edit would have been noticed


def wait_for_queue(repo, seconds):
    """The state of each queued experiment, when all have ended."""
    end = time.monotonic() + seconds
    while True:
        status = repo.dvc("queue", "status").stdout
        states = dict(re.findall(r"(warm|hot) .*(Queued|Running|Success|Failed)", status))
        if not {"Queued", "Running"} & set(states.values()):
            return states
        assert time.monotonic() < end, f"not done after {seconds} seconds:\n{status}"
        time.sleep(1)
