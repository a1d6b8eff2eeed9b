"""What every stage does before its slow imports."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forked

pytestmark = pytest.mark.slow

STAGES = Path(__file__).parents[2] / "stages"


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8])
def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, "-X", "importtime", str(STAGES / "train.py"), "baseline"]
    stage = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert stage.stderr is not None
    assert any(line.split()[-1] == "_start" for line in stage.stderr)  # wait for its import
    time.sleep(seconds)
    stage.send_signal(signal.SIGINT)
    _, errors = stage.communicate(timeout=60)
    assert "Traceback" not in errors
    assert stage.returncode in (-signal.SIGINT, 130, 1)  # 1: the error that there is no such run came first


def test_help_works_without_any_files(tmp_path: Path) -> None:
    for script in sorted(STAGES.glob("[a-z]*.py")):
        shown = subprocess.run(
            [forked.python(), script, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert shown.returncode == 0
        assert "Usage:" in shown.stdout
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "spins"), [(".dvc/tmp/exps/tmpabc", False), ("project", True)])
def test_only_queued_experiments_wait_without_spinning(tmp_path: Path, place: str, spins: bool) -> None:
    workspace = tmp_path / place
    workspace.mkdir(parents=True)
    script = f"import sys; sys.path.insert(0, {str(STAGES)!r}); import _start, torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment["OMP_DISPLAY_ENV"] = "verbose"  # the library prints its settings
    command = [sys.executable, "-c", script]
    output = subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stderr
    if not (counts := re.findall(r"GOMP_SPINCOUNT = '(\w+)'", output)):
        pytest.skip("torch does not use GNU OpenMP here")
    assert (counts[0] != "0") is spins
