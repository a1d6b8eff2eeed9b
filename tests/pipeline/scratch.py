"""A scratch copy of this project: its own Git and DVC repository, tiny data, runs that train for a second."""

import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

import forked
from cifar10_files import trust, write_cifar10

PROJECT = Path(__file__).resolve().parents[2]
# What the pipeline consists of, without its results.
PARTS = re.compile(
    r"((studies|search)/)?((dvc|params)\.yaml|\.dvc/.+|\.dvcignore|src)|\.gitignore|Makefile|requirements\.lock"
    r"|search/enqueue\.py"
    r"|(src|stages|data/folder)/.+"
)
# Three of the suite `tricks`: two that inherit the rate, and one with a schedule, an initializer and dropout.
RUNS = ("baseline", "norm_inputs", "dropout_both")


@dataclass
class Result:
    """What a command printed, and its exit status."""

    stdout: str
    stderr: str
    code: int

    def ran(self, stage: str) -> set[str]:
        """Return which items of a stage ``dvc repro`` or ``dvc exp run`` executed: the keys after the @, or "" without."""
        return set(re.findall(rf"^Running stage '{stage}(?:@(\w+))?'", self.stdout, re.MULTILINE))

    def ran_stages(self) -> set[str]:
        """Return the names of all stages that were executed, without what follows the @."""
        return set(re.findall(r"^Running stage '(\w+)", self.stdout, re.MULTILINE))

    def restored(self, stage: str) -> set[str]:
        """Return which items of a stage DVC restored from its run cache."""
        return set(re.findall(rf"^Stage '{stage}(?:@(\w+))?' is cached", self.stdout, re.MULTILINE))

    def messages(self) -> list[str]:
        """Return the lines of standard error, without those that DVC adds to a stage's own."""
        return [line for line in self.stderr.splitlines() if line and not line.startswith(("ERROR: ", "WARNING: "))]


