"""Settings of all tests."""

import gc
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PIPELINE = Path(__file__).parent / "pipeline"
ALL_SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow\b", re.MULTILINE)

# The same few examples in every run, so that a failure is due to the change at hand; `make fuzz` draws many fresh ones. No
# time limit per example: a busy machine is not a defect of the code.
QUIET = [HealthCheck.too_slow]
settings.register_profile(
    "same", deadline=None, suppress_health_check=QUIET, max_examples=30, derandomize=True, database=None
)
settings.register_profile("fuzz", deadline=None, suppress_health_check=QUIET, max_examples=1000, print_blob=True)
settings.load_profile("same")

# Before torch is imported: two worker processes of pytest-xdist with two threads each, which spin while they wait, take the
# cores from each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# DVC, Git and SQLite wait for the disk after each small file; a file system in memory has nothing to wait for.
MEMORY, ROOM = Path("/dev/shm"), 1 << 30  # all tests together need an eighth of it
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Replicas in this process, where a test can replace functions; tests of several processes set another number.
os.environ["TRAINLAB_WORKERS"] = "1"

if "MUTANT_UNDER_TEST" in os.environ:  # in mutants/ of `make mutants`: fingerprints of the code as it was before
    from trainlab import fingerprint

    fingerprint.SOURCE = Path(__file__).resolve().parents[2] / "src"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file of slow tests for `make quick`, which would deselect them all."""
    quick = config.option.markexpr.startswith("not slow") and collection_path.suffix == ".py"
    return True if quick and ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_finish() -> None:
    """Exclude what is imported by now from garbage collection: it lives as long as the process."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests first, so that pytest-xdist's workers end at the same time."""
    items.sort(key=lambda item: (not item.path.is_relative_to(PIPELINE), item.get_closest_marker("slow") is None))


def pytest_runtest_setup() -> None:
    """Undo what a training in an earlier test set for the whole process: Hypothesis needs denormal numbers."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
