"""Absurd numbers, one at a time, in every numeric field that a params.yaml or a search may have.

The fields come from the schemas, so that a new component is attacked without an edit. As a program it answers attacks, so
that one that kills or never ends costs its own process alone: `python absurd.py ATTACKS FIRST`.
"""

import json
import math
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

Values = dict[str, Any]
MARK = "the number that is attacked"
INTEGERS = [1024, 2**31, 2**63, 10**30, 10**350]
FLOATS = [1e308, 1e-308, 5e-324, 2**63, 10**30, 10**350]
SECONDS = 15  # of CPU time, for one answer
PATIENCE = 600  # seconds on a busy machine
ADDRESSES = 12 << 30  # bytes of addresses, not of memory: a thread takes 8 MiB
PRETENDED = 1 << 30  # bytes of memory of the machine, so that answers do not depend on it


class Attack(NamedTuple):
    """One absurd number in otherwise small and valid parameters."""

    kind: str  # run, check or search
    field: str
    value: float
    params: Values


class Number(NamedTuple):
    """A numeric field: what its schema allows, and parameters that hold :data:`MARK` in its place."""

    field: str
    schema: Values
    params: Any


def numbers(schema: Values, whole: Values, field: str) -> Iterator[Number]:
    """Yield every numeric field below a schema, which is part of the schema ``whole``."""
    match schema:
        case {"$ref": reference}:
            yield from _of_object(_definition(reference, whole), whole, field)
        case {"oneOf": schemas} | {"anyOf": schemas}:
            for one in schemas:
                yield from numbers(one, whole, field)
        case {"type": "integer" | "number"}:
            yield Number(field, schema, MARK)
        case {"type": "array", "items": items}:
            rest = [smallest(items, whole)] * (schema.get("minItems", 1) - 1)
            yield from (one._replace(params=[one.params, *rest]) for one in numbers(items, whole, field))
        case {"type": "object", "additionalProperties": dict() as items}:
            yield from (one._replace(params={"lr": one.params}) for one in numbers(items, whole, field))


def _of_object(schema: Values, whole: Values, field: str) -> Iterator[Number]:
    around = _object(schema, whole)
    for key, of_key in schema["properties"].items():
        name = f"{field}.{around['name']}.{key}" if "name" in around else f"{field}.{key}"
        yield from (one._replace(params={**around, key: one.params}) for one in numbers(of_key, whole, name))


def smallest(schema: Values, whole: Values, position: int = 0) -> Any:
    """Return a small valid value; of several numbers in one block a later one is larger."""
    match schema:
        case {"$ref": reference}:
            return _object(_definition(reference, whole), whole)
        case {"oneOf": schemas} | {"anyOf": schemas}:
            return smallest(schemas[0], whole)
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"type": "integer" | "number"}:
            return _small(schema, position)
        case {"type": "array", "items": items}:
            return [smallest(items, whole) for _ in range(schema.get("minItems", 1))]
        case {"type": "object", "additionalProperties": dict() as items}:
            return {"lr": smallest(items, whole)}
        case {"type": "boolean"}:
            return False
    return "lr"  # a text, which in a search names what is varied


def _small(schema: Values, position: int) -> float:
    least: Any = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    low = max(0, least)
    high: Any = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    if schema["type"] == "integer":
        return int(min(low + 2 * position + 1 - low % 2, high))  # odd, as sizes of filters
    return float(low + (min(low + 1 + position, high) - low) * (position + 1) / (position + 2))


def _object(schema: Values, whole: Values) -> Values:
    keys = schema["properties"]
    return {key: smallest(keys[key], whole, n) for n, key in enumerate(schema.get("required", []))}


def _definition(reference: str, whole: Values) -> Values:
    definition: Values = whole["$defs"][reference.rpartition("/")[2]]
    return definition


def put(value: float, params: Any) -> Any:
    """Return parameters with a value in the place of :data:`MARK`."""
    match params:
        case dict():
            return {key: put(value, inner) for key, inner in params.items()}
        case list():
            return [put(value, inner) for inner in params]
    return value if params == MARK else params


def values_for(schema: Values) -> list[float]:
    """Return absurd numbers of a field's type, and the largest number that it allows."""
    most = [schema["maximum"]] if "maximum" in schema else []
    return [*(INTEGERS if schema["type"] == "integer" else FLOATS), *most]


def attacks() -> list[Attack]:
    """Return all attacks.

    Raises
    ------
    AssertionError
        If a field cannot be attacked, because parameters with a small number in its place are not valid either.
    """
    from search.small_search import one_round
    from small import PARAMS
    from trainlab.config.schema import CheckConfig, RunConfig, SuiteConfig
    from trainlab.data.sources import DataConfig
    from trainlab.search.params import Search

    found: list[tuple[str, Number]] = []
    for kind, cls, below in (
        ("run", RunConfig, "run"),
        ("check", CheckConfig, "checks"),
        ("check", DataConfig, "data"),
        ("check", SuiteConfig, ""),
        ("search", Search, ""),
    ):
        whole = cls.model_json_schema()
        for key, schema in whole["properties"].items():
            for one in numbers(schema, whole, f"{below}.{key}".lstrip(".")):
                found.append((kind, one._replace(params=_placed(below, {key: one.params}, PARAMS, one_round()))))
    return [
        Attack(kind, one.field, value, put(value, params))
        for kind, one in found
        for params in [_valid(kind, one)]
        for value in values_for(one.schema)
    ]


