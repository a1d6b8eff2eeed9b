"""The small project, before and after `dvc repro`."""

from pathlib import Path

import pytest

from scale.example import copy, create, run


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project with nothing reproduced. Copy it to change it."""
    return create(tmp_path_factory.mktemp("empty") / "project")


@pytest.fixture(scope="module")
def reproduced(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project after `dvc repro`. Copy it to change it."""
    root = copy(empty, tmp_path_factory.mktemp("reproduced"))
    run(root, "dvc", "repro", "-q")
    return root


@pytest.fixture
def project(empty: Path, tmp_path: Path) -> Path:
    """Return a copy of `empty` to change."""
    return copy(empty, tmp_path)
