"""Your own images: a directory or an archive in the layout of torchvision's ImageFolder."""

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

from trainlab.data.archives import members
from trainlab.data.stored import Split
from trainlab.errors import UserError

_FORMATS = ("PNG", "JPEG", "WEBP")
_LARGEST_IMAGE = 89_478_485  # pixels; where Pillow starts to warn of a decompression bomb


@dataclass(frozen=True)
class Folder:
    """Images in ``train/CLASS/*`` and ``test/CLASS/*``.

    Parameters
    ----------
    path
        A directory, or a .tar, .tar.gz, .tar.xz or .zip; there, the two may stand in one directory of their own.
    image_size
        Height and width of the decoded images, in pixels.
    """

    path: Path
    image_size: int

    def fetch(self, directory: Path) -> None:
        """Copy or unpack the images into ``directory``, as they are."""
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
        """Training images, test images and class names; classes and files in the order of their names."""
        try:
            layout = _layout(directory, directory)
        except (UserError, FileNotFoundError) as error:
            raise UserError(f"{directory} does not hold the images of {self.path}: run `dvc repro download`") from error
        return self._decode(layout["train"]), self._decode(layout["test"]), list(layout["train"])

    def _decode(self, split: dict[str, list[Path]]) -> Split:
        files = [file for files in split.values() for file in files]
        images = np.empty((len(files), 3, self.image_size, self.image_size), np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd metadata and large images; those are looked at below
            with ThreadPoolExecutor() as pool:  # Pillow decodes and scales outside the interpreter's lock
                for image, pixels in zip(images, pool.map(self._image, files), strict=True):
                    image[:] = np.moveaxis(pixels, 2, 0)
        return Split(images, np.repeat(np.arange(len(split), dtype=np.int64), [len(files) for files in split.values()]))

    def _image(self, file: Path) -> np.ndarray:
        """``[height, width, 3]``: the shorter side scaled to ``image_size``, the centre cropped, as in torchvision."""
        mend = f"mend or remove it in {self.path}, then run `dvc repro`"
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if max(image.width * image.height, math.prod(self._scaled(image.size))) > _LARGEST_IMAGE:
                    raise Image.DecompressionBombError
                if image.mode.startswith(("I", "F")):
                    raise UserError(f"{_shown(file)} has more than 8 bits per channel, which would be cut off: {mend}")
                return np.asarray(self._square(image.convert("RGB")))
        except (UserError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise UserError(f"{_shown(file)} is absurdly large, or long and thin: {mend}") from error
        except Exception as error:  # Pillow raises many kinds for damaged files
            raise UserError(f"{_shown(file)} is damaged, or no PNG, JPEG or WebP image: {mend}") from error

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        return self.image_size * width // min(size), self.image_size * height // min(size)

    def _square(self, image: Image.Image) -> Image.Image:
        size, (width, height) = self.image_size, self._scaled(image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        return scaled.crop((left, top, left + size, top + size))


def _unpack(path: Path, directory: Path) -> None:
    with path.open("rb") as archive:
        for member, content in members(archive, str(path)):
            directories = member.parts if content is None else member.parts[:-1]
            if any(_is_hidden(part) for part in directories):
                continue
            target = directory / member
            try:
                (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
                if content is not None and not _is_hidden(member.name):
                    with target.open("xb") as file:
                        file.write(content)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise UserError(
                    f"{path} has a member that cannot be unpacked, {str(member)!r} ({error.strerror}): "
                    "pack it again, then run the same command again"
                ) from error


def _layout(directory: Path, shown: Path) -> dict[str, dict[str, list[Path]]]:
    """The images of each class, by ``train`` and ``test``: all that must hold before one is opened.

    ``shown`` is what messages call ``directory``.
    """
    root = directory
    top = [entry for entry in _visible(directory) if entry.is_dir()]
    if len(top) == 1 and top[0].name not in ("train", "test"):
        root = top[0]

    def wrong(entry: Path, problem: str) -> UserError:
        return UserError(
            f"{_shown(shown / entry.relative_to(directory))} {problem}: put images into train/CLASS/ and test/CLASS/ "
            f"of {shown}, or set data.path in params.yaml"
        )

    layout: dict[str, dict[str, list[Path]]] = {}
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise wrong(root / split, "does not exist or is no directory")
        layout[split] = {}
        for folder in _visible(root / split):
            if not folder.is_dir():
                raise wrong(folder, "is in no class's directory")
            if not folder.name.isprintable():
                raise wrong(folder, "has no printable UTF-8 name")
            layout[split][folder.name] = list(_visible(folder))
            for file in layout[split][folder.name]:
                if not file.is_file():
                    raise wrong(file, "is no file")
            if not layout[split][folder.name]:
                raise wrong(folder, "has no image")
    train, test = layout["train"], layout["test"]
    if len(train) < 2:
        raise wrong(root / "train", "has fewer than two classes")
    if unknown := sorted(test.keys() - train.keys()):
        raise wrong(root / "test" / unknown[0], "is a class that train/ lacks")
    if untested := sorted(train.keys() - test.keys()):
        raise wrong(root / "test" / untested[0], "does not exist, so the class cannot be judged")
    return layout


def _visible(directory: Path) -> Iterator[Path]:
    return (entry for entry in sorted(directory.iterdir(), key=lambda entry: entry.name) if not _is_hidden(entry.name))


def _shown(path: Path) -> str:
    """The path on one line."""
    return text if (text := str(path)).isprintable() else ascii(text)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
