"""Exported models give the scores of the model file, in other runtimes and in other processes."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pages import PROJECT
from small import run_config, scored
from trained import SMALL, small_model
from training.schema_samples import choices
from trainlab.config.schema import RunConfig
from trainlab.data.stored import Dataset
from trainlab.errors import UserError
from trainlab.evaluation.calibration import probabilities
from trainlab.prediction import export
from trainlab.training.model_file import TrainedModel

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4


@cache
def images(size: int = 20) -> Dataset:
    """Return images with all pixel values, and other statistics per channel."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)
    mean_image = np.random.default_rng(1).random((3, size, size), dtype=np.float32)
    return Dataset(pixels, np.zeros(5, np.int64), list("abcd"), [0.5, 0.4, 0.3], [0.2, 0.3, 0.0], mean_image)


def untrained(config: RunConfig, replicas: int = 2) -> TrainedModel:
    """Return a model with initial weights, and with running statistics that are not those of a new network."""
    weights = []
    for seed in range(replicas):
        torch.manual_seed(seed)
        net = config.model.build(images().shape, config.objective.num_outputs(4))
        net(torch.rand(8, *images().shape))
        weights.append({name: tensor.detach().clone() for name, tensor in net.state_dict().items()})
    return TrainedModel.of(config, images(), weights, {})


def onnx_outputs(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of ONNX Runtime by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": pixels}), strict=True))


def check(outputs: dict[str, np.ndarray], scores: np.ndarray) -> None:
    """Check the outputs against the scores ``[replicas, images, classes]`` of the model file."""
    np.testing.assert_allclose(outputs["scores"], scores.transpose(1, 0, 2), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(outputs["probabilities"], probabilities(scores).mean(0), rtol=0, atol=TOLERANCE)


KINDS: dict[str, dict[str, Any]] = {
    **{model["name"]: {"model": model} for model in reversed(choices("model"))},  # the smallest of each name
    **{inputs: {"inputs": inputs} for inputs in choices("inputs")},
    "batch norm": {
        "model": {"name": "convnet", "width": 2, "depth": 1, "filter_size": 3, "hidden_dim": 0, "batch_norm": True}
    },
    "views": {"views": "mirrored_and_shifted"},
    "baseline": {"objective": {"name": "policy_gradient", "entropy_weight": 0.04, "baseline": True}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_gives_the_scores_of_the_model_file(kind: str, tmp_path: Path) -> None:
    model = untrained(run_config(**{"model": SMALL, **KINDS[kind]}))
    scores = model.scores(images())  # it sets the precision, which must not disturb the export
    export.save_onnx(model, tmp_path / "model.onnx")
    check(onnx_outputs(tmp_path / "model.onnx", images().images), scores)
    first = {name: values[:1] for name, values in onnx_outputs(tmp_path / "model.onnx", images().images[:1]).items()}
    check(first, scores[:, :1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a model in both formats."""
    directory = tmp_path_factory.mktemp("exported")
    export.save_onnx(small_model(), directory / "small.onnx")
    export.save_torch_export(small_model(), directory / "small.pt2")
    return directory


def test_the_onnx_file_says_what_it_takes_and_returns(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "small.onnx", providers=["CPUExecutionProvider"])
    assert [(each.name, each.type, each.shape) for each in (*session.get_inputs(), *session.get_outputs())] == [
        ("images", "tensor(uint8)", ["batch", 3, 20, 20]),
        ("probabilities", "tensor(float)", ["batch", 4]),
        ("scores", "tensor(float)", ["batch", 3, 4]),
    ]
    facts = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert facts == {
        "run": "small",
        "classes": small_model().classes,
        "replicas": [0, 1, 2],
        "inputs": "standardized",
    }
    onnx.checker.check_model(onnx.load(exported / "small.onnx"), full_check=True)


def test_the_files_contain_no_path_of_this_computer(exported: Path) -> None:
    for file in exported.iterdir():
        assert str(PROJECT).encode() not in file.read_bytes(), file.name


def test_the_same_model_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    export.save_onnx(small_model(), tmp_path / "small.onnx")
    export.save_torch_export(small_model(), tmp_path / "small.pt2")
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (exported / file.name).read_bytes(), file.name


def test_a_fresh_process_without_trainlab_loads_the_program(exported: Path) -> None:
    np.save(exported / "pixels.npy", scored().images)
    code = (
        "import json, sys, numpy, torch\n"
        "facts = {'trainlab.json': ''}\n"
        "program = torch.export.load(sys.argv[1] + '/small.pt2', extra_files=facts).module()\n"
        "pixels = torch.from_numpy(numpy.load(sys.argv[1] + '/pixels.npy'))\n"
        "for name, outputs in zip(('probabilities', 'scores'), program(pixels)):\n"
        "    numpy.save(f'{sys.argv[1]}/{name}.npy', outputs.numpy())\n"
        "print(len(program(pixels[:1])[0]), json.loads(facts['trainlab.json'])['classes'], 'trainlab' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(exported)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"1 {small_model().classes} False\n"
    check({name: np.load(exported / f"{name}.npy") for name in export.OUTPUTS}, small_model().scores(scored()))


def test_a_program_computes_in_evaluation_mode() -> None:
    model = untrained(run_config(**{"model": SMALL, **KINDS["batch norm"]}))
    shares, scores = export.program(model).module()(torch.from_numpy(images().images))
    check({"probabilities": shares.numpy(), "scores": scores.numpy()}, model.scores(images()))


def test_a_single_replica(tmp_path: Path) -> None:
    export.save_torch_export(small_model(), tmp_path / "one.pt2", replica=1)
    shares, scores = torch.export.load(tmp_path / "one.pt2").module()(torch.from_numpy(scored().images))
    check({"probabilities": shares.numpy(), "scores": scores.numpy()}, small_model().scores(scored())[1:2])


@pytest.mark.parametrize("save", [export.save_onnx, export.save_torch_export])
def test_a_failure_leaves_the_file_as_it_was(save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "model"
    path.write_bytes(b"before")
    monkeypatch.setattr(onnx, "save", full)
    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save(small_model(replicas=1), path)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # the import fails
    with pytest.raises(UserError, match=rf"needs the package {package}: run `pip install onnx onnxscript`, or use "):
        export.save_onnx(small_model(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_too_large_for_onnx_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_ONNX", 1000)
    with pytest.raises(UserError, match=r"would be larger than 2 GiB, .*: export single replicas$"):
        export.save_onnx(small_model(replicas=1), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_samples_cover_every_model_and_every_normalization() -> None:
    schema = RunConfig.model_json_schema()
    assert {model["name"] for model in choices("model")} <= KINDS.keys()
    assert set(schema["properties"]["inputs"]["enum"]) <= KINDS.keys()
    assert 0 in images().std
