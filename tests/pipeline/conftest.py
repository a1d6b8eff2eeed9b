"""Scratch repositories for the tests: built once for all worker processes, then copied."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.scratch import Scratch, create


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker process build `reproduced` while the others have tests that need less: they would wait for it."""
    here = [index for index, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    ours = [items[index] for index in here]
    first = [item for item in ours if _needs_results(item)][:1]
    rest = sorted((item for item in ours if item not in first), key=_needs_results)
    for index, item in zip(here, first + rest, strict=True):
        items[index] = item


def _needs_results(item: pytest.Item) -> bool:
    return "reproduced" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``build_once(name, build)``: a directory that ``build`` filled in one of pytest-xdist's worker processes."""
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
def prepared(build_once) -> Scratch:
    """All eight tricks configured, the data downloaded and normalized, nothing trained. Copy it before you change it."""

    def build(directory: Path) -> None:
        scratch = create(directory / "repo", directory / "mirror")
        scratch.dvc("repro", "resolve", "download", "normalize")
        scratch.commit("data")

    directory = build_once("prepared", build)
    return Scratch(directory / "repo", directory / "mirror")


@pytest.fixture(scope="session")
def reproduced(build_once, prepared: Scratch) -> Scratch:
    """The whole pipeline with its eight tricks reproduced, and committed. Copy it before you change it."""

    def build(directory: Path) -> None:
        scratch = prepared.copy(directory / "repo")
        scratch.dvc("repro", timeout=600)
        scratch.commit("results")

    return Scratch(build_once("reproduced", build) / "repo", prepared.mirror)


@pytest.fixture(scope="session")
def changed(build_once, reproduced: Scratch) -> Scratch:
    """`reproduced`, and a second commit in which one run, `baseline`, trained longer. Copy it before you change it."""

    def build(directory: Path) -> None:
        scratch = reproduced.copy(directory / "repo")
        with scratch.params() as params:
            params["runs"]["baseline"] |= {"epochs": 15, "inputs": "standardized", "lr": 2e-3}
        scratch.dvc("repro")
        scratch.commit("train baseline longer")

    return Scratch(build_once("changed", build) / "repo", reproduced.mirror)


@pytest.fixture
def data_repo(prepared: Scratch, tmp_path: Path) -> Scratch:
    """A copy of `prepared` to change."""
    return prepared.copy(tmp_path / "repo")


@pytest.fixture
def repo(reproduced: Scratch, tmp_path: Path) -> Scratch:
    """A copy of `reproduced` to change."""
    return reproduced.copy(tmp_path / "repo")


@pytest.fixture
def changed_repo(changed: Scratch, tmp_path: Path) -> Scratch:
    """A copy of `changed` to change."""
    return changed.copy(tmp_path / "repo")
