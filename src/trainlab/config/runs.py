"""Resolve params.yaml into one configuration per run; write and read these configurations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from trainlab import fingerprint
from trainlab.config import reading
from trainlab.config.inheritance import merge_levels, run_values
from trainlab.config.messages import explain, suggest
from trainlab.config.schema import CheckConfig, RunConfig, SuiteConfig
from trainlab.config.validation import RESERVED, mistakes
from trainlab.errors import UserError, listed, shortened
from trainlab.files import directory_written_whole, repro

Schema = TypeVar("Schema", RunConfig, CheckConfig)


def load_params(path: Path) -> dict[str, Any]:
    """Read a params.yaml, not validated.

    Raises
    ------
    UserError
        If the file is missing or is not valid YAML.
    """
    return reading.load(path, "run this in the root of the project")


def resolve(
    params: Mapping[str, Any], *, where: str = "params.yaml", data: bool = True, scripts: Sequence[Path] = ()
) -> dict[str, RunConfig]:
    """Validate the content of a params.yaml and return the complete configuration of every run.

    Parameters
    ----------
    params
        The content of params.yaml. A run's value wins over its suite's, which wins over the top level; blocks merge key
        by key (:func:`trainlab.config.inheritance.merge`).
    where
        The file's name in error messages.
    data
        Whether the blocks `data` and `checks` are required; studies have none.
    scripts
        The scripts that train a run: part of the fingerprint in each configuration.

    Returns
    -------
    dict
        Configurations by run name, in the order of params.yaml: runs, then students.

    Raises
    ------
    UserError
        If anything is wrong: one line per mistake, with the key's path, its value and what is allowed.
    """
    found = list(dict.fromkeys(mistakes(params, data=data)))
    if found:
        raise UserError(listed([f"{where}: {mistake}" for mistake in found]))
    runs = {}
    codes: dict[frozenset[type], str] = {}  # the same components have the same code, and a fingerprint takes 0.1 s
    for run, own in {**params["runs"], **params["students"]}.items():
        config = RunConfig.model_validate(run_values(params, run, own))
        used = frozenset(map(type, config.components()))
        if used not in codes:
            codes[used] = fingerprint.of_run(config.components(), scripts, RunConfig)
        runs[run] = config.model_copy(update={"code": codes[used]})
    return runs


def resolve_checks(params: Mapping[str, Any]) -> dict[str, CheckConfig]:
    """Return what the checks of each run expect, by run name.

    Parameters
    ----------
    params
        The content of a params.yaml that :func:`resolve` has accepted.
    """
    runs = {**params["runs"], **params["students"]}
    return {run: CheckConfig.model_validate(merge_levels(params, own)["checks"]) for run, own in runs.items()}


def resolve_suites(params: Mapping[str, Any]) -> dict[str, SuiteConfig]:
    """Return how the runs of each suite are compared, by suite name.

    A run without ``against`` is compared with the first run of its suite, one with ``against: null`` with no other run.

    Parameters
    ----------
    params
        The content of a params.yaml that :func:`resolve` has accepted.
    """
    suites: dict[str, dict[str, str | None]] = {}
    margins = {}
    for run, own in {**params["runs"], **params["students"]}.items():
        values, runs = merge_levels(params, own), suites.setdefault(own["suite"], {})
        against = values.get("against", next(iter(runs), None))
        runs[run] = against if against != run else None
        margins[own["suite"]] = values["margin"]
    return {suite: SuiteConfig(margin=margins[suite], runs=runs) for suite, runs in suites.items()}


def save_all(
    runs: Mapping[str, RunConfig],
    directory: Path,
    suites: Mapping[str, SuiteConfig],
    checks: Mapping[str, CheckConfig] | None = None,
) -> None:
    """Write all configurations into a directory, which is replaced as a whole.

    `SUITE/RUN.yaml` contains a run, `SUITE/_suite.yaml` how the suite's runs are compared, and `checks/RUN.yaml` what the
    checks of a run expect. The latter are files of their own, so that changing them makes no training stale.
    """
    with directory_written_whole(directory) as aside:
        for suite, comparison in suites.items():
            (aside / suite).mkdir()
            (aside / suite / "_suite.yaml").write_text(reading.dump(comparison.model_dump()), encoding="utf-8")
        for config in runs.values():
            (aside / config.suite / f"{config.run}.yaml").write_text(config.to_yaml(), encoding="utf-8")
        for run, expects in (checks or {}).items():
            (aside / "checks").mkdir(exist_ok=True)
            values = expects.model_dump(exclude_defaults=True)
            (aside / "checks" / f"{run}.yaml").write_text(reading.dump(values), encoding="utf-8")


def find(configs: Path, run: str) -> Path:
    """Return the configuration file of a run in any suite.

    Raises
    ------
    UserError
        If there is no such run.
    """
    suites = [path for path in configs.glob("*") if path.name not in RESERVED]
    found = [path for suite in suites for path in suite.glob(f"{run}.yaml")]
    if not found:
        hint = suggest(run, (path.stem for suite in suites for path in suite.glob("[a-z]*.yaml")))
        raise UserError(
            f"no run {run!r} in {configs}/{hint}; {repro('resolve', configs)} writes the runs of params.yaml"
        )
    return found[0]


def load(path: Path) -> RunConfig:
    """Read one `configs/SUITE/RUN.yaml`.

    Raises
    ------
    UserError
        If the file is missing, or was written by another version of the code.
    """
    return from_dict(reading.load(path, f"run {repro('resolve', path)}"), str(path))


def from_dict(values: Mapping[str, Any], where: str) -> RunConfig:
    """Return the configuration whose :meth:`RunConfig.to_dict` gave these values.

    Parameters
    ----------
    values
        Plain values by key.
    where
        Where they were read, for error messages.

    Raises
    ------
    UserError
        If they were written by another version of the code.
    """
    return _validated(RunConfig, values, where)


def load_checks(path: Path) -> CheckConfig:
    """Read one `configs/checks/RUN.yaml`.

    Raises
    ------
    UserError
        If the file is missing, or was written by another version of the code.
    """
    return _validated(CheckConfig, reading.load(path, f"run {repro('resolve', path)}"), str(path))


def _validated(schema: type[Schema], values: Mapping[str, Any], where: str) -> Schema:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        mistake = next(explain(error, schema))
        raise UserError(
            f"{where}: {shortened(mistake)} (written by another version of the code: run `dvc repro`)"
        ) from error
