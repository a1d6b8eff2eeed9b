import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from small import data, run_config
from trainlab.errors import UserError
from trainlab.training import model_file
from trainlab.training.loop import train
from trainlab.training.model_file import TrainedModel


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(run_config(replicas=11, epochs=1, inputs="standardized"), data())


def test_a_file_gives_back_the_model_and_its_predictions(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "models" / "small.safetensors"
    model.save(path)
    again = model_file.load(path)
    plain = {"weights": [], "mean_image": None}
    assert dataclasses.replace(again, **plain) == dataclasses.replace(model, **plain)
    assert len(again.weights) == 11  # the eleventh, named 10, comes after the third, named 2
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (again.scores(data().test) == model.scores(data().test)).all()
    assert model.scores(data().test).shape == (11, 12, 4)


def test_the_same_model_gives_the_same_bytes(model: TrainedModel, tmp_path: Path) -> None:
    for name in ("one", "two"):
        model.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_anyone_can_read_the_file(model: TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "small.safetensors")
    with safetensors.safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert "0.conv1.weight" in file.keys()  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    assert list(metadata) == ["trainlab"]
    record = json.loads(metadata["trainlab"])
    assert record["config"]["run"] == "small"
    assert record["classes"] == [f"class {c}" for c in range(4)]
    assert record["trained_on"]["threads"] == 1


def test_predictions_prepare_inputs_as_training_did(model: TrainedModel) -> None:
    test = data().test
    other_statistics = dataclasses.replace(test, mean=[0.9] * 3, std=[0.1] * 3)
    assert (model.scores(other_statistics) == model.scores(test)).all()


def test_the_mean_image_is_in_the_file_where_the_inputs_need_it(model: TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "without.safetensors")
    with safetensors.safe_open(tmp_path / "without.safetensors", framework="pt") as file:
        assert "mean_image" not in file.keys()  # noqa: SIM118 (not a dict)
    with_mean = train(run_config(epochs=1, inputs="mean_image"), data())
    with_mean.save(tmp_path / "with.safetensors")
    again = model_file.load(tmp_path / "with.safetensors")
    np.testing.assert_array_equal(again.mean_image, data().train.mean_image)
    test = dataclasses.replace(data().test, mean_image=np.zeros((3, 20, 20), np.float32))
    assert (again.scores(test) == with_mean.scores(data().test)).all()


def test_other_images_or_classes_are_refused(model: TrainedModel) -> None:
    test = data().test
    for wrong in (
        dataclasses.replace(test, images=test.images[:, :, :-1]),
        dataclasses.replace(test, classes=list("wxyz")),
    ):
        with pytest.raises(UserError, match=r"was trained on 4 classes of images .3, 20, 20.*dvc repro"):
            model.scores(wrong)


def test_files_that_are_none_of_ours(model: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small.safetensors is missing: run `dvc repro train@small` or `distill@small`"):
        model_file.load(tmp_path / "small.safetensors")
    model.save(tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    for content in (whole[:1000], whole[: len(whole) // 2], b"", b"no model", bytes(100)):
        (tmp_path / "cut.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"cut.safetensors is damaged .*: delete it, then run `dvc repro train@cut`") as caught:
            model_file.load(tmp_path / "cut.safetensors")
        assert len(str(caught.value).splitlines()) == 1
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "foreign.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"foreign.safetensors is damaged .it is not a model file of trainlab"):
        model_file.load(tmp_path / "foreign.safetensors")


def test_a_failed_save_leaves_the_old_file(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
