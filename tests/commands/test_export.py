"""``trainlab export``: its arguments; tests/prediction/test_export.py tests what it writes."""

from pathlib import Path

import pytest
import torch

from commands.console import Call, Called
from trained import small_model

MODEL = "models/small.safetensors"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a model file, which is the working directory."""
    small_model().save(tmp_path / MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_run_and_a_model_file_are_exported(call: Call) -> None:
    shown = call("export", "small", "--format", "torch_export")
    assert shown == Called(
        "small.pt2: images uint8[batch, 3, 20, 20] -> probabilities float32[batch, 4], scores float32[batch, 3, 4]\n",
        "",
        0,
    )
    shown = call("export", MODEL, "--format", "torch_export", "--replica", "2", "--output", "new/directory/two.pt2")
    assert shown.out.endswith("scores float32[batch, 1, 4]\n")
    _, scores = torch.export.load("new/directory/two.pt2").module()(torch.zeros(7, 3, 20, 20, dtype=torch.uint8))
    assert scores.shape == (7, 1, 4)


@pytest.mark.slow
def test_onnx_is_the_default(call: Call) -> None:
    assert call("export", "small").out.startswith("small.onnx: images uint8[batch, 3, 20, 20] -> ")
    assert Path("small.onnx").stat().st_size > 1000


def test_mistakes(call: Call) -> None:
    messages = {
        ("other",): "models/other.safetensors is missing: run this in the root of the project, or name a model file",
        ("other.safetensors",): "other.safetensors is missing: name another file",
        ("small", "--replica", "3"): "models/small.safetensors has 3 replicas: --replica takes 0 to 2",
    }
    for arguments, message in messages.items():
        assert call("export", *arguments) == Called("", f"trainlab: {message}\n", 1)
    assert call("export", "small", "--format", "torchscript").code == 2
    assert call("export", "small", "--replica", "-1").code == 2
