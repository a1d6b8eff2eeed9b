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
from trainlab import fingerprint, params_file
from trainlab.data.augmentation import Augmentation
from trainlab.data.sources import DataConfig
from trainlab.errors import UserError
from trainlab.files import directory_written_whole
from trainlab.models.base import Model
from trainlab.objectives.base import Objective
from trainlab.optimizers import Optimizer
from trainlab.part import Part, Strict, merge, one_of
from trainlab.problems import TOGETHER, explain, suggest
from trainlab.regularizers import Regularizer
from trainlab.schedules import Schedule

NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = ("checks",)  # metrics/checks/ holds something else than a suite


def _collect(package: ModuleType, base: type[Part]) -> Any:
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
                f"objective {objective} has no use for the teacher {self.teacher}: name an objective that has, such as"
                f" teacher_student, or put the run under `runs`, without `teacher`"
            )
        elif self.teacher and self.augmentation:
            problem = (
                "augmentation would change the images, and the teacher's outputs are of the unchanged ones: remove it"
            )
        if problem:
            raise PydanticCustomError(TOGETHER, "{problem}", {"problem": problem})
        return self

    def parts(self) -> Iterator[Part]:
        """Every part that this run names, also those inside other parts."""
        yield from _parts_in(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the fields that are absent, so that adding a feature changes no old configuration."""
        return self.model_dump(exclude_defaults=True)

    def to_yaml(self) -> str:
        """The text of `configs/SUITE/RUN.yaml`; :func:`load` reads it back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def _parts_in(model: BaseModel) -> Iterator[Part]:
    for field in vars(model).values():
        for value in field if isinstance(field, list) else [field]:
            if isinstance(value, Part):
                yield value
                yield from _parts_in(value)


def resolve(params: Mapping[str, Any], *, where: str = "params.yaml", data: bool = True) -> dict[str, RunConfig]:
    """Every run of params.yaml, students too, as one complete, validated configuration.

    Parameters
    ----------
    params
        The content of params.yaml. A run's value wins over its suite's, which wins over the top level; blocks merge key
        by key (:func:`trainlab.part.merge`).
    where
        The file's name in errors.
    data
        Whether the block `data` must be there.

    Returns
    -------
    dict
        Configurations by run name, in the order of params.yaml: runs, then students.

    Raises
    ------
    UserError
        Where anything is wrong: one line a mistake, with the key's path, its value and what would be right.
    """
    params = params_file.with_numbers(params)
    problems = list(dict.fromkeys(_problems(params, data)))
    if problems:
        raise UserError("\n".join(f"{where}: {problem}" for problem in problems))
    runs = {}
    for run, own in {**params["runs"], **params["students"]}.items():
        config = RunConfig.model_validate(_merged(params, run, own))
        code = fingerprint.of_run(config.parts())
        runs[run] = config.model_copy(update={"code": code})
    return runs


def load_params(path: Path) -> dict[str, Any]:
    """Read params.yaml."""
    return params_file.load(path, "run this in the root of the project")


def load(path: Path) -> RunConfig:
    """Read one `configs/SUITE/RUN.yaml`.

    Raises
    ------
    UserError
        Where the file is missing, or was written by another version of the code.
    """
    return from_dict(params_file.load(path, "run `dvc repro resolve`"), str(path))


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
    found = sorted(configs.glob(f"*/{run}.yaml"))
    if not found:
        hint = suggest(run, (path.stem for path in configs.glob("*/[a-z]*.yaml")))
        raise UserError(f"no run {run!r} in {configs}/{hint}; `dvc repro resolve` writes the runs of params.yaml")
    return found[0]


def save_all(runs: Mapping[str, RunConfig], directory: Path) -> None:
    """Write `SUITE/RUN.yaml` for each run, and `SUITE/_runs.yaml`, the suite's runs in the order of params.yaml."""
    with directory_written_whole(directory) as aside:
        for suite in dict.fromkeys(config.suite for config in runs.values()):
            members = [config for config in runs.values() if config.suite == suite]
            (aside / suite).mkdir()
            (aside / suite / "_runs.yaml").write_text(yaml.safe_dump([config.run for config in members]))
            for config in members:
                (aside / suite / f"{config.run}.yaml").write_text(config.to_yaml())


# Merging

_OWN_KEYS = ("data", "suites", "runs", "students")
_SET_BY_RESOLVE = ("run", "code")


def _merged(params: Mapping[str, Any], run: str, own: Mapping[str, Any]) -> dict[str, Any]:
    top = {key: value for key, value in params.items() if key not in _OWN_KEYS}
    suite = params["suites"][own["suite"]] or {}
    merged = merge(merge(top, suite), own)
    assert isinstance(merged, dict)
    return {"run": run, **merged}


# Finding mistakes


def _problems(params: Mapping[str, Any], data: bool) -> Iterator[str]:
    """One line a mistake: first the layout, then the data, then the runs."""
    suites = _block(params, "suites")
    yield from _problems_of_layout(params, suites)
    if data and "data" not in params:
        example = "data: {source: cifar10, path: data/folder, image_size: 32}"
        yield f"data is missing: say where the images come from, for example `{example}`"
    if "data" in params:
        yield from _problems_of(DataConfig, params["data"], lambda keys: ".".join(("data", *keys)))
    for key, run, own in _members(params):
        if isinstance(suites.get(str(own.get("suite")), ""), Mapping | None):
            where = partial(_origin, params, key, run, own)
            yield from _problems_of(RunConfig, _merged({**params, "suites": suites}, run, own), where)


def _problems_of_layout(params: Mapping[str, Any], suites: Mapping[str, Any]) -> Iterator[str]:
    runs, students = _block(params, "runs"), _block(params, "students")
    if not isinstance(params.get("students"), Mapping):  # DVC reads it, and says little where it is missing
        yield f"students is {params.get('students')!r}: write `students: {{}}` where no run learns from another"
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
    for name in students:
        if name in runs:
            yield f"students.{name} has the name of a run: give it another"
        yield from _problems_of_teacher(name, runs, students)
    used = {own.get("suite") for _, _, own in _members(params)}
    for key, run, own in _members(params):
        if (suite := own.get("suite")) not in suites:
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
    seen, name = [student], student
    while name in students and isinstance(students[name], Mapping):
        name = students[name].get("teacher")
        if name in seen:
            yield f"students.{student}.teacher leads back to itself: {' <- '.join([*seen, name])}"
            return
        seen.append(name)
    own = students[student]
    teacher = own.get("teacher") if isinstance(own, Mapping) else None
    if teacher not in runs and teacher not in students:
        known = [*runs, *(other for other in students if other != student)]
        what = "is missing" if teacher is None else f"is {teacher!r}{suggest(teacher, known)}"
        yield f"students.{student}.teacher {what}; one of: {', '.join(map(str, known))}"


def _problems_of_reserved(prefix: str, block: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"{prefix}{key} cannot be set: remove it (every run gets its own)" for key in _SET_BY_RESOLVE if key in block
    )


def _problems_of_name(where: str, name: object) -> Iterator[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        rule = "small letters, digits and _, a letter first"
        yield f"{where} is not a name: use {rule} (and not {', '.join(RESERVED)}, which is taken)"


def _problems_of(schema: type[BaseModel], values: object, path_of: Callable[[Sequence[str]], str]) -> Iterator[str]:
    try:
        schema.model_validate(values)
    except ValidationError as error:
        yield from explain(error, schema, path_of)


def _block(params: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return params[key] if isinstance(params.get(key), Mapping) else {}


def _origin(params: Mapping[str, Any], key: str, run: str, own: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Where a merged value was written: in the run, in its suite or at the top level."""
    places = ((key, run), ("suites", str(own["suite"])), ())
    written = [place for place in places if _holds(params, (*place, *keys))]
    # A missing key is missing from the innermost block that is there.
    block = [place for place in places if len(keys) > 1 and _holds(params, (*place, keys[0]))]
    return ".".join((*(written or block or places)[0], *keys))


def _holds(value: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if isinstance(value, str) and key == "name":  # a bare string is short for {name: …}
            return True
        key, _, index = key.partition("[")
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
        if index and isinstance(value, list):
            value = value[int(index.rstrip("]"))]
    return True
