"""Stages of a DVC pipeline on the nodes of a cluster, which have no directory in common.

What Git sees of the workspace travels as a Git pack, and so do outputs with `cache: false`, as an archive. What is in DVC's
cache travels through the project's DVC remote. All of DVC's bookkeeping stays in the main workspace; a node runs commands.
"""

import hashlib
import io
import json
import os
import shutil
import socket
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.env import DVC_ROOT, DVC_STAGE
from dvc.fs import localfs
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage, create_stage
from dvc.stage import run as dvc_run
from dvc.stage.cache import _can_hash
from dvc.stage.exceptions import StageCmdFailedError
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import fix_env

from trainlab.errors import UserError
from trainlab.scale.cluster import RESOURCES, Cluster
from trainlab.scale.commands import Command
from trainlab.scale.pipeline import SHOWN, WORKERS
from trainlab.scale.retries import check
from trainlab.scale.snapshot import Snapshots, git

ADVICE = "memory: BYTES in meta.resources of dvc.yaml keeps other stages off its node"
OPTIONS = (*RESOURCES, "resources")  # of `meta: {resources: …}` in dvc.yaml
Entry = Mapping[str, Any]  # an output, as dvc.lock has it


@dataclass(frozen=True)
class Project:
    """What is the same for all stages of a reproduction.

    Parameters
    ----------
    key
        A name for its directory on a node.
    head, base
        The commit that is checked out, and that of the workspace.
    place
        The DVC project's directory in the Git repository.
    config
        DVC's configuration on a node: the remote.
    """

    key: str
    head: str
    base: str
    place: str
    config: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Job:
    """One stage for a node. Paths are relative to the DVC project.

    Parameters
    ----------
    name
        The stage's address.
    commit, pack
        The workspace, and what its commit has in addition to that of the project.
    inputs
        Outputs of other stages, by the directory that their paths are relative to.
    wdir, commands
        What to run, and where.
    cached, uncached
        Paths of the outputs, relative to ``wdir``.
    environment
        Variables to set.
    """

    name: str
    commit: str
    pack: bytes
    inputs: Sequence[tuple[str, Sequence[Entry]]]
    wdir: str
    commands: Sequence[str]
    cached: Sequence[str]
    uncached: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """What a node returns: the code of a failed command or 0, what was printed, the outputs, and whether memory was full."""

    node: str
    code: int
    command: str
    log: bytes
    outputs: Sequence[Entry]
    archive: bytes
    memory: bool | None = None


