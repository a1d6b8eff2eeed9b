"""Base class of everything that params.yaml selects by `name`: models, objectives, optimizers, schedules and so on."""

from typing import Annotated, Any, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Upper ends are far above any sensible value. They keep a slip of the keyboard from ending in a training that never ends, in
# an integer of more than 64 bits, or in a product of hyperparameters that float32 cannot hold.
Count = Annotated[int, Field(ge=1, le=100_000)]  # how often something is done: epochs, steps, trials
Size = Annotated[int, Field(ge=1, le=2**16)]  # units or filters of a layer
Positive = Annotated[float, Field(gt=0, le=1e4)]
NotNegative = Annotated[float, Field(ge=0, le=1e4)]
Rate = Annotated[
    float, Field(gt=0, le=1e30)
]  # a learning rate: one that is too high is reported when the loss is infinite


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
