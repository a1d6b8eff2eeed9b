"""Repositories and file systems for the tests that damage them."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.conftest import build_once, prepared, repo, reproduced  # noqa: F401 (fixtures)

Mount = Callable[[Path, int], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Yield a function that mounts an empty file system of a number of MiB, which is unmounted after the test."""
    mounted: list[Path] = []

    def mounting(path: Path, size: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)

    yield mounting
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=60)