@dataclass
class Scratch:
    """A Git and DVC repository that is independent of the one it was copied from.

    Parameters
    ----------
    root
        Its directory.
    mirror
        The directory that stage `download` takes CIFAR-10 from.
    """

    root: Path
    mirror: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, without variables that change a result or write outside of the scratch directory."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "GIT_", "CIFAR10_", "PYTEST_", "COV_", "COVERAGE_"))
            and name not in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
        }
        beside = self.root.parent
        mirror = {"CIFAR10_MIRROR": str(self.mirror)} if self.mirror else {}
        return {
            **kept,
            **mirror,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(beside / f"{self.root.name}-site"),
            "DVC_GLOBAL_CONFIG_DIR": str(beside / "no-global-config"),
            "DVC_SYSTEM_CONFIG_DIR": str(beside / "no-system-config"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Scratch",
            "GIT_AUTHOR_EMAIL": "scratch@example.org",
            "GIT_COMMITTER_NAME": "Scratch",
            "GIT_COMMITTER_EMAIL": "scratch@example.org",
            "OMP_NUM_THREADS": "1",
        }

    # Commands

    def run(self, *command: str, timeout: float = 240, check: bool = True) -> Result:
        """Run a command in the repository's root; unless ``check`` is false, it must exit with 0.

        `python` and `dvc`, which DVC's stages call too, are the quick ones of :mod:`forked`. What the command leaves running,
        such as the workers of `dvc queue start`, is not waited for: it would keep a pipe open, but not a file.
        """
        environment = self.environment
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            done = subprocess.run(
                command,
                cwd=self.root,
                env={**environment, "PATH": f"{forked.directory()}{os.pathsep}{environment['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=timeout,
            )
            for file in (stdout, stderr):
                file.seek(0)
            result = Result(stdout.read(), stderr.read(), done.returncode)
        assert result.code == 0 or not check, f"{' '.join(command)}: {result.code}\n{result.stdout}\n{result.stderr}"
        return result

    def dvc(self, *arguments: str, check: bool = True) -> Result:
        return self.run("dvc", *arguments, timeout=600, check=check)

    def git(self, *arguments: str, check: bool = True) -> Result:
        return self.run("git", *arguments, check=check)

    def stage(self, name: str, *arguments: str, check: bool = True) -> Result:
        """Run a stage's script directly, without DVC."""
        return self.run("python", f"stages/{name}.py", *arguments, check=check)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal would, and do not wait for it."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell's background process ignores Ctrl-C, and so would everything that it starts.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def changed_files(self) -> list[str]:
        """Return what ``git status`` lists."""
        return [line[3:] for line in self.git("status", "--porcelain").stdout.splitlines()]

    # Parameters

    @contextmanager
    def params(self, name: str = "params.yaml") -> Iterator[dict[str, Any]]:
        """Yield the content of params.yaml to change in place; it is written back when the block ends."""
        path = self.root / name
        params = yaml.safe_load(path.read_text())
        yield params
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def keep(self, *runs: str) -> None:
        """Delete all other runs, and suites without a run, from params.yaml."""
        with self.params() as params:
            params["runs"] = {run: own for run, own in params["runs"].items() if run in runs}
            used = {own["suite"] for own in params["runs"].values()}
            params["suites"] = {suite: own for suite, own in params["suites"].items() if suite in used}
            params["students"] = {}
            for own in params["runs"].values():
                if own.get("against") not in runs:
                    own.pop("against", None)

    def config(self, run: str) -> dict[str, Any]:
        """Return a run's configuration, as `resolve` wrote it."""
        [path] = [path for path in (self.root / "configs").glob(f"*/{run}.yaml") if path.parent.name != "checks"]
        config: dict[str, Any] = yaml.safe_load(path.read_text())
        return config

    # Files

    def path(self, name: str) -> Path:
        return self.root / name

    def table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV file."""
        return list(csv.DictReader(self.path(name).read_text().splitlines()))

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace one piece of text in a file."""
        text = self.path(name).read_text()
        assert old in text, f"{name} does not contain {old!r}"
        self.path(name).write_text(text.replace(old, new, 1))

    def append(self, name: str, text: str) -> None:
        with self.path(name).open("a") as file:
            file.write(text)

    def digests(self, directory: str) -> dict[str, str]:
        """Return a digest of each file below a directory, by its path in it; hidden files (half-written ones) included."""
        root = self.path(directory)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}

    def models(self) -> dict[str, str]:
        """Return a digest of each run's model file."""
        return {name.removesuffix(".safetensors"): digest for name, digest in self.digests("models").items()}

    # Making repositories

    def copy(self, root: Path) -> "Scratch":
        """Return a copy of the repository with all that it has built, under another path."""
        shutil.copytree(self.root, root, symlinks=True)
        for project in ("", "studies", "search"):
            shutil.rmtree(root / project / ".dvc/tmp", ignore_errors=True)  # it contains absolute paths
        return Scratch(root, self.mirror)

    def clone(self, root: Path) -> "Scratch":
        """Return what a colleague gets from Git: no models, no data."""
        self.git("clone", "--quiet", str(self.root), str(root))
        return Scratch(root)


def create(root: Path, mirror: Path, storage: Path) -> Scratch:
    """Return a repository with this working tree's pipeline and small parameters, and nothing built.

    Parameters
    ----------
    root
        A directory that does not exist yet.
    mirror
        Where to write the tiny CIFAR-10 that the copy treats as the official one.
    storage
        The DVC remote of the repository and of its copies and clones. Absolute: ``dvc exp pull`` does not find a relative
        one (DVC 3.67).
    """
    root.mkdir(parents=True)
    for name in _project_files():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, root / name, follow_symlinks=False)
    for project in ("studies", "search"):  # nothing of them was run, which the stage `report` depends on
        (root / project / "dvc.lock").write_text("schema: '2.0'\n")
    trust(root, write_cifar10(mirror, train_per_batch=20, test=50))
    scratch = Scratch(root, mirror)
    scratch.edit(".dvc/config", "[core]\n", "[core]\n    remote = storage\n")
    scratch.append(".dvc/config", f"['remote \"storage\"']\n    url = {storage}\n")
    for setting, cheap in (('"figure.dpi": 150', "50"), ('"figure.constrained_layout.use": True', "False")):
        name = setting.partition(":")[0]  # pictures that nobody looks at, in two thirds of the time
        scratch.edit("src/trainlab/evaluation/plots.py", setting, f"{name}: {cheap}")
    scratch.keep(*RUNS)
    with scratch.params() as params:
        params["replicas"] = 1
        params["suites"]["tricks"] |= {"epochs": 1, "batch_size": 50}
        # One epoch memorizes nothing, and the images are noise.
        params["checks"] |= {
            "initial_loss_tolerance": 9.0,
            "overfit_epochs": 1,
            "expected_to_fail": ["overfit", "objective"],
        }
        for run in params["runs"].values():
            run.pop("checks", None)
        params |= {"seed": 0, "threads": 1, "device": "cpu"}
        params["data"]["source"] = "cifar10"
    scratch.git("init", "--quiet", "--initial-branch", "main")
    scratch.git("config", "user.name", "Scratch")
    scratch.git("config", "user.email", "scratch@example.org")
    scratch.commit("the pipeline")
    return scratch


def _project_files() -> list[str]:
    """Return the files of the working tree, so that uncommitted changes are tested too."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split("\0")
    found = ((name, PROJECT / name) for name in listed if PARTS.fullmatch(name))
    return sorted({name for name, path in found if path.is_file() or path.is_symlink()})
