"""Base class of everything that params.yaml selects by `name`: models, objectives, optimizers, schedules and so on."""

from typing import Annotated, Any, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """Validated fields: no unknown key, no type conversion, no infinity or NaN, and no change after construction."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Component(Strict):
    """A component selected by `name`; its other fields are its hyperparameters.

    A field has a default only if that default means *absent* (0, false, none, an empty string or list): all other values
    are set in params.yaml.
    """

    name: str


def one_of(*components: type[Component]) -> Any:
    """Return the type of a block that selects one of these components by `name`; a bare string means ``{name: …}``."""
    if len(components) == 1:
        return Annotated[components[0], BeforeValidator(block)]
    return Annotated[Union[*components], Field(discriminator="name"), BeforeValidator(block)]


def block(value: object) -> object:
    """Return ``{"name": value}`` for a string, and any other value unchanged."""
    return {"name": value} if isinstance(value, str) else value
