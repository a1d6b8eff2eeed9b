"""A training that is killed again and again, and reproduced by DVC each time, ends with the same bytes."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.scratch import Scratch

RUN = "dropout_both"
KILLS = 20


def long_run(data_repo: Scratch, epochs: int = 30) -> Scratch:
    """Give the run two replicas, dropout, a schedule, and epochs that together take some seconds."""
    data_repo.keep(RUN)
    with data_repo.params() as params:
        params["runs"][RUN] |= {"epochs": epochs, "replicas": 2, "augmentation": [{"name": "flip"}]}
    data_repo.stage("resolve")
    data_repo.path("checks").mkdir()
    data_repo.path(f"checks/{RUN}.passed").write_text("passed\n")  # instead of the check, which takes longer
    return data_repo


def repro(repo: Scratch) -> subprocess.Popen[str]:
    return repo.start("dvc", "repro", "--single-item", f"train@{RUN}")


def checkpoints(repo: Scratch) -> dict[str, int]:
    """Return when each checkpoint of the run was written."""
    found = repo.path(f".work/checkpoints/tricks/{RUN}").glob("?.safetensors")
    return {path.name: path.stat().st_mtime_ns for path in found}


def wait_for_a_checkpoint(repo: Scratch, process: subprocess.Popen[str]) -> None:
    """Wait until the process has written a checkpoint, or ended."""
    before, end = checkpoints(repo), time.monotonic() + 120
    while checkpoints(repo) == before and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.faults
def test_kills_at_random_moments_change_no_byte(data_repo: Scratch, tmp_path: Path) -> None:
    whole = long_run(data_repo, epochs=150)  # more than the kills leave time for
    killed = whole.copy(tmp_path / "killed")
    whole.dvc("repro", "--single-item", f"train@{RUN}")

    moments = random.Random(0)
    for number in range(KILLS):
        process = repro(killed)
        if number % 3:  # while it trains
            wait_for_a_checkpoint(killed, process)
            time.sleep(moments.uniform(0, 0.3))
        else:  # while it starts
            time.sleep(moments.uniform(0, 3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    process = repro(killed)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, printed + errors
    assert "from a checkpoint" in printed
    assert killed.models() == whole.models()
    assert killed.digests("plots/history") == whole.digests("plots/history")
    stored = whole.digests(".work/checkpoints")
    found = killed.digests(".work/checkpoints")  # with what a kill left half-written, under other names
    assert {name: found.get(name) for name in stored} == stored


def test_sigterm_stops_with_a_checkpoint_and_says_so(data_repo: Scratch) -> None:
    repo = long_run(data_repo)
    with repo.params() as params:
        params["runs"][RUN]["epochs"] = 100_000
    repo.stage("resolve")
    process = repo.start("python", "stages/train.py", RUN)
    wait_for_a_checkpoint(repo, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == f"trainlab: run {RUN}: stopped; the same command resumes it where it stopped\n"
    assert checkpoints(repo)
    assert repo.models() == {}


@pytest.mark.faults
def test_a_second_repro_changes_nothing_for_the_first(data_repo: Scratch) -> None:
    """DVC refuses a stage whose files another process is writing."""
    repo = long_run(data_repo)
    first = repro(repo)
    end = time.monotonic() + 120
    while not repo.path("plots/history/tricks").joinpath(f"{RUN}.csv").exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    second = repo.dvc("repro", "--single-item", f"train@{RUN}", check=False)
    printed, errors = first.communicate(timeout=300)
    assert first.returncode == 0, printed + errors
    assert second.code != 0
    assert "is busy, it is being blocked by" in second.stderr
    assert set(repo.models()) == {RUN}
