"""What every stage does before it imports anything slow."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

STAGES = Path(__file__).parents[2] / "stages"


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8])
def test_ctrl_c_while_the_imports_go_on_shows_no_traceback(tmp_path: Path, seconds: float) -> None:
    command = [sys.executable, "-X", "importtime", STAGES / "train.py", "baseline"]
    stage = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert stage.stderr is not None
    assert any(line.split()[-1] == "_start" for line in stage.stderr)  # reads until it is imported
    time.sleep(seconds)
    stage.send_signal(signal.SIGINT)
    _, said = stage.communicate(timeout=60)
    assert "Traceback" not in said
    assert stage.returncode in (-signal.SIGINT, 130, 1)  # 1: it was quicker, and says that there is no such run


def test_help_answers(tmp_path: Path) -> None:
    for script in sorted(STAGES.glob("[a-z]*.py")):
        shown = subprocess.run(
            [sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert shown.returncode == 0
        assert "Usage:" in shown.stdout
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "spins"), [(".dvc/tmp/exps/tmpabc", False), ("project", True)])
def test_only_experiments_of_the_queue_give_their_cores_away(tmp_path: Path, place: str, spins: bool) -> None:
    workspace = tmp_path / place
    workspace.mkdir(parents=True)
    script = f"import sys; sys.path.insert(0, {str(STAGES)!r}); import _start, torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment["OMP_DISPLAY_ENV"] = "verbose"  # so that the library says what it goes by
    command = [sys.executable, "-c", script]
    said = subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stderr
    if not (counts := re.findall(r"GOMP_SPINCOUNT = '(\w+)'", said)):
        pytest.skip("torch uses another OpenMP than GNU's here")
    assert (counts[0] != "0") is spins
