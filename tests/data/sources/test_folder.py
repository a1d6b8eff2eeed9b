"""The source `folder`, compared with torchvision's ImageFolder, Resize and CenterCrop; errors for invalid input."""

import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from trainlab.data.sources.folder import Folder
from trainlab.errors import UserError
from trainlab.files import directory_written_whole


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a directory with three classes and images of three formats, several modes and sizes."""
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
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(root, inside or ".")
        content = buffer.getvalue()
        path.write_bytes(
            {".tar": content, ".tar.gz": gzip.compress(content), ".tar.xz": lzma.compress(content)}[suffix]
        )
    return path


def fetch(path: Path, tmp_path: Path) -> Path:
    """Fetch the files in the same way as the stage does."""
    with directory_written_whole(tmp_path / "data" / "raw") as aside:
        Folder(path, 32).fetch(aside)
    return tmp_path / "data" / "raw"


def refused(path: Path, tmp_path: Path) -> str:
    """Return the error message of a fetch, and check that the files of an earlier fetch are unchanged."""
    before = tmp_path / "data" / "raw" / "before"
    before.parent.mkdir(parents=True, exist_ok=True)
    before.write_text("unchanged")
    with pytest.raises(UserError) as caught:
        fetch(path, tmp_path)
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["raw"]
    assert list((tmp_path / "data" / "raw").iterdir()) == [before]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("inside", ["", "mine"])
def test_images_and_labels_equal_torchvisions(images: Path, tmp_path: Path, suffix: str, inside: str) -> None:
    if inside and not suffix:
        (images.with_name("outer") / inside).parent.mkdir()
        path = images.with_name("outer")
        shutil.copytree(images, path / inside)
    else:
        path = pack(images, suffix, inside=inside) if suffix else images
    train, test, classes = Folder(path, 24).read(fetch(path, tmp_path))

    (images / "train" / ".git").rmdir()  # torchvision would treat it as a class
    same = transforms.Compose([transforms.Resize(24), transforms.CenterCrop(24), transforms.PILToTensor()])
    for split, name in ((train, "train"), (test, "test")):
        expected = ImageFolder(str(images / name), same)
        np.testing.assert_array_equal(split.images, np.stack([image.numpy() for image, _ in expected]))
        np.testing.assert_array_equal(split.labels, expected.targets)
        assert [split.images.dtype, split.labels.dtype] == [np.dtype(np.uint8), np.dtype(np.int64)]
        assert classes == expected.classes == ["Dog", "cat", "zebra crossing"]


@pytest.mark.parametrize("suffix", ["", ".tar.gz", ".zip"])
def test_raw_files_are_unchanged(images: Path, tmp_path: Path, suffix: str) -> None:
    raw = fetch(pack(images, suffix) if suffix else images, tmp_path)
    (raw / "README.md").unlink(missing_ok=True)  # the other files of an archive are unpacked, too
    assert not list(raw.rglob(".*"))
    originals = {path.relative_to(images): path.read_bytes() for path in images.glob("*/*/[!.]*")}
    assert {path.relative_to(raw): path.read_bytes() for path in raw.rglob("*") if path.is_file()} == originals
    assert len(originals) == 21


def test_an_archive_may_list_files_without_their_directories(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in images.glob("*/*/[!.]*"):
            archive.write(file, file.relative_to(images))
    train, test, _ = Folder(path, 24).read(fetch(path, tmp_path))
    assert len(train.labels) + len(test.labels) == 21


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64))
@example(32, 32, 32)
@example(1, 90, 8)
def test_images_are_resized_and_cropped_as_in_torchvision(width: int, height: int, size: int) -> None:
    image = picture(width, height)
    expected = transforms.CenterCrop(size)(transforms.Resize(size)(image))
    np.testing.assert_array_equal(np.asarray(Folder(Path(), size).square(image)), np.asarray(expected))


def edit(images: Path, case: str) -> str:
    """Make the layout invalid in one way; return a part of the expected message."""
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
        return "train/cat contains no images"
    if case == "hidden files only":
        for path in (test / "cat").iterdir():
            path.rename(path.with_name("." + path.name))
        return "test/cat contains no images"
    if case == "unknown class":
        shutil.copytree(test / "cat", test / "lynx")
        return "test/lynx is a class without training images"
    if case == "untested class":
        shutil.rmtree(test / "Dog")
        return "test/Dog does not exist, so the class has no test images"
    if case == "one class":
        for split in (train, test):
            shutil.rmtree(split / "cat")
            shutil.rmtree(split / "Dog")
        return "train contains fewer than two classes"
    if case == "image outside a class":
        shutil.copy(train / "cat" / "10.png", train)
        return "train/10.png is not in the directory of a class"
    if case == "directory inside a class":
        (train / "cat" / "more").mkdir()
        return "train/cat/more is not a file"
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
def test_a_wrong_layout_is_an_error_before_any_file_is_kept(
    images: Path, tmp_path: Path, case: str, suffix: str
) -> None:
    expected = edit(images, case)
    path = pack(images, suffix) if suffix else images
    message = refused(path, tmp_path)
    assert expected in message
    assert f"{path}" in message
    assert "data.path" in message


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    assert f"{tmp_path}/no.zip does not exist: set data.path in params.yaml" in refused(tmp_path / "no.zip", tmp_path)


def test_the_error_for_an_empty_directory_describes_the_layout(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "put images into train/CLASS/ and test/CLASS/ of" in refused(tmp_path / "empty", tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_a_truncated_archive_is_an_error(images: Path, tmp_path: Path, suffix: str) -> None:
    path = pack(images, suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"{path} is damaged, incomplete, or not" in refused(path, tmp_path)


@pytest.mark.parametrize("member", ["../evil.png", "/evil.png", "train/cat/../../../../evil.png"])
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_with_a_path_outside_of_it_is_an_error(
    images: Path, tmp_path: Path, suffix: str, member: str
) -> None:
    path = pack(images, suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, b"evil")
    else:
        with tarfile.open(path, "a") as archive:
            archive.addfile(tarfile.TarInfo(member))
    assert "points outside" in refused(path, tmp_path)
    assert not list(tmp_path.rglob("evil.png"))


def test_an_archive_with_a_link_is_an_error(images: Path, tmp_path: Path) -> None:
    (images / "train" / "cat" / "link.png").symlink_to("/etc/passwd")
    path = pack(images, ".tar")
    assert "'./train/cat/link.png'" in refused(path, tmp_path)


@pytest.mark.parametrize("member", ["train/cat/10.png", "train/cat/10.png/more.png", "train/" + 300 * "x" + "/1.png"])
def test_a_member_that_cannot_be_unpacked_is_an_error(images: Path, tmp_path: Path, member: str) -> None:
    path = pack(images, ".tar")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo(member))
    assert f"has a member that cannot be unpacked, '{member}'" in refused(path, tmp_path)


def test_raw_files_of_another_source_are_an_error(tmp_path: Path) -> None:
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=r"does not contain the images of mine\.zip: run `dvc repro download`$"):
            Folder(Path("mine.zip"), 32).read(raw)


def error_of(file: Path, images: Path, *, size: int = 32) -> str:
    """Return the error message of reading images, and check that it names the file and the next step."""
    with pytest.raises(UserError) as caught:
        Folder(Path("mine.zip"), size).read(images)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "repair or remove it in mine.zip, then run `dvc repro`" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no image", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_is_not_an_image_is_an_error(images: Path, content: bytes) -> None:
    file = images / "train" / "cat" / "notes.txt"
    file.write_bytes(content)
    assert "is damaged or not a PNG, JPEG or WebP image" in error_of(file, images)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_truncated_image_is_an_error(images: Path, suffix: str) -> None:
    file = next((images / "train" / "cat").glob(f"[!.]*.{suffix}"))
    file.write_bytes(file.read_bytes()[:-200])
    assert "is damaged" in error_of(file, images)


def test_an_image_above_the_size_limit_is_an_error(images: Path) -> None:
    file = images / "train" / "cat" / "10.png"
    for width, height in ((10_000, 9_000), (20_000, 20_000)):  # for Pillow a warning and an error
        Image.new("1", (width, height)).save(file)
        assert "is too large or too long" in error_of(file, images)
    Image.new("1", (1, 100_000)).save(file)
    assert "is too large or too long" in error_of(file, images)


def read_first_cat(images: Path, *, size: int) -> np.ndarray:
    """Return the pixels of train/cat/1.png, the first image of the second class."""
    train, _, classes = Folder(Path("mine.zip"), size).read(images)
    assert classes[1] == "cat"
    pixels: np.ndarray = train.images[train.labels == 1][0]
    return pixels


def test_images_are_converted_to_upright_opaque_rgb(images: Path) -> None:
    stored = np.zeros((20, 60, 4), np.uint8)  # the middle third is kept: its upper half is blue, its lower transparent
    stored[:10, 20:40] = [0, 0, 255, 255]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn clockwise
    Image.fromarray(stored).save(images / "train" / "cat" / "1.png", exif=exif)
    image = read_first_cat(images, size=20)
    np.testing.assert_array_equal(image[:, :, :10], 255)
    np.testing.assert_array_equal(image[:, :, 10:], np.broadcast_to([[[0]], [[0]], [[255]]], (3, 20, 10)))


def test_16_bit_images_are_scaled(images: Path) -> None:
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(images / "train" / "cat" / "1.png")
    np.testing.assert_array_equal(read_first_cat(images, size=32), round(40_000 / 257))


@given(data=st.data())
def test_a_damaged_image_is_a_user_error_or_still_decodes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
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


def test_links_in_a_directory_are_followed(images: Path, tmp_path: Path) -> None:
    os.replace(images / "train" / "cat", tmp_path / "cats")
    (images / "train" / "cat").symlink_to(tmp_path / "cats")
    raw = fetch(images, tmp_path)
    assert not (raw / "train" / "cat").is_symlink()
    assert len(list((raw / "train" / "cat").iterdir())) == 5
    shutil.rmtree(raw)
    (images / "train" / "cat" / "broken.png").symlink_to("nowhere")
    assert "train/cat/broken.png is not a file" in refused(images, tmp_path)


@pytest.mark.parametrize("place", ["train/cat/loop.png", "train/loop", "loop"])
def test_links_that_go_round_in_a_circle_are_errors(images: Path, tmp_path: Path, place: str) -> None:
    link = images / place
    if place == "loop":  # only the directory of all images
        shutil.rmtree(images)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(link)
    assert refused(images, tmp_path)


def test_a_directory_that_contains_itself_is_an_error(images: Path, tmp_path: Path) -> None:
    (images / "train" / "cat" / "again").symlink_to(images / "train")
    assert "again is not a file" in refused(images, tmp_path)
