"""Find every mistake in params.yaml."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from trainlab.config.inheritance import merge_levels, origin, run_values
from trainlab.config.messages import explain, suggest
from trainlab.config.names import MAX_NAME, NAME
from trainlab.config.schema import CheckConfig, RunConfig, SuiteConfig
from trainlab.data.sources import DataConfig

RESERVED = ("checks",)  # configs/checks and metrics/checks are not suites
SET_BY_RESOLVE = ("run", "code")


class _Member(NamedTuple):
    """A block under `runs` or `students`."""

    key: str
    name: str
    own: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"{self.key}.{self.name}"


def mistakes(params: Mapping[str, Any], *, data: bool) -> Iterator[str]:
    """Yield one line per mistake: first in the layout, then in the data, then in the runs.

    Parameters
    ----------
    params
        The content of params.yaml.
    data
        Whether the blocks `data` and `checks` are required.
    """
    suites = _block(params, "suites")
    yield from _in_layout(params)
    if data and "data" not in params:
        example = "data: {source: cifar10, path: data/folder, image_size: 32}"
        yield f"data is missing: say where the images come from, for example `{example}`"
    if "data" in params:
        yield from _in_values(DataConfig, params["data"], ".".join, "data")
    for member in _members(params):
        suite = member.own.get("suite")
        if (
            isinstance(member.name, str)
            and isinstance(suite, str)
            and isinstance(suites.get(suite, ""), Mapping | None)
        ):
            yield from _in_run(params, member, checks=data)


def _in_run(params: Mapping[str, Any], member: _Member, *, checks: bool) -> Iterator[str]:
    own = member.own
    if member.key == "students" and not _is_name(own.get("teacher")):  # reported with the layout
        own = {**own, "teacher": "unknown"}
    where = partial(origin, params, (member.key, member.name), own)
    if checks:
        yield from _in_values(CheckConfig, merge_levels(params, own).get("checks", {}), where, "checks")
    values = run_values(params, member.name, own)
    # A name that is not valid is reported with the layout, where it is defined.
    names = ("run", "suite", "teacher")
    values |= {key: "unknown" for key in names if _is_name(values.get(key)) and not _is_valid_name(values[key])}
    found = list(_in_values(RunConfig, values, where))
    if member.key == "runs" and values.get("teacher") and not found:  # DVC would not wait for the teacher's model
        found = [f"{where(['teacher'])} is only allowed for students: move {member.name} to `students`, or remove it"]
    yield from found


def _in_values(
    schema: type[BaseModel], values: object, path_of: Callable[[Sequence[str]], str], *block: str
) -> Iterator[str]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        yield from explain(error, schema, lambda keys: path_of([*block, *keys]))


# Layout: which blocks there are, and their names


def _in_layout(params: Mapping[str, Any]) -> Iterator[str]:
    suites, runs, students = (_block(params, key) for key in ("suites", "runs", "students"))
    if not isinstance(params.get("students"), Mapping):  # DVC reads it, and its own message would not say why
        what = "is missing" if params.get("students") is None else f"is {params['students']!r}"
        yield f"students {what}: write `students: {{}}` if no run learns from another"
    for key, block in (("suites", suites), ("runs", runs), ("students", students)):
        if not block and key != "students":
            yield f"{key} is {params.get(key)!r}: it must contain at least one {key.removesuffix('s')}"
        yield from _in_names(key, block)
    yield from _reserved_keys("", params)
    for name, own in students.items():
        if name in runs:
            yield f"students.{name} has the name of a run: choose another name"
        elif isinstance(own, Mapping):
            yield from _in_teacher(name, runs, students)
    yield from _in_suites(params, suites)
    yield from _in_comparisons(params, suites)


def _in_names(key: str, block: Mapping[str, Any]) -> Iterator[str]:
    for name, own in block.items():
        path = f"{key}.{name}"
        if name in RESERVED:
            yield f"{path} is not a valid name: it is reserved, choose another"
        elif isinstance(name, str) and len(name) > MAX_NAME:
            yield f"{key}.{name[:20]}… has {len(name)} characters: a name has at most {MAX_NAME}, because files are named so"
        elif not isinstance(name, str) or not _is_valid_name(name):
            yield f"{path} is not a valid name: use small letters, digits and _, starting with a letter"
        if not isinstance(own, Mapping | None if key == "suites" else Mapping):
            yield f"{path} is {own!r}: it must be a block of keys, for example `{{suite: tricks}}`"
        if isinstance(own, Mapping):
            yield from _reserved_keys(f"{path}.", own)


def _in_suites(params: Mapping[str, Any], suites: Mapping[str, Any]) -> Iterator[str]:
    used = []
    for member in _members(params):
        suite = member.own.get("suite")
        used.append(suite)
        if suite not in list(suites):  # a list: the value may be unhashable
            what = "is missing" if suite is None else f"is {suite!r}{suggest(suite, suites)}"
            yield f"{member.path}.suite {what}; one of: {', '.join(map(str, suites))}"
    for suite in suites:
        if suite not in used:
            yield f"suites.{suite} has no run: give it one under `runs`, or remove it"


def _in_comparisons(params: Mapping[str, Any], suites: Mapping[str, Any]) -> Iterator[str]:
    if "margin" not in params:
        yield "margin is missing: write the difference of two accuracies that matters, for example `margin: 0.01`"
    levels = {"": params, **{f"suites.{name}.": own for name, own in suites.items() if isinstance(own, Mapping)}}
    for path, level in levels.items():
        if "margin" in level:
            yield from _in_values(SuiteConfig, {"margin": level["margin"], "runs": {}}, partial(_below, path))
    if "against" in params:
        yield "against is only allowed in suites and runs: move it to one of them"
    for member in _members(params):
        if "margin" in member.own:
            yield f"{member.path}.margin is only allowed for suites and at the top level: move it there"
        if isinstance(member.own.get("suite"), str):
            yield from _in_against(params, suites, member)


def _below(path: str, keys: Sequence[str]) -> str:
    return path + ".".join(keys)


def _in_against(params: Mapping[str, Any], suites: Mapping[str, Any], member: _Member) -> Iterator[str]:
    suite = member.own["suite"]
    of_suite = suites.get(suite)
    others = [other.name for other in _members(params) if other.own.get("suite") == suite and other.name != member.name]
    for path, level, allowed in (
        (member.path, member.own, others),
        (f"suites.{suite}", of_suite if isinstance(of_suite, Mapping) else {}, [*others, member.name]),
    ):
        against = level.get("against")
        if against is not None and against not in allowed:
            yield f"{path}.against is {against!r}{suggest(against, allowed)}; one of: {', '.join(map(str, [*allowed, 'null']))}"


def _in_teacher(student: str, runs: Mapping[str, Any], students: Mapping[str, Any]) -> Iterator[str]:
    known = [*runs, *(other for other in students if other != student)]
    teacher = students[student].get("teacher")
    if teacher not in [*known, student]:
        what = "is missing" if teacher is None else f"is {teacher!r}{suggest(teacher, known)}"
        yield f"students.{student}.teacher {what}; one of: {', '.join(map(str, known))}"
        return
    seen = [student]
    while teacher not in seen and _is_name(teacher) and isinstance(students.get(teacher), Mapping):
        seen.append(teacher)
        teacher = students[teacher].get("teacher")
    if teacher == student:  # a student whose teacher is in a circle, but not the student itself, is not at fault
        circle = " <- ".join(map(str, [*seen, student]))
        yield f"students.{student}.teacher is circular ({circle}): name a run, or a student outside the circle"


def _reserved_keys(prefix: str, block: Mapping[str, Any]) -> Iterator[str]:
    for key in SET_BY_RESOLVE:
        if key in block:
            yield f"{prefix}{key} cannot be set: remove it (`resolve` sets it for every run)"


def _members(params: Mapping[str, Any]) -> list[_Member]:
    """Return every run and student that is a block."""
    return [
        _Member(key, name, own)
        for key in ("runs", "students")
        for name, own in _block(params, key).items()
        if isinstance(own, Mapping)
    ]


def _block(params: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return params[key] if isinstance(params.get(key), Mapping) else {}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name != ""


def _is_valid_name(name: str) -> bool:
    return len(name) <= MAX_NAME and NAME.fullmatch(name) is not None
