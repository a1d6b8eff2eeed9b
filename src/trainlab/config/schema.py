"""The schema of params.yaml, and how its three levels become one complete configuration a run."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

import trainlab.models
import trainlab.objectives
from trainlab import fingerprint
from trainlab.component import Component, Strict, merge, one_of
from trainlab.config import reading
from trainlab.config.messages import TOGETHER, explain, suggest
from trainlab.data.augmentation import Augmentation
from trainlab.data.sources import DataConfig
from trainlab.errors import UserError
from trainlab.files import directory_written_whole, repro
from trainlab.models.base import Model
from trainlab.objectives.base import Objective
from trainlab.optimizers import Optimizer
from trainlab.regularizers import Regularizer
from trainlab.schedules import Schedule

NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = ("checks",)  # metrics/checks/ holds something else than a suite


def _collect(package: ModuleType, base: type[Component]) -> Any:
    """The type of a block that may be any part defined in one of the package's files."""
    names = [found.name for found in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    classes = [cls for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    parts = [
        cls for cls in classes if issubclass(cls, base) and get_origin(cls.model_fields["name"].annotation) is Literal
    ]
    return one_of(*dict.fromkeys(parts))


class RunConfig(Strict):
    """Everything that decides a run's result, complete: written to `configs/SUITE/RUN.yaml` and into the model file.

    Parameters
    ----------
    run, suite
        The run's name and the suite that it is compared in.
    seed
        Seed of the first replica; replica r has seed + r.
    replicas
        How many models to train, each from its own seed.
    epochs, batch_size
        Passes over the training images, and images a step.
    lr
        Learning rate before the schedule's factor.
    threads
        CPU threads of PyTorch. Another number gives other rounding, so it is a parameter.
    device
        `auto` takes a GPU where there is one.
    precision
        Of the network's arithmetic; weights and losses are float32 in any case.
    inputs
        `raw`: pixel values in [0, 1]. `channel_mean`, `mean_image`: minus that mean of the training images.
        `standardized`: minus the channel's mean, over its standard deviation.
    subset
        Learn from this many training images, the same share of each class, instead of from all (0).
    validation
        Fraction of the training images, in [0, 1), that are held out and scored after each epoch.
    augmentation
        Random changes to each batch, one after the other.
    regularizers
        Penalties and constraints beside the optimizer's own `weight_decay`.
    layer_statistics
        Whether the history gets the gradient norm and the update/weight ratio of each layer.
    teacher
        The run whose model a student learns from.
    code
        Fingerprint of the code that this run uses.
    """

    run: str
    suite: str
    seed: int = Field(ge=0, lt=2**31)
    replicas: int = Field(ge=1, le=1000)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    lr: float = Field(gt=0)
    threads: int = Field(ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    inputs: Literal["raw", "channel_mean", "mean_image", "standardized"]
    subset: int = Field(default=0, ge=0)
    validation: float = Field(default=0, ge=0, lt=1)
    model: _collect(trainlab.models, Model)  # type: ignore[valid-type]
    objective: _collect(trainlab.objectives, Objective)  # type: ignore[valid-type]
    optimizer: Optimizer
    schedule: Schedule
    augmentation: list[Augmentation] = Field(default=[])
    regularizers: list[Regularizer] = Field(default=[])
    layer_statistics: bool = False
    teacher: str = ""
    code: str = ""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        model, objective = self.model.name, self.objective.name
        problem = ""
        if self.objective.needs_head and not self.model.has_head:
            problem = (
                f"objective {objective} computes only part of the last linear layer, and this {model} ends in none:"
                f" name another model, or another objective"
            )
        elif self.objective.needs_teacher and not self.teacher:
            problem = (
                f"objective {objective} learns from another run's model: put the run under `students`, with"
                f" `teacher: RUN`"
            )
        elif self.teacher and not self.objective.needs_teacher:
            problem = (
                f"objective {objective} has no use for a teacher: name an objective that has, such as teacher_student, or"
                f" put the run under `runs`, without `teacher`"
            )
        elif self.teacher and self.augmentation:
            problem = (
                "augmentation would change the images, and the teacher's outputs are of the unchanged ones: remove it"
            )
        if problem:
            raise PydanticCustomError(TOGETHER, "{problem}", {"problem": problem})
        return self

    def components(self) -> Iterator[Component]:
        """Every part that this run names, also those inside other parts."""
        yield from _components_in(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the fields that are absent, so that adding a feature changes no old configuration."""
        return self.model_dump(exclude_defaults=True)

    def to_yaml(self) -> str:
        """The text of `configs/SUITE/RUN.yaml`; :func:`load` reads it back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


CheckName = Literal["initial_loss", "gradients", "overfit", "objective"]


class CheckConfig(Strict):
    """What the checks of a run expect: the block `checks` of params.yaml.

    Parameters
    ----------
    initial_loss_tolerance
        How far, in nats, the initial loss may be from its value at zero outputs.
    overfit_lr, overfit_epochs
        Constant rate, and passes over 100 images in batches of 50.
    overfit_accuracy
        What the last epoch must reach on these images, in (0, 1].
    expected_to_fail
        Checks that this run fails on purpose: passing one of them is then an error.
    because
        Why this run is measured by another rule than the others; the report repeats it.
    """

    initial_loss_tolerance: float = Field(gt=0)
    overfit_lr: float = Field(gt=0)
    overfit_epochs: int = Field(ge=1)
    overfit_accuracy: float = Field(gt=0, le=1)
    expected_to_fail: list[CheckName] = Field(default=[])
    because: str = ""


def _components_in(model: BaseModel) -> Iterator[Component]:
    for field in vars(model).values():
        for value in field if isinstance(field, list) else [field]:
            if isinstance(value, Component):
                yield value
                yield from _components_in(value)


def resolve(params: Mapping[str, Any], *, where: str = "params.yaml", data: bool = True) -> dict[str, RunConfig]:
    """Every run of params.yaml, students too, as one complete, validated configuration.

    Parameters
    ----------
    params
        The content of params.yaml. A run's value wins over its suite's, which wins over the top level; blocks merge key
        by key (:func:`trainlab.component.merge`).
    where
        The file's name in errors.
    data
        Whether the blocks `data` and `checks`, which the main pipeline alone has, must be there.

    Returns
    -------
    dict
        Configurations by run name, in the order of params.yaml: runs, then students.

    Raises
    ------
    UserError
        Where anything is wrong: one line a mistake, with the key's path, its value and what would be right.
    """
    params = reading.with_numbers(params)
    problems = list(dict.fromkeys(_problems(params, data)))
    if problems:
        raise UserError("\n".join(f"{where}: {problem}" for problem in problems))
    runs = {}
    for run, own in {**params["runs"], **params["students"]}.items():
        config = RunConfig.model_validate(_merged(params, run, own))
        code = fingerprint.of_run(config.components())
        runs[run] = config.model_copy(update={"code": code})
    return runs


def resolve_checks(params: Mapping[str, Any]) -> dict[str, CheckConfig]:
    """What the checks of each run expect, by run name; of params that :func:`resolve` found no mistake in."""
    params = reading.with_numbers(params)
    runs = {**params["runs"], **params["students"]}
    return {run: CheckConfig.model_validate(_all_merged(params, own)["checks"]) for run, own in runs.items()}


def load_params(path: Path) -> dict[str, Any]:
    """Read params.yaml."""
    return reading.load(path, "run this in the root of the project")


def load_data(path: Path) -> DataConfig:
    """Read the block ``data`` of a params.yaml.

    Raises
    ------
    UserError
        When the file or the block is missing, or a value is not allowed.
    """
    data = reading.load(path, "run the stage in the root of the project").get("data")
    if not isinstance(data, dict):
        raise UserError(f"{path} has no block `data`: give it the keys {', '.join(DataConfig.model_fields)}")
    try:
        return DataConfig.model_validate(data)
    except ValidationError as error:
        problems = explain(error, DataConfig, lambda keys: ".".join(("data", *keys)))
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems)) from error


def load(path: Path) -> RunConfig:
    """Read one `configs/SUITE/RUN.yaml`.

    Raises
    ------
    UserError
        Where the file is missing, or was written by another version of the code.
    """
    return from_dict(reading.load(path, f"run {repro('resolve', path)}"), str(path))


def load_checks(path: Path) -> CheckConfig:
    """Read one `configs/checks/RUN.yaml`.

    Raises
    ------
    UserError
        Where the file is missing, or was written by another version of the code.
    """
    try:
        return CheckConfig.model_validate(reading.load(path, f"run {repro('resolve', path)}"))
    except ValidationError as error:
        problem = next(explain(error, CheckConfig))
        raise UserError(f"{path}: {problem} (it was made by other code: run `dvc repro` again)") from error


def from_dict(values: Mapping[str, Any], where: str) -> RunConfig:
    """A configuration from what :meth:`RunConfig.to_dict` gave; ``where`` names its origin in an error."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problem = next(explain(error, RunConfig))
        raise UserError(f"{where}: {problem} (it was made by other code: run `dvc repro` again)") from error


def find(configs: Path, run: str) -> Path:
    """The configuration file of a run, whatever its suite.

    Raises
    ------
    UserError
        Where there is no such run.
    """
    suites = [path for path in configs.glob("*") if path.name not in RESERVED]
    found = [path for suite in suites for path in suite.glob(f"{run}.yaml")]
    if not found:
        hint = suggest(run, (path.stem for suite in suites for path in suite.glob("[a-z]*.yaml")))
        raise UserError(
            f"no run {run!r} in {configs}/{hint}; {repro('resolve', configs)} writes the runs of params.yaml"
        )
    return found[0]


def save_all(runs: Mapping[str, RunConfig], directory: Path, checks: Mapping[str, CheckConfig] | None = None) -> None:
    """Write `SUITE/RUN.yaml` for each run, `SUITE/_runs.yaml`, the suite's runs in the order of params.yaml, and
    `checks/RUN.yaml`, apart, so that what a check expects makes no training stale."""
    with directory_written_whole(directory) as aside:
        for suite in dict.fromkeys(config.suite for config in runs.values()):
            members = [config for config in runs.values() if config.suite == suite]
            (aside / suite).mkdir()
            (aside / suite / "_runs.yaml").write_text(yaml.safe_dump([config.run for config in members]))
            for config in members:
                (aside / suite / f"{config.run}.yaml").write_text(config.to_yaml())
        for run, expects in (checks or {}).items():
            (aside / "checks").mkdir(exist_ok=True)
            values = expects.model_dump(exclude_defaults=True)
            (aside / "checks" / f"{run}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


# Merging

_OWN_KEYS = ("data", "suites", "runs", "students")
_SET_BY_RESOLVE = ("run", "code")


def _merged(params: Mapping[str, Any], run: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run's :class:`RunConfig`."""
    merged = _all_merged(params, own)
    return {"run": run, **{key: value for key, value in merged.items() if key != "checks"}}


def _all_merged(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    top = {key: value for key, value in params.items() if key not in _OWN_KEYS}
    suite = params["suites"][own["suite"]] or {}
    merged = merge(merge(top, suite), own)
    assert isinstance(merged, dict)
    return merged


# Finding mistakes


def _problems(params: Mapping[str, Any], data: bool) -> Iterator[str]:
    """One line a mistake: first the layout, then the data, then the runs."""
    suites = _block(params, "suites")
    yield from _problems_of_layout(params, suites)
    if data and "data" not in params:
        example = "data: {source: cifar10, path: data/folder, image_size: 32}"
        yield f"data is missing: say where the images come from, for example `{example}`"
    if "data" in params:
        yield from _problems_of(DataConfig, params["data"], ".".join, "data")
    for key, run, own in _members(params):
        suite = own.get("suite")
        if isinstance(run, str) and isinstance(suite, str) and isinstance(suites.get(suite, ""), Mapping | None):
            if key == "students" and not _is_teacher(own.get("teacher")):  # that is told already
                own = {**own, "teacher": "unknown"}
            merged = _merged({**params, "suites": suites}, run, own)
            where = partial(_origin, params, key, run, own, merged)
            if data:
                expects = _all_merged({**params, "suites": suites}, own).get("checks", {})
                yield from _problems_of(CheckConfig, expects, where, "checks")
            problems = list(_problems_of(RunConfig, merged, where))
            if key == "runs" and merged.get("teacher") and not problems:  # DVC would not wait for the teacher's model
                problems = [f"{where(['teacher'])} is for students alone: move {run} to `students`, or remove it"]
            yield from problems


def _problems_of_layout(params: Mapping[str, Any], suites: Mapping[str, Any]) -> Iterator[str]:
    runs, students = _block(params, "runs"), _block(params, "students")
    if not isinstance(params.get("students"), Mapping):  # DVC reads it, and says little where it is missing
        what = "is missing" if params.get("students") is None else f"is {params['students']!r}"
        yield f"students {what}: write `students: {{}}` where no run learns from another"
    for key, block in (("suites", suites), ("runs", runs), ("students", students)):
        if not block and key != "students":
            yield f"{key} must name at least one of them, and is {params.get(key)!r}"
        for name, own in block.items():
            yield from _problems_of_name(f"{key}.{name}", name)
            if not isinstance(own, Mapping | None if key == "suites" else Mapping):
                yield f"{key}.{name} is {own!r}: it must be a block of keys, for example `{{suite: tricks}}`"
            if isinstance(own, Mapping):
                yield from _problems_of_reserved(f"{key}.{name}.", own)
    yield from _problems_of_reserved("", params)
    for name, own in students.items():
        if name in runs:
            yield f"students.{name} has the name of a run: give it another"
        elif isinstance(own, Mapping):
            yield from _problems_of_teacher(name, runs, students)
    used = [own.get("suite") for _, _, own in _members(params)]
    for key, run, own in _members(params):
        if (suite := own.get("suite")) not in list(suites):  # it may be anything, also what no dict can look up
            what = "is missing" if suite is None else f"is {suite!r}{suggest(suite, suites)}"
            yield f"{key}.{run}.suite {what}; one of: {', '.join(map(str, suites))}"
    for suite in suites:
        if suite not in used:
            yield f"suites.{suite} has no run: give it one under `runs`, or remove it"


def _members(params: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Every run and student that is a block: under which key, its name, its own values."""
    return [
        (key, name, own)
        for key in ("runs", "students")
        for name, own in _block(params, key).items()
        if isinstance(own, Mapping)
    ]


def _problems_of_teacher(student: str, runs: Mapping[str, Any], students: Mapping[str, Any]) -> Iterator[str]:
    known = [*runs, *(other for other in students if other != student)]
    teacher = students[student].get("teacher")
    if teacher not in [*known, student]:
        what = "is missing" if teacher is None else f"is {teacher!r}{suggest(teacher, known)}"
        yield f"students.{student}.teacher {what}; one of: {', '.join(map(str, known))}"
        return
    seen = [student]
    while teacher not in seen and _is_teacher(teacher) and isinstance(students.get(teacher), Mapping):
        seen.append(teacher)
        teacher = students[teacher].get("teacher")
    if teacher == student:  # in a circle that it is not part of, the others are told
        circle = " <- ".join(map(str, [*seen, student]))
        yield f"students.{student}.teacher leads back to itself ({circle}): name a run, or another student, in its place"


def _is_teacher(name: object) -> bool:
    return isinstance(name, str) and name != ""


def _problems_of_reserved(prefix: str, block: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"{prefix}{key} cannot be set: remove it (every run gets its own)" for key in _SET_BY_RESOLVE if key in block
    )


def _problems_of_name(where: str, name: object) -> Iterator[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        rule = "small letters, digits and _, a letter first"
        yield f"{where} is not a name: use {rule} (and not {', '.join(RESERVED)}, which is taken)"


def _problems_of(
    schema: type[BaseModel], values: object, path_of: Callable[[Sequence[str]], str], *block: str
) -> Iterator[str]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        yield from explain(error, schema, lambda keys: path_of([*block, *keys]))


def _block(params: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return params[key] if isinstance(params.get(key), Mapping) else {}


def _origin(
    params: Mapping[str, Any],
    key: str,
    run: str,
    own: Mapping[str, Any],
    merged: Mapping[str, Any],
    keys: Sequence[str],
) -> str:
    """Where a merged value was written: in the run, in its suite or at the top level."""
    places = ((key, run), ("suites", str(own["suite"])), ())
    # What is missing from the merged values is missing from the innermost block that is there, whatever stands in a block
    # farther out that was begun afresh.
    depth = len(keys) if _holds(merged, keys) else len(keys) - 1
    written = (place for n in range(depth, 0, -1) for place in places if _holds(params, (*place, *keys[:n])))
    return ".".join((*next(written, places[0]), *keys))


def _holds(value: Any, keys: Sequence[str]) -> bool:
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
