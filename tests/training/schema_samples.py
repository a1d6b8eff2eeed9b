"""Small values of everything that the schema of a run allows, so that tests cover a new component without an edit."""

import math
from collections.abc import Iterator
from typing import Any

from trainlab.config.schema import RunConfig

Values = dict[str, Any]
SCHEMA: Values = RunConfig.model_json_schema()


def smallest_run() -> Values:
    """Return the values of a run with its required keys alone."""
    return next(_objects(SCHEMA))


def choices(key: str) -> list[Any]:
    """Return values of one key of a run.

    A number takes a small value, and 0 or another lower end of its range. A list has one item. A component has its
    required keys alone, then one of its keys changed or added at a time.
    """
    return list(_allowed(SCHEMA["properties"][key]))


def _allowed(schema: Values) -> Iterator[Any]:
    match schema:
        case {"$ref": reference}:
            yield from _objects(SCHEMA["$defs"][reference.rpartition("/")[2]])
        case {"oneOf": schemas} | {"anyOf": schemas}:
            for one in schemas:
                yield from _allowed(one)
        case {"const": value}:
            yield value
        case {"enum": values}:
            yield from (value for value in values if value is not None)
        case {"type": "boolean"}:
            yield from (True, False)
        case {"type": "integer" | "number"}:
            yield from _numbers(schema)
        case {"type": "string"}:
            yield "name"
        case {"type": "array", "items": items}:
            yield from ([value] for value in _allowed(items))


def _numbers(schema: Values) -> list[float]:
    step = 1 if schema["type"] == "integer" else 0
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + step)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - step)
    if step:
        return [low, min(low + 2, high)]
    return [(low + min(low + 1, high)) / 2, *([low] if "minimum" in schema else [])]


def _objects(schema: Values) -> Iterator[Values]:
    """Yield an object with its required keys alone, then with one key changed or added at a time."""
    keys = schema["properties"]
    smallest = {key: next(_allowed(keys[key])) for key in schema["required"]}
    yield smallest
    for key, of_key in keys.items():
        present = smallest.get(key, of_key.get("default"))
        yield from ({**smallest, key: value} for value in _allowed(of_key) if value != present)
