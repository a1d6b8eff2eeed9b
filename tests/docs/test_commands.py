"""Commands that the pages show would run: programs, targets, options, files and parameters exist."""

import copy
import re
import shlex
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import parse_args
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from typer.core import TyperGroup
from typer.main import get_command

from pages import PAGES, PROJECT, blocks, commands
from trainlab.commands import app
from trainlab.config.validation import mistakes

SHOWN = sorted({(page, command) for page in PAGES for command in commands(page)})
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def words(command: str) -> list[str]:
    """Return a command's words, without its comment and the variables set before it."""
    found = shlex.split(command, comments=True)
    while found and re.fullmatch(r"[A-Z_]+=.*", found[0]):
        found.pop(0)
    return found


def test_commands_are_found() -> None:
    found = {command for _, command in SHOWN}
    assert {"dvc repro", "make demo", "make bench"} <= {re.split(r" +#", command)[0] for command in found}
    assert len(found) > 60


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_command(page: str, command: str, tmp_path: Path) -> None:
    program, *arguments = words(command)
    if program == "make":
        check_make(arguments)
    elif program == "dvc":
        check_dvc(arguments, tmp_path, added_runs(page))
    elif program == "python":
        check_python(arguments)
    elif program == "trainlab":
        check_trainlab(arguments)
    else:
        assert program in {"source", "cd", "export", "git", "mutmut", "pre-commit"}, (
            f"{page}: unknown program {program}"
        )


def check_make(arguments: list[str]) -> None:
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        if is_variable:
            assert f"$({name})" in MAKEFILE
        else:
            assert name in TARGETS


def check_python(arguments: list[str]) -> None:
    script = PROJECT / arguments[0]
    assert script.is_file()
    code = script.read_text(encoding="utf-8")
    for option in (argument for argument in arguments if argument.startswith("--")):
        name = option.removeprefix("--").replace("-", "_")
        assert option in code or re.search(rf"^ +{name}: Annotated", code, re.MULTILINE)


def check_trainlab(arguments: list[str]) -> None:
    script = get_command(app)
    assert isinstance(script, TyperGroup)
    known = {option for parameter in script.commands[arguments[0]].params for option in parameter.opts}
    options = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    assert options - {"-"} <= known  # "-" is standard input


@cache
def added_runs(page: str) -> set[str]:
    """Return the runs that the page adds to params.yaml."""
    added = [YAML(typ="safe", pure=True).load(block.text) for block in blocks(page) if block.info == ("yaml",)]
    return {run for values in added for run in values.get("runs", {})}


def check_dvc(arguments: list[str], scratch: Path, runs: set[str]) -> None:
    parsed = parse_args(arguments)
    root = PROJECT / parsed.cd
    if parsed.func.__name__ in ("CmdRepro", "CmdExperimentsRun"):
        for target in parsed.targets:
            check_target(root, target, runs)
    if overrides := getattr(parsed, "set_param", None):
        check_parameters(parsed, overrides, scratch)


def check_target(root: Path, target: str, runs: set[str]) -> None:
    """Check that a target is a stage of the project, a key of its `foreach` or one of these runs, or an output."""
    stages = load_once(root / "dvc.yaml")["stages"]
    name, _, key = target.partition("@")
    if "/" in target:
        written = [out for stage in stages.values() for out in stage.get("outs", [])]
        assert target in written
        return
    assert name in stages
    keys = stages[name].get("foreach")
    if isinstance(keys, str):
        keys = load_once(root / "params.yaml")[keys.removeprefix("${").removesuffix("}")]
    assert not key or key == "NAME" or key in {*keys, *runs}


def check_parameters(parsed: Namespace, overrides: list[str], scratch: Path) -> None:
    """Check that `-S` changes params.yaml, and that the result is valid."""
    params = scratch / "params.yaml"
    params.write_bytes((PROJECT / "params.yaml").read_bytes())
    before: dict[str, Any] = copy.deepcopy(load(params))
    apply_overrides(params, overrides)
    after = load(params)
    assert after != before
    assert list(mistakes(after, data=True)) == []


def load(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file."""
    loaded = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


load_once = cache(load)


@pytest.mark.parametrize(
    "file", [".github/workflows/ci.yml", ".github/workflows/compare.yml", ".pre-commit-config.yaml"]
)
def test_make_targets_of_automation(file: str) -> None:
    used = re.findall(r"\bmake ([a-z-]+)", (PROJECT / file).read_text(encoding="utf-8"))
    assert used
    assert set(used) <= TARGETS
