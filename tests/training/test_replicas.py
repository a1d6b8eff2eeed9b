"""Replicas side by side: the same bytes as one after the other, and no process is left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import loky
import numpy as np
import psutil
import pytest
import torch

from small import PARAMS, data, run_config
from trainlab.cli import KILLED
from trainlab.config import resolve
from trainlab.data.batches import Batches
from trainlab.errors import UserError
from trainlab.training.devices import WORKERS
from trainlab.training.loop import Row, Step, images_on
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 16}
LONG = 100_000  # epochs: longer than any test


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail if training left a process of its own or a temporary file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert trainers(psutil.Process()) == []
    assert list(tmp_path.glob("trainlab-*")) == []


def trainers(process: psutil.Process) -> list[psutil.Process]:
    """Return the running processes below this one that train replicas."""
    return [child for child in process.children(recursive=True) if "popen_loky_posix" in " ".join(child.cmdline())]


def wait_for_none(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


# What is trained


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    model = {"name": "tf_cnn", "dropout_conv": 0.2}
    own: dict[str, Any] = {"model": model, "augmentation": ["flip"], "validation": 0.2}
    config = run_config(**own, replicas=3, precision="bfloat16", threads=2)
    results = []
    for count in ("1", "2"):
        monkeypatch.setenv(WORKERS, count)
        rows: list[Row] = []
        steps: list[Step] = []
        train(config, data(), on_epoch=rows.append, on_step=steps.append).save(tmp_path / "model")
        rows.sort(key=lambda row: (row["replica"], row["epoch"]))
        results.append(((tmp_path / "model").read_bytes(), rows))
        assert sum(step.images for step in steps) == 3 * config.epochs * 32
        assert {(step.replica, step.epoch) for step in steps if step.done == step.steps} == {
            (row["replica"], row["epoch"]) for row in rows
        }
    assert results[0] == results[1]


@pytest.mark.slow
def test_students_side_by_side(two: None, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    outputs = np.random.default_rng(0).normal(size=(2, 40, 4)).astype(np.float32)
    pupil = {"suite": "tricks", "teacher": "small", "model": SMALL, "replicas": 3, "subset": 20}
    objective = {"name": "teacher_student", "alpha": 0.5, "temperature": 2.0}
    config = resolve({**PARAMS, "students": {"pupil": {**pupil, "objective": objective}}})["pupil"]
    there = train(config, data(), teacher_outputs=outputs)
    monkeypatch.setenv(WORKERS, "1")
    here = train(config, data(), teacher_outputs=outputs)
    for a, b in zip(here.weights, there.weights, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_images_of_processes_are_mapped_from_one_file(tmp_path: Path) -> None:
    config = run_config(subset=20)
    images = images_on(torch.device("cpu"), config, data())
    joblib.dump(images, tmp_path / "images")
    mapped = joblib.load(tmp_path / "images", mmap_mode="c")
    for batches in (mapped.train, mapped.scored["test"]):
        assert file_of(batches._rows) == file_of(batches.labels) == str(tmp_path / "images")
    assert file_of(images.train._rows) == ""
    index = torch.arange(5)
    for here, there in ((images.train, mapped.train), (images.scored["test"], mapped.scored["test"])):
        assert isinstance(there, Batches)
        assert all(torch.equal(a, b) for a, b in zip(here.take(index), there.take(index), strict=True))


def file_of(tensor: torch.Tensor) -> str:
    """Return the file that a tensor's memory is mapped from, or an empty string."""
    for area in psutil.Process().memory_maps(grouped=False):
        start, end = (int(address, 16) for address in area.addr.split("-"))
        if start <= tensor.data_ptr() < end:
            return area.path if area.path.startswith("/") else ""
    raise AssertionError("the tensor is nowhere in memory")


def test_a_network_that_is_looked_at_is_in_this_process(two: None, nothing_left: None) -> None:
    seen = []
    train(run_config(model=SMALL, replicas=2), data(), on_network=lambda row, net: seen.append(net))
    assert len(seen) == 4


# What goes wrong


@pytest.mark.slow
def test_a_failing_replica_ends_all(two: None, nothing_left: None) -> None:
    config = run_config(model=SMALL, optimizer="sgd", lr=1e30, replicas=4, epochs=LONG)
    with pytest.raises(UserError, match=r"run small: the loss is .* in epoch 1, step 2 of 3 \(replica [01]\)"):
        train(config, data())


