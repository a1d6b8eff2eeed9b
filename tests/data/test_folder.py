"""The source `folder`, against torchvision's ImageFolder, Resize and CenterCrop; and every bad input."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from trainlab.data.folder import Folder
from trainlab.errors import UserError
from trainlab.files import directory_written_whole


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def images(tmp_path) -> Path:
    """Two classes, three formats, several modes and sizes."""
    root = tmp_path / "images"
    for split, count in (("train", 5), ("test", 2)):
        for label, name in enumerate(("cat", "Dog", "zebra crossing")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                suffix = ("png", "jpg", "webp")[index % 3]
                mode = ("RGB", "L", "RGB", "P", "RGBA")[index] if suffix == "png" else "RGB"
                picture(20 + 9 * index, 50 - 8 * label, index).convert(mode).save(folder / f"{10 - index}.{suffix}")
    (root / "README.md").write_text("ignored")
    (root / "train" / ".DS_Store").write_bytes(b"hidden")
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"hidden")
    (root / "train" / ".git").mkdir()
    return root


def pack(root: Path, suffix: str, *, inside: str = "") -> Path:
    path = root.with_name("packed" + suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for entry in sorted(root.rglob("*")):
                archive.write(entry, Path(inside) / entry.relative_to(root))
    else:
        with tarfile.open(path, "w:" + suffix.removeprefix(".tar").removeprefix(".")) as archive:
            archive.add(root, inside or ".")
    return path


def fetch(path: Path, tmp_path: Path) -> Path:
    """Fetch as the stage does."""
    with directory_written_whole(tmp_path / "data" / "raw") as aside:
        Folder(path, 32).fetch(aside)
    return tmp_path / "data" / "raw"


def refused(path: Path, tmp_path: Path) -> str:
    """The message of a fetch that must fail, leave nothing, and leave what stood before."""
    before = tmp_path / "data" / "raw" / "before"
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_text("stands")
    with pytest.raises(UserError) as caught:
        fetch(path, tmp_path)
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["raw"]
    assert list((tmp_path / "data" / "raw").iterdir()) == [before]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("inside", ["", "mine"])
def test_reads_what_torchvision_reads(images, tmp_path, suffix, inside):
    if inside and not suffix:
        (images.with_name("outer") / inside).parent.mkdir()
        path = images.with_name("outer")
        shutil.copytree(images, path / inside)
    else:
        path = pack(images, suffix, inside=inside) if suffix else images
    train, test, classes = Folder(path, 24).read(fetch(path, tmp_path))

    (images / "train" / ".git").rmdir()  # which torchvision takes for a class
    same = transforms.Compose([transforms.Resize(24), transforms.CenterCrop(24), transforms.PILToTensor()])
    for split, name in ((train, "train"), (test, "test")):
        expected = ImageFolder(str(images / name), same)
        np.testing.assert_array_equal(split.images, np.stack([image.numpy() for image, _ in expected]))
        np.testing.assert_array_equal(split.labels, expected.targets)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert classes == expected.classes == ["Dog", "cat", "zebra crossing"]


@pytest.mark.parametrize("suffix", ["", ".tar.gz", ".zip"])
def test_raw_holds_the_files_as_they_are(images, tmp_path, suffix):
    raw = fetch(pack(images, suffix) if suffix else images, tmp_path)
    (raw / "README.md").unlink(missing_ok=True)  # an archive's other files stay beside the images
    assert not list(raw.rglob(".*"))
    originals = {path.relative_to(images): path.read_bytes() for path in images.glob("*/*/[!.]*")}
    assert {path.relative_to(raw): path.read_bytes() for path in raw.rglob("*") if path.is_file()} == originals
    assert len(originals) == 21


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64))
@example(32, 32, 32)
@example(1, 90, 8)
def test_any_size_is_squared_as_torchvision_does(width, height, size):
    image = picture(width, height)
    expected = transforms.CenterCrop(size)(transforms.Resize(size)(image))
    np.testing.assert_array_equal(np.asarray(Folder(Path(), size)._square(image)), np.asarray(expected))


def edit(images: Path, case: str) -> str:
    """Break the images in one way; gives what the message must say."""
    train, test = images / "train", images / "test"
    if case == "no train":
        shutil.rmtree(train)
        return "/train does not exist"
    if case == "no test":
        shutil.rmtree(test)
        return "/test does not exist"
    if case == "empty class":
        shutil.rmtree(train / "cat")
        (train / "cat").mkdir()
        return "train/cat has no image"
    if case == "hidden files only":
        for path in (test / "cat").iterdir():
            path.rename(path.with_name("." + path.name))
        return "test/cat has no image"
    if case == "unknown class":
        shutil.copytree(test / "cat", test / "lynx")
        return "test/lynx is a class that train/ lacks"
    if case == "untested class":
        shutil.rmtree(test / "Dog")
        return "test/Dog does not exist, so the class cannot be judged"
    if case == "one class":
        for split in (train, test):
            shutil.rmtree(split / "cat")
            shutil.rmtree(split / "Dog")
        return "train has fewer than two classes"
    if case == "image outside a class":
        shutil.copy(train / "cat" / "10.png", train)
        return "train/10.png is in no class's directory"
    if case == "directory inside a class":
        (train / "cat" / "more").mkdir()
        return "train/cat/more is no file"
    assert case == "unprintable name"
    for split in (train, test):
        (split / "cat").rename(split / "c\nt")
    return "c\\nt"


CASES = [
    "no train",
    "no test",
    "empty class",
    "hidden files only",
    "unknown class",
    "untested class",
    "one class",
    "image outside a class",
    "directory inside a class",
    "unprintable name",
]


@pytest.mark.parametrize("suffix", ["", ".tar.gz", ".zip"])
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_layout_is_named_before_anything_is_kept(images, tmp_path, case, suffix):
    said = edit(images, case)
    path = pack(images, suffix) if suffix else images
    message = refused(path, tmp_path)
    assert said in message
    assert f"{path}" in message
    assert "data.path" in message


def test_a_path_that_is_not_there(tmp_path):
    assert f"{tmp_path}/no.zip does not exist: set data.path in params.yaml" in refused(tmp_path / "no.zip", tmp_path)


def test_an_empty_directory_says_what_to_put_there(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "put images into train/CLASS/ and test/CLASS/ of" in refused(tmp_path / "empty", tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_a_cut_archive(images, tmp_path, suffix):
    path = pack(images, suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"{path} is damaged, cut short" in refused(path, tmp_path)


@pytest.mark.parametrize("member", ["../evil.png", "/evil.png", "train/cat/../../../../evil.png"])
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_that_reaches_outside(images, tmp_path, suffix, member):
    path = pack(images, suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, b"evil")
    else:
        with tarfile.open(path, "a") as archive:
            archive.addfile(tarfile.TarInfo(member))
    assert "points outside" in refused(path, tmp_path)
    assert not list(tmp_path.rglob("evil.png"))


def test_an_archive_with_a_link(images, tmp_path):
    (images / "train" / "cat" / "link.png").symlink_to("/etc/passwd")
    path = pack(images, ".tar")
    assert "'./train/cat/link.png'" in refused(path, tmp_path)


@pytest.mark.parametrize("member", ["train/cat/10.png", "train/cat/10.png/more.png", "train/" + 300 * "x" + "/1.png"])
def test_an_archive_that_cannot_be_unpacked(images, tmp_path, member):
    path = pack(images, ".tar")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo(member))
    assert f"has a member that cannot be unpacked, '{member}'" in refused(path, tmp_path)


def test_raw_files_of_another_source_are_named(tmp_path):
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=r"does not hold the images of mine\.zip: run `dvc repro download`$"):
            Folder(Path("mine.zip"), 32).read(raw)


def read_with(file: Path, images: Path, *, size: int = 32) -> str:
    with pytest.raises(UserError) as caught:
        Folder(Path("mine.zip"), size).read(images)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "mend or remove it in mine.zip, then run `dvc repro`" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no image", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_is_no_image_is_named(images, content):
    file = images / "train" / "cat" / "notes.txt"
    file.write_bytes(content)
    assert "is damaged, or no PNG, JPEG or WebP image" in read_with(file, images)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_cut_image_is_named(images, suffix):
    file = next((images / "train" / "cat").glob(f"[!.]*.{suffix}"))
    file.write_bytes(file.read_bytes()[:-200])
    assert "is damaged" in read_with(file, images)


def test_a_decompression_bomb_is_named(images):
    file = images / "train" / "cat" / "10.png"
    for width, height in ((10_000, 9_000), (20_000, 20_000)):  # Pillow warns of the first and refuses the second
        Image.new("1", (width, height)).save(file)
        assert "absurdly large" in read_with(file, images)
    Image.new("1", (1, 100_000)).save(file)
    assert "long and thin" in read_with(file, images)


def test_sixteen_bits_are_not_cut_off_silently(images):
    file = images / "train" / "cat" / "10.png"
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(file)
    assert "more than 8 bits per channel" in read_with(file, images)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_a_user_error_or_still_an_image(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "damaged"
    picture(40, 33).save(file, data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"])))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    message = str(file)
    try:
        assert Folder(Path("mine.zip"), 16)._decode({"cat": [file]}).images.shape == (1, 3, 16, 16)
    except UserError as error:
        message = str(error)
    assert message.startswith(str(file))


def test_links_in_your_own_directory_are_followed(images, tmp_path):
    os.replace(images / "train" / "cat", tmp_path / "cats")
    (images / "train" / "cat").symlink_to(tmp_path / "cats")
    raw = fetch(images, tmp_path)
    assert not (raw / "train" / "cat").is_symlink()
    assert len(list((raw / "train" / "cat").iterdir())) == 5
    shutil.rmtree(raw)
    (images / "train" / "cat" / "broken.png").symlink_to("nowhere")
    assert "train/cat/broken.png is no file" in refused(images, tmp_path)
