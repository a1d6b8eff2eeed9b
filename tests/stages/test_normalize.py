"""The stage `normalize`, run as in the pipeline: as a script, in a directory with data/raw."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainlab.data import stored

pytestmark = pytest.mark.slow

STAGES = Path(__file__).parents[2] / "stages"


def run(stage: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(STAGES / f"{stage}.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def configure(cwd: Path, source: str, image_size: int = 32) -> None:
    (cwd / "params.yaml").write_text(f"data: {{source: {source}, path: images, image_size: {image_size}}}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a project whose data/raw contains two classes: red images and blue images."""
    configure(tmp_path, "folder", image_size=16)
    for split, count in (("train", 3), ("test", 1)):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (40, 50), colour).save(tmp_path / "images" / split / label / f"{index}.png")
    assert run("download", tmp_path).returncode == 0
    return tmp_path


def normalized(cwd: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cwd / "data" / "normalized").iterdir()}


def test_digits_give_the_same_bytes_in_each_process(tmp_path: Path) -> None:
    configure(tmp_path, "digits")
    assert run("download", tmp_path).returncode == 0
    result = run("normalize", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "data/normalized: 1,442 training and 355 test images, 10 classes, 32x32 pixels, 3 channels\n"
    )
    first = normalized(tmp_path)
    assert sorted(first) == ["stats.json", "test.safetensors", "train.safetensors"]
    assert run("normalize", tmp_path).returncode == 0
    assert normalized(tmp_path) == first


def test_a_folder_of_images(folder: Path) -> None:
    result = run("normalize", folder)
    assert (result.returncode, result.stderr) == (0, "")
    train = stored.load(folder / "data" / "normalized" / "train.safetensors")
    assert train.images.shape == (6, 3, 16, 16)
    np.testing.assert_array_equal(train.images[:, :, 3, 3], [[0, 0, 255]] * 3 + [[255, 0, 0]] * 3)
    assert json.loads(normalized(folder)["stats.json"]) == {
        "classes": ["blue", "red"],
        "counts": {"train": {"blue": 3, "red": 3}, "test": {"blue": 1, "red": 1}},
        "mean": [0.5, 0.0, 0.5],
        "std": [0.5, 0.0, 0.5],
        "image_shape": [3, 16, 16],
    }


def test_a_damaged_image_is_reported_on_one_line_and_leaves_the_existing_files(folder: Path) -> None:
    assert run("normalize", folder).returncode == 0
    before = normalized(folder)
    (folder / "data" / "raw" / "train" / "red" / "1.png").write_bytes(b"damaged")
    result = run("normalize", folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "trainlab: data/raw/train/red/1.png is damaged or not a PNG, JPEG or WebP image: repair or remove it in images, "
        "then run `dvc repro`\n"
    )
    assert normalized(folder) == before
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["normalized", "raw"]


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_missing_raw_files_are_an_error(tmp_path: Path, source: str) -> None:
    configure(tmp_path, source)
    result = run("normalize", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("trainlab: data/raw")
    assert result.stderr.endswith("run `dvc repro download`\n")
    assert not (tmp_path / "data").exists()


def test_arguments(tmp_path: Path) -> None:
    assert run("normalize", tmp_path, "--help").returncode == 0
    result = run("normalize", tmp_path, "more")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
