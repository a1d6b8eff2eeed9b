"""Progress of training: a live bar in a terminal, and one line per epoch."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

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


class _Replica:
    """Progress of one replica.

    Parameters
    ----------
    task
        Its line of the live bar, if there is one.
    """

    def __init__(self, task: TaskID | None) -> None:
        self.task = task
        self.epoch_began = self.looked = time.perf_counter()
        self.epoch_images = 0
        self.done = 0  # steps, of all epochs
        self.accuracy = ""

    def rate(self, now: float) -> str:
        if not self.epoch_images:
            return "from a checkpoint"
        return f"{self.epoch_images / max(now - self.epoch_began, 1e-9):,.0f} images/s"


class TrainingProgress(_LiveBar):
    """Progress of one run; a context manager.

    :func:`trainlab.training.replicas.train` calls :meth:`step` and :meth:`epoch`. The live display has a bar for each
    replica that is being trained, and one for the whole run.

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
        self._run, self._epochs, self._count = run, epochs, replicas
        numbers = TextColumn("{task.fields[numbers]}")
        super().__init__(console, TextColumn("{task.description}"), BarColumn(), numbers, TimeRemainingColumn())
        self._replicas: dict[int, _Replica] = {}
        self.images = 0  # trained on in total
        self._trained = 0  # epochs, without those that a checkpoint contained
        if self._bar:
            words = f"{run}: {replicas} replicas" if replicas > 1 else run
            self._whole = self._bar.add_task(words, total=None, numbers="")

    def step(self, step: Step) -> None:
        """Count a step; show the loss a few times per second."""
        replica = self._replica(step.replica)
        replica.epoch_images += step.images
        self.images += step.images
        replica.done = (step.epoch - 1) * step.steps + step.done
        now = time.perf_counter()
        if not self._bar or replica.task is None or now - replica.looked < REFRESH:
            return
        replica.looked = now
        loss = f"loss {float(step.loss):.3f}  {replica.accuracy}{replica.rate(now)}"
        title, steps = self._title(step.replica, step.epoch), self._epochs * step.steps
        self._bar.update(replica.task, description=title, total=steps, completed=replica.done, numbers=loss)
        done = sum(replica.done for replica in self._replicas.values())
        self._bar.update(self._whole, total=self._count * steps, completed=done)

    def epoch(self, row: Row) -> None:
        """Print the line of an epoch."""
        number, epoch, now = int(row["replica"]), int(row["epoch"]), time.perf_counter()
        replica = self._replica(number)
        self._trained += replica.epoch_images > 0
        scored = [name for name in ("validation", "test") if f"{name}_accuracy" in row]
        replica.accuracy = "".join(f"{name} {row[f'{name}_accuracy']:.1%}  " for name in scored)
        numbers = "".join(
            f"  {name} loss {row[f'{name}_loss']:.4f}  {name} accuracy {row[f'{name}_accuracy']:.2%}" for name in scored
        )
        gap = f"  gap {row['accuracy_gap']:+.2%}" if "accuracy_gap" in row else ""
        self._console.print(
            f"{self._title(number, epoch)}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.2%}"
            f"{numbers}{gap}  {replica.rate(now)}"
        )
        replica.epoch_began, replica.epoch_images = now, 0
        if self._bar and replica.task is not None and epoch == self._epochs:
            self._bar.update(replica.task, visible=False)

    @property
    def share(self) -> float:
        """Share of the epochs of all replicas that was trained here; checkpoints contained the rest."""
        return self._trained / (self._epochs * self._count)

    def _replica(self, number: int) -> _Replica:
        if number not in self._replicas:
            self._replicas[number] = _Replica(self._new_task())
        return self._replicas[number]

    def _new_task(self) -> TaskID | None:
        if not self._bar or self._count == 1:  # a single replica is the whole run
            return self._whole if self._bar else None
        return self._bar.add_task("", total=None, numbers="")

    def _title(self, replica: int, epoch: int) -> str:
        of_replicas = f" replica {replica + 1}/{self._count}" if self._count > 1 else ""
        return f"{self._run}{of_replicas} epoch {epoch}/{self._epochs}"


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
