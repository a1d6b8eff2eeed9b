"""Turn pydantic's errors into one line per mistake: the key's path, its value, what is allowed."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainlab.component import Component

TOGETHER = "together"  # type of an error about values that are valid on their own: its message is complete


def explain(
    error: ValidationError, schema: type[BaseModel], path_of: Callable[[Sequence[str]], str] = ".".join
) -> Iterator[str]:
    """Yield one line per mistake.

    Parameters
    ----------
    error
        The error that validation against ``schema`` raised.
    schema
        The class that the values were validated against.
    path_of
        Maps the keys that lead to a value to the path that the user wrote.
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
            case _ if isinstance(value, Mapping):  # its keys cannot be combined
                yield f"{where}: {item['msg']}"
            case error_type:
                expected = item["msg"].replace("Input", "it").replace("String", "it")
                yield f"{where} is {value!r}: {expected}{_hint(error_type, value)}"


def _hint(error_type: str, value: object) -> str:
    """Return what to write instead, where YAML read a word as another type than its writer meant."""
    if error_type == "string_type" and isinstance(value, bool | int | float | date):
        return "; put it in quotes"
    return "; write true or false" if error_type == "bool_type" else ""


def _what(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of: {', '.join(map(str, get_args(annotation)))}"
    return f"give it {'a block' if _components_of(annotation) else f'a value ({annotation.__name__})'}"


def _walk(schema: type[BaseModel], loc: Sequence[str | int]) -> tuple[list[str], type[BaseModel]]:
    """Return the keys as in params.yaml, and the class of the innermost; pydantic adds a component's name to its key."""
    keys: list[str] = []
    owner = schema
    rest = [str(step) for step in loc]
    while rest:
        key = rest.pop(0)
        keys.append(key)
        if rest and rest[0].isdecimal():  # the position in a list
            keys[-1] += f"[{rest.pop(0)}]"
        if rest and key in owner.model_fields:
            allowed = _by_name(owner.model_fields[key])
            tag = rest.pop(0) if rest[0] in allowed and len(allowed) > 1 else next(iter(allowed), None)
            owner = allowed.get(tag, owner) if tag else owner
    return keys, owner


def _by_name(annotation: Any) -> dict[str, type[Component]]:
    """Return the component classes that a field's type allows, by `name`."""
    return {name: cls for cls in _components_of(annotation) for name in get_args(cls.model_fields["name"].annotation)}


def _components_of(annotation: Any) -> list[type[Component]]:
    """Return the component classes that a field's type allows."""
    annotation = getattr(annotation, "annotation", annotation)
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Component) else []
    if get_origin(annotation) in (Union, UnionType, Annotated, list):
        return [cls for inner in get_args(annotation) for cls in _components_of(inner)]
    return []


def suggest(given: object, known: Iterable[object]) -> str:
    """Return `` (did you mean X?)`` if one of the known names is close to the given one, else an empty string."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(given), names, n=1) or [name for name in names if name.startswith(str(given))]
    return f" (did you mean {close[0]}?)" if close else ""
