"""What pydantic found wrong with parameters, said in a line each: the key's path, its value, what would be right."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainlab.component import Component

TOGETHER = "together"  # type of an error about values that are fine one by one: its message says it all


def explain(
    error: ValidationError, schema: type[BaseModel], path_of: Callable[[Sequence[str]], str] = ".".join
) -> Iterator[str]:
    """One line a mistake.

    Parameters
    ----------
    error
        What validating against ``schema`` raised.
    schema
        The class that the values should have fitted.
    path_of
        From the keys that lead to a value to the place where the user wrote it.
    """
    for item in error.errors(include_url=False):
        keys, owner = _walk(schema, item["loc"])
        names: list[str] = []
        if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            names = list(_by_name(owner.model_fields[keys[-1].partition("[")[0]]))
            keys = [*keys, "name"]
        where, value = path_of(keys), item["input"]
        match item["type"]:
            case "extra_forbidden":
                known = [key for key in owner.model_fields if key not in ("run", "suite", "code", "name")]
                yield f"{where} is not a parameter{suggest(keys[-1], known)}; known here: {', '.join(known) or 'none'}"
            case "missing":
                yield f"{where} is missing: {_what(owner.model_fields[keys[-1]].annotation)}"
            case "union_tag_not_found":
                yield f"{where} is missing; one of: {', '.join(names)}"
            case "union_tag_invalid":
                given = item["ctx"]["tag"]
                yield f"{where} is {given!r}{suggest(given, names)}; one of: {', '.join(names)}"
            case "literal_error":
                allowed = [str(a) for a in get_args(owner.model_fields[keys[-1]].annotation)]
                yield f"{where} is {value!r}{suggest(value, allowed)}; one of: {', '.join(allowed)}"
            case error_type if error_type == TOGETHER:
                yield f"{where}: {item['msg']}" if where else item["msg"]
            case "model_attributes_type":
                yield f"{where} is {value!r}: it must be a name or a block of keys"
            case "list_type":
                of_what = " of names or blocks of keys" if _by_name(owner.model_fields[keys[-1]]) else ""
                yield f"{where} is {value!r}: it must be a list{of_what}"
            case _ if isinstance(value, Mapping):  # its keys do not go together
                yield f"{where}: {item['msg']}"
            case _:
                yield f"{where} is {value!r}: {item['msg'].replace('Input', 'it').replace('String', 'it')}"


def _what(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of: {', '.join(map(str, get_args(annotation)))}"
    return f"give it {'a block' if _components_of(annotation) else f'a value ({annotation.__name__})'}"


def _walk(schema: type[BaseModel], loc: Sequence[str | int]) -> tuple[list[str], type[BaseModel]]:
    """The keys as written in params.yaml (pydantic adds the part's name after a block's key), and the class they are in."""
    keys: list[str] = []
    owner = schema
    rest = [str(step) for step in loc]
    while rest:
        key = rest.pop(0)
        keys.append(key)
        if rest and rest[0].isdecimal():  # of a list
            keys[-1] += f"[{rest.pop(0)}]"
        if rest and key in owner.model_fields:
            parts = _by_name(owner.model_fields[key])
            tag = rest.pop(0) if rest[0] in parts and len(parts) > 1 else next(iter(parts), None)
            owner = parts.get(tag, owner) if tag else owner
    return keys, owner


def _by_name(annotation: Any) -> dict[str, type[Component]]:
    """The part classes that a field's type admits, each by its `name`."""
    return {
        name: part for part in _components_of(annotation) for name in get_args(part.model_fields["name"].annotation)
    }


def _components_of(annotation: Any) -> list[type[Component]]:
    """The part classes that a field's type admits."""
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Component) else []
    if get_origin(annotation) in (Union, UnionType, Annotated, list):
        return [part for inner in get_args(annotation) for part in _components_of(inner)]
    return []


def suggest(given: object, known: Iterable[object]) -> str:
    """`` (did you mean X?)`` where one of the known names is close to the given one, and nothing otherwise."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(given), names, n=1) or [name for name in names if name.startswith(str(given))]
    return f" (did you mean {close[0]}?)" if close else ""
