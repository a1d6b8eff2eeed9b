"""Read and write YAML 1.2 as plain values: dict, list, str, int, float, bool and None.

YAML 1.2 is what DVC reads too. It differs from YAML 1.1 (PyYAML): ``2e-3`` is a number, ``010`` is ten, and ``on``,
``off``, ``yes`` and ``no`` are strings.
"""

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from trainlab.errors import UserError, shortened

# Limits of what is read: far above any real file, and low enough that every answer comes within a second.
MAX_BYTES = 1_000_000
MAX_DEPTH = 30
MAX_VALUES = 50_000
MAX_TEXT = 10_000  # characters of a text
SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DIGITS = 400  # characters of a number; Python refuses integers above 4,300
TAGS: dict[type[Node], set[str]] = {
    ScalarNode: {"str", "int", "float", "bool", "null", "timestamp", "merge"},
    SequenceNode: {"seq"},
    MappingNode: {"map"},
}


def load(path: Path, next_step: str) -> dict[str, Any]:
    """Read a YAML file that contains one mapping.

    Parameters
    ----------
    path
        The file.
    next_step
        What the user should do if the file is missing or empty.

    Raises
    ------
    UserError
        If the file is missing, is not valid YAML (a duplicate key included), or does not contain a mapping. The message
        names the file and the line.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path} has {size:,} bytes, and at most {MAX_BYTES:,} are read: is it the right file?")
        loaded = _construct(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {next_step}") from None
    except (YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-01
        raise UserError(f"{path}: {shortened(_explain(error))}; correct the YAML there") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold keys and values: {next_step}")
    return loaded


def _construct(text: str) -> Any:
    """Return the value of a YAML document that anyone may have written.

    Raises
    ------
    YAMLError, ValueError
        If it is not valid, or beyond the limits of this module.
    """
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):  # before the recursion of `compose`, which is slow to give up
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _wrong(event, f"it is nested more than {MAX_DEPTH} levels deep")
    yaml = YAML(typ="safe", pure=True)
    root = yaml.compose(text)
    if root is None:
        return None
    if _values(root, {}) > MAX_VALUES:  # an alias stands for all that it refers to
        raise ValueError(f"it holds more than {MAX_VALUES:,} values when its aliases are followed")
    try:
        return yaml.constructor.construct_document(root)
    except (LookupError, TypeError, AttributeError) as error:  # ruamel.yaml's own, for tags such as `!!bool abc`
        raise ValueError("a value does not fit the type that its tag names") from error


def _values(node: Node, seen: dict[int, int]) -> int:
    """Return how many values a node stands for, and check it and all below it.

    Parameters
    ----------
    node
        The node.
    seen
        The numbers of nodes that were counted; 0 for those whose count is not finished.
    """
    if id(node) in seen:
        if seen[id(node)] == 0:
            raise _wrong(node, "an alias refers to the value that it is in")
        return seen[id(node)]
    seen[id(node)] = 0
    kind = next(kind for kind in TAGS if isinstance(node, kind))
    tag = str(node.tag or "").removeprefix("tag:yaml.org,2002:")
    if tag not in TAGS[kind]:
        raise _wrong(node, f"a value of the type {shortened(tag, 40)!r} is not allowed here")
    count = 1
    if isinstance(node, ScalarNode):
        if len(node.value) > (MAX_DIGITS if tag in ("int", "float") else MAX_TEXT):
            raise _wrong(node, f"a value has {len(node.value):,} characters")
        if SURROGATE.search(node.value):  # no file can hold it
            raise _wrong(node, "a text holds half of a character (an escape such as \\ud83d)")
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _wrong(key, "a key must be a name")
            count += _values(key, seen) + _values(value, seen)
    else:
        count += sum(_values(item, seen) for item in node.value)
    seen[id(node)] = count
    return count


def _wrong(node: Node | Event, problem: str) -> YAMLError:
    return ConstructorError(problem=problem, problem_mark=node.start_mark)


def _explain(error: Exception) -> str:
    """Return one line: where the mistake is, and what it is."""
    mark = getattr(error, "problem_mark", None)
    line = f"line {mark.line + 1}: " if mark else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if isinstance(error, DuplicateKeyError):  # without the two values, which may be long
        problem = problem.partition(" with value ")[0].removeprefix("found ")
    return f"{line}{problem}"


def dump(value: Any, *, flow_leaves: bool = False) -> str:
    """Return a value as YAML text, its keys in their own order.

    Parameters
    ----------
    value
        Nested dict, list, str, int, float, bool and None.
    flow_leaves
        Whether to write the innermost blocks on one line, as ``{name: adam, eps: 1.0e-08}``.
    """
    yaml: Any = YAML(typ="safe", pure=True)  # its annotations are narrower than what it takes
    yaml.Representer = _Representer
    yaml.default_flow_style = None if flow_leaves else False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 1_000_000  # never break a line
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


class _Representer(SafeRepresenter):
    """Write 1e-8 as ``1.0e-08``, which is a number in YAML 1.1 too."""

    def represent_float(self, data: float) -> ScalarNode:
        node = super().represent_float(data)
        if "e" in node.value and "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node


_Representer.add_representer(float, _Representer.represent_float)
