"""The block `data` of params.yaml: where the images come from."""

from pathlib import Path

from pydantic import ValidationError

from trainlab.config import reading
from trainlab.config.messages import explain
from trainlab.data.sources import DataConfig
from trainlab.errors import UserError, listed


def load_data(path: Path) -> DataConfig:
    """Read the block `data` of a params.yaml.

    Parameters
    ----------
    path
        The params.yaml.

    Raises
    ------
    UserError
        If the file or the block is missing, or a value is not allowed.
    """
    data = reading.load(path, "run the stage in the root of the project").get("data")
    if not isinstance(data, dict):
        raise UserError(f"{path} has no block `data`: give it the keys {', '.join(DataConfig.model_fields)}")
    try:
        return DataConfig.model_validate(data)
    except ValidationError as error:
        mistakes = explain(error, DataConfig, lambda keys: ".".join(("data", *keys)))
        raise UserError(listed([f"{path}: {mistake}" for mistake in mistakes])) from error
