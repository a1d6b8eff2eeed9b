"""Images as a model takes them: decoded, scaled and cropped like those of the source `folder`."""

import errno
import io
import math
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from trainlab.data.sources import folder
from trainlab.data.sources.images import to_rgb
from trainlab.errors import UserError

Picture = str | Path | bytes | Image.Image  # a file, the content of a file, or an image of Pillow


class Decoder:
    """Turns images of any size and mode into the pixels that a model takes.

    Parameters
    ----------
    shape
        ``(channels, height, width)`` of the model's images. Files and images of Pillow need a model of square RGB images,
        which is what the source `folder` makes of them.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.channels, self.height, self.width = shape
        self._source = folder.Folder(Path(), self.height)

    def decode(self, picture: Picture) -> np.ndarray:
        """Return the pixels of one image, ``[height, width, 3]``, uint8.

        Raises
        ------
        UserError
            If it cannot be read, is damaged or too large, or is not a PNG, JPEG or WebP image. The message is one line
            and does not name the image.
        """
        try:
            if isinstance(picture, Image.Image):
                return self._scaled(picture)
            # Pillow opens files and buffers alike.
            file = io.BytesIO(picture) if isinstance(picture, bytes) else _regular(Path(picture))
            return self._source.image(file)  # type: ignore[arg-type]
        except MemoryError as error:
            raise UserError("needs more memory to be decoded than there is: make it smaller") from error
        except Exception as error:  # Pillow raises many types of errors for damaged files
            raise UserError(self._problem(error.__cause__ or error)) from error

    def decode_all(self, pictures: Iterable[Picture | UserError]) -> Iterator[np.ndarray | UserError]:
        """Yield the pixels of each image, or the error of :meth:`decode`, in the given order; errors are passed on.

        Raises
        ------
        UserError
            If the model does not take square RGB images.
        """
        if (self.channels, self.height) != (3, self.width):
            raise UserError(
                f"files are converted to square RGB images, and this model takes images of {self.height}×{self.width}"
                f" pixels and channels: {self.channels}; `trainlab.load(…).predict` takes arrays of that shape"
            )

        def decoded(picture: Picture | UserError) -> np.ndarray | UserError:
            try:
                return picture if isinstance(picture, UserError) else self.decode(picture)
            except UserError as error:
                return UserError(str(error))  # without the traceback, which keeps a decoded image in memory

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about metadata and about sizes, which are checked
            with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes and scales
                yield from pool.map(decoded, pictures)

    def scale(self, images: np.ndarray) -> np.ndarray:
        """Return images ``[n, height, width, channels]``, uint8, in the model's size.

        Raises
        ------
        ValueError
            If the array has another type or number of dimensions, or another number of channels than the model's images.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != self.channels:
            raise ValueError(
                f"images are {images.dtype}{list(images.shape)} instead of uint8[n, height, width, {self.channels}], with"
                f" pixel values from 0 to 255"
            )
        size = (self.height, self.width)
        if images.shape[1:3] == size:
            return images
        if self.channels != 3 or self.height != self.width:
            raise ValueError(
                f"images of {images.shape[1:3]} pixels are not scaled to {size}: only square RGB images are"
            )
        return np.array([self.decode(Image.fromarray(image)) for image in images], np.uint8).reshape(-1, *size, 3)

    def _scaled(self, image: Image.Image) -> np.ndarray:
        """Do for an image of Pillow what the source does for a file."""
        if max(image.width * image.height, math.prod(self._source.scaled(image.size))) > folder.LARGEST_IMAGE:
            raise Image.DecompressionBombError
        return np.asarray(self._source.square(to_rgb(image)))

    def _problem(self, error: BaseException) -> str:
        """Say what is wrong with an image whose decoding raised this error."""
        if isinstance(error, Image.DecompressionBombError):
            limit = f"{folder.LARGEST_IMAGE:,} pixels, before and after scaling to {self.height} pixels"
            return f"is too large or too long (the limit is {limit})"
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of Pillow
            return f"cannot be read ({error.strerror})"
        return "is damaged or not a PNG, JPEG or WebP image"


def shown(name: str) -> str:
    """Return the name of a file as text on one line."""
    return folder.path_text(Path(name))


def _regular(path: Path) -> Path:
    """Return the path of a regular file; opening a named pipe would wait for a writer."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    return path
