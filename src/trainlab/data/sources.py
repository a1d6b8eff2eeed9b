"""Where the images come from: what params.yaml may say under `data`, and the source that it names.

A new source is a file with a class that has `fetch` and `read`, and its name in the two tables below.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainlab.data.cifar10 import Cifar10
from trainlab.data.digits import Digits
from trainlab.data.folder import Folder
from trainlab.data.stored import Split
from trainlab.errors import UserError

SourceName = Literal["cifar10", "digits", "folder"]


class DataConfig(BaseModel):
    """The block ``data`` of params.yaml; ``path`` and ``image_size`` are for the source ``folder``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: SourceName = Field(description="cifar10, digits or folder")
    path: str = Field(min_length=1, description="the path of a directory, .tar, .tar.gz, .tar.xz or .zip")
    image_size: int = Field(ge=8, le=512, description="a whole number of pixels from 8 to 512")


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


def load_config(path: Path) -> DataConfig:
    """Read the block ``data`` of a params.yaml.

    Raises
    ------
    UserError
        When the file or the block is missing, or a value is not allowed.
    """
    try:
        params = yaml.safe_load(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist here: run the stage in the root of the project") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{where}: mend it, then run the same command again") from error
    data = params.get("data") if isinstance(params, dict) else None
    if not isinstance(data, dict):
        raise UserError(f"{path} has no block `data`: give it the keys {', '.join(DataConfig.model_fields)}")
    try:
        return DataConfig.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_problem(str(item["loc"][0]), item["type"], item["input"]) for item in error.errors())
        raise UserError(f"{path}: {problems}") from error


def _problem(key: str, kind: str, value: object) -> str:
    if kind == "extra_forbidden":
        return f"data.{key} is not known: remove it, or use one of {', '.join(DataConfig.model_fields)}"
    allowed = DataConfig.model_fields[key].description
    return f"data.{key} is {'missing' if kind == 'missing' else repr(value)}: give {allowed}"
