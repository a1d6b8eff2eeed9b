"""What `trainlab repro` shows."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from trainlab.scale.display import Progress, duration, expected_seconds, last_line
from trainlab.scale.pipeline import Task


def task(name: str, number: int, log: Path, **own: Any) -> Task:
    stage: Any = SimpleNamespace(addressing=name)
    made = Task(stage, number, [], log)
    for key, value in own.items():
        setattr(made, key, value)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project with the timings of two runs, and one that cannot be read."""
    directory = tmp_path / "timings/tricks"
    directory.mkdir(parents=True)
    for run, seconds in {"slow": 600, "quick": 60}.items():
        (directory / f"{run}.json").write_text(json.dumps({"seconds": seconds}))
    (directory / "damaged.json").write_text("{")
    return tmp_path


def progress(root: Path, jobs: int, *, terminal: bool = False) -> tuple[Progress, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, highlight=False, soft_wrap=True)
    return Progress(root, jobs, console), text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3725, "62 min 5 s")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0, "1 minute"), (60, "1 minute"), (61, "2 minutes")])
def test_rough_durations(seconds: float, words: str) -> None:
    assert duration(seconds, rough=True) == words


def test_expected_seconds_are_those_of_earlier_trainings(root: Path) -> None:
    assert expected_seconds(root) == {
        "train@slow": 600, "distill@slow": 600, "train@quick": 60, "distill@quick": 60,
    }  # fmt: skip


def test_a_line_says_where_it_is_and_how_long_the_rest_takes(root: Path, tmp_path: Path) -> None:
    shown, text = progress(root, jobs=2)
    log = tmp_path / "log"
    tasks = [task("resolve", 1, log), task("train@slow", 2, log), task("train@quick", 3, log)]
    with shown:
        shown.planned(tasks)
        tasks[0].state = "running"
        shown.changed(tasks[0])  # 660 seconds by two jobs, but one of them takes 600
        log.write_text("written\n")
        tasks[0].state, tasks[0].seconds = "done", 1.5
        shown.changed(tasks[0])
        tasks[1].state, tasks[1].seconds, tasks[1].error = "failed", 100, "it [bold]broke"
        shown.changed(tasks[1])
        tasks[2].state = "skipped"
        shown.changed(tasks[2])
    assert text.getvalue().splitlines() == [
        "stage 1 of 3: resolve, about 10 minutes left",
        "stage 1 of 3: resolve: done in 1.5 s",
        "written",
        "stage 2 of 3: train@slow: FAILED after 1 min 40 s: it [bold]broke",
        "written",
    ]
    assert shown.summary() == "1 ran, 1 failed, 1 not started"


def test_time_left_counts_what_is_left_alone(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _ = progress(root, jobs=1)
    slow, quick = task("train@slow", 1, tmp_path), task("train@quick", 2, tmp_path)
    shown.planned([slow, quick])
    assert shown.seconds_left() == 660
    monkeypatch.setattr("time.monotonic", lambda: 1100.0)
    slow.state, slow.began = "running", 1000.0
    assert shown.seconds_left() == 560
    slow.state = "done"
    assert shown.seconds_left() == 60
    quick.state = "unchanged"
    assert shown.seconds_left() is None


def test_a_terminal_shows_what_runs(root: Path, tmp_path: Path) -> None:
    shown, text = progress(root, jobs=2, terminal=True)
    log = tmp_path / "log"
    log.write_text("slow epoch 1/10\n")
    tasks = [task("train@slow", 1, log, state="running"), task("train@quick", 2, log)]
    with shown:
        shown.planned(tasks)
        shown._live.refresh()
    for words in ("train@slow", "slow epoch 1/10", "1 running, 1 waiting, 0 of 2 done"):
        assert words in text.getvalue()


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"first\n" * 2000 + b"bar 10%\rbar 20%\r  \n\n")
    assert last_line(log) == "bar 20%"
    log.write_bytes(b"\xff\xfe")
    assert last_line(log) != ""
