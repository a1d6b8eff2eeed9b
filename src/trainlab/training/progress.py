"""Progress of training: a live bar in a terminal, and one line per epoch."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from trainlab.training.loop import Row, Step

REFRESH = 0.25  # seconds between two readings of the loss, because each waits for a GPU


class _LiveBar:
    """A console and, if it is a terminal, a live bar below the printed lines; a context manager."""

    def __init__(self, console: Console | None, *columns: ProgressColumn) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(*columns, console=self._console, transient=True)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()


class TrainingProgress(_LiveBar):
    """Progress of one run; a context manager.

    :func:`trainlab.training.loop.train` calls :meth:`step` and :meth:`epoch`.

    Parameters
    ----------
    run
        Name of the run.
    epochs, replicas
        Number of epochs and replicas of the run.
    console
        Where to print; standard output by default.
    """

    def __init__(self, run: str, *, epochs: int, replicas: int, console: Console | None = None) -> None:
        self._run, self._epochs, self._replicas = run, epochs, replicas
        numbers = TextColumn("{task.fields[numbers]}")
        super().__init__(console, TextColumn("{task.description}"), BarColumn(), numbers, TimeRemainingColumn())
        if self._bar:
            self._task = self._bar.add_task(self._title(0, 0), total=None, numbers="")
        self._epoch_began = self._looked = time.perf_counter()
        self._epoch_images = self.images = 0  # trained on in this epoch, and in total
        self._accuracy = ""

    def step(self, step: Step) -> None:
        """Count a step; show the loss a few times per second."""
        self._epoch_images += step.images
        self.images += step.images
        now = time.perf_counter()
        if not self._bar or now - self._looked < REFRESH:
            return
        self._looked = now
        self._bar.update(
            self._task,
            description=self._title(step.replica, step.epoch),
            total=self._replicas * self._epochs * step.steps,
            completed=(step.replica * self._epochs + step.epoch - 1) * step.steps + step.done,
            numbers=f"loss {float(step.loss):.3f}  {self._accuracy}{self._rate(now)}",
        )

    def epoch(self, row: Row) -> None:
        """Print the line of an epoch."""
        now = time.perf_counter()
        scored = [name for name in ("validation", "test") if f"{name}_accuracy" in row]
        self._accuracy = "".join(f"{name} {row[f'{name}_accuracy']:.1%}  " for name in scored)
        numbers = "".join(
            f"  {name} loss {row[f'{name}_loss']:.4f}  {name} accuracy {row[f'{name}_accuracy']:.2%}" for name in scored
        )
        gap = f"  gap {row['accuracy_gap']:+.2%}" if "accuracy_gap" in row else ""
        self._console.print(
            f"{self._title(int(row['replica']), int(row['epoch']))}"
            f"  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.2%}"
            f"{numbers}{gap}  {self._rate(now)}"
        )
        self._epoch_began, self._epoch_images = now, 0

    def _title(self, replica: int, epoch: int) -> str:
        of_replicas = f" replica {replica + 1}/{self._replicas}" if self._replicas > 1 else ""
        return f"{self._run}{of_replicas} epoch {epoch}/{self._epochs}"

    def _rate(self, now: float) -> str:
        return f"{self._epoch_images / max(now - self._epoch_began, 1e-9):,.0f} images/s"


class SearchProgress(_LiveBar):
    """Progress of a search: one line per trial, and in a terminal a live bar of the current one; a context manager.

    Parameters
    ----------
    console
        Where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console, TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        if self._bar:
            self._task = self._bar.add_task("", total=None)
        self._epochs = 1

    def trial(self, title: str, epochs: int) -> None:
        """Start a trial."""
        self._epochs = epochs
        if self._bar:
            self._bar.reset(self._task, description=title, total=None)

    def step(self, step: Step) -> None:
        """Count a step."""
        if self._bar:
            done = (step.epoch - 1) * step.steps + step.done
            self._bar.update(self._task, total=self._epochs * step.steps, completed=done)

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False)
