import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

import trainlab
from small import data, run_config, scored
from trainlab.errors import UserError
from trainlab.training import model_file
from trainlab.training.model_file import TrainedModel
from trainlab.training.replicas import train

SMALL = {"name": "three_layer", "num_filters": 4, "filter_size": 3, "hidden_dim": 8}


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(run_config(model=SMALL, replicas=11, epochs=1), data())


def test_a_file_restores_the_model_and_its_predictions(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "models" / "small.safetensors"
    model.save(path)
    again = model_file.load(path)
    for field in dataclasses.fields(TrainedModel):
        if field.name not in ("weights", "mean_image"):
            assert getattr(again, field.name) == getattr(model, field.name), field.name
    assert len(again.weights) == 11  # the eleventh, named 10, comes after the third, named 2
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (again.scores(scored()) == model.scores(scored())).all()
    assert model.scores(scored()).shape == (11, 12, 4)


def test_buffers_of_any_type_are_restored(tmp_path: Path) -> None:
    convnet = {"name": "convnet", "width": 2, "depth": 1, "filter_size": 3, "hidden_dim": 0, "batch_norm": True}
    trained = train(run_config(model=convnet, epochs=1), data())
    trained.save(tmp_path / "normalized.safetensors")
    [weights] = model_file.load(tmp_path / "normalized.safetensors").weights
    batches = weights["block1.1.num_batches_tracked"]
    assert (batches.dtype, batches.shape, int(batches)) == (torch.int64, (), 3)


def test_the_same_model_gives_the_same_bytes_in_any_version(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "one")
    monkeypatch.setattr(trainlab, "__version__", "99.0.0")
    model.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_programs_can_read_the_file(model: TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "small.safetensors")
    with safetensors.safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert "0.conv.weight" in file.keys()  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    assert list(metadata) == ["trainlab"]
    record = json.loads(metadata["trainlab"])
    assert list(record) == ["classes", "config", "mean", "shape", "std", "trained_on"]
    assert record["config"] == model.config.to_dict()
    assert record["classes"] == [f"class {c}" for c in range(4)]
    assert list(record["trained_on"]) == ["cpu_capability", "device", "precision", "threads", "torch"]


def test_predictions_prepare_inputs_as_training_did(model: TrainedModel) -> None:
    other_statistics = dataclasses.replace(scored(), mean=[0.9] * 3, std=[0.1] * 3)
    assert (model.scores(other_statistics) == model.scores(scored())).all()


def test_the_mean_image_is_in_the_file_if_the_inputs_need_it(model: TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "without.safetensors")
    with safetensors.safe_open(tmp_path / "without.safetensors", framework="pt") as file:
        assert "mean_image" not in file.keys()  # noqa: SIM118 (not a dict)
    with_mean = train(run_config(model=SMALL, epochs=1, inputs="mean_image"), data())
    with_mean.save(tmp_path / "with.safetensors")
    again = model_file.load(tmp_path / "with.safetensors")
    np.testing.assert_array_equal(again.mean_image, data().train.mean_image)
    other = dataclasses.replace(scored(), mean_image=np.zeros((3, 20, 20), np.float32))
    assert (again.scores(other) == with_mean.scores(scored())).all()


def test_other_images_or_classes_are_refused(model: TrainedModel) -> None:
    for wrong, says in (
        (dataclasses.replace(scored(), images=scored().images[:, :, :-1]), "these are 4 classes of images (3, 19, 20)"),
        (dataclasses.replace(scored(), classes=list("wxyz")), "these are 4 classes of images (3, 20, 20)"),
    ):
        with pytest.raises(UserError) as caught:
            model.scores(wrong)
        assert str(caught.value).startswith(
            "the model of run small was trained on 4 classes of images (3, 20, 20), and "
        )
        assert says in str(caught.value)
        assert "run `dvc repro`" in str(caught.value)


def test_missing_damaged_and_foreign_files_are_reported(model: TrainedModel, tmp_path: Path) -> None:
    repro = "run `dvc repro train@small` or `distill@small`"
    path = tmp_path / "small.safetensors"
    with pytest.raises(UserError, match=f"small.safetensors is missing: {repro}"):
        model_file.load(path)
    model.save(path)
    whole = path.read_bytes()
    for content in (whole[:1000], whole[: len(whole) // 2], b"", b"no model", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"small.safetensors is damaged .*: delete it, then {repro}") as caught:
            model_file.load(path)
        assert len(str(caught.value).splitlines()) == 1
    save_file({"0.weight": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"is damaged .it is not a model file of trainlab.: delete it"):
        model_file.load(path)


@pytest.mark.parametrize(
    ("trained_on", "words"),
    [
        ({"device": "cpu", "cpu_capability": "AVX2", "threads": 1}, "CPU (AVX2), 1 thread"),
        ({"device": "cpu", "cpu_capability": "AVX512", "threads": 2}, "CPU (AVX512), 2 threads"),
        ({"device": "NVIDIA A100", "cpu_capability": "AVX2", "threads": 2}, "NVIDIA A100"),
    ],
)
def test_the_device_is_described_in_words(model: TrainedModel, trained_on: dict[str, object], words: str) -> None:
    assert dataclasses.replace(model, trained_on=trained_on).describe() == words


def test_a_failed_save_keeps_the_old_file(model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.safetensors"
    model.save(path)
    before = path.read_bytes()

    def full_disk(file: Path, content: bytes) -> int:
        with file.open("wb") as half:
            half.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_predictions_average_the_configured_views(model: TrainedModel) -> None:
    viewed = dataclasses.replace(model, config=model.config.model_copy(update={"views": "mirrored"}))
    mirrored = dataclasses.replace(scored(), images=np.ascontiguousarray(scored().images[:, :, :, ::-1]))
    expected = (model.scores(scored()) + model.scores(mirrored)) / 2
    np.testing.assert_allclose(viewed.scores(scored()), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(viewed.scores(scored()), model.scores(scored()))
