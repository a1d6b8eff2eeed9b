"""DVC's own pipeline, with independent stages side by side.

DVC runs one stage after the other, and refuses a second process in the same workspace (its issues 755, 9805, 10465, 11054).
Here all of DVC's bookkeeping is done by one thread at a time, as in `dvc repro`, and only the stages' commands run side by
side. The result is what `dvc repro` leaves, and nothing else is stored: after a kill, `dvc repro` or `trainlab repro`
continue.
"""

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

import loky
from dvc.exceptions import DvcException, NoOutputOrStageError, NotDvcRepoError
from dvc.lock import LockError
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage
from dvc.stage import run as dvc_run
from dvc.stage.exceptions import StageCmdFailedError, StageFileDoesNotExistError, StageNotFound

from trainlab.errors import UserError
from trainlab.scale.cluster import Cluster
from trainlab.scale.commands import Command, end
from trainlab.scale.retries import RETRIES, check, run_again
from trainlab.scale.whole_files import kept_whole

if TYPE_CHECKING:
    from trainlab.scale.nodes import Nodes

State = Literal["waiting", "running", "done", "unchanged", "failed", "skipped"]
WORKERS = "TRAINLAB_WORKERS"  # trainlab.training.devices has it too, and imports torch
LOOK = 0.2  # seconds between two looks for Ctrl-C
RECORD = 3.0  # seconds between two writes of dvc.lock, which takes DVC longer than many a stage, at least
SHOWN = {"TRAINLAB_REPRO": "1"}  # tells a stage that its progress is shown here
ADVICE = f"fewer --jobs or a lower {WORKERS} need less"
SHARE = 10  # and at least so many times as long as a write takes, which is 8 s per MB of dvc.lock


@dataclass
class Task:
    """A stage on its way.

    Parameters
    ----------
    stage
        DVC's stage.
    number
        Its place in DVC's order, from 1.
    upstream
        The tasks that it waits for.
    log
        The output of its commands.
    """

    stage: Stage
    number: int
    upstream: list["Task"]
    log: Path
    state: State = "waiting"
    attempts: int = 0
    began: float = 0.0
    seconds: float = 0.0
    error: str = ""
    recorded: bool = field(default=False, repr=False)

    @property
    def name(self) -> str:
        """The stage's address, such as `train@baseline`."""
        return str(self.stage.addressing)

    @property
    def finished(self) -> bool:
        """Whether its outputs are there."""
        return self.state in ("done", "unchanged")


class Ended(UserError):
    """Ctrl-C or SIGTERM ended the stages that ran."""

    def __init__(self, number: int) -> None:
        super().__init__("stopped; the same command continues, and so does `dvc repro`")
        self.code = 128 + number


class Display(Protocol):
    """What :func:`reproduce` tells about the tasks; the calls come from several threads, one at a time."""

    def planned(self, tasks: Sequence[Task]) -> None:
        """Tell the order of all tasks."""

    def changed(self, task: Task) -> None:
        """Tell that the state of a task has changed."""

    def again(self, task: Task, reason: str) -> None:
        """Tell that a task was ended from outside, and runs again."""


class Turns:
    """The right to do DVC's bookkeeping: one thread at a time has it, and the repository's lock with it.

    Parameters
    ----------
    repo
        DVC's repository.
    """

    def __init__(self, repo: Repo) -> None:
        self._repo, self._mutex = repo, threading.Lock()

    def __enter__(self) -> None:
        self._mutex.acquire()
        try:
            self._repo.lock.lock()
        except BaseException:
            self._mutex.release()
            raise
        self._repo._lock_depth += 1  # for what DVC does under a lock of its own, such as `pull`

    def __exit__(self, *error: object) -> None:
        self._repo._lock_depth -= 1
        self._repo.lock.unlock()
        self._mutex.release()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let other threads have their turn inside the block."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


