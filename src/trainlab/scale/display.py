"""What `trainlab repro` shows: a live table in a terminal, and a line per stage elsewhere."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainlab.scale.pipeline import Task

TAIL = 4096  # bytes at the end of a log that are searched for its last line


class Progress:
    """The display of a reproduction; a context manager.

    Parameters
    ----------
    root
        Directory of the DVC project, for the timings of earlier runs.
    jobs
        Number of stages that run at the same time.
    console
        Where to print; standard output by default.
    """

    def __init__(self, root: Path, jobs: int, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._jobs = jobs
        self._expected = expected_seconds(root)
        self._tasks: Sequence[Task] = []
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, tasks: Sequence[Task]) -> None:
        """Note the order of all tasks."""
        self._tasks = tasks

    def changed(self, task: Task) -> None:
        """Print a line when a task starts its command, and its output when it ends."""
        place = f"stage {task.number} of {len(self._tasks)}: {task.name}"
        if task.state == "running":
            if not self._console.is_terminal:
                self._say(f"{place}{self._left()}")
        elif task.state == "done":
            self._say(f"{place}: done in {duration(task.seconds)}", _content(task.log))
        elif task.state == "failed":
            self._say(f"{place}: FAILED after {duration(task.seconds)}: {task.error}", _content(task.log))

    def again(self, task: Task, reason: str) -> None:
        """Print a line when a task was ended from outside and runs again."""
        self._say(f"stage {task.number} of {len(self._tasks)}: {task.name}: {reason}")

    def summary(self) -> str:
        """Return how many tasks ended in which way, in one line."""
        counts = {state: sum(task.state == state for task in self._tasks) for state in WORDS}
        return ", ".join(f"{count} {WORDS[state]}" for state, count in counts.items() if count)

    def seconds_left(self) -> float | None:
        """Return how long the rest takes by the timings of earlier runs; None if there are none of a task that is left."""
        left = [task for task in self._tasks if task.state in ("waiting", "running")]
        known = [seconds for task in left if (seconds := self._of(task)) is not None]
        if not known:
            return None
        return max(sum(known) / self._jobs, *known)

    def _of(self, task: Task) -> float | None:
        seconds = self._expected.get(task.name)
        if seconds is None or task.state != "running":
            return seconds
        return max(0.0, seconds - (time.monotonic() - task.began))

    def _left(self) -> str:
        seconds = self.seconds_left()
        return "" if seconds is None else f", about {duration(seconds, rough=True)} left"

    def _say(self, line: str, output: str = "") -> None:
        self._console.print(line, markup=False)
        if output:
            self._console.print(Text.from_ansi(output))

    def _table(self) -> Group:
        running = [task for task in self._tasks if task.state == "running"]
        table = Table.grid(padding=(0, 2))
        for task in running:
            table.add_row(
                task.name, duration(time.monotonic() - task.began), Text(last_line(task.log), overflow="ellipsis")
            )
        waiting = sum(task.state == "waiting" for task in self._tasks)
        done = sum(task.finished for task in self._tasks)
        return Group(
            table, f"{len(running)} running, {waiting} waiting, {done} of {len(self._tasks)} done{self._left()}"
        )


WORDS = {"done": "ran", "unchanged": "did not change", "failed": "failed", "skipped": "not started"}


def expected_seconds(root: Path) -> dict[str, float]:
    """Return the duration of earlier trainings by stage, from timings/SUITE/RUN.json."""
    found: dict[str, float] = {}
    for path in root.glob("timings/*/*.json"):
        try:
            seconds = float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, LookupError, TypeError):  # an estimate is not worth an error
            continue
        found |= {f"{stage}@{path.stem}": seconds for stage in ("train", "distill")}
    return found


def duration(seconds: float, rough: bool = False) -> str:
    """Return a duration in words, such as "3 min 20 s" or, roughly, "4 minutes"."""
    if rough:
        minutes = max(1, math.ceil(seconds / 60))
        return f"{minutes} minute{'s' * (minutes > 1)}"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _content(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return ""
