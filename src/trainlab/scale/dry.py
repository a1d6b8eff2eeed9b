"""What `trainlab repro` would do, by what DVC knows now: `dvc status` in the order of `dvc repro`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.stage import Stage

from trainlab.scale.pipeline import Task, Turns, explained, opened, tasks_of

Fate = Literal["runs", "comes from the cache", "is stored as it is", "fails", "may run", "does not change"]
WORDS: dict[Fate, str] = {  # of several stages
    "runs": "run",
    "comes from the cache": "come from the cache",
    "is stored as it is": "are stored as they are",
    "fails": "fail",
    "may run": "may run",
    "does not change": "do not change",
}
CHANGES: tuple[Fate, ...] = ("runs", "comes from the cache", "may run")  # outputs, perhaps
SHOWN = 4  # reasons in a line


@dataclass(frozen=True)
class Forecast:
    """What would happen to a stage.

    Parameters
    ----------
    task
        The stage.
    fate
        What would happen: its commands run; its results are taken from DVC's cache; as it has no commands that run
        (`dvc add`, frozen), its files are stored; these are missing; it runs if stages before it change its inputs; nothing.
    reasons
        Why.
    """

    task: Task
    fate: Fate
    reasons: Sequence[str]

    def line(self, count: int) -> str:
        """Return it in one line, as one of a number of stages."""
        more = [f"{len(self.reasons) - SHOWN} more"] if len(self.reasons) > SHOWN else []
        why = "; ".join([*self.reasons[:SHOWN], *more])
        return f"stage {self.task.number} of {count}: {self.task.name} {self.fate}: {why}"


def forecast(root: Path, targets: Sequence[str], *, force: bool = False) -> list[Forecast]:
    """Return what :func:`trainlab.scale.pipeline.reproduce` would do with each stage, in DVC's order. Nothing is changed.

    Parameters
    ----------
    root
        Directory of the DVC project.
    targets
        Stages or files, as for `dvc repro`; all stages of dvc.yaml if empty.
    force
        Whether stages would run that are up to date.

    Raises
    ------
    UserError
        If there is no such target, or another process changes what would have to be looked at.
    """
    with opened(root) as repo, explained(), Turns(repo):
        found: list[Forecast] = []
        for task in tasks_of(repo, targets):
            before = [one.task for one in found if one.fate in CHANGES]
            found.append(_forecast(task, before, force))
    return found


def _forecast(task: Task, before: Sequence[Task], force: bool) -> Forecast:
    """Look at a stage.

    Parameters
    ----------
    task
        The stage.
    before
        What may change before it.
    force
        Whether it would run if it is up to date.
    """
    stage = task.stage
    passive = stage.frozen or not (stage.cmd or stage.is_import)
    doubtful = {} if passive or force else _doubtful(stage, before)
    status: Sequence[Any] = stage.status().get(stage.addressing, [])
    certain = ["--force"] if force else list(_reasons(status, doubtful))
    doubts = [f"{path} may change (by {name})" for path, name in doubtful.items()]
    if _is_new(stage) and not force:
        certain, doubts = ["not in dvc.lock"], []
    if not certain:
        return Forecast(task, "may run" if doubts else "does not change", doubts)
    if passive:
        missing = [f"{out} is missing, see `dvc checkout`" for out in stage.outs if not out.exists]
        return Forecast(task, "fails" if missing else "is stored as it is", missing or certain)
    if not (doubtful or force) and _in_cache(stage):
        return Forecast(task, "comes from the cache", certain)
    return Forecast(task, "runs", certain + doubts)


def _doubtful(stage: Stage, before: Sequence[Task]) -> dict[str, str]:
    """Return the inputs that other stages may change, each with the name of one."""
    found: dict[str, str] = {}
    for dep in stage.deps:
        for other in before:
            if any(localfs.overlaps(dep.fs_path, out.fs_path) for out in other.stage.outs):
                found.setdefault(str(dep), other.name)
    return found


def _reasons(status: Sequence[Any], doubtful: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of `dvc status` in short, without the inputs that are doubtful anyway."""
    for part in status:
        if isinstance(part, str):
            yield part
            continue
        for files in part.values():
            for path, how in files.items():
                if path in doubtful:
                    continue
                if isinstance(how, str):
                    yield f"{path} {how}"
                else:
                    yield from (f"{path}:{key} {what}" for key, what in how.items())


def _is_new(stage: Stage) -> bool:
    return not any(entry.hash_info for entry in (*stage.deps, *stage.outs)) and bool(stage.deps or stage.outs)


def _in_cache(stage: Stage) -> bool:
    """Return whether DVC would take the outputs from its cache. The stage in memory is not usable after it."""
    try:
        if not stage.deps_cached():
            stage.save_deps()  # into memory
            stage.cmd_changed = True  # the outputs in dvc.lock are those of other inputs: look into the run cache
        stage.repo.stage_cache.restore(stage, dry=True)
    except DvcException:
        return False
    return True
