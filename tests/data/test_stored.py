"""The stored data set: round trip, statistics, identical bytes, and errors."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainlab.data import stored
from trainlab.data.stored import Split
from trainlab.errors import UserError

CLASSES = ["cat", "dög", "eel"]


def split(n: int = 12, *, seed: int = 0, size: int = 8) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    return Split(images, np.arange(n, dtype=np.int64) % 3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    stored.save(tmp_path / "normalized", split(), split(6, seed=1), CLASSES)
    return tmp_path / "normalized"


def test_a_saved_data_set_can_be_loaded(saved: Path) -> None:
    for name, expected in (("train", split()), ("test", split(6, seed=1))):
        loaded = stored.load(saved / f"{name}.safetensors")
        np.testing.assert_array_equal(loaded.images, expected.images)
        np.testing.assert_array_equal(loaded.labels, expected.labels)
        assert [loaded.images.dtype, loaded.labels.dtype] == [np.dtype(np.uint8), np.dtype(np.int64)]
        assert loaded.classes == CLASSES
        np.testing.assert_allclose(loaded.mean, (split().images / 255).mean(axis=(0, 2, 3)))


def test_statistics_file(saved: Path) -> None:
    assert json.loads((saved / "stats.json").read_text(encoding="utf-8")) == {
        "classes": CLASSES,
        "counts": {"train": dict.fromkeys(CLASSES, 4), "test": dict.fromkeys(CLASSES, 2)},
        "mean": pytest.approx((split().images / 255).mean(axis=(0, 2, 3)).tolist()),
        "std": pytest.approx((split().images / 255).std(axis=(0, 2, 3)).tolist()),
        "image_shape": [3, 8, 8],
    }
    assert sorted(path.name for path in saved.iterdir()) == ["stats.json", "test.safetensors", "train.safetensors"]


def test_same_images_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    transposed = split().images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)  # equal, in another memory layout
    stored.save(tmp_path / "again", Split(transposed, split().labels), split(6, seed=1), CLASSES)
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 300), st.just(2), st.integers(1, 3), st.integers(1, 3))))
def test_statistics_equal_numpys(images: np.ndarray) -> None:
    mean, std = stored._statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-9, atol=1e-9)


def test_a_constant_channel_has_a_standard_deviation_of_exactly_zero(tmp_path: Path) -> None:
    images = np.full((5, 3, 8, 8), 77, np.uint8)
    stored.save(tmp_path / "n", Split(images, np.zeros(5, np.int64)), Split(images, np.zeros(5, np.int64)), ["only"])
    loaded = stored.load(tmp_path / "n" / "test.safetensors")
    assert (loaded.mean, loaded.std) == ([77 / 255] * 3, [0.0] * 3)


def test_a_full_disk_leaves_the_existing_files_unchanged(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        stored.save(saved, split(seed=2), split(seed=3), CLASSES)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["normalized"]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (split().images.astype(np.float32), split().labels),
        (split().images[0], split().labels),
        (split().images[:0], split().labels[:0]),
        (split().images, split().labels.astype(np.int32)),
        (split().images, split().labels[:-1]),
        (split().images, split().labels + 1),
        (split().images, split().labels - 1),
    ],
)
def test_images_and_labels_that_do_not_match_are_an_error(
    saved: Path, tmp_path: Path, images: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"^its (images|labels) "):
        stored.save(tmp_path / "new", Split(images, labels), split(), CLASSES)
    assert not (tmp_path / "new").exists()
    tensors = {"images": images, "labels": labels, "mean_image": np.zeros((3, 8, 8), np.float32)}
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, saved / "train.safetensors"
    )
    with pytest.raises(UserError, match=r"train\.safetensors is damaged \(its .*\): delete it, then run `dvc repro"):
        stored.load(saved / "train.safetensors")


@pytest.mark.parametrize("name", ["train.safetensors", "stats.json"])
def test_a_missing_or_damaged_file_is_an_error(saved: Path, name: str) -> None:
    path = saved / name
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"[]", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{name} is damaged \(.*\): delete it, then run `dvc repro normalize`$"):
            stored.load(saved / "train.safetensors")
    path.unlink()
    with pytest.raises(UserError, match=rf"{name} is missing: run `dvc repro normalize`$"):
        stored.load(saved / "train.safetensors")


def test_images_of_another_shape_than_the_statistics_are_an_error(saved: Path, tmp_path: Path) -> None:
    stored.save(tmp_path / "large", split(size=16), split(size=16), CLASSES)
    (saved / "train.safetensors").write_bytes((tmp_path / "large" / "train.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"its images do not match stats\.json"):
        stored.load(saved / "train.safetensors")
