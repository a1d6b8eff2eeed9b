"""A training process from outside: its history while it runs, Ctrl-C, and more seeds."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.scratch import Scratch

COLUMNS = ["replica", "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
Process = subprocess.Popen[str]


@pytest.fixture
def endless(data_repo: Scratch) -> Scratch:
    """Return a repository whose only run trains for longer than any test."""
    data_repo.keep("baseline")
    with data_repo.params() as params:
        params["runs"]["baseline"]["epochs"] = 100_000
    data_repo.stage("resolve")
    return data_repo


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Return a function that starts commands, which are ended with the test in every case."""
    processes: list[Process] = []

    def started(repo: Scratch, *command: str) -> Process:
        processes.append(repo.start(*command))
        return processes[-1]

    yield started
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def rows(repo: Scratch) -> list[dict[str, str]]:
    name = "plots/history/tricks/baseline.csv"
    return repo.table(name) if repo.path(name).exists() else []


def wait_for_rows(repo: Scratch, process: Process, count: int, seconds: float = 120) -> list[dict[str, str]]:
    """Return the history as soon as it has this many rows; the process must still be running."""
    end = time.monotonic() + seconds
    while len(found := rows(repo)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{len(found)} rows after {seconds} seconds"
        time.sleep(0.05)
    return found


def train_with_dvc(repo: Scratch, replicas: int) -> str:
    """Train the run with this many replicas, and return what was printed."""
    with repo.params() as params:
        params["runs"]["baseline"] |= {"epochs": 2, "replicas": replicas}
    return repo.dvc("repro", "--single-item", "resolve", "train@baseline").stdout


def hidden_files(repo: Scratch) -> list[Path]:
    """Return half-written files."""
    return [path for name in ("models", "plots", "timings") for path in repo.path(name).rglob(".*-*")]


def test_history_grows_with_each_epoch_and_ctrl_c_leaves_no_half_written_file(
    endless: Scratch, start: Callable[..., Process]
) -> None:
    process = start(endless, "python", "stages/train.py", "baseline")
    few = wait_for_rows(endless, process, 2)
    more = wait_for_rows(endless, process, len(few) + 2)
    assert list(more[0]) == COLUMNS
    assert more[: len(few)] == few
    assert [int(row["epoch"]) for row in more] == list(range(1, len(more) + 1))
    assert {float(row["lr"]) for row in more} == {0.001}

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    [line] = stderr.splitlines()
    assert "Ctrl-C" in line
    assert endless.models() == {}
    assert hidden_files(endless) == []


def test_after_ctrl_c_repro_continues(endless: Scratch, start: Callable[..., Process]) -> None:
    endless.path("checks").mkdir()
    endless.path("checks/baseline.passed").write_text("passed\n")  # instead of the check, which takes longer
    process = start(endless, "dvc", "repro", "--single-item", "train@baseline")
    wait_for_rows(endless, process, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to DVC and to the stage
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert endless.models() == {}

    with endless.params() as params:
        params["runs"]["baseline"]["epochs"] = 1
    endless.dvc("repro", "--single-item", "resolve", "train@baseline")
    assert set(endless.models()) == {"baseline"}
    assert len(rows(endless)) == 1


def test_more_seeds_train_only_the_new_ones(data_repo: Scratch, tmp_path: Path) -> None:
    data_repo.keep("baseline")
    data_repo.path("checks").mkdir()
    data_repo.path("checks/baseline.passed").write_text("passed\n")  # instead of the check, which takes longer
    anew = data_repo.copy(tmp_path / "anew")
    train_with_dvc(data_repo, 2)
    printed = train_with_dvc(data_repo, 3)
    assert printed.count("from a checkpoint") == 2 * 2
    assert printed.count("images/s") == 2
    train_with_dvc(anew, 3)
    assert data_repo.models() == anew.models()
    assert rows(data_repo) == rows(anew)
    timing = json.loads(data_repo.path("timings/tricks/baseline.json").read_text())
    assert timing["replicas"] == 3
    assert timing["seconds"] > 0
    assert "images/s" in data_repo.dvc("repro", "--single-item", "--force", "train@baseline").stdout
