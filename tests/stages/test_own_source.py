"""A stage imports the source of its own checkout, although the library is installed from another one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pages import PROJECT

STAGES = sorted((PROJECT / "stages").glob("[a-z]*.py"))
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def first_line(directory: Path, *command: str) -> str:
    """Return the first line that a command of Python prints."""
    done = subprocess.run(
        [sys.executable, *command], cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.slow
def test_a_stage_of_a_copied_checkout_runs_the_copied_code(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("src/trainlab", "stages"):
        shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = checkout / "src/trainlab/__init__.py"
    package.write_text(f"{package.read_text()}\nprint(__file__)\n")

    installed = first_line(tmp_path, "-c", "import trainlab; print(trainlab.__file__)")
    assert not Path(installed).is_relative_to(checkout)
    assert first_line(tmp_path, str(checkout / "stages/download.py"), "--help") == str(package)


@pytest.mark.parametrize("script", STAGES, ids=[script.stem for script in STAGES])
def test_a_stage_finds_its_source_before_it_imports_the_library(script: Path) -> None:
    imports = [line.split()[1] for line in script.read_text().splitlines() if line.startswith(("import ", "from "))]
    own = [name for name in imports if name == "_start" or name.partition(".")[0] == "trainlab"]
    assert own[0] == "_start"
    assert len(own) > 1
