"""Reading params.yaml and the configurations made from it: YAML as people write it, mistakes as one line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trainlab.errors import UserError


class _Loader(yaml.SafeLoader):
    pass


def _mapping_without_twins(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, yaml.Node] = {}
    for key, _ in node.value:
        name = loader.construct_object(key)
        if name in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {name!r} stands twice in one block", key.start_mark
            )
        seen[name] = key
    return loader.construct_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_twins)


def load(path: Path, next_step: str) -> dict[str, Any]:
    """Read a YAML file of keys and values; `2e-3` is a number, and a key that stands twice is an error.

    Parameters
    ----------
    path
        The file.
    next_step
        What the user should do where the file is missing or empty.

    Raises
    ------
    UserError
        Where the file is missing, is not YAML, or holds something else than keys and values.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a subclass of SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {next_step}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise UserError(f"{path}:{line} {getattr(error, 'problem', error)}; correct the YAML there") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold keys and values: {next_step}")
    return with_numbers(loaded)


_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def with_numbers(value: Any) -> Any:
    """The same values, with strings such as `2e-3` as numbers, which they are to everyone but YAML 1.1."""
    if isinstance(value, Mapping):
        return {key: with_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_numbers(inner) for inner in value]
    if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
        return float(value)
    return value