def _valid(kind: str, one: Number) -> Values:
    """Return the parameters of a field, valid with some small number in its place, in which it is attacked."""
    problems = []
    for params in [one.params, *([_as_student(one.params)] if kind == "run" else [])]:
        for position in (0, 1, 9):  # such as the upper limit of a range, which must be above its end
            problems.append(_problem(kind, put(smallest(one.schema, {}, position), params)))
            if not problems[-1]:
                return params  # type: ignore[no-any-return]
    raise AssertionError(f"{one.field} cannot be attacked: {problems}")


def _placed(below: str, own: Values, params: Values, search: Values) -> Values:
    match below:
        case "run":
            return {**params, "runs": {"small": {"suite": "tricks", **own}}}
        case "":
            return {**(params if "margin" in own else search), **own}
    return {**params, below: {**params[below], **own}}


def _as_student(params: Values) -> Values:
    small = {"teacher": "teacher", **params["runs"]["small"]}
    return {**params, "runs": {"teacher": {"suite": "tricks"}}, "students": {"small": small}}


def _problem(kind: str, params: Values) -> str:
    from trainlab.errors import UserError

    try:
        _read(kind, params)
    except UserError as error:
        return str(error)
    return ""


def _read(kind: str, params: Values) -> Any:
    from trainlab import config, fingerprint
    from trainlab.search import params as search_params

    if kind == "search":
        return search_params._validated(params, Path("params.yaml"))
    with mock.patch.object(fingerprint, "of_run", return_value="0" * 16):  # it takes a second
        runs = config.resolve(params)
    config.resolve_checks(params), config.resolve_suites(params)
    return runs["small"]


# The answers


class _Enough(BaseException):
    """Raised to end what works: it trains."""


def _enough(*arguments: object, **own: object) -> None:
    raise _Enough


def answer(kind: str, params: Values, directory: Path) -> str:
    """Return what became of parameters: ``trains``, or what was raised."""
    from search.small_search import Said
    from small import data
    from trainlab.errors import UserError
    from trainlab.search import engine
    from trainlab.training.replicas import train

    setattr(engine, "train", _enough)  # noqa: B010 (a type checker would refuse the assignment)
    images = data(count=40)
    try:
        read = _read(kind, params)
        if kind == "search":
            (directory / "trials.db").unlink(missing_ok=True)
            engine.run(read, images, directory / "trials.db", Said())
        elif kind == "run":
            steps: list[object] = []
            outputs = None
            if read.teacher:
                import numpy as np

                outputs = np.zeros((1, len(images.train.labels), 4), np.float32)
            train(
                read,
                images,
                teacher_outputs=outputs,
                on_step=lambda step: steps.append(step) if len(steps) < 2 else _enough(),
            )
    except _Enough:
        pass
    except UserError as error:
        text = str(error)
        return "refused" if "\n" not in text and len(text) <= 500 else f"a message of {len(text)} characters: {text}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "accepted"


def answers(attacks: Sequence[Attack], directory: Path) -> list[str]:
    """Return what became of each attack, answered in other processes."""
    file = directory / "attacks.json"
    file.write_text(json.dumps([(attack.kind, attack.params) for attack in attacks]), encoding="utf-8")
    found: list[str] = []
    while len(found) < len(attacks):
        found += _answers_of_one(file, len(found), directory, len(attacks))
    return found


def _answers_of_one(file: Path, first: int, directory: Path, count: int) -> list[str]:
    """Return the answers of one process, and the way it ended if it did not answer all."""
    found: list[str] = []
    command = [sys.executable, __file__, str(file), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory) as process:
        assert process.stdout
        assert process.stderr
        for _ in range(count - first, 0, -1):
            timer = threading.Timer(PATIENCE, process.kill)
            timer.start()
            line = process.stdout.readline()
            late = not timer.is_alive()
            timer.cancel()
            if not line:
                code = process.wait()
                ended = f"died with code {code}: {process.stderr.read()[-300:]}"
                return [*found, "no answer" if late or code == -signal.SIGXCPU else ended]
            found.append(json.loads(line))
    return found


def main(file: str, first: str) -> None:
    """Answer the attacks of a file, from one on: one line each."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

    from trainlab.training import memory

    memory.installed = lambda device: PRETENDED
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for kind, params in json.loads(Path(file).read_text(encoding="utf-8"))[int(first) :]:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + SECONDS, resource.RLIM_INFINITY))
        print(json.dumps(answer(kind, params, Path.cwd())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
