"""Scratch repositories for the tests: built once for all worker processes, then copied."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.scratch import Result, Scratch, create

Build = Callable[[str, Callable[[Path], None]], Path]
EXPERIMENT = "experiment.txt"  # what the experiment of `changed` printed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with a test that needs a reproduced repository, and then the tests that need none.

    One worker process builds the repository meanwhile, and no other waits for it.
    """
    here = [index for index, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    ours = sorted((items[index] for index in here), key=_needs_results)
    first = [item for item in ours if _needs_results(item)][:1]
    rest = [item for item in ours if item not in first]
    for index, item in zip(here, first + rest, strict=True):
        items[index] = item


def _needs_results(item: pytest.Item) -> bool:
    return "reproduced" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return ``build_once(name, build)``: a directory that ``build`` filled in one of pytest-xdist's worker processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def built(name: str, build: Callable[[Path], None]) -> Path:
        done = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait here, and find it built
            if not done.exists():
                half = shared / f"{name}-half"
                shutil.rmtree(half, ignore_errors=True)  # of a worker that failed
                half.mkdir()
                build(half)
                half.rename(done)
        return done

    return built


@pytest.fixture(scope="session")
def prepared(build_once: Build) -> Scratch:
    """Return a repository with all runs configured, the data normalized, and nothing trained. Copy it to change it."""

    def build(directory: Path) -> None:
        scratch = create(directory / "repo", directory / "mirror", directory.parent / "storage")
        scratch.dvc("repro", "resolve", "normalize")
        scratch.commit("data")

    directory = build_once("prepared", build)
    return Scratch(directory / "repo", directory / "mirror")


@pytest.fixture(scope="session")
def reproduced(build_once: Build, prepared: Scratch) -> Scratch:
    """Return a repository with the whole pipeline reproduced and committed. Copy it to change it."""

    def build(directory: Path) -> None:
        scratch = prepared.copy(directory / "repo")
        scratch.dvc("repro")
        scratch.commit("results")

    return Scratch(build_once("reproduced", build) / "repo", prepared.mirror)


@pytest.fixture(scope="session")
def changed(build_once: Build, reproduced: Scratch) -> Scratch:
    """Return `reproduced` after the experiment `warm` (``-S lr=2e-3``), which is committed. Copy it to change it."""

    def build(directory: Path) -> None:
        scratch = reproduced.copy(directory / "repo")
        (directory / EXPERIMENT).write_text(scratch.dvc("exp", "run", "--name", "warm", "-S", "lr=2e-3").stdout)
        scratch.commit("a higher learning rate")

    return Scratch(build_once("changed", build) / "repo", reproduced.mirror)


@pytest.fixture(scope="session")
def experiment(changed: Scratch) -> Result:
    """Return what the experiment `warm` printed."""
    return Result((changed.root.parent / EXPERIMENT).read_text(), "", 0)


@pytest.fixture
def data_repo(prepared: Scratch, tmp_path: Path) -> Scratch:
    """Return a copy of `prepared` to change."""
    return prepared.copy(tmp_path / "repo")


@pytest.fixture
def repo(reproduced: Scratch, tmp_path: Path) -> Scratch:
    """Return a copy of `reproduced` to change."""
    return reproduced.copy(tmp_path / "repo")


@pytest.fixture
def changed_repo(changed: Scratch, tmp_path: Path) -> Scratch:
    """Return a copy of `changed` to change."""
    return changed.copy(tmp_path / "repo")
