"""Configurations as flat lists of keys and values, and what differs between two of them."""

from collections.abc import Mapping
from typing import Any

from trainlab.component import block
from trainlab.config.reading import dump

BLOCKS = ("model", "objective", "optimizer", "schedule", "initializer")  # that a bare string may name
IDENTITY = ("run", "suite", "code")  # they differ in any case


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as text, by their keys joined by dots.

    >>> flat({"lr": 0.001, "model": {"name": "tf_cnn", "initializer": "kaiming_uniform"}})
    {'lr': '0.001', 'model.name': 'tf_cnn', 'model.initializer.name': 'kaiming_uniform'}
    """
    found: dict[str, str] = {}
    for key, value in values.items():
        inner = block(value) if key in BLOCKS else value
        if isinstance(inner, Mapping):
            found |= flat(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _text(inner)
    return found


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):  # in a list
        return dump(dict(value), flow_leaves=True).strip()
    return f"{value:g}" if isinstance(value, float) else str(value)


def own_values(config: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return the values of a run, each with whether it differs from what its suite gives to all of its runs."""
    base = flat(inherited)
    return {key: (value, key not in IDENTITY and base.get(key) != value) for key, value in flat(config).items()}


def changes(config: Mapping[str, Any], against: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what differs between a run and the one that it is compared with: key, value there, value here.

    A key that one of them does not have has an empty value there.
    """
    there, here = flat(against), flat(config)
    keys = [*there, *(key for key in here if key not in there)]
    return [
        (key, there.get(key, ""), here.get(key, ""))
        for key in keys
        if key not in IDENTITY and there.get(key) != here.get(key)
    ]