def reproduce(
    root: Path,
    targets: Sequence[str],
    jobs: int,
    display: Display,
    *,
    keep_going: bool = False,
    force: bool = False,
    retries: int = RETRIES,
    cluster: Cluster | None = None,
) -> list[Task]:
    """Run the stages that are out of date, as many at the same time as ``jobs`` allows.

    After a failure, running stages are finished and no other is started; Ctrl-C and SIGTERM end them.

    Parameters
    ----------
    root
        Directory of the DVC project.
    targets
        Stages or files, as for `dvc repro`; all stages of dvc.yaml if empty.
    jobs
        Number of stages to run at the same time, ≥ 1.
    display
        Is told what happens.
    keep_going
        Whether to run stages after a failure that do not depend on the failed one.
    force
        Whether to run stages that are up to date.
    retries
        How often to run a stage again whose process was ended from outside, ≥ 0.
    cluster
        Where to run the stages; None: here.

    Returns
    -------
    list
        All tasks, in DVC's order.

    Raises
    ------
    UserError
        If there is no such target, or another process reproduces this project.
    Ended
        After Ctrl-C or SIGTERM. What had finished by then is recorded.
    """
    with opened(root) as repo, _alone(Path(repo.tmp_dir)), kept_whole():
        run = _Run(repo, jobs, display, force, retries)
        with explained():
            run.plan(targets)
        with run.own_commands(), run.on(cluster):
            run.all(keep_going)
        return run.tasks


@contextmanager
def opened(root: Path) -> Iterator[Repo]:
    """Open DVC's repository without its own lines, which the display replaces.

    Raises
    ------
    UserError
        If there is none.
    """
    try:
        place = Repo.find_root(str(root))
    except NotDvcRepoError:
        raise UserError(f"{root} is in no DVC project: change to one, or make one with `dvc init`") from None
    logger = logging.getLogger("dvc")
    before = logger.level
    with Repo(place, _wait_for_lock=True) as repo:
        logger.setLevel(logging.ERROR)
        try:
            yield repo
        finally:
            logger.setLevel(before)


@contextmanager
def explained() -> Iterator[None]:
    """Turn DVC's errors about targets and files into a :class:`UserError`."""
    try:
        yield
    except (NoOutputOrStageError, StageFileDoesNotExistError, StageNotFound) as error:
        raise UserError(f"{error}: `dvc stage list` shows all stages") from error
    except LockError as error:
        raise UserError("another command of DVC is working on these files: wait for its end") from error
    except DvcException as error:
        reasons = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{reasons}: `dvc status` says more") from error


def tasks_of(repo: Repo, targets: Sequence[str], logs: Path = Path()) -> list[Task]:
    """Return the stages that `dvc repro` would look at, in its order. Needs the repository's lock."""
    graph = repo.index.graph
    stages = plan_repro(get_active_graph(graph), collect_stages(repo, targets or ["dvc.yaml"]))
    tasks: dict[Stage, Task] = {}
    for number, stage in enumerate(stages, 1):
        # A frozen stage waits for its dependencies, too, if they come before it in DVC's order.
        upstream = [tasks[other] for other in graph.successors(stage) if other in tasks]
        tasks[stage] = Task(stage, number, upstream, logs / f"{number}.log")
    return list(tasks.values())


def check_inputs(root: Path, stages: Iterable[Stage]) -> None:
    """Look for the files of other projects, which no stage of this one makes.

    Parameters
    ----------
    root
        Directory of the DVC project.
    stages
        What is to run.

    Raises
    ------
    UserError
        If one is missing; it says which command makes it.
    """
    for stage in stages:
        for path in [] if stage.frozen else [Path(dep.fs_path) for dep in stage.deps if dep.protocol == "local"]:
            if path.is_relative_to(root) or path.exists():
                continue
            raise UserError(f"{stage.addressing} needs {os.path.relpath(path)}, which is missing{_maker(path)}")


