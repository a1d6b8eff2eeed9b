"""A training process from outside: its history as it grows, Ctrl-C, and a loss that stops being a number."""

import os
import signal
import time

import pytest

COLUMNS = ["replica", "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


@pytest.fixture
def endless(data_repo):
    """A repository whose only run trains for longer than any test."""
    data_repo.keep("baseline")
    with data_repo.params() as params:
        params["runs"]["baseline"]["epochs"] = 100_000
    data_repo.stage("resolve")
    data_repo.commit("an endless run")
    return data_repo


@pytest.fixture
def started():
    """Start commands that are ended with the test, whatever happens."""
    processes = []

    def start(repo, *command):
        processes.append(repo.start(*command))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def rows(repo):
    name = "plots/history/tricks/baseline.csv"
    return repo.table(name) if repo.path(name).exists() else []


def wait_for_rows(repo, process, count, seconds=60):
    """The history, once it has so many rows; the process must still run."""
    end = time.monotonic() + seconds
    while len(found := rows(repo)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{len(found)} rows after {seconds} seconds"
        time.sleep(0.05)
    return found


def hidden_files(repo):
    return [path for name in ("models", "plots", "timings") for path in repo.path(name).rglob(".*-*")]


def test_history_is_written_after_each_epoch(endless, started):
    process = started(endless, "python", "stages/train.py", "baseline")
    wait_for_rows(endless, process, 1)
    few = wait_for_rows(endless, process, 3)
    more = wait_for_rows(endless, process, len(few) + 2)
    assert list(more[0]) == COLUMNS
    assert more[: len(few)] == few
    assert [int(row["epoch"]) for row in more] == list(range(1, len(more) + 1))
    assert {float(row["lr"]) for row in more} == {0.001}
    assert float(more[-1]["train_loss"]) < float(more[0]["train_loss"])


def test_ctrl_c_ends_with_one_line_and_no_half_written_file(endless, started):
    process = started(endless, "python", "stages/train.py", "baseline")
    wait_for_rows(endless, process, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    [line] = stderr.splitlines()
    assert "Ctrl-C" in line
    assert endless.models() == {}
    assert hidden_files(endless) == []


def test_after_ctrl_c_repro_goes_on(endless, started):
    process = started(endless, "dvc", "repro", "train@baseline")
    wait_for_rows(endless, process, 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to DVC and to the stage
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert endless.models() == {}

    with endless.params() as params:
        params["runs"]["baseline"]["epochs"] = 1
    endless.dvc("repro", "train@baseline")
    assert set(endless.models()) == {"baseline"}
    assert len(rows(endless)) == 1


def test_a_diverging_run_says_where_and_why(data_repo):
    repo = data_repo
    repo.keep("baseline")
    with repo.params() as params:
        params["runs"]["baseline"] |= {"optimizer": {"name": "sgd"}, "lr": 1e10, "epochs": 50}
    repo.stage("resolve")
    result = repo.stage("train", "baseline", check=False)
    assert result.code == 1
    [line] = result.stderr.splitlines()
    for words in ("run baseline", "the loss is", "in epoch ", "step ", "usual causes", "lr is 1e+10"):
        assert words in line
    assert repo.models() == {}
    assert hidden_files(repo) == []
