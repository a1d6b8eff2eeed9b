"""The stage `download`, run as in the pipeline: as a script, in a directory with a params.yaml."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import forked
from cifar10_files import FOLDER, trust, write_cifar10

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(
    cwd: Path,
    script: str = "stages/download.py",
    *,
    root: Path = ROOT,
    python: Sequence[str] = (sys.executable, "-W", "error"),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "CIFAR10_MIRROR"} | environment
    command = [*python, str(root / script)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def configure(cwd: Path, source: str, path: str = "data/folder", image_size: int = 32) -> None:
    (cwd / "params.yaml").write_text(f"data: {{source: {source}, path: {path}, image_size: {image_size}}}\n")


def test_digits(tmp_path: Path) -> None:
    configure(tmp_path, "digits")
    for _ in range(2):  # the second result replaces the first
        result = run(tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == "data/raw: digits, 1 file, 57,523 bytes\n"
        assert [path.name for path in (tmp_path / "data").rglob("*")] == ["raw", "digits.csv.gz"]


def test_cifar10_from_a_mirror(tmp_path: Path) -> None:
    for part in ("src", "stages"):
        shutil.copytree(ROOT / part, tmp_path / "repo" / part, ignore=shutil.ignore_patterns("__pycache__"))
    trust(tmp_path / "repo", write_cifar10(tmp_path / "mirror"))
    configure(tmp_path, "cifar10")

    quick = [forked.python()]  # torchvision imports torch
    result = run(tmp_path, root=tmp_path / "repo", python=quick, CIFAR10_MIRROR=str(tmp_path / "mirror"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("data/raw: cifar10, 7 files, ")
    assert len(list((tmp_path / "data" / "raw" / FOLDER).iterdir())) == 7

    result = run(tmp_path, "stages/normalize.py", root=tmp_path / "repo", python=quick)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == ("data/normalized: 100 training and 20 test images, 10 classes, 32x32 pixels, 3 channels\n")


def test_a_mistake_is_reported_on_one_line_and_leaves_the_existing_files(tmp_path: Path) -> None:
    configure(tmp_path, "digits")
    assert run(tmp_path).returncode == 0
    configure(tmp_path, "folder", "images")
    Path(tmp_path / "images" / "train" / "cat").mkdir(parents=True)
    result = run(tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        "trainlab: images/train/cat contains no images: put images into train/CLASS/ and test/CLASS/ of images, "
        "or set data.path in params.yaml\n"
    )
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["raw", "digits.csv.gz"]

    configure(tmp_path, "mnist")
    result = run(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "trainlab: params.yaml: data.source is 'mnist'; one of: cifar10, digits, folder\n"


@pytest.mark.parametrize("source", ["digits", "folder"])
def test_needs_no_torch(tmp_path: Path, source: str) -> None:
    configure(tmp_path, source, "images")
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            Image.new("RGB", (40, 50)).save(tmp_path / "images" / split / label / "1.png")
    (tmp_path / "check.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'stages')!r})\n"
        "import download, normalize\n"
        "download.main(), normalize.main()\n"
        "print([name for name in ('torch', 'torchvision', 'sklearn') if name in sys.modules])\n"
    )
    result = run(tmp_path, "check.py", root=tmp_path)
    assert result.stdout.endswith("\n[]\n"), result.stderr


def test_help_names_the_environment_variable(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "stages" / "download.py"), "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "CIFAR10_MIRROR" in result.stdout
