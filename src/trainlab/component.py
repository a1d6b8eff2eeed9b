"""The base of everything that params.yaml can name: a model, an objective, an optimizer, a schedule, an initializer."""

from collections.abc import Mapping
from typing import Annotated, Any, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """Parameters checked to the letter: no unknown key, no bool for a number, no infinity, no change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Component(Strict):
    """Something that is told apart by its `name` and *is* its parameters.

    A field has a default only where that default means *absent* (0, false, none): values belong in params.yaml.
    """

    name: str


def one_of(*parts: type[Component]) -> Any:
    """The type of a block that may be any of these parts, told apart by `name`; a bare string is short for ``{name: …}``."""
    if len(parts) == 1:
        return Annotated[parts[0], BeforeValidator(block)]
    return Annotated[Union[*parts], Field(discriminator="name"), BeforeValidator(block)]


def block(value: object) -> object:
    """``{"name": value}`` for a bare string; anything else as it is."""
    return {"name": value} if isinstance(value, str) else value


def merge(base: object, over: object) -> object:
    """``over`` wins over ``base``, key by key; a block that names another `name` starts afresh.

    >>> merge({"lr": 1e-3, "model": {"name": "tf_cnn", "dropout_conv": 0.2}}, {"model": {"dropout_dense": 0.1}})
    {'lr': 0.001, 'model': {'name': 'tf_cnn', 'dropout_conv': 0.2, 'dropout_dense': 0.1}}
    >>> merge({"model": {"name": "tf_cnn", "dropout_conv": 0.2}}, {"model": "shallow"})
    {'model': {'name': 'shallow'}}
    """
    if isinstance(base, Mapping):
        over = block(over)
    if isinstance(over, Mapping):
        base = block(base)
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    if "name" in over and over["name"] != base.get("name"):
        return dict(over)
    return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}
