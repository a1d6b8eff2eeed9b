"""The Makefile, in scratch directories where nothing is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.scratch import PROJECT


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with the Makefile and what it reads to set up an environment."""
    for name in ("Makefile", "requirements.lock"):
        shutil.copy2(PROJECT / name, tmp_path)
    return tmp_path


def make(directory: Path, target: str) -> subprocess.CompletedProcess[str]:
    # Not the real Python: a mistake of the Makefile must not install packages.
    environment = {**os.environ, "MAKEFLAGS": "", "PYTHON": "false"}
    command = ["make", "PYTHON=false", target]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["setup", "repro", "test"])
def test_a_linked_environment_is_refused_and_its_target_is_unchanged(directory: Path, target: str) -> None:
    other = directory / "other/.venv"
    other.mkdir(parents=True)
    (other / "pyvenv.cfg").write_text("of another project")
    (directory / ".venv").symlink_to(other)
    refused = make(directory, target)
    assert refused.returncode != 0
    assert ".venv is a symbolic link: remove it" in refused.stdout + refused.stderr
    assert [path.name for path in other.iterdir()] == ["pyvenv.cfg"]
    assert (directory / ".venv").is_symlink()
