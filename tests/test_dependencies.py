"""pyproject.toml declares what the code imports, and nothing else."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from pages import PROJECT

MANIFEST = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = ("src", "stages", "search")
DEVELOPMENT = ("tests", "benchmarks", "docs")

# Run as a command or loaded by another package (pip loads hatchling), and not imported.
COMMANDS = {"dvc", "dvc-s3", "dvc-ssh"}  # runs the stages, with its remotes
TOOLS = {
    *("hatchling", "ipykernel", "mkdocs-material", "mkdocstrings", "moto", "mutmut", "mypy"),
    *("nbstripout", "pre-commit", "pytest-cov", "pytest-xdist", "ruff"),
}


def imported(*folders: str) -> set[str]:
    """Return the distributions that provide what the Python files of these folders import."""
    provided = distributions()
    own = {path.stem for folder in (*RUNTIME, *DEVELOPMENT) for path in (PROJECT / folder).rglob("*.py")}
    own |= {path.name for folder in (*RUNTIME, *DEVELOPMENT) for path in (PROJECT / folder).iterdir() if path.is_dir()}
    files = [file for folder in folders for file in sorted((PROJECT / folder).rglob("*.py"))]
    found = set()
    for name in {name for file in files for name in modules(file)} - sys.stdlib_module_names:
        if name in provided:
            candidates = {normalized(distribution) for distribution in provided[name]}
            found |= candidates & DECLARED or candidates  # several provide parts of `ruamel`
        else:
            assert name in own, f"nothing that is installed provides {name}"
    return found


distributions = cache(packages_distributions)  # reads the metadata of everything that is installed


@cache
def modules(file: Path) -> set[str]:
    """Return the top-level packages that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def declared(requirements: list[str]) -> set[str]:
    """Return the distributions that requirements such as ``torch>=2.11`` name."""
    return {normalized(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def normalized(distribution: str) -> str:
    """Return the canonical name of a distribution."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


DEPENDENCIES = declared(MANIFEST["project"]["dependencies"])
OPTIONAL = {name for extra in MANIFEST["project"]["optional-dependencies"].values() for name in declared(extra)}
DEVELOPMENT_ONLY = declared(MANIFEST["dependency-groups"]["dev"])
DECLARED = DEPENDENCIES | OPTIONAL | DEVELOPMENT_ONLY
STUBS = {name for name in DEVELOPMENT_ONLY if name.startswith("types-")}


def test_dependencies_are_what_the_pipeline_imports() -> None:
    assert imported(*RUNTIME) | COMMANDS == DEPENDENCIES | OPTIONAL
    assert not DEPENDENCIES & OPTIONAL


def test_development_dependencies_are_what_the_tests_import_and_the_tools() -> None:
    assert imported(*DEVELOPMENT) - DEPENDENCIES - OPTIONAL | TOOLS | STUBS == DEVELOPMENT_ONLY


def test_type_stubs_are_for_imported_packages() -> None:
    assert {name.removeprefix("types-") for name in STUBS} <= imported(*RUNTIME, *DEVELOPMENT)
