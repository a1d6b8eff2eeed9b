import dataclasses
import errno
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

import trainlab
from small import data, run_config, scored
from trainlab.errors import UserError
from trainlab.files import digest, read_tensors, write_tensors
from trainlab.training import devices, model_file
from trainlab.training.inference import outputs_of
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
    assert list(record) == ["classes", "config", "digest", "mean", "shape", "std", "trained_on"]
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


# Files that somebody changed


@pytest.fixture(scope="module")
def small() -> TrainedModel:
    return train(run_config(model=SMALL, replicas=2, epochs=1), data())


def rewritten(model: TrainedModel, path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Write a model file after a change of its tensors and its record, whose digest is that of the changed tensors."""
    model.save(path)
    tensors, record = read_tensors(path)
    change(tensors, record)
    write_tensors(path, tensors, {**record, "digest": digest(tensors, record)} if "digest" in record else record)


def test_flipped_bits_are_found_anywhere(small: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    small.save(path)
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 200, dtype=int):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(UserError) as caught:
            model_file.load(path)
        assert len(str(caught.value).splitlines()) == 1


RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no classes": lambda r: r.update(classes=None),
    "classes are numbers": lambda r: r.update(classes=[1, 2, 3, 4]),
    "a class twice": lambda r: r.update(classes=["a", "a", "b", "c"]),
    "classes missing": lambda r: r.pop("classes"),
    "fewer classes": lambda r: r.update(classes=["a", "b"]),
    "shape is text": lambda r: r.update(shape="abc"),
    "shape is short": lambda r: r.update(shape=[3, 20]),
    "shape is negative": lambda r: r.update(shape=[3, -20, 20]),
    "another shape": lambda r: r.update(shape=[3, 24, 24]),
    "shape is huge": lambda r: r.update(shape=[3, 2**40, 2**40]),
    "mean is short": lambda r: r.update(mean=[0.5]),
    "mean is text": lambda r: r.update(mean="0.5"),
    "std is missing": lambda r: r.pop("std"),
    "std is infinite": lambda r: r.update(std=[math.inf] * 3),
    "trained on nothing": lambda r: r.update(trained_on={}),
    "trained on a list": lambda r: r.update(trained_on=[]),
    "no threads": lambda r: r["trained_on"].update(threads=0),
    "threads are text": lambda r: r["trained_on"].update(threads="1"),
    "another key": lambda r: r.update(more=1),
    "config is a list": lambda r: r.update(config=[]),
    "config is empty": lambda r: r.update(config={}),
    "another model": lambda r: r["config"].update(model={"name": "tf_cnn"}),
    "no such model": lambda r: r["config"].update(model={"name": "nothing"}),
    "a wider model": lambda r: r["config"]["model"].update(hidden_dim=9),
    "negative replicas": lambda r: r["config"].update(replicas=-1),
    "more replicas": lambda r: r["config"].update(replicas=3),
    "fewer replicas": lambda r: r["config"].update(replicas=1),
    "the suite is a path": lambda r: r["config"].update(suite="../../elsewhere"),
    "the suite is absolute": lambda r: r["config"].update(suite="/tmp/elsewhere"),
    "the run is a path": lambda r: r["config"].update(run="../small"),
    "the teacher is a path": lambda r: r["config"].update(teacher="../small"),
    "a long name": lambda r: r["config"].update(run="a" * 300),
    "digest of something else": lambda r: r.update(digest="0" * 64),
    "digest is a number": lambda r: r.update(digest=1),
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_a_damaged_record_is_reported_on_one_line(
    change: Callable[[dict[str, Any]], Any], small: TrainedModel, tmp_path: Path
) -> None:
    path = tmp_path / "small.safetensors"
    small.save(path)
    tensors, record = read_tensors(path)
    before = record["digest"]
    change(record)
    if record["digest"] == before:  # whoever changes the record can compute it
        record["digest"] = digest(tensors, record)
    write_tensors(path, tensors, record)
    with pytest.raises(UserError, match=r"small\.safetensors") as caught:
        model_file.load(path)
    [line] = str(caught.value).splitlines()
    assert len(line) < 600


@pytest.mark.parametrize("record", ["[]", "[" * 100_000, "null", "1", '"text"', "{", '{"config": ' * 5000])
def test_a_record_that_is_no_object_is_reported_on_one_line(record: str, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file({"0.weight": torch.zeros(1)}, path, metadata={"trainlab": record})
    with pytest.raises(UserError, match=r"small\.safetensors is damaged") as caught:
        model_file.load(path)
    assert len(str(caught.value).splitlines()) == 1


TENSORS: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "half precision": lambda t: t.update({"0.conv.weight": t["0.conv.weight"].astype(np.float16)}),
    "another shape": lambda t: t.update({"0.conv.weight": t["0.conv.weight"][:1]}),
    "one is missing": lambda t: t.pop("1.conv.weight"),
    "one too many": lambda t: t.update({"1.more": np.zeros(1, np.float32)}),
    "a gap": lambda t: t.update({f"5.{n[2:]}": t.pop(n) for n in list(t) if n.startswith("1.")}),
    "no number": lambda t: t.update({"conv.weight": t["0.conv.weight"]}),
    "none": lambda t: t.clear(),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_that_are_not_those_of_the_model_are_reported(
    change: Callable[[dict[str, np.ndarray]], Any], small: TrainedModel, tmp_path: Path
) -> None:
    path = tmp_path / "small.safetensors"
    rewritten(small, path, lambda tensors, record: change(tensors))
    with pytest.raises(UserError, match=r"small\.safetensors is damaged") as caught:
        model_file.load(path)
    assert len(str(caught.value).splitlines()) == 1


def test_zeros_in_place_of_weights_do_not_have_the_digest(small: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    small.save(path)
    tensors, record = read_tensors(path)
    write_tensors(path, {name: np.zeros_like(array) for name, array in tensors.items()}, record)
    with pytest.raises(UserError, match="its content changed after it was written"):
        model_file.load(path)


def test_files_without_a_digest_can_be_read(small: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    rewritten(small, path, lambda tensors, record: record.pop("digest"))
    assert len(model_file.load(path).weights) == 2


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    path.mkdir()
    with pytest.raises(UserError, match="is a directory: remove it, then run `dvc repro train@small`"):
        model_file.load(path)


@pytest.mark.parametrize(
    ("own", "differs"),
    [({"lr": 2e-3}, "lr"), ({"run": "other"}, "run"), ({"inputs": "raw", "suite": "x"}, "suite, inputs")],
)
def test_a_model_of_another_run_is_refused(own: dict[str, Any], differs: str, small: TrainedModel) -> None:
    path = Path("models/small.safetensors")
    model_file.check_run(small, small.config, path)
    model_file.check_run(
        small, small.config.model_copy(update={"code": "another"}), path
    )  # adopted, see CONTRIBUTING.md
    with pytest.raises(UserError, match=rf"it differs in {differs}\): run `dvc repro train@"):
        model_file.check_run(small, small.config.model_copy(update=own), path)


def test_predictions_average_the_configured_views(model: TrainedModel) -> None:
    viewed = dataclasses.replace(model, config=model.config.model_copy(update={"views": "mirrored"}))
    mirrored = dataclasses.replace(scored(), images=np.ascontiguousarray(scored().images[:, :, :, ::-1]))
    expected = (model.scores(scored()) + model.scores(mirrored)) / 2
    np.testing.assert_allclose(viewed.scores(scored()), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(viewed.scores(scored()), model.scores(scored()))


@pytest.mark.parametrize("threads", [1, 2])
def test_replicas_scored_side_by_side_have_the_same_bits(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(run_config(model="tf_cnn", epochs=1, replicas=3, threads=threads), data())
    monkeypatch.setattr("loky.cpu_count", lambda: 16)
    used: list[int] = []
    found = []
    for count in (1, 3):
        together = threading.Barrier(count, timeout=60)

        def watched(*arguments: Any, together: threading.Barrier = together) -> Any:
            together.wait()
            used.append(torch.get_num_threads())
            return outputs_of(*arguments)

        monkeypatch.setattr("trainlab.training.model_file.outputs_of", watched)
        monkeypatch.setenv(devices.WORKERS, str(count))
        found.append(model.scores(scored()).tobytes())
    assert found[0] == found[1]
    assert used == [threads] * 6
