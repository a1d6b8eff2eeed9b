"""Stages `check` and `train`: what they write, and what they print."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from small import PARAMS, data, run_config
from suite_results import STAGES, digests, modules, succeed
from trainlab.data import stored
from trainlab.data.stored import Split

pytestmark = pytest.mark.slow
SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 16}
EMULATED = f"""
import sys
sys.path.insert(0, {str(STAGES)!r})
import _start
import torch
torch.cpu.get_capabilities = lambda: {{}}
from pathlib import Path
import train
train.main("small", Path("images"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with images, and the configuration of one run in bfloat16."""
    images = data(count=120)
    assert images.test is not None
    train, test = (Split(part.images, part.labels) for part in (images.train, images.test))
    stored.save(tmp_path / "images", train, test, images.train.classes)
    config = run_config(model=SMALL, precision="bfloat16")
    for path, values in (("tricks", config.to_dict()), ("checks", PARAMS["checks"])):
        (tmp_path / "configs" / path).mkdir(parents=True)
        (tmp_path / "configs" / path / "small.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def written(project: Path) -> set[str]:
    return {name for name in digests(project) if not name.startswith(("images/", "configs/"))}


def test_train_writes_model_history_and_timing_and_reports_emulated_bfloat16(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMULATED], cwd=project, capture_output=True, text=True, check=True, timeout=300
    )
    [note] = done.stderr.splitlines()
    assert note.startswith("small: this CPU has no bfloat16 instructions, so bfloat16 is emulated and slow")
    assert len(done.stdout.splitlines()) == 2  # epochs
    assert written(project) == {
        ".work/checkpoints/tricks/small/0.safetensors",
        "models/small.safetensors",
        "plots/history/tricks/small.csv",
        "timings/tricks/small.json",
    }
    timing = json.loads((project / "timings/tricks/small.json").read_text())
    assert list(timing) == [
        *["seconds", "images_per_second", "replicas", "workers"],
        *["device", "cpu_capability", "threads", "torch", "precision"],
    ]
    seconds, rate = timing["seconds"], timing["images_per_second"]  # 2 epochs of 120 images
    assert (rate - 1) * (seconds - 0.05) <= 240 <= (rate + 1) * (seconds + 0.05)


def test_check_writes_numbers_and_a_mark_and_imports_no_drawing_code(project: Path) -> None:
    said = succeed(project, "check", "small", "--data", "images")
    assert said.splitlines()[0].startswith("small: initial_loss: passed: the loss starts at ")
    assert len(said.splitlines()) == 4
    assert written(project) == {"metrics/checks/tricks/small.json", "checks/small.passed"}
    report = json.loads((project / "metrics/checks/tricks/small.json").read_text())
    assert report["layer_images"] == 120
    assert list(report["layers"]) == ["conv", "dense", "head"]
    assert "matplotlib" not in modules(project, "check", "small", "--data", "images")


def test_a_locale_without_these_letters_prints_them_escaped(project: Path) -> None:
    because = "Größe − 数"
    expects = project / "configs/checks/small.yaml"
    expects.write_text(f"{expects.read_text()}because: {because}\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, str(STAGES / "check.py"), "small", "--data", "images"]
    done = subprocess.run(
        command, cwd=project, env=os.environ | ascii_only, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    escaped = because.encode("ascii", "backslashreplace").decode()
    assert done.stdout.splitlines()[0] == f"small: checked with values of its own: {escaped}"
