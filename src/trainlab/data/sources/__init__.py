"""Where the images come from: the block `data` of params.yaml and the source that it selects.

To add a source, write a class with the methods of :class:`Source` and add one line to :data:`SOURCES`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from trainlab.component import Strict
from trainlab.data.sources.cifar10 import Cifar10
from trainlab.data.sources.digits import Digits
from trainlab.data.sources.folder import Folder
from trainlab.data.stored import Split


class Source(Protocol):
    """A collection of labeled images."""

    def fetch(self, directory: Path) -> None:
        """Write the source's files to the empty ``directory``, verified.

        Raises
        ------
        UserError
            If the files cannot be fetched or are not the expected ones. The content of ``directory`` is then undefined.
        """

    def read(self, directory: Path) -> tuple[Split, Split, list[str]]:
        """Decode the files that :meth:`fetch` wrote: training images, test images, class names.

        Raises
        ------
        UserError
            If a file is missing or damaged.
        """


SOURCES: dict[str, Callable[["DataConfig"], Source]] = {
    "cifar10": lambda config: Cifar10(),
    "digits": lambda config: Digits(),
    "folder": lambda config: Folder(Path(config.path), config.image_size),
}

if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[tuple(SOURCES)]  # only at run time, because type checkers need literal values


class DataConfig(Strict):
    """The block ``data`` of params.yaml; ``path`` and ``image_size`` are used by the source ``folder``.

    Parameters
    ----------
    source
        A key of :data:`SOURCES`.
    path
        Directory or archive of images.
    image_size
        Height and width of the normalized images in pixels, 8 to 512.
    """

    source: SourceName
    path: str = Field(min_length=1)
    image_size: int = Field(ge=8, le=512)


def get(config: DataConfig) -> Source:
    """Return the source that the configuration selects."""
    return SOURCES[config.source](config)