def _maker(path: Path) -> str:
    """Return the command that makes a file of another project, in words, if there is one."""
    with suppress(NotDvcRepoError), Repo(str(next(place for place in path.parents if place.is_dir()))) as repo:
        for stage in repo.index.stages:
            if any(path.is_relative_to(out.fs_path) for out in stage.outs if out.protocol == "local"):
                place, name = os.path.relpath(Path(stage.path).parent), getattr(stage, "name", Path(stage.path).name)
                return f": `dvc --cd {place} repro {name}` makes it"
    return ""


class _Run:
    def __init__(self, repo: Repo, jobs: int, display: Display, force: bool, retries: int) -> None:
        self.tasks: list[Task] = []
        self._repo, self._jobs, self._display, self._force = repo, jobs, display, force
        self._retries = retries
        self._turns = Turns(repo)
        self._commands: dict[str, Command] = {}  # running, by the name of their stage
        self._cluster: Cluster | None = None
        self._nodes: Nodes | None = None
        self._signal = 0  # that asked to end: no command is started any more

    def plan(self, targets: Sequence[str]) -> None:
        logs = Path(self._repo.tmp_dir) / "trainlab-repro"
        logs.mkdir(exist_ok=True)
        for old in logs.iterdir():  # of a process that was killed
            old.unlink()
        with self._turns:
            self.tasks = tasks_of(self._repo, targets, logs)
            check_inputs(Path(self._repo.root_dir), [task.stage for task in self.tasks])
            for task in self.tasks:
                if task.stage.cmd and not task.stage.frozen:
                    _ignore(task.stage.outs)  # in DVC's order, and not in the order in which stages end
            self._repo.scm._reset()  # it has read .gitignore before these lines
        self._display.planned(self.tasks)

    def all(self, keep_going: bool) -> None:
        futures: dict[Future[None], Task] = {}
        due, told = time.monotonic() + RECORD, False
        with ThreadPoolExecutor(self._jobs) as pool, self._signals():
            while True:
                if self._signal and not told:
                    if self._cluster:
                        self._cluster.give_up()
                    end(list(self._commands.values()), self._signal)
                    told = True
                stop = self._signal or (not keep_going and any(task.state == "failed" for task in self.tasks))
                self._skip(everything=bool(stop))
                for task in self._ready()[: self._jobs - len(futures)]:
                    task.state = "running"
                    futures[pool.submit(self._one, task)] = task
                if not futures:
                    break
                done, _ = wait(futures, timeout=LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    del futures[future]
                    future.result()
                if (began := time.monotonic()) > due:
                    self._record()
                    due = time.monotonic() + max(RECORD, SHARE * (time.monotonic() - began))
            self._record(gaps=True)
        if self._signal:
            raise Ended(self._signal)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note Ctrl-C and SIGTERM inside the block, so that neither interrupts DVC's bookkeeping."""

        def note(number: int, frame: object) -> None:
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ready(self) -> list[Task]:
        waiting = [task for task in self.tasks if task.state == "waiting"]
        return [task for task in waiting if all(other.finished for other in task.upstream)]

    def _skip(self, everything: bool) -> None:
        for task in self.tasks:
            if task.state == "waiting" and (everything or any(o.state in ("failed", "skipped") for o in task.upstream)):
                task.state = "skipped"
                self._display.changed(task)

    def _one(self, task: Task) -> None:
        """Reproduce one stage as `dvc repro` does; its commands give up the turn."""
        task.began = time.monotonic()
        upstream = [] if task.stage.frozen else [other.stage for other in task.upstream]
        force = self._force

        def reproduce() -> None:
            with self._turns:
                ran = task.stage.reproduce(upstream=upstream, force=force, pull=self._nodes is not None)
                task.state = "done" if ran else "unchanged"

        def again(reason: str) -> None:
            nonlocal force
            force = True  # the stage in memory knows its new inputs already, and would seem to be up to date
            with self._turns:
                self._display.again(task, reason)

        try:
            run_again(reproduce, self._retries, again)
        except Exception as error:  # the driver goes on with the stages that run
            task.state, task.error = "failed", " ".join(str(error.__cause__ or error).split())
        task.seconds = time.monotonic() - task.began
        with self._turns:
            self._display.changed(task)

    def _record(self, gaps: bool = False) -> None:
        """Write the results to dvc.lock in DVC's order, so that it has the bytes of `dvc repro`.

        Parameters
        ----------
        gaps
            Whether to write all that is finished, and not only up to the first task that is not.
        """
        finished = []
        for task in self.tasks:
            if task.state == "done" and not task.recorded:
                finished.append(task)
            elif not task.finished and not gaps:
                break
        if not finished:
            return
        with self._turns:
            for path in dict.fromkeys(task.stage.path for task in finished):
                stages = [task.stage for task in finished if task.stage.path == path]
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        for task in finished:
            task.recorded = True

    @contextmanager
    def own_commands(self) -> Iterator[None]:
        """Make DVC run the commands of stages by :meth:`_run_commands` inside the block."""
        before = dvc_run.cmd_run, dvc_run.unlocked_repo
        dvc_run.cmd_run, dvc_run.unlocked_repo = self._run_commands, lambda run: run
        try:
            yield
        finally:
            dvc_run.cmd_run, dvc_run.unlocked_repo = before

    @contextmanager
    def on(self, cluster: Cluster | None) -> Iterator[None]:
        """Run stages on a cluster inside the block, if there is one."""
        if cluster is None:
            yield
            return
        from trainlab.scale.nodes import Nodes

        with TemporaryDirectory(dir=self._repo.tmp_dir, prefix="trainlab-") as directory:
            self._cluster, self._nodes = cluster, Nodes(cluster, self._repo, Path(directory))
            self._nodes.pull_runs()
            try:
                yield
            finally:
                self._nodes.push_runs(task.stage for task in self.tasks if task.state == "done")

    def _run_commands(self, stage: Stage, dry: bool = False, run_env: Mapping[str, str] | None = None) -> None:
        task = next(task for task in self.tasks if task.stage is stage)
        task.attempts += 1
        if task.attempts == 1:
            self._display.changed(task)
        if self._nodes and self._nodes.take(stage):
            stages = [other.stage for other in self.tasks]
            self._nodes.run(stage, stages, dict(run_env or {}), task.log, self._turns.given_up())
            return
        settings: dict[str, Any] = dvc_run.prepare_kwargs(stage, run_env=run_env)
        environment = {**settings["env"], **self._shares(settings["env"]), **SHOWN}
        for line in dvc_run._enforce_cmd_list(stage.cmd):
            if self._signal:
                raise StageCmdFailedError(line, 130)
            command = Command(dvc_run._make_cmd(dvc_run.get_executable(), line), settings["cwd"], environment, task.log)
            self._commands[task.name] = command
            if self._signal:  # it came while the command started
                command.signal(self._signal)
            with self._turns.given_up():
                code = command.wait()
            del self._commands[task.name]
            if not self._signal:
                check(code, command.memory_was_full, ADVICE)
            if code:
                raise StageCmdFailedError(line, code)

    def _shares(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what keeps stages that run at the same time out of each other's way; neither changes a result."""
        if self._jobs == 1:
            return {}
        at_once = min(self._jobs, sum(task.state == "running" for task in self.tasks) + len(self._ready()))
        own = {WORKERS: str(max(1, loky.cpu_count() // at_once)), "OMP_WAIT_POLICY": "PASSIVE"}
        return {name: value for name, value in own.items() if name not in environment}


def _ignore(outs: Iterable[Output]) -> None:
    """Add outputs to the .gitignore of their directories, unless another one covers them."""
    for out in outs:
        try:
            out.ignore()
        except FileNotFoundError:  # the directory is not there before the stage has run
            Path(out.fspath).parent.mkdir(parents=True, exist_ok=True)
            out.ignore()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Fail if another process is inside of this block for the same directory."""
    with (directory / "trainlab-repro.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"`trainlab repro` is running here already, as process {lock.read().strip()}: wait for its end, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