class Nodes:
    """The driver's side.

    Parameters
    ----------
    cluster
        The cluster.
    repo
        DVC's repository.
    directory
        For temporary files.

    Raises
    ------
    UserError
        If the project has no DVC remote.
    """

    def __init__(self, cluster: Cluster, repo: Repo, directory: Path) -> None:
        self._cluster, self._repo = cluster, repo
        name = repo.config["core"].get("remote")
        if not name:
            raise UserError(
                "the nodes exchange data through a DVC remote, and this project has none:"
                " `dvc remote add --default NAME URL` (see docs/sharing.md)"
            )
        self._root, self._git_root = Path(repo.root_dir), Path(repo.scm.root_dir)
        self._snapshots = Snapshots(self._git_root, directory)
        remote = {key: str(value) for key, value in repo.config["remote"][name].items()}
        key = hashlib.sha256(json.dumps([str(self._root), remote]).encode()).hexdigest()[:16]
        place = self._root.relative_to(self._git_root).as_posix()
        self._project = Project(
            key,
            self._snapshots.head,
            self._snapshots.base,
            place,
            {"core": {"remote": name}, f'remote "{name}"': remote},
        )
        self._pack = cluster.put(self._snapshots.pack())
        self._shared: set[str] = set()  # outputs that are in the remote, by their hashes

    def take(self, stage: Stage) -> bool:
        """Return whether a node can run this stage: not if it changes what is in the workspace, or uses what is outside."""
        inside = all(dep.protocol == "local" and dep.is_in_repo for dep in stage.deps)
        return inside and not any(out.persist or not out.is_in_repo for out in stage.outs)

    def pull_runs(self) -> None:
        """Get the run cache of the remote: a stage that anyone has run is not run again."""
        with suppress(Exception):  # such as a remote without one
            self._repo.stage_cache.pull(None)

    def push_runs(self, stages: Iterable[Stage]) -> None:
        """Put the run cache into the remote, with the metrics and plots of these stages, which DVC has in its cache for it."""
        for stage in stages:
            plain = any(not out.use_cache and not (out.is_metric or out.is_plot) for out in stage.outs)
            if not plain and _can_hash(stage):
                kept = [entry(out) for out in stage.outs if not out.use_cache]
                transfer(self._repo.cloud.push, outputs(self._repo, stage.wdir, kept))
        with suppress(Exception):
            self._repo.stage_cache.push(None)

    def run(
        self,
        stage: Stage,
        stages: Iterable[Stage],
        environment: Mapping[str, str],
        log: Path,
        turn: AbstractContextManager[None],
    ) -> None:
        """Run the commands of a stage on a node, and put the outputs into the workspace.

        Parameters
        ----------
        stage
            The stage; its dependencies are there, and its outputs are removed.
        stages
            All stages of the pipeline.
        environment
            Variables to set.
        log
            The file for what the commands print.
        turn
            What lets other threads do DVC's bookkeeping while the node works.

        Raises
        ------
        StageCmdFailedError
            If a command fails.
        Killed, Lost
            If a command was ended from outside, or the node died.
        UserError
            If no node can run it.
        """
        options = dict((stage.meta or {}).get("resources", {}))
        unknown = [key for key in options if key not in OPTIONS]
        if unknown:
            raise UserError(
                f"{stage.addressing}: meta.resources.{unknown[0]} in dvc.yaml is not one of {', '.join(OPTIONS)}: change it"
            )
        options = {"num_cpus": 1, **options}
        shares = {WORKERS: str(max(1, int(options["num_cpus"]))), "OMP_WAIT_POLICY": "PASSIVE"}
        job = self._job(stage, stages, {**shares, **environment, **SHOWN})
        with turn:
            result: Result = self._cluster.call(run_job, self._project, self._pack, job, resources=options)
        with log.open("ab") as file:
            file.write(result.log)
        check(result.code, result.memory, ADVICE)
        if result.code:
            raise StageCmdFailedError(f"{result.command} (on {result.node})", result.code)
        with tarfile.open(fileobj=io.BytesIO(result.archive)) as archive:
            archive.extractall(self._root, filter="data")
        ghost = outputs(self._repo, stage.wdir, result.outputs)
        transfer(self._repo.cloud.pull, ghost)
        for out in ghost.outs:
            out.checkout(force=True)
            self._shared.add(str(out.hash_info))

    def _job(self, stage: Stage, stages: Iterable[Stage], environment: Mapping[str, str]) -> Job:
        stage.save_deps()
        wanted = [dep.fs_path for dep in stage.deps]
        inputs: list[tuple[str, Sequence[Entry]]] = []
        cached: list[str] = []
        plain = {path for path in wanted if os.path.exists(path)}
        for other in stages:
            used = [out for out in other.outs if any(localfs.overlaps(out.fs_path, path) for path in wanted)]
            plain |= {out.fs_path for out in used if not out.use_cache and os.path.exists(out.fs_path)}
            kept = [out for out in used if out.use_cache and out.hash_info]
            if kept:
                cached += [out.fs_path for out in kept]
                ghost = outputs(self._repo, other.wdir, [entry(out) for out in kept])
                inputs.append((self._relative(other.wdir), to_single_stage_lockfile(ghost)["outs"]))
                new = [out for out in ghost.outs if str(out.hash_info) not in self._shared]
                ghost.outs = new
                transfer(self._repo.cloud.push, ghost)
                self._shared |= {str(out.hash_info) for out in new}
        plain -= {path for path in plain if any(localfs.overlaps(path, other) for other in cached)}
        commit = self._snapshots.take(self._ignored(plain))
        return Job(
            name=stage.addressing,
            commit=commit,
            pack=self._snapshots.pack(commit),
            inputs=inputs,
            wdir=self._relative(stage.wdir),
            commands=dvc_run._enforce_cmd_list(stage.cmd),
            cached=[out.def_path for out in stage.outs if out.use_cache],
            uncached=[out.def_path for out in stage.outs if not out.use_cache],
            environment=environment,
        )

    def _ignored(self, paths: Iterable[str]) -> list[str]:
        """Return which of these paths Git ignores, relative to its root."""
        names = sorted(os.path.relpath(path, self._git_root) for path in paths)
        listed = "".join(f"{name}\0" for name in names).encode()
        try:
            found = git("check-ignore", "-z", "--stdin", cwd=self._git_root, data=listed)
        except UserError:  # none
            return []
        return [name for name in found.decode().split("\0") if name]

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._root)


def entry(out: Any) -> dict[str, Any]:
    """Return an output as dvc.lock has it."""
    meta = out.meta.to_dict() if out.meta else {}
    meta.pop("isdir", None)
    own = {} if out.hash_name == "md5-dos2unix" else {"hash": "md5"}
    return {"path": out.def_path, **own, **out.hash_info.to_dict(), **meta}


