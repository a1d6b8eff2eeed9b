"""``dvc exp run``: single values changed on the command line, in copies of the repository, queued side by side."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.scratch import RUNS, Scratch


def results(repo: Scratch) -> dict[str, Any]:
    """Return what `dvc exp show` knows of the experiments that branch off HEAD, by name."""
    [of_head] = json.loads(repo.dvc("exp", "show", "--json").stdout)[1:]
    return {experiment["name"]: experiment["revs"][0]["data"] for experiment in of_head["experiments"]}


def history_of_baseline(repo: Scratch, experiment: str) -> str:
    [reference] = repo.git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{experiment}").stdout.split()
    return repo.git("show", f"{reference}:plots/history/tricks/baseline.csv").stdout


@pytest.fixture
def queue_repo(repo: Scratch) -> Iterator[Scratch]:
    """Return a repository whose queue's workers, and no others, are stopped after the test."""
    yield repo
    repo.dvc("queue", "stop", "--kill", check=False)
    end_processes_in(repo.root)


def processes_in(directory: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is in a directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or belongs to another user
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process)
    return found


def end_processes_in(directory: Path) -> None:
    """End what still runs there: a worker may outlive the command that stops it."""
    for process in processes_in(directory):
        with suppress(psutil.Error):
            process.kill()


@pytest.mark.faults
def test_two_workers_run_what_was_queued_and_leave_the_workspace_alone(queue_repo: Scratch) -> None:
    repo = queue_repo
    # The plus sets a value that the run has inherited.
    repo.dvc("exp", "run", "--queue", "--name", "warm", "-S", "+runs.baseline.lr=2e-3", "compare@tricks")
    repo.dvc("exp", "run", "--queue", "--name", "held_out", "-S", "+runs.baseline.validation=0.25", "compare@tricks")
    # Edits after queueing must not change what is queued: each experiment runs its own copy of the code.
    repo.append("src/trainlab/training/loop.py", "\nraise RuntimeError('edited after queueing')\n")
    before = repo.models(), repo.digests("metrics"), repo.changed_files()
    repo.dvc("queue", "start", "--jobs", "2")

    assert wait_for_queue(repo, seconds=300) == {"warm": "Success", "held_out": "Success"}
    assert (repo.models(), repo.digests("metrics"), repo.changed_files()) == before
    found = results(repo)
    values = {name: result["params"]["params.yaml"]["data"]["runs"]["baseline"] for name, result in found.items()}
    assert values["warm"]["lr"] == 0.002
    assert values["held_out"]["validation"] == 0.25
    assert history_of_baseline(repo, "warm").splitlines()[1].split(",")[2] == "0.002"
    assert "validation_accuracy" in history_of_baseline(repo, "held_out")
    for name in ("warm", "held_out"):
        trained = re.findall(r"Running stage 'train@(\w+)'", repo.dvc("queue", "logs", name).stdout)
        assert trained == ["baseline"]
    assert repo.stage("train", "baseline", check=False).code != 0  # the edit would have been noticed

    # Validation accuracy, by which an experiment may be selected, has a column of its own.
    numbers = found["held_out"]["metrics"]["metrics/tricks.json"]["data"]
    assert set(numbers) == {*RUNS, "validation-accuracy"}
    assert set(numbers["validation-accuracy"]) == {"baseline"}
    by = ("--sort-by", "validation-accuracy.baseline", "--sort-order", "desc")
    assert "held_out" in repo.dvc("exp", "show", "--csv", *by).stdout


def wait_for_queue(repo: Scratch, seconds: float) -> dict[str, str]:
    """Return the state of each queued experiment when the workers have ended.

    No command of DVC runs beside them: it would compete for their locks. A worker whose order to stop was lost would run
    for ever; it has half a minute once both results are there.
    """
    end = time.monotonic() + seconds
    while processes_in(repo.root) and time.monotonic() < end:
        time.sleep(0.5)
        if len(repo.git("for-each-ref", "refs/exps/*/*/warm", "refs/exps/*/*/held_out").stdout.splitlines()) == 2:
            end = min(end, time.monotonic() + 30)
    end_processes_in(repo.root)
    return dict(re.findall(r"(warm|held_out) .*(Queued|Running|Success|Failed)", repo.dvc("queue", "status").stdout))


def test_the_way_back_after_ctrl_c(repo: Scratch) -> None:
    before = repo.models()
    process = repo.start("dvc", "exp", "run", "-S", "suites.tricks.epochs=100000", "train@baseline")
    history, started = repo.path("plots/history/tricks/baseline.csv"), time.time()
    while not (history.exists() and history.stat().st_mtime > started):
        assert process.poll() is None
        assert time.time() < started + 120
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert {"params.yaml", "dvc.lock"} <= set(repo.changed_files())

    repo.git("restore", "params.yaml", "dvc.lock", "metrics", "plots")
    repo.dvc("checkout")
    assert repo.changed_files() == []
    assert repo.models() == before
    assert repo.dvc("repro").ran_stages() == set()
