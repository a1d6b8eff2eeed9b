"""A scratch copy of this project: its own Git and DVC repository, tiny data, runs of seconds."""

import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cifar10_files import trust, write_cifar10

PROJECT = Path(__file__).resolve().parents[2]
# What the pipeline is made of. Results are left out: a scratch repository makes its own.
PARTS = re.compile(
    r"((studies|search)/)?(dvc|params)\.yaml|\.dvcignore|(data/)?\.gitignore|\.dvc/(config|\.gitignore|plots/.+)"
    r"|search/enqueue\.py|(src|stages|data/folder)/.+"
)
TRICKS = (
    "baseline",
    "norm_inputs",
    "lr_schedule",
    "weight_decay",
    "init_weights",
    "dropout_dense",
    "dropout_conv",
    "dropout_both",
)


@dataclass
class Result:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    code: int

    def ran(self, stage: str) -> set[str]:
        """What ``dvc repro`` or ``dvc exp run`` ran of a stage: the keys behind the @, or "" for a stage without."""
        return set(re.findall(rf"^Running stage '{stage}(?:@(\w+))?'", self.stdout, re.MULTILINE))

    def ran_anything(self) -> bool:
        return "Running stage" in self.stdout

    def said(self) -> list[str]:
        """The lines of standard error, without what DVC adds to a stage's own."""
        return [line for line in self.stderr.splitlines() if line and not line.startswith(("ERROR: ", "WARNING: "))]


@dataclass
class Scratch:
    """A Git and DVC repository that knows nothing of the one it was copied from."""

    root: Path
    mirror: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, less what would change a result or write outside of the scratch directory."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "GIT_", "CIFAR10_", "PYTEST_", "COV_"))
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
            "OMP_NUM_THREADS": "1",
        }

    # Commands

    def run(self, *command: str, timeout: float = 120, check: bool = True) -> Result:
        """Run a command in the repository's root; one that fails is an error unless ``check`` is false."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        result = Result(done.stdout, done.stderr, done.returncode)
        assert result.code == 0 or not check, f"{' '.join(command)}: {result.code}\n{result.stdout}\n{result.stderr}"
        return result

    def dvc(self, *arguments: str, timeout: float = 240, check: bool = True) -> Result:
        return self.run("dvc", *arguments, timeout=timeout, check=check)

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
            # Where the tests run in a shell's background, they ignore Ctrl-C, and what they start would too.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    # Parameters

    @contextmanager
    def params(self) -> Iterator[dict[str, Any]]:
        """The content of params.yaml, to change in place; it is written back when the block ends."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        yield params
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def keep(self, *runs: str) -> None:
        """Delete all other runs, and suites without a run, from params.yaml."""
        with self.params() as params:
            params["runs"] = {run: own for run, own in params["runs"].items() if run in runs}
            used = {own["suite"] for own in params["runs"].values()}
            params["suites"] = {suite: own for suite, own in params["suites"].items() if suite in used}
            if "students" in params:
                params["students"] = {}

    def config(self, run: str) -> dict[str, Any]:
        """A run's configuration, as `resolve` wrote it."""
        [path] = [path for path in (self.root / "configs").glob(f"*/{run}.yaml") if path.parent.name != "checks"]
        return yaml.safe_load(path.read_text())

    # Files

    def path(self, name: str) -> Path:
        return self.root / name

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV file."""
        return list(csv.DictReader(self.path(name).read_text().splitlines()))

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace one piece of text in a file."""
        text = self.path(name).read_text()
        assert old in text, f"{name} does not hold {old!r}"
        self.path(name).write_text(text.replace(old, new, 1))

    def append(self, name: str, text: str) -> None:
        with self.path(name).open("a") as file:
            file.write(text)

    def digests(self, directory: str) -> dict[str, str]:
        """A digest of each file below a directory, by its path in it; hidden ones too, as half-written files are hidden."""
        root = self.path(directory)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}

    def models(self) -> dict[str, str]:
        """A digest of each run's model file."""
        return {
            name.removesuffix(".safetensors"): digest
            for name, digest in self.digests("models").items()
            if name.endswith(".safetensors")
        }

    # Making repositories

    def copy(self, root: Path) -> "Scratch":
        """A copy of the repository with all that it has built, under another path."""
        shutil.copytree(self.root, root, symlinks=True)
        shutil.rmtree(root / ".dvc/tmp", ignore_errors=True)  # it holds absolute paths
        return Scratch(root, self.mirror)

    def clone(self, root: Path) -> "Scratch":
        """What a colleague gets from Git: no models, no data."""
        self.git("clone", "--quiet", str(self.root), str(root))
        return Scratch(root)


def create(root: Path, mirror: Path) -> Scratch:
    """A repository with this working tree's pipeline, small parameters and nothing built.

    Parameters
    ----------
    root
        A directory that does not exist yet.
    mirror
        Where to write the tiny CIFAR-10 that the copy takes for the official one.
    """
    root.mkdir(parents=True)
    for name in _project_files():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, root / name)
    trust(root, write_cifar10(mirror, train_per_batch=20, test=50))
    scratch = Scratch(root, mirror)
    scratch.keep(*TRICKS)
    with scratch.params() as params:
        params["suites"]["tricks"] |= {"epochs": 1, "batch_size": 50}
        # One epoch learns nothing by heart, and its images are noise.
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
    """Of the working tree, so that what is not committed yet is tested too."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split("\0")
    return sorted({name for name in listed if PARTS.fullmatch(name) and (PROJECT / name).is_file()})
