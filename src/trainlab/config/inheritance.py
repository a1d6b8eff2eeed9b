"""How the three levels of params.yaml (top level, suite, run) become the values of one run."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainlab.component import block

NOT_INHERITED = ("data", "suites", "runs", "students")
NOT_OF_TRAINING = ("checks", "against", "margin")  # what a run is checked by and compared with


def merge(base: object, over: object) -> object:
    """Merge two values: ``over`` wins, key by key; a block with a different `name` replaces the inherited one.

    A list is replaced as a whole.

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


def merge_levels(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run: its own over its suite's over the top level.

    Parameters
    ----------
    params
        The content of params.yaml.
    own
        The run's own block, which names a suite of ``params``.
    """
    top = {key: value for key, value in params.items() if key not in NOT_INHERITED}
    suite = params["suites"][own["suite"]] or {}
    merged = merge(merge(top, suite), own)
    assert isinstance(merged, dict)
    return merged


def run_values(params: Mapping[str, Any], run: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run's :class:`~trainlab.config.schema.RunConfig`, not validated."""
    values = merge_levels(params, own)
    return {"run": run, **{key: value for key, value in values.items() if key not in NOT_OF_TRAINING}}


def origin(params: Mapping[str, Any], place: tuple[str, str], own: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the path in params.yaml at which an inherited value was written.

    Parameters
    ----------
    params
        The content of params.yaml.
    place
        Where the run stands: ``runs`` or ``students``, and its name.
    own
        The run's own block.
    keys
        The keys that lead to the value within the run; ``key[0]`` is the first element of a list.

    Returns
    -------
    str
        The keys joined by dots, such as ``suites.tricks.optimizer.eps``.
    """
    places = (place, ("suites", str(own["suite"])), ())
    # A key that is missing after the merge is missing from the innermost block that exists: an outer block with a
    # different name, which was replaced, may well have it.
    depth = len(keys) if _has(merge_levels(params, own), keys) else len(keys) - 1
    written = (level for n in range(depth, 0, -1) for level in places if _has(params, (*level, *keys[:n])))
    return ".".join((*next(written, places[0]), *keys))


def _has(value: Any, keys: Sequence[str]) -> bool:
    """Return whether nested blocks and lists contain a value at a path."""
    for key in keys:
        if isinstance(value, str) and key == "name":  # a bare string is short for {name: …}
            return True
        key, _, index = key.partition("[")
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
        if index:
            position = int(index.rstrip("]"))
            if not isinstance(value, list) or position >= len(value):
                return False
            value = value[position]
    return True
