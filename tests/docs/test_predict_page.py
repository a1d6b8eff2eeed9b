"""docs/predict.md shows what the committed model predicts."""

import hashlib
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from pages import PROJECT, blocks

pytestmark = pytest.mark.slow

MODEL = PROJECT / "models/weight_decay.safetensors"


def committed() -> bool:
    """Whether the model file is that of dvc.lock; a clone without `dvc pull` has none."""
    if not MODEL.is_file() or not (lock := PROJECT / "dvc.lock").is_file():
        return False
    stages = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))["stages"]
    outs = {out["path"]: out.get("md5") for stage in stages.values() for out in stage["outs"]}
    return outs.get("models/weight_decay.safetensors") == hashlib.md5(MODEL.read_bytes()).hexdigest()


@pytest.mark.skipif(not committed(), reason="the committed model is not here: run `dvc pull`")
def test_the_output_is_that_of_the_model() -> None:
    shown = [block.text for block in blocks("docs/predict.md") if block.info == ("text",)]
    code = "import sys; sys.path.insert(0, 'src'); from trainlab.commands import main; main()"
    for form, text in zip(("table", "csv"), shown, strict=True):
        command = [sys.executable, "-c", code, "predict", "docs/pictures", "--run", "weight_decay", "--format", form]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=True)
        assert [line.rstrip() for line in done.stdout.splitlines()] == text.splitlines()