@pytest.mark.slow
def test_an_error_in_a_callback_ends_all(two: None, nothing_left: None) -> None:
    def on_epoch(row: Row) -> None:
        if row["replica"] == 1:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        train(run_config(model=SMALL, replicas=2, epochs=LONG), data(), on_epoch=on_epoch)


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside(two: None, nothing_left: None) -> None:
    killed: list[psutil.Process] = []

    def on_epoch(row: Row) -> None:
        if not killed:
            killed.append(trainers(psutil.Process())[0])
            killed[0].kill()

    with pytest.raises(
        UserError, match=r"run small: a process that trained a replica was ended from outside.*WORKERS=1"
    ) as error:
        train(run_config(model=SMALL, replicas=2, epochs=LONG), data(), on_epoch=on_epoch)
    assert KILLED in str(error.value.__cause__)  # gives the stage the exit code of a process that was killed


ENDLESS = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
sys.path[:0] = sys.argv[1:]
from small import data, run_config
from trainlab.training.replicas import train

print("imported", flush=True)
model = {SMALL}
train(run_config(model=model, replicas=2, epochs={LONG}), data(), on_epoch=lambda row: print(row["replica"], flush=True))
"""


@pytest.fixture
def endless(tmp_path: Path, two: None) -> Iterator[subprocess.Popen[str]]:
    """Return a process that trains two replicas side by side, in a group of its own."""
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, tests, tests.parent / "src"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def both_train(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until both replicas have trained for an epoch; return the processes that train them."""
    seen: set[str] = set()
    assert process.stdout
    while seen != {"0", "1"}:
        line = process.stdout.readline().strip()
        assert line, process.communicate()
        seen |= {line} - {"imported"}
    children = trainers(psutil.Process(process.pid))
    assert len(children) == 2
    return children


@pytest.mark.slow
def test_ctrl_c_ends_all_without_a_word_of_the_processes(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    children = both_train(endless)
    os.killpg(endless.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    _, stderr = endless.communicate(timeout=60)
    assert stderr.count("Traceback") == 1
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    wait_for_none(children)
    assert list(tmp_path.glob("trainlab-*")) == []


INTERRUPTED = f"""
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # which the processes inherit where their mask is missing
sys.path[:0] = sys.argv[1:3]
import psutil
from small import data, run_config
from trainlab.training.replicas import train

def interrupt(row):
    if row["epoch"] == 1:
        for process in psutil.Process().children():
            if "popen_loky_posix" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGINT)
                print(process.pid)

config = run_config(model={SMALL}, replicas=2, epochs=100)
train(config, data(), on_epoch=interrupt).save(Path(sys.argv[3]))
"""


@pytest.mark.faults
def test_ctrl_c_that_reaches_only_the_processes_changes_nothing(tmp_path: Path) -> None:
    tests, model = Path(__file__).parents[1], tmp_path / "interrupted"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, tests, tests.parent / "src", model],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, WORKERS: "2", "TMPDIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(set(done.stdout.split())) == 2
    train(run_config(model=SMALL, replicas=2, epochs=100), data()).save(tmp_path / "alone")
    assert model.read_bytes() == (tmp_path / "alone").read_bytes()


@pytest.mark.faults
def test_ctrl_c_while_the_processes_start(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    assert endless.stdout
    assert endless.stdout.readline() == "imported\n"
    end = time.monotonic() + 60
    while not (children := trainers(psutil.Process(endless.pid))):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(endless.pid, signal.SIGINT)
    _, stderr = endless.communicate(timeout=60)
    assert stderr.count("Traceback") == 1
    wait_for_none(children)
    assert list(tmp_path.glob("trainlab-*")) == []


@pytest.mark.slow
def test_ctrl_c_that_is_held_until_the_processes_are_started(
    two: None, nothing_left: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    submit = loky.ProcessPoolExecutor.submit

    def interrupted(*arguments: Any) -> Any:
        future = submit(*arguments)
        signal.raise_signal(signal.SIGINT)
        return future

    monkeypatch.setattr(loky.ProcessPoolExecutor, "submit", interrupted)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(run_config(model=SMALL, replicas=2, epochs=LONG), data())
    finally:
        signal.signal(signal.SIGINT, handler)
    assert capfd.readouterr().err == ""


@pytest.mark.faults
def test_processes_end_after_their_parent_was_killed(endless: subprocess.Popen[str]) -> None:
    children = both_train(endless)
    endless.kill()
    wait_for_none(children)
