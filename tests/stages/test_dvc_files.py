"""The dependency lists of the three dvc.yaml files: every file with code that a stage executes is in its list."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import trainlab.config.schema  # noqa: F401 (imports every component)
from trainlab import fingerprint
from trainlab.component import Component

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SOURCE, STAGES = PROJECT / "src", PROJECT / "stages"
# Base classes of everything, whose code decides no result, and packages: of one, no stage calls the only function, and the
# other only imports its modules when they are used.
EVERYWHERE = {f"src/trainlab/{name}.py" for name in ("__init__", "component", "config/__init__", "errors")}
# They only parse arguments and show progress.
INTERFACE = ("trainlab.cli", "trainlab.training.progress")
# Its package imports these when they are first used, which no statement says.
LAZY = [f"trainlab.config.{name}" for name in ("data", "runs", "schema")]


class Stage(NamedTuple):
    """A stage of a dvc.yaml; paths are relative to the root of the project.

    Parameters
    ----------
    name
        Directory and name.
    script
        Its script in `stages/`, without the suffix.
    dependencies
        What it lists, templates (``${key}``) included.
    """

    name: str
    script: str
    dependencies: list[str]

    @property
    def code(self) -> set[str]:
        """The files and directories with code among the dependencies."""
        return {path for path in self.dependencies if path.startswith(("src/", "stages/"))}

    @property
    def has_fingerprint(self) -> bool:
        """Whether it depends on a file with the fingerprint of the code that trains a run."""
        configuration = r"configs/(?!checks/)[^/]+(/(?!_suite)[^/]+\.yaml)?|resolved\.yaml"
        return any(re.search(rf"(^|/)({configuration}|models/.*\.safetensors)$", path) for path in self.dependencies)

    def lists(self, file: str) -> bool:
        return any(file == path or file.startswith(f"{path}/") for path in self.code)


def stages() -> Iterator[Stage]:
    for directory in ("", "studies/", "search/"):
        definitions: dict[str, Any] = yaml.safe_load((PROJECT / directory / "dvc.yaml").read_text())["stages"]
        for name, definition in definitions.items():
            stage = definition.get("do", definition)
            [script] = re.findall(r"^python (?:\.\./)?stages/(\w+)\.py", stage["cmd"])
            # `src` in the other projects is a link to that of the root.
            listed = [
                path.removeprefix("../") if path.startswith(("../", "src/")) else f"{directory}{path}"
                for path in stage["deps"]
            ]
            yield Stage(f"{directory}{name}", script, listed)


ALL = {stage.name: stage for stage in stages()}


def components() -> list[fingerprint._Definition]:
    def below(cls: type[Component]) -> Iterator[type[Component]]:
        yield cls
        for subclass in cls.__subclasses__():
            yield from below(subclass)

    # Those of the search are no part of a run, and are there only if another test imported them.
    classes = (cls for cls in below(Component) if cls.__module__.startswith("trainlab."))
    classes = (cls for cls in classes if not cls.__module__.startswith("trainlab.search."))
    return [fingerprint.TRAINING, *(fingerprint._Definition(cls.__module__, cls.__qualname__) for cls in classes)]


class Reached(NamedTuple):
    """What a script executes: definitions, and modules with other statements, both with the file that has them."""

    definitions: dict[tuple[str, str], str]
    modules: dict[str, str]

    def files(self, covered: "Reached | None" = None) -> set[str]:
        """Return the files of what is not covered."""
        done = covered or Reached({}, {})
        definitions = {file for key, file in self.definitions.items() if key not in done.definitions}
        return definitions | {file for name, file in self.modules.items() if name not in done.modules}


@cache
def source() -> fingerprint._Source:
    return fingerprint._Source((SOURCE, STAGES))


def reached(script: str | None, more: Iterable[fingerprint._Definition] = ()) -> Reached:
    """Return what a script and these definitions execute."""
    code = fingerprint._Code(source())
    if script:
        code.add_script(script)
    for definition in more:
        code.add(definition)

    def file(module: str) -> str:
        return source().module(module).file.relative_to(PROJECT).as_posix()

    with_effects = [name for name in code.executed if source().module(name).effects or name == script]
    return Reached(
        {(name.module, name.name): file(name.module) for name in code.reached},
        {name: file(name) for name in with_effects},
    )


def executed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Reached:
    """Return what a stage executes.

    Only a stage that lists all of `config` reads parameters by the schema. The others read resolved configurations, on
    which they depend: what the schema decides is in them.
    """
    if "src/trainlab/config" in stage.code:
        monkeypatch.setattr(fingerprint, "OPAQUE", INTERFACE)
        return reached(stage.script, [*(fingerprint._Definition(name, "") for name in LAZY), *components()])
    monkeypatch.setattr(fingerprint, "OPAQUE", (*INTERFACE, "trainlab.fingerprint", *LAZY))
    return reached(stage.script)


@pytest.mark.parametrize("name", ALL)
def test_every_file_that_a_stage_executes_is_in_its_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ALL[name]
    # The fingerprint of a run covers what trains it; that of the search is without the stage's script.
    script = None if stage.script == "search" else "train"
    covered = reached(script, components()) if stage.has_fingerprint else None
    needed = executed(stage, monkeypatch).files(covered) - EVERYWHERE
    assert sorted(file for file in needed if not stage.lists(file)) == []


@pytest.mark.parametrize("name", ALL)
def test_every_file_in_the_list_exists_and_is_executed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = ALL[name]
    files = executed(stage, monkeypatch).files()
    if stage.script.startswith("resolve"):  # it reads the code of every component, for the fingerprint
        files |= {"stages/train.py", *(path for path in stage.code if path.startswith("src/trainlab/"))}
    assert sorted(path for path in stage.code if not (PROJECT / path).exists()) == []
    assert sorted(path for path in stage.code if not any(f"{file}/".startswith(f"{path}/") for file in files)) == []


def test_resolve_depends_on_every_file_that_a_fingerprint_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    read = set()
    parse = fingerprint._parse

    def recorded(name: str, file: Path) -> fingerprint._Module:
        read.add(file.relative_to(PROJECT).as_posix())
        return parse(name, file)

    monkeypatch.setattr(fingerprint, "_parse", recorded)
    source.cache_clear()
    reached("train", components())
    assert {"src/trainlab/training/loop.py", "stages/_start.py", "stages/train.py"} <= read
    names_only = {f"src/{name.replace('.', '/')}.py" for name in INTERFACE}  # is this name defined there?
    for name in ("resolve", "studies/resolve", "search/resolve"):
        if name == "search/resolve":  # a trial is trained without the script of the stage
            read.remove("stages/train.py")
        assert sorted(file for file in read - EVERYWHERE - names_only if not ALL[name].lists(file)) == []


def test_importing_the_package_itself_executes_nothing() -> None:
    package = fingerprint._Source((SOURCE,)).module("trainlab")
    assert set(package.definitions) == {"__version__", "load"}
    assert package.effects == []
