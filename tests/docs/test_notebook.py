"""The notebook runs from its first cell to its last, and shows answers, pictures and predictions."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import forked
from pages import PROJECT

QUICKSTART = PROJECT / "notebooks/quickstart.ipynb"


@pytest.fixture
def copy_of_project(tmp_path: Path) -> Path:
    """Return a Git repository with the files of this one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, tmp_path / name, follow_symlinks=False)
    for command in (["init", "--quiet"], ["add", "--all", "--force"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.slow
def test_the_quickstart_runs(copy_of_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(QUICKSTART, as_version=4)  # type: ignore[no-untyped-call]
    [parameters] = [cell for cell in notebook.cells if cell.source.startswith("RUNS =")]
    parameters.source = 'RUNS = ["baseline", "flip"]\nREPLICAS = 2\nEPOCHS = 1'  # quick
    monkeypatch.setenv("PATH", f"{forked.directory()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(copy_of_project / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(copy_of_project / ".ipython"))
    where = {"metadata": {"path": str(copy_of_project / "notebooks")}}
    NotebookClient(notebook, timeout=300, resources=where, kernel_name="python3").execute()  # raises what a cell raises

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type == "display_data"]
    [answers] = [data["text/markdown"] for data in shown if "text/markdown" in data]
    assert re.match(r"- `flip` .* `baseline`.* \(95 % interval ", answers)
    assert "2 seeds each, 355 images" in answers
    assert sum("image/png" in data for data in shown) == 3
    assert "finished" in "".join(output.text for output in outputs if output.output_type == "stream")
