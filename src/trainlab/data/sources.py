"""Where the images come from: what params.yaml may say under `data`, and the source that it names.

A new source is a file with a class that has `fetch` and `read`, and its name in the two tables below.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from trainlab.component import Strict
from trainlab.data.cifar10 import Cifar10
from trainlab.data.digits import Digits
from trainlab.data.folder import Folder
from trainlab.data.stored import Split

SourceName = Literal["cifar10", "digits", "folder"]


class DataConfig(Strict):
    """The block ``data`` of params.yaml; ``path`` and ``image_size`` are for the source ``folder``."""

    source: SourceName
    path: str = Field(min_length=1)
    image_size: int = Field(ge=8, le=512)


class Source(Protocol):
    """A collection of labelled images."""

    def fetch(self, directory: Path) -> None:
        """Fill the empty ``directory`` with the source's own files, verified.

        Raises
        ------
        UserError
            When they cannot be had or are not what they should be. ``directory`` is then of no use.
        """

    def read(self, directory: Path) -> tuple[Split, Split, list[str]]:
        """Decode what :meth:`fetch` fetched: training images, test images, class names.

        Raises
        ------
        UserError
            When a file is missing or damaged.
        """


SOURCES: dict[SourceName, Callable[[DataConfig], Source]] = {
    "cifar10": lambda config: Cifar10(),
    "digits": lambda config: Digits(),
    "folder": lambda config: Folder(Path(config.path), config.image_size),
}


def get(config: DataConfig) -> Source:
    """The source that the configuration names."""
    return SOURCES[config.source](config)
