"""The source `folder`: images in a directory or an archive, in the layout of torchvision's ImageFolder."""

import errno
import math
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainlab.data.sources.archives import members
from trainlab.data.sources.images import to_rgb
from trainlab.data.stored import Split
from trainlab.errors import UserError

_FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_IMAGE = 89_478_485  # pixels; above it, Pillow warns of a decompression bomb


@dataclass(frozen=True)
class Folder:
    """Images in ``train/CLASS/*`` and ``test/CLASS/*``.

    Parameters
    ----------
    path
        A directory or a .tar, .tar.gz, .tar.xz or .zip archive that contains ``train/`` and ``test/``, at its top or in
        a single directory.
    image_size
        Height and width of the decoded images, in pixels.
    """

    path: Path
    image_size: int

    def fetch(self, directory: Path) -> None:
        """Copy or unpack the image files into ``directory``, unchanged.

        Raises
        ------
        UserError
            If ``path`` does not exist, has the wrong layout or cannot be unpacked.
        """
        if self.path.is_dir():
            for split in _layout(self.path, self.path).values():
                for files in split.values():
                    for file in files:
                        copy = directory.joinpath(*file.parts[-3:])
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(file, copy)
        elif self.path.is_file():
            _unpack(self.path, directory)
            _layout(directory, self.path)
        else:
            raise UserError(
                f"{self.path} does not exist: set data.path in params.yaml to a directory or archive of images"
            )

    def read(self, directory: Path) -> tuple[Split, Split, list[str]]:
        """Return training images, test images and class names; classes and files are sorted by name.

        Raises
        ------
        UserError
            If ``directory`` does not contain the images of ``path``, or a file cannot be decoded.
        """
        try:
            layout = _layout(directory, directory)
        except (UserError, FileNotFoundError) as error:
            raise UserError(
                f"{directory} does not contain the images of {self.path}: run `dvc repro download`"
            ) from error
        return self._decode(layout["train"]), self._decode(layout["test"]), list(layout["train"])

    def _decode(self, split: dict[str, list[Path]]) -> Split:
        files = [file for files in split.values() for file in files]
        images = np.empty((len(files), 3, self.image_size, self.image_size), np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata and about sizes, which are checked below
            with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes and scales
                for image, pixels in zip(images, pool.map(self.image, files), strict=True):
                    image[:] = np.moveaxis(pixels, 2, 0)
        return Split(images, np.repeat(np.arange(len(split), dtype=np.int64), [len(files) for files in split.values()]))

    def image(self, file: Path) -> np.ndarray:
        """Return an image file as ``[height, width, 3]``, uint8: upright RGB, resized and cropped as in torchvision."""
        action = f"repair or remove it in {self.path}, then run `dvc repro`"
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if max(image.width * image.height, math.prod(self.scaled(image.size))) > LARGEST_IMAGE:
                    raise Image.DecompressionBombError
                return np.asarray(self.square(to_rgb(image)))
        except MemoryError:
            raise
        except Image.DecompressionBombError as error:
            limit = f"the limit is {LARGEST_IMAGE:,} pixels, before and after scaling to {self.image_size} pixels"
            raise UserError(f"{path_text(file)} is too large or too long ({limit}): {action}") from error
        except Exception as error:  # Pillow raises many types of errors for damaged files
            raise UserError(f"{path_text(file)} is damaged or not a PNG, JPEG or WebP image: {action}") from error

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height after scaling the shorter side to ``image_size``."""
        width, height = size
        return self.image_size * width // min(size), self.image_size * height // min(size)

    def square(self, image: Image.Image) -> Image.Image:
        """Scale the shorter side to ``image_size`` and crop the center, as torchvision's Resize and CenterCrop do."""
        size, (width, height) = self.image_size, self.scaled(image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        return scaled.crop((left, top, left + size, top + size))


def _unpack(path: Path, directory: Path) -> None:
    """Unpack an archive, without its hidden files."""
    with path.open("rb") as archive:
        for member, content in members(archive, str(path)):
            directories = member.parts if content is None else member.parts[:-1]
            if any(is_hidden(part) for part in directories):
                continue
            target = directory / member
            try:
                (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
                if content is not None and not is_hidden(member.name):
                    with target.open("xb") as file:
                        file.write(content)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise UserError(
                    f"{path} has a member that cannot be unpacked, {str(member)!r} ({error.strerror}): "
                    "create the archive again, then run the same command again"
                ) from error


def _layout(directory: Path, shown: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the image files per class, by ``train`` and ``test``, after checking the layout; no image is opened.

    Parameters
    ----------
    directory
        Contains ``train/`` and ``test/``, at its top or in a single directory.
    shown
        The name of ``directory`` in messages.

    Raises
    ------
    UserError
        If the layout is wrong.
    """
    root = directory
    top = [entry for entry in _visible(directory) if entry.is_dir()]
    if len(top) == 1 and top[0].name not in ("train", "test"):
        root = top[0]

    def wrong(entry: Path, problem: str) -> UserError:
        return UserError(
            f"{path_text(shown / entry.relative_to(directory))} {problem}: put images into train/CLASS/ and test/CLASS/ "
            f"of {shown}, or set data.path in params.yaml"
        )

    layout: dict[str, dict[str, list[Path]]] = {}
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise wrong(root / split, "does not exist or is not a directory")
        layout[split] = {}
        for folder in _visible(root / split):
            if not folder.is_dir():
                raise wrong(folder, "is not in the directory of a class")
            if not folder.name.isprintable():
                raise wrong(folder, "has a name that is not printable UTF-8")
            layout[split][folder.name] = list(_visible(folder))
            for file in layout[split][folder.name]:
                if not file.is_file():
                    raise wrong(file, "is not a file")
            if not layout[split][folder.name]:
                raise wrong(folder, "contains no images")
    train, test = layout["train"], layout["test"]
    if len(train) < 2:
        raise wrong(root / "train", "contains fewer than two classes")
    if unknown := sorted(test.keys() - train.keys()):
        raise wrong(root / "test" / unknown[0], "is a class without training images")
    if untested := sorted(train.keys() - test.keys()):
        raise wrong(root / "test" / untested[0], "does not exist, so the class has no test images")
    return layout


def _visible(directory: Path) -> Iterator[Path]:
    """Return the entries of a directory that are not hidden, sorted by name."""
    return (entry for entry in sorted(directory.iterdir(), key=lambda entry: entry.name) if not is_hidden(entry.name))


def path_text(path: Path) -> str:
    """Return the path as text on one line."""
    return text if (text := str(path)).isprintable() else ascii(text)


def is_hidden(name: str) -> bool:
    """Return whether a file or directory of this name is left out: it begins with a dot, or is what macOS adds."""
    return name.startswith(".") or name == "__MACOSX"
