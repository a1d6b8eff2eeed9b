"""What a training says about the other runs, when DVC has started it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pages import PROJECT
from trainlab import remaining

STAGE = """
import sys
from pathlib import Path
sys.path.insert(0, {source!r})
from trainlab.cli import run_stage

def main(run: str) -> None:
    Path("models").mkdir(exist_ok=True)
    Path("models", run + ".safetensors").write_text(Path("configs/s", run + ".yaml").read_text())

run_stage(main)
"""
PIPELINE = """
stages:
  normalize: {cmd: "cp raw.txt data.txt", deps: [raw.txt], outs: [data.txt]}
  train:
    foreach: [a, b, c]
    do:
      cmd: python train.py ${item}
      deps: ["configs/s/${item}.yaml", data.txt, directory]
      outs: ["models/${item}.safetensors"]
  distill:
    foreach: [d]
    do:
      cmd: python train.py ${item}
      deps: ["configs/s/${item}.yaml", data.txt, models/a.safetensors]
      outs: ["models/${item}.safetensors"]
"""


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a project after `dvc repro`, and what was printed. Each test leaves it as it was."""
    root = tmp_path_factory.mktemp("remaining")
    files = {
        "train.py": STAGE.format(source=str(PROJECT / "src")),
        "dvc.yaml": PIPELINE,
        "raw.txt": "x",
        "directory/x": "x",
        **{f"configs/s/{run}.yaml": f"run: {run}\n" for run in "abcd"},
        "configs/s/_suite.yaml": "",
        "configs/checks/a.yaml": "",
        **{f"timings/s/{run}.json": json.dumps({"seconds": 100}) for run in "abcd"},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dvc(root, "init", "--no-scm", "-q")
    return root, dvc(root, "repro")


def dvc(root: Path, *words: str, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "TRAINLAB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    environment = {
        **kept,
        "PATH": path,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root / ".site"),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=root, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_dvc_repro_shows_a_line_per_training(reproduced: tuple[Path, str]) -> None:
    root, printed = reproduced
    said = [line for line in printed.splitlines() if line.startswith(("train@", "distill@"))]
    assert said[0].endswith(": 3 more of 4 runs are out of date or missing, about 5 minutes by their last timings")
    assert said[1].endswith(": 2 more of 4 runs are out of date or missing, about 4 minutes by their last timings")
    assert said[3].endswith(": the other 3 runs are up to date")
    assert len(said) == 4
    assert "runs are" not in dvc(root, "repro", "--force", "train@b", TRAINLAB_REPRO="1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "stage", "says"),
    [
        ("configs/s/b.yaml", "run: other\n", "train@c", "1 more of 4 runs is"),
        ("configs/s/b.yaml", "run: other\n", "train@b", "the other 3 runs are up to date"),
        ("configs/s/a.yaml", "run: other\n", "train@c", "2 more of 4 runs are"),  # and its student
        ("configs/s/e.yaml", "run: e\n", "train@c", "1 more of 5 runs is out of date or missing"),
        ("models/b.safetensors", None, "train@c", "1 more of 4 runs is"),
        ("raw.txt", "x", "train@a", "1 more of 4 runs is"),  # its student, whose teacher changes
        ("raw.txt", "x", "somewhere/dvc.yaml:train@b", "the other 3 runs are up to date"),
        ("timings/s/b.json", "{", "train@b", "the other 3 runs are up to date"),
        ("raw.txt", "x", "evaluate@b", ""),
        ("raw.txt", "x", "", ""),
    ],
)
def test_which_runs_are_out_of_date(
    name: str, text: str | None, stage: str, says: str, reproduced: tuple[Path, str]
) -> None:
    root, _ = reproduced
    path = root / name
    before = path.read_bytes() if path.exists() else None
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    try:
        line = remaining.line(stage, root)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
    assert says in line
    assert bool(says) == bool(line)


@pytest.mark.slow
def test_no_time_is_said_where_one_is_not_known(reproduced: tuple[Path, str]) -> None:
    root, _ = reproduced
    path = root / "timings/s/d.json"
    before = path.read_text()
    path.unlink()
    try:
        assert remaining.line("train@a", root) == "train@a: 1 more of 4 runs is out of date or missing"
    finally:
        path.write_text(before)


def test_what_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainlab.cli import _say_what_remains

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train@a")
    _say_what_remains()
    (tmp_path / "dvc.lock").write_text("stages: [}")
    _say_what_remains()