def outputs(repo: Repo, wdir: str, entries: Sequence[Entry]) -> Stage:
    """Return a stage that is not in dvc.yaml and has these outputs, all of them in the cache."""
    paths = [one["path"] for one in entries]
    stage = create_stage(
        PipelineStage, repo, os.path.join(repo.root_dir, "dvc.yaml"), cmd="true", wdir=wdir, outs=paths
    )
    StageLoader.fill_from_lock(stage, {"outs": [dict(one) for one in entries]})
    return stage


def transfer(copy: Any, stage: Stage) -> None:
    """Push or pull the outputs of a stage.

    Raises
    ------
    UserError
        If objects are missing.
    """
    for odb, objects in stage.get_used_objs().items():
        failed = copy(objects, odb=odb).failed
        if failed:
            raise UserError(
                f"{len(failed)} files could not be copied to or from the DVC remote: see `dvc status --cloud`"
            )


# On a node


def run_job(project: Project, pack: bytes, job: Job) -> Result:
    """Run a stage in a checkout that this process has for itself."""
    place = Path(tempfile.gettempdir()) / f"trainlab-{os.getuid()}" / project.key
    repo = _checkout(place, project, pack, job)
    try:
        for base, entries in job.inputs:
            ghost = outputs(repo, os.path.join(repo.root_dir, base), entries)
            transfer(repo.cloud.pull, ghost)
            for out in ghost.outs:
                out.checkout(force=True)
        wdir = Path(repo.root_dir, job.wdir)
        for path in (wdir / name for name in (*job.cached, *job.uncached)):
            path.parent.mkdir(parents=True, exist_ok=True)
        log = Path(repo.tmp_dir) / "log"
        log.write_bytes(b"")
        for line in job.commands:
            words = dvc_run._make_cmd(dvc_run.get_executable(), line)
            command = Command(words, str(wdir), _environment(repo, job), log)
            if code := command.wait():
                return Result(socket.gethostname(), code, line, log.read_bytes(), [], b"", command.memory_was_full)
        ghost = outputs(repo, str(wdir), [{"path": name} for name in job.cached])
        for out in ghost.outs:
            out.save()
            out.commit()
        transfer(repo.cloud.push, ghost)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in job.uncached:
                tar.add(wdir / name, os.path.relpath(wdir / name, repo.root_dir))
        return Result(
            socket.gethostname(), 0, "", log.read_bytes(), [entry(out) for out in ghost.outs], archive.getvalue()
        )
    finally:
        repo.close()


def _checkout(place: Path, project: Project, pack: bytes, job: Job) -> Repo:
    """Return a checkout of the workspace: HEAD is the user's, and what is not committed there is not committed here."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in place.glob("checkout-*"):  # of processes that have ended
        if not Path("/proc", old.name.removeprefix("checkout-")).exists():
            shutil.rmtree(old, ignore_errors=True)
    here = place / f"checkout-{os.getpid()}"
    root = here / project.place
    if not (here / ".git").is_dir():
        here.mkdir()
        git("init", "-q", cwd=here)
        git("index-pack", "--stdin", cwd=here, data=pack)
        (here / ".git/shallow").write_text(f"{project.head}\n")
    elif _lacks(here, project.base):
        git("index-pack", "--stdin", cwd=here, data=pack)
        with (here / ".git/shallow").open("a") as known:
            known.write(f"{project.head}\n")
    if job.commit != project.base:
        git("index-pack", "--stdin", "--fix-thin", cwd=here, data=job.pack)
    os.chdir(here)
    git("checkout", "-q", "-f", "--detach", project.head, cwd=here)
    git("clean", "-ffdxq", cwd=here)
    git("read-tree", "--reset", "-u", job.commit, cwd=here)
    git("reset", "-q", cwd=here)
    config = {
        **project.config,
        "cache": {"dir": str(place / "cache"), "type": "reflink,hardlink,symlink,copy"},
        "core": {**project.config["core"], "site_cache_dir": str(here / ".git/site"), "analytics": "false"},
    }
    lines = [
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items())
        for section, own in config.items()
    ]
    (root / ".dvc").mkdir(exist_ok=True)
    (root / ".dvc/config.local").write_text("".join(lines))
    repo = Repo(str(root))
    os.makedirs(repo.tmp_dir, exist_ok=True)
    return repo


def _lacks(here: Path, commit: str) -> bool:
    """Return whether a repository lacks a commit."""
    try:
        git("cat-file", "-e", commit, cwd=here)
    except UserError:
        return True
    return False


def _environment(repo: Repo, job: Job) -> dict[str, str]:
    """Return the node's variables without those that Ray set for its own processes."""
    kept = {
        name: value
        for name, value in fix_env(None).items()
        if not name.startswith("RAY_") and name not in ("OMP_NUM_THREADS", "PYTHONPATH")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, DVC_ROOT: repo.root_dir, DVC_STAGE: job.name, **job.environment}
