"""Read and write YAML 1.2 as plain values: dict, list, str, int, float, bool and None.

YAML 1.2 is what DVC reads too. It differs from YAML 1.1 (PyYAML): ``2e-3`` is a number, ``010`` is ten, and ``on``,
``off``, ``yes`` and ``no`` are strings.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from trainlab.errors import UserError


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
        loaded = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {next_step}") from None
    except (YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2024-13-01
        raise UserError(f"{path}: {_explain(error)}; correct the YAML there") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold keys and values: {next_step}")
    return loaded


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
